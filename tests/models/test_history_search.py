import numpy as np
import tensorflow as tf

from tests.models.toys import request
from tfrec.models.history_search import (
    nearest_events,
    newest_events,
    relevant_events,
)

PAST = request(
    [[2, 3, 4, 5, 0, 0], [6, 7, 0, 0, 0, 0]],
    timestamps=[[1, 2, 3, 4, 0, 0], [5, 6, 0, 0, 0, 0]],
    dwell=[[0.1, 0.2, 0.3, 0.4, 0, 0], [0.5, 0.6, 0, 0, 0, 0]],
)


def test_the_newest_events_are_kept_in_their_order():
    kept = newest_events(PAST, 3)
    np.testing.assert_array_equal(kept.item_index, [[3, 4, 5], [6, 7, 0]])
    np.testing.assert_array_equal(kept.timestamps, [[2, 3, 4], [5, 6, 0]])
    np.testing.assert_array_equal(kept.event_type_index, [[2, 2, 2], [2, 2, 0]])
    np.testing.assert_allclose(kept.dwell_seconds, [[0.2, 0.3, 0.4], [0.5, 0.6, 0]])
    np.testing.assert_array_equal(kept.request_timestamp, PAST.request_timestamp)


def test_a_short_history_stays_as_it_is():
    for kept in (
        newest_events(PAST, 9),
        relevant_events(PAST, tf.ones((2, 6, 4)), tf.ones((2, 4)), length=6),
    ):
        np.testing.assert_array_equal(kept.item_index, PAST.item_index)
        np.testing.assert_array_equal(kept.timestamps, PAST.timestamps)


def test_events_nearest_to_the_query_are_kept_whatever_their_length():
    items = np.zeros((2, 6, 2), np.float32)
    # Cosines with (1, 0): 0, 1, -1, .6; the third is long and points away.
    items[0, :4] = [[0, 1], [0.1, 0], [-9, 0], [3, 4]]
    items[1, :2] = [[1, 0], [-1, 0]]
    query = tf.constant([[1.0, 0.0], [1.0, 0.0]])
    kept = relevant_events(PAST, tf.constant(items), query, length=2)
    np.testing.assert_array_equal(kept.item_index, [[3, 5], [6, 7]])


def test_every_candidate_finds_its_own_nearest_events():
    rng = np.random.default_rng(0)
    candidates, items = (rng.normal(size=(2, n, 3)).astype("float32") for n in (5, 6))
    mask = PAST.history_mask
    found = nearest_events(
        tf.constant(candidates), tf.constant(items), mask, length=2
    ).numpy()
    lengths = np.linalg.norm(items, axis=-1)
    for row, column in np.ndindex(2, 5):
        nearness = items[row] @ candidates[row, column] / lengths[row]
        nearness[~mask[row].numpy()] = -np.inf
        expected = set(np.argsort(-nearness)[:2].tolist())
        assert set(np.flatnonzero(found[row, column]).tolist()) == expected


def test_padding_is_never_near_and_no_history_gives_no_event():
    empty = request([[0, 0]])
    near = nearest_events(
        tf.ones((1, 3, 2)), tf.ones((1, 2, 2)), empty.history_mask, length=9
    )
    assert not near.numpy().any()
    assert newest_events(empty, 1).item_index.numpy().tolist() == [[0]]


def test_no_request_finds_nothing():
    none = request([[2, 3]])
    none = none._replace(
        **{
            name: getattr(none, name)[:0]
            for name in (
                "item_index",
                "event_type_index",
                "timestamps",
                "dwell_seconds",
                "request_timestamp",
            )
        }
    )
    assert newest_events(none, 1).item_index.shape == (0, 1)
    near = nearest_events(
        tf.ones((0, 3, 2)), tf.ones((0, 2, 2)), none.history_mask, length=1
    )
    assert near.shape == (0, 3, 2)
