import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.new_item_places import NewItemLimit, keep_places

RETRIEVAL = np.array([[-1.0, -2.0, -3.0, -4.0, -5.0]], np.float32)
SCORES = np.array([[0.1, 0.9, 0.3, 0.2, 0.7]], np.float32)


def order(is_new: list[int], *, is_item: list[int] | None = None) -> list[int]:
    new = np.array([is_new], bool)
    known = np.array([is_item or [1] * 5], bool) & ~new
    found = keep_places(
        tf.constant(SCORES),
        tf.constant(RETRIEVAL),
        is_known=tf.constant(known),
        is_new=tf.constant(new),
    ).numpy()
    np.testing.assert_array_equal(found[~new], SCORES[~new])
    listed = np.flatnonzero((known | new)[0])
    return sorted(listed.tolist(), key=lambda i: -found[0, i])


@pytest.mark.parametrize(
    ("is_new", "expected"),
    [
        ([0, 0, 0, 0, 0], [1, 4, 2, 3, 0]),  # All by ranking.
        ([1, 0, 0, 0, 0], [0, 1, 4, 2, 3]),  # First in retrieval, first now.
        ([0, 0, 1, 0, 0], [1, 4, 2, 3, 0]),  # Two are ahead: the two best.
        ([0, 1, 1, 0, 0], [4, 1, 2, 3, 0]),  # Both at the second place.
        ([0, 0, 0, 1, 1], [1, 2, 0, 3, 4]),  # Behind all others.
    ],
)
def test_known_items_are_put_in_order_around_the_new_ones(is_new, expected):
    assert order(is_new) == expected


def test_what_is_no_item_takes_no_place():
    # Without the first and the second, nobody is ahead of the new one.
    assert order([0, 0, 1, 0, 0], is_item=[0, 0, 1, 1, 1]) == [2, 4, 3]


def test_a_new_item_that_is_level_with_a_known_one_comes_behind_it():
    found = keep_places(
        tf.constant([[0.5, 0.4]]),
        tf.constant([[-1.0, -1.0]]),
        is_known=tf.constant([[True, False]]),
        is_new=tf.constant([[False, True]]),
    ).numpy()
    assert found[0, 1] < found[0, 0]


def test_each_request_has_places_of_its_own():
    is_new = np.array([[0, 0, 1, 0, 0], [1, 0, 0, 0, 0]], bool)
    found = keep_places(
        tf.constant(np.repeat(SCORES, 2, axis=0)),
        tf.constant(np.repeat(RETRIEVAL, 2, axis=0)),
        is_known=tf.constant(~is_new),
        is_new=tf.constant(is_new),
    ).numpy()
    assert [row.argsort()[::-1].tolist() for row in found] == [
        [1, 4, 2, 3, 0],
        [0, 1, 4, 2, 3],
    ]


def test_without_known_candidates_scores_stay_and_none_at_all_are_no_error():
    new = tf.ones([1, 5], tf.bool)
    found = keep_places(
        tf.constant(SCORES),
        tf.constant(RETRIEVAL),
        is_known=tf.zeros_like(new),
        is_new=new,
    )
    np.testing.assert_array_equal(found, SCORES)
    empty, nothing = tf.zeros([2, 0]), tf.zeros([2, 0], tf.bool)
    found = keep_places(empty, empty, is_known=nothing, is_new=nothing)
    assert found.shape == (2, 0)


def test_behind_a_score_of_zero_there_is_room():
    found = keep_places(
        tf.constant([[0.4, 0.0, 0.9]]),
        tf.constant([[-1.0, -2.0, -3.0]]),
        is_known=tf.constant([[True, True, False]]),
        is_new=tf.constant([[False, False, True]]),
    ).numpy()
    assert found[0, 2] < 0.0


NUM_ITEMS, FIRST_NEW = 60, 40


def limited(
    scores: np.ndarray,
    *,
    per_ten: int = 2,
    history: list[list[int]] | None = None,
    has_search: list[bool] | None = None,
    num_known: int = FIRST_NEW,
    lift: float = 0.0,
) -> np.ndarray:
    is_new = np.arange(scores.shape[1] + 2) >= num_known + 2
    met = history or [[0]] * len(scores)
    searches = None if has_search is None else tf.constant(has_search)
    limit = NewItemLimit(is_new, per_ten=per_ten)
    return limit(
        tf.constant(scores, tf.float32),
        tf.constant(met, tf.int32),
        searches,
        lift=tf.constant(lift),
    ).numpy()


def listed(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def new_places(scores: np.ndarray, first_new: int = FIRST_NEW) -> list[int]:
    """Returns the places, from 1, of new items in the list."""
    return [n for n, i in enumerate(listed(scores), start=1) if i >= first_new]


@pytest.mark.parametrize("per_ten", range(1, 10))
def test_new_items_get_the_last_places_of_every_ten(per_ten):
    rng = np.random.default_rng(per_ten)
    scores = rng.normal(size=(5, NUM_ITEMS)).astype(np.float32)
    scores[:, FIRST_NEW:] += 20.0
    found = limited(scores, per_ten=per_ten)
    np.testing.assert_array_equal(found[:, :FIRST_NEW], scores[:, :FIRST_NEW])
    for row in range(5):
        expected = [
            10 * ten + 10 - per_ten + n + 1 for ten in range(3) for n in range(per_ten)
        ]
        places = new_places(found[row])
        assert places[: 3 * per_ten] == expected[:20]
        order = np.argsort(-scores[row, FIRST_NEW:])
        assert [i for i in listed(found[row]) if i >= FIRST_NEW] == list(
            order + FIRST_NEW
        )


def test_scores_are_never_raised_and_low_ones_stay():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(8, NUM_ITEMS)).astype(np.float32)
    scores[:, FIRST_NEW:] -= 1.0
    found = limited(scores)
    assert (found <= scores).all()
    assert (found < scores).any()
    # Where no more of them come in than may, nothing is changed.
    few = scores.copy()
    few[:, FIRST_NEW:] -= 2.0 + few[:, FIRST_NEW:].max(axis=1, keepdims=True)
    np.testing.assert_array_equal(limited(few), few)


def test_items_that_were_met_are_neither_known_nor_new():
    scores = -np.arange(NUM_ITEMS, dtype=np.float32)[np.newaxis]
    scores[0, FIRST_NEW:] += 100.0
    met_new, met_known = FIRST_NEW, 0
    found = limited(scores, history=[[met_new + 2, met_known + 2, 1, 0]])[0]
    assert found[met_new] == scores[0, met_new]
    unmet = [i for i in listed(found) if i not in {met_new, met_known}]
    assert [i >= FIRST_NEW for i in unmet[:10]] == [False] * 8 + [True] * 2


def test_searches_find_new_items_wherever_they_score():
    scores = np.zeros((2, NUM_ITEMS), np.float32)
    scores[:, :FIRST_NEW] = -np.arange(FIRST_NEW)
    scores[:, FIRST_NEW:] = 1.0 + np.arange(NUM_ITEMS - FIRST_NEW)
    found = limited(scores, has_search=[True, False], lift=0.5)
    np.testing.assert_array_equal(found[0], scores[0])
    assert new_places(found[1])[:2] == [9, 10]


def test_lifted_items_come_closer_and_no_further_than_they_may():
    scores = -np.arange(NUM_ITEMS, dtype=np.float32)[np.newaxis]
    assert new_places(limited(scores, lift=0.0)[0])[0] == FIRST_NEW + 1
    lifted = limited(scores, lift=25.5)[0]
    assert new_places(lifted)[0] == FIRST_NEW + 1 - 25
    np.testing.assert_array_equal(lifted[:FIRST_NEW], scores[0, :FIRST_NEW])
    assert new_places(limited(scores, lift=100.0)[0])[:4] == [9, 10, 19, 20]


def test_few_known_items_set_no_border():
    scores = np.array([[-3.0, -1.0, -2.0]], np.float32)
    np.testing.assert_array_equal(limited(scores, num_known=2), scores)
    one = limited(np.append(-np.arange(9.0), 5.0)[np.newaxis], num_known=9)[0]
    assert new_places(one, 9) == [9]
