"""Baselines on logs whose events are not all of an item."""

from dataclasses import replace
from typing import Self

import numpy as np
import pyarrow as pa

from tfrec.data.searches import is_search, keep_events, moved_ends, without_searches
from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.base import Baseline
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import Schema


class OfItemEvents(Baseline):
    """A baseline that is shown the events of items alone.

    A search between two items would part what follows one another, and take a place
    among the newest events.

    Args:
        baseline: The baseline.
        schema: Says which events are searches.
    """

    def __init__(self, baseline: Baseline, schema: Schema) -> None:
        self.baseline = baseline
        self.name = baseline.name
        self._schema = schema
        self._whole: EventSequences | None = None

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Fits the baseline without searches."""
        kept = without_searches(sequences, schema)
        self.baseline.fit(kept, items, schema, split=split)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns the baseline's scores of histories without searches."""
        if sequences is not self._whole:  # Once for all batches of an evaluation.
            kept = ~is_search(sequences, self._schema)
            self._kept, self._ends = keep_events(sequences, kept), moved_ends(kept)
            self._whole = sequences
        moved = replace(queries, history_ends=self._ends[queries.history_ends])
        return self.baseline.score(self._kept, moved, rows)


def without_searches_of(baseline: Baseline, schema: Schema) -> Baseline:
    """Returns the baseline, without searches where the schema has any."""
    if schema.search_event_type is None:
        return baseline
    return OfItemEvents(baseline, schema)
