"""The first-order Markov chain baseline."""

from typing import Self

import numpy as np
import pyarrow as pa
from scipy import sparse

from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.base import (
    Baseline,
    as_filler,
    item_columns,
    past_events,
    popularity,
    target_events,
)
from tfrec.evaluation.baselines.sparse_rows import scale_rows
from tfrec.evaluation.protocols import (
    EvaluatedSplit,
    EvaluationQueries,
    history_events,
)
from tfrec.schema import Schema

_MAX_LOOK_BACK = 10  # Newest events searched for one whose item is known.


class Markov(Baseline):
    """Scores an item by how often it came right after the last item.

        score(j) = #(i then j) / #(i then anything)     i: the newest known item

    A transition is two consecutive events of one user in the log's order, the
    second of a target type. Items that never followed are ordered by popularity.
    """

    name = "markov"

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Counts transitions."""
        num_items = len(items)
        past = past_events(sequences, split)
        same_user = np.diff(sequences.user_rows) == 0
        is_target = target_events(sequences, schema)[1:]
        first = np.flatnonzero(past[:-1] & past[1:] & same_user & is_target)
        cells = (item_columns(sequences, first), item_columns(sequences, first + 1))
        ones = np.ones(len(first), np.float32)
        counts = sparse.csr_array((ones, cells), shape=(num_items, num_items))
        totals = np.asarray(counts.sum(axis=1)).ravel()
        self._transitions = scale_rows(counts, 1 / np.maximum(totals, 1))
        filler = popularity(sequences, schema, split=split, num_items=num_items)
        # Below the smallest probability, so that it orders ties and the rest only.
        smallest = float(counts.data.min(initial=1.0))
        self._filler = as_filler(filler, below=smallest / 2)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Looks up the transitions of the newest known item."""
        offsets, events = history_events(
            sequences, queries, rows, max_length=_MAX_LOOK_BACK
        )
        batch_rows = np.repeat(np.arange(len(rows)), np.diff(offsets))
        columns = item_columns(sequences, events)
        last = np.full(len(rows), -1, np.int64)
        known = columns >= 0
        last[batch_rows[known]] = columns[known]  # Ascending: the newest one stays.
        scores = np.tile(self._filler, (len(rows), 1))
        found = np.flatnonzero(last >= 0)
        transitions = self._transitions[last[found]].tocoo()
        scores[found[transitions.row], transitions.col] += transitions.data
        return scores
