"""The item-based nearest-neighbour baseline."""

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
)
from tfrec.evaluation.baselines.history import decayed_histories
from tfrec.evaluation.baselines.sparse_rows import dense_product, keep_largest
from tfrec.evaluation.protocols import EvaluatedSplit, EvaluationQueries
from tfrec.schema import Schema

_ITEMS_A_BLOCK = 2_000  # Rows of the co-occurrence matrix that are held at once.


class ItemKNN(Baseline):
    """Scores an item by its cosine similarity to the items of the history.

        similarity(i, j) = users with both / (sqrt(users of i · users of j) + shrinkage)
        score(j) = sum over history of decay^age · similarity(i, j)

    Age 0 is the newest moment of the history (`decayed_histories`). What has no
    neighbour is ordered by popularity.

    Args:
        num_neighbours: Similarities kept per item.
        shrinkage: Users; pulls similarities that rest on few users to 0.
        decay: Weight of a moment relative to the next newer one, in (0, 1].
        max_history_length: Newest events that are read.

    References:
        - Sarwar et al., "Item-Based Collaborative Filtering Recommendation
          Algorithms", WWW 2001.
        - Ferrari Dacrema et al., "A Troubling Analysis of Reproducibility and
          Progress in Recommender Systems Research", TOIS 2021.
    """

    name = "item_knn"

    def __init__(
        self,
        *,
        num_neighbours: int = 500,
        shrinkage: float = 10.0,
        decay: float = 0.6,
        max_history_length: int = 50,
    ) -> None:
        self.num_neighbours = num_neighbours
        self.shrinkage = shrinkage
        self.decay = decay
        self.max_history_length = max_history_length

    def fit(
        self,
        sequences: EventSequences,
        items: pa.Table,
        schema: Schema,
        *,
        split: EvaluatedSplit,
    ) -> Self:
        """Counts users who had both items, block by block."""
        num_items = len(items)
        events = np.flatnonzero(past_events(sequences, split))
        shape = (sequences.num_users, num_items)
        cells = (sequences.user_rows[events], item_columns(sequences, events))
        users = sparse.csr_array((np.ones(len(events), np.float32), cells), shape=shape)
        users.data[:] = 1.0
        by_item = users.T.tocsr()
        num_users = np.asarray(users.sum(axis=0)).ravel()
        blocks = []
        for start in range(0, num_items, _ITEMS_A_BLOCK):
            block = (by_item[start : start + _ITEMS_A_BLOCK] @ users).tocoo()
            kept = block.row + start != block.col
            rows, columns = block.row[kept], block.col[kept]
            norm = np.sqrt(num_users[rows + start] * num_users[columns])
            values = block.data[kept] / (norm + self.shrinkage)
            part = sparse.csr_array((values, (rows, columns)), shape=block.shape)
            blocks.append(keep_largest(part, self.num_neighbours))
        self._similarity = sparse.csr_array(sparse.vstack(blocks), dtype=np.float32)
        counts = popularity(sequences, schema, split=split, num_items=num_items)
        self._filler = as_filler(counts, below=1e-4)
        return self

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Multiplies decayed histories with similarities."""
        histories = decayed_histories(
            sequences,
            queries,
            rows,
            num_items=len(self._filler),
            decay=self.decay,
            max_length=self.max_history_length,
        )
        return dense_product(histories, self._similarity) + self._filler
