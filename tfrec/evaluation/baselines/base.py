"""What all baselines share: fitting on the past, popularity as filler."""

from abc import ABC, abstractmethod
from typing import Self

import numpy as np
import pyarrow as pa

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import NUM_SPECIAL_INDICES, Schema


class Baseline(ABC):
    """A scorer that is fitted on the events before the evaluated split.

    For `validation` these are the training events; for `test` training and
    validation events.

    Attributes:
        name: Row of the report.
    """

    name: str

    @classmethod
    def missing_data(cls, items: pa.Table, schema: Schema) -> str | None:
        """Returns why the data cannot feed this baseline; None if they can."""
        return None

    @abstractmethod
    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Learns from the events before `split`; `items` is the catalogue."""

    @abstractmethod
    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[len(rows), num_items]`, see `Scorer`."""


def past_events(sequences: EventSequences, split: EvaluatedSplit) -> np.ndarray:
    """Returns bool `[num_events]`: events of the catalogue's items before `split`."""
    known = sequences.item_index >= NUM_SPECIAL_INDICES
    return (sequences.split < SPLIT_INDEX[split]) & known


def target_events(sequences: EventSequences, schema: Schema) -> np.ndarray:
    """Returns bool `[num_events]`: events of a target type."""
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    return np.isin(sequences.event_type_index, types)


def item_columns(sequences: EventSequences, events: np.ndarray) -> np.ndarray:
    """Returns the int64 column of each item; negative outside the catalogue."""
    return sequences.item_index[events].astype(np.int64) - NUM_SPECIAL_INDICES


def popularity(
    sequences: EventSequences, schema: Schema, *, split: EvaluatedSplit, num_items: int
) -> np.ndarray:
    """Counts past target events; int64 `[num_items]`."""
    events = past_events(sequences, split) & target_events(sequences, schema)
    columns = item_columns(sequences, np.flatnonzero(events))
    return np.bincount(columns, minlength=num_items)


def as_filler(counts: np.ndarray, *, below: float) -> np.ndarray:
    """Scales counts into `[0, below)`: orders what a baseline leaves tied.

    Returns:
        float32 `[num_items]`.
    """
    return (counts / (counts.max(initial=0) + 1) * below).astype(np.float32)
