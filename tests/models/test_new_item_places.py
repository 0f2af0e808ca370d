import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.new_item_places import keep_places

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
