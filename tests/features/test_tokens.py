import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import builder, request, to_tensors, toy_sequences
from tfrec.data.histories import gather_requests
from tfrec.features.request import request_of
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


def test_occurrences_agree_with_plain_loops():
    rng = np.random.default_rng(0)
    index = rng.integers(0, 5, (6, 12)).astype(np.int32)
    segments = np.sort(rng.integers(1, 4, (6, 12)), axis=1).astype(np.int32)
    found = find_occurrences(tf.constant(index), tf.constant(segments))
    for row, column in np.ndindex(*index.shape):
        same = [
            other
            for other in range(12)
            if index[row, other] == index[row, column] > 1
            and segments[row, other] == segments[row, column]
        ]
        earlier = [other for other in same if other < column]
        later = [other for other in same if other > column]
        assert found.previous_count[row, column] == len(earlier)
        assert found.next_place[row, column] == min(later, default=12)


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_request_tokens_are_those_that_training_saw_at_the_same_point(batching: str):
    """Serving = training: a request and the query of its event read the same."""
    sequences = toy_sequences()
    event_at = {int(time): event for event, time in enumerate(sequences.timestamps)}
    assert len(event_at) == 12, "times must tell events apart"
    num_compared = 0
    for batch in builder(sequences, max_length=7, batching=batching).epoch(0):
        trained = to_tensors(batch).tokens
        counts = find_occurrences(trained.item_index, trained.segment_ids)
        width = trained.item_index.shape[1]
        for place in batch.target_tokens:
            row, column = divmod(int(place), width)
            event = event_at[int(trained.next_timestamps[row, column])]
            served = request_tokens(
                request_of(
                    gather_requests(
                        sequences,
                        sequences.user_rows[[event]],
                        np.array([event]),
                        request_timestamps=sequences.timestamps[[event]],
                        context={},
                        max_history_length=6,
                    )
                )
            )
            start = column - int(trained.positions[row, column])
            length = column + 1 - start
            for name in served._fields[:-1]:  # Segments are numbered within a row.
                np.testing.assert_array_equal(
                    getattr(served, name)[0, :length],
                    getattr(trained, name)[row, start : column + 1],
                    err_msg=f"{name} of event {event}",
                )
            assert int(tf.reduce_sum(served.segment_ids)) == length
            previous = find_occurrences(served.item_index, served.segment_ids)
            np.testing.assert_array_equal(
                previous.previous_count[0, :length],
                counts.previous_count[row, start : column + 1],
            )
            num_compared += 1
    assert num_compared == 12
