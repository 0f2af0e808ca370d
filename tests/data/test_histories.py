import numpy as np

from tests.synthetic import make_sequences
from tfrec.data.histories import gather_requests


def test_newest_events_before_the_end_are_laid_out_with_padding_on_the_right():
    sequences = make_sequences([[0, 1, 2, 3], [4, 5]])
    requests = gather_requests(
        sequences,
        np.array([0, 1, 1]),
        np.array([3, 5, 4]),  # Three events, one event, none.
        request_timestamps=np.array([7, 8, 9]),
        context={},
        max_history_length=2,
    )
    np.testing.assert_array_equal(requests.item_index, [[3, 4], [6, 0], [0, 0]])
    np.testing.assert_array_equal(requests.event_type_index, [[2, 2], [2, 0], [0, 0]])
    np.testing.assert_array_equal(requests.timestamps[0], sequences.timestamps[[1, 2]])
    np.testing.assert_array_equal(requests.request_timestamp, [7, 8, 9])


def test_empty_histories_are_one_place_wide():
    sequences = make_sequences([[0, 1]])
    requests = gather_requests(
        sequences,
        np.array([0]),
        np.array([0]),
        request_timestamps=np.array([0]),
        context={},
        max_history_length=5,
    )
    np.testing.assert_array_equal(requests.item_index, [[0]])
