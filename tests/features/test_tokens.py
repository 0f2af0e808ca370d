import numpy as np
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.tokens import find_occurrences, request_tokens


def test_request_becomes_a_start_token_and_its_events():
    tokens = request_tokens(
        request(
            [[2, 3, 0], [0, 0, 0]], timestamps=[[10, 20, 0], [0, 0, 0]], now=[50, 60]
        )
    )
    np.testing.assert_array_equal(tokens.item_index, [[0, 2, 3, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(tokens.segment_ids, [[1, 1, 1, 0], [1, 0, 0, 0]])
    np.testing.assert_array_equal(tokens.positions, [[0, 1, 2, 0], [0, 0, 0, 0]])
    # Behind the last event, or the start token, comes the request.
    np.testing.assert_array_equal(tokens.next_timestamps[0, :3], [10, 20, 50])
    assert tokens.next_timestamps[1, 0] == 60


def test_occurrences_are_counted_within_a_segment():
    index = tf.constant([[0, 5, 6, 5, 5, 0, 5, 1, 1, 0]])
    segments = tf.constant([[1, 1, 1, 1, 1, 2, 2, 2, 2, 0]])
    found = find_occurrences(index, segments)
    # Unknown items (1) are not taken for one another.
    np.testing.assert_array_equal(
        found.previous_count, [[0, 0, 0, 1, 2, 0, 0, 0, 0, 0]]
    )
    np.testing.assert_array_equal(
        found.next_place, [[10, 3, 10, 4, 10, 10, 10, 10, 10, 10]]
    )
