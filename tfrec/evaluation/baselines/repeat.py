"""The baseline that offers again what a user has had."""

from typing import Self

import numpy as np
import pyarrow as pa

from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.base import (
    Baseline,
    as_filler,
    item_columns,
    popularity,
    target_events,
)
from tfrec.evaluation.protocols import (
    EvaluatedSplit,
    EvaluationQueries,
    history_events,
)
from tfrec.schema import Schema


class Repeat(Baseline):
    """Ranks the items of the history first, then the rest by popularity.

    Own items are ordered by the number of their target events, then by the
    newest event.
    """

    name = "repeat"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Counts the filler."""
        counts = popularity(sequences, schema, split=split, num_items=len(items))
        self._filler = as_filler(counts, below=1.0)
        self._schema = schema
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Gives own items the scores 1, 2, … from the least to the most likely."""
        num_items = len(self._filler)
        offsets, events = history_events(sequences, queries, rows)
        batch_rows = np.repeat(np.arange(len(rows)), np.diff(offsets))
        columns = item_columns(sequences, events)
        known = columns >= 0
        keys = (batch_rows * num_items + columns)[known]
        own, inverse = np.unique(keys, return_inverse=True)
        newest = np.zeros(len(own), np.int64)
        newest[inverse] = np.flatnonzero(known)  # Ascending: the last one stays.
        is_target = target_events(sequences, self._schema)[events]
        counts = np.bincount(
            inverse, weights=is_target[known].astype(float), minlength=len(own)
        )
        own_rows = own // num_items
        order = np.lexsort((newest, counts, own_rows))
        places = np.arange(len(own)) - np.searchsorted(own_rows, own_rows)
        scores = np.tile(self._filler, (len(rows), 1))
        scores.ravel()[own[order]] = places + 1
        return scores
