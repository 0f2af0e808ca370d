"""Meetings by type of event, against values worked out by hand."""

import numpy as np
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.request import Request
from tfrec.models.meeting_features import find_meetings, in_visit, type_pools

HOUR, NOW = 3_600, 100 * 3_600
VIEW, PURCHASE = 2, 3  # Indices of the event types.


def shopper() -> Request:
    """Bought item 4 long ago, then looked at 5, at 4, and now at 5 again."""
    past = request(
        [[4, 5, 4, 5, 0]],
        timestamps=[[NOW - 50 * HOUR, NOW - 2 * HOUR, NOW - 1_200, NOW - 600, 0]],
        now=[NOW],
    )
    types = tf.constant([[PURCHASE, VIEW, VIEW, VIEW, 0]])
    return past._replace(event_type_index=types)


def since(hours: float) -> float:
    return np.log1p(hours) / 2 - 1


def test_meetings_tell_times_and_steps_by_type_and_the_visit():
    found = find_meetings(shopper(), tf.constant([[4, 5, 6, 1, 0]]), num_event_types=2)
    np.testing.assert_array_equal(found.times_met, [[2, 2, 0, 0, 0]])
    age = since(1 / 6)  # Of the newest event, whatever the candidate.
    expected = [
        # Viewed and bought: how long ago; 0.8 an event since then. In this visit.
        [since(1 / 3), since(50), 0.8, 0.8**3, np.log(2), age],
        [since(1 / 6), 0, 1, 0, np.log(2), age],
        *[[0, 0, 0, 0, 0, age]] * 3,
    ]
    np.testing.assert_allclose(found.numbers[0], expected, rtol=1e-5, atol=1e-6)


def test_visit_begins_behind_the_last_pause_of_half_an_hour():
    np.testing.assert_array_equal(
        in_visit(shopper()), [[False, False, True, True, False]]
    )
    late = shopper()._replace(request_timestamp=tf.constant([NOW + HOUR], tf.int64))
    assert not in_visit(late).numpy().any()  # The visit is over.


def test_unknown_times_are_no_visit_and_give_zeros():
    past = request([[4, 5, 0], [0, 0, 0]])
    assert not in_visit(past).numpy().any()
    found = find_meetings(past, tf.constant([[4, 5], [4, 5]]), num_event_types=1)
    np.testing.assert_array_equal(found.last_met_bucket, np.zeros((2, 2)))
    expected = [[[0, 0.8, 0, 0], [0, 1, 0, 0]], [[0] * 4] * 2]
    np.testing.assert_allclose(found.numbers, expected, rtol=1e-6)


def test_events_of_unknown_types_are_met_all_the_same():
    past = shopper()._replace(event_type_index=tf.constant([[1, 1, 1, 1, 0]]))
    found = find_meetings(past, tf.constant([[4]]), num_event_types=2)
    np.testing.assert_array_equal(found.times_met, [[2]])
    assert found.last_met_bucket[0, 0] == 1 + int(np.log2(1_201))
    np.testing.assert_array_equal(found.numbers[0, 0, :4], np.zeros(4))


def test_pools_are_one_for_each_type_and_the_visit():
    pools = type_pools(shopper(), 2)
    total = 0.8**2 + 0.8 + 1
    expected = [
        [0, 0.8**2 / total, 0.8 / total, 1 / total, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0.5, 0.5, 0],
    ]
    np.testing.assert_allclose(pools[0], expected, rtol=1e-6)
    np.testing.assert_array_equal(type_pools(request([[0, 0]]), 2), np.zeros((1, 3, 2)))


def test_padding_and_other_rows_change_nothing():
    past, index = shopper(), tf.constant([[4, 5, 6]])
    alone = find_meetings(past, index, num_event_types=2).numbers
    more = tf.constant([[0, 1], [0, 2]])  # A row, and two places on the right.
    longer = past._replace(
        item_index=tf.pad(past.item_index, more),
        event_type_index=tf.pad(past.event_type_index, more),
        timestamps=tf.pad(past.timestamps, more),
        dwell_seconds=tf.pad(past.dwell_seconds, more),
        request_timestamp=tf.pad(past.request_timestamp, [[0, 1]]),
    )
    both = find_meetings(longer, tf.tile(index, [2, 1]), num_event_types=2).numbers
    np.testing.assert_allclose(both[:1], alone, rtol=1e-6)
