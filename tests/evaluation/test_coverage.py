import numpy as np
import pytest

from tfrec.evaluation.coverage import mark_recommended, top_columns


@pytest.mark.parametrize("levels", [1, 3, 10_000])
@pytest.mark.parametrize(("num_items", "k"), [(7, 7), (20, 6), (400, 6)])
def test_top_columns_equal_a_stable_sort(levels: int, num_items: int, k: int) -> None:
    random = np.random.default_rng(0)
    scores = random.integers(0, levels, (30, num_items)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(top_columns(scores, k), expected)


def test_items_count_once_and_hidden_items_never() -> None:
    hidden = -np.inf
    scores = np.array([[3, 2, hidden, 1], [9, hidden, hidden, hidden]], np.float32)
    recommended = np.zeros((3, 4), bool)
    mark_recommended(scores, (1, 2, 9), recommended)
    assert recommended.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [True, True, False, True],
    ]
