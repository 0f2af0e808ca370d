from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.item_knn import ItemKNN
from tfrec.evaluation.baselines.sparse_rows import keep_largest
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema


def test_scores_are_decayed_sums_of_shrunk_cosines(
    single_type: Schema, make_items: Callable[..., pa.Table]
) -> None:
    users = [[0, 1, 1, 3], [0, 1, 3], [0, 2, 3], [1, 2, 4]]
    sequences = make_sequences(users, splits=[[0] * (len(u) - 1) + [2] for u in users])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = ItemKNN(shrinkage=2.0, decay=0.5).fit(
        sequences, make_items(5), single_type, split="test"
    )
    scores = scorer.score(sequences, queries, np.array([3, 0]))
    # Items 0 and 1 have 3 users each, 2 of them the same; item 2 has 2 users.
    zero_one, zero_two, one_two = 2 / (3 + 2), 1 / (6**0.5 + 2), 1 / (6**0.5 + 2)
    # User 3 has 1, then 2. User 0 has 0, then 1 twice (weights 1 and 0.5).
    expected = [
        [0.5 * zero_one + zero_two, one_two, 0.5 * one_two, 0, 0],
        [1.5 * zero_one, 0.25 * zero_one, 0.25 * zero_two + 1.5 * one_two, 0, 0],
    ]
    # The popularity filler stays below 1e-4.
    np.testing.assert_allclose(scores, expected, atol=1e-4)


def test_blocks_of_items_change_nothing(
    single_type: Schema,
    make_items: Callable[..., pa.Table],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    random = np.random.default_rng(0)
    sequences = make_sequences(list(random.integers(0, 9, (20, 6))))
    queries = build_queries(sequences, single_type, split="test", targets="next")

    def scores() -> np.ndarray:
        scorer = ItemKNN(num_neighbours=3).fit(
            sequences, make_items(9), single_type, split="test"
        )
        return scorer.score(sequences, queries, np.arange(20))

    whole = scores()
    monkeypatch.setattr("tfrec.evaluation.baselines.item_knn._ITEMS_A_BLOCK", 4)
    np.testing.assert_array_equal(scores(), whole)
    assert len(np.unique(whole)) > 20  # Not a constant that would be equal anyway.


def test_largest_entries_of_each_row_are_kept() -> None:
    matrix = sparse.csr_array(np.array([[1.0, 3, 2, 0], [5, 5, 5, 0], [0, 0, 0, 1]]))
    assert keep_largest(matrix, 2).toarray().tolist() == [
        [0, 3, 2, 0],
        [5, 5, 0, 0],
        [0, 0, 0, 1],
    ]
