"""Popularity baselines: the same list for everybody, at most by time."""

from typing import Self

import numpy as np
import pyarrow as pa

from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.base import (
    Baseline,
    as_filler,
    item_columns,
    past_events,
    popularity,
    target_events,
)
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import Schema

SECONDS_PER_DAY = 86_400


class Popularity(Baseline):
    """Scores an item by its number of past target events."""

    name = "pop"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Counts."""
        counts = popularity(sequences, schema, split=split, num_items=len(items))
        self._scores = counts.astype(np.float32)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Repeats the counts."""
        return np.tile(self._scores, (len(rows), 1))


class RecentPopularity(Baseline):
    """Scores an item by its past target events in the last days.

    The window ends where the past ends, and never after the day in which a
    request comes in starts: with one time cut for all users that is the start
    of the split; with leave-one-out every query looks back from its own day.
    Ties are ordered by overall popularity.

    Args:
        window_days: Length of the window.
    """

    name = "recent_pop"

    def __init__(self, *, window_days: float = 30.0) -> None:
        if window_days <= 0:
            raise ValueError(
                f"`window_days` must be positive. Received: window_days={window_days}."
            )
        self.window_days = window_days

    @classmethod
    def missing_data(cls, items: pa.Table, schema: Schema) -> str | None:
        """Needs times."""
        return None if schema.has_timestamps else "the log has no timestamps"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Sorts the past events by time."""
        past = past_events(sequences, split) & target_events(sequences, schema)
        events = np.flatnonzero(past)
        events = events[np.argsort(sequences.timestamps[events], kind="stable")]
        self._times = sequences.timestamps[events]
        self._columns = item_columns(sequences, events)
        counts = np.bincount(self._columns, minlength=len(items))
        self._filler = as_filler(counts, below=0.5)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Counts once per distinct end of the window."""
        days = queries.request_timestamps[rows] // SECONDS_PER_DAY
        past_end = self._times[-1] + 1 if len(self._times) else 0
        ends = np.minimum(days * SECONDS_PER_DAY, past_end)
        distinct, inverse = np.unique(ends, return_inverse=True)
        window = round(self.window_days * SECONDS_PER_DAY)
        table = np.stack([self._scores(end - window, end) for end in distinct])
        return table[inverse]

    def _scores(self, start: int, end: int) -> np.ndarray:
        first, last = np.searchsorted(self._times, [start, end])
        columns = self._columns[first:last]
        counts = np.bincount(columns, minlength=len(self._filler))
        return self._filler + counts.astype(np.float32)
