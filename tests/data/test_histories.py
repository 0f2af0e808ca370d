import numpy as np

from tests.synthetic import make_sequences
from tfrec.data.histories import gather_requests, newest


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


def test_every_field_is_that_of_its_event():
    rng = np.random.default_rng(0)
    lengths = [5, 1, 9]
    sequences = make_sequences(
        [rng.integers(-1, 6, n) for n in lengths],
        event_types=[rng.integers(0, 3, n) for n in lengths],
        timestamps=[np.cumsum(rng.integers(1, 99, n)) for n in lengths],
    )
    sequences.dwell_seconds[:] = np.arange(1, 16)
    users, ends = np.array([2, 0, 1, 2, 2]), np.array([15, 3, 6, 6, 9])
    requests = gather_requests(
        sequences,
        users,
        ends,
        request_timestamps=np.arange(5),
        context={"hour": np.arange(5, dtype=np.float32)},
        max_history_length=4,
    )
    fields = ("item_index", "event_type_index", "timestamps", "dwell_seconds")
    for row, (user, end) in enumerate(zip(users, ends, strict=True)):
        begin = max(int(sequences.offsets[user]), end - 4)
        for name in fields:
            values = getattr(sequences, name)
            expected = [*values[begin:end], *[0] * (4 - (end - begin))]
            found = getattr(requests, name)
            np.testing.assert_array_equal(found[row], expected, err_msg=name)
            assert found.dtype == values.dtype
    assert requests.request_timestamp.dtype == np.int64
    np.testing.assert_array_equal(requests.context["hour"], [0, 1, 2, 3, 4])


def test_no_requests_are_an_empty_batch():
    none = np.zeros(0, np.int64)
    requests = gather_requests(
        make_sequences([[0, 1]]),
        none,
        none,
        request_timestamps=none,
        context={},
        max_history_length=3,
    )
    assert requests.item_index.shape == (0, 1)


def test_newest_events_stand_to_the_left_of_their_padding():
    history = np.array([[2, 3, 4, 5], [6, 7, 0, 0], [0, 0, 0, 0]], np.int32)
    expected = [[3, 4, 5], [6, 7, 0], [0, 0, 0]]
    np.testing.assert_array_equal(newest(history, history, 3), expected)
    np.testing.assert_array_equal(newest(history, history, 9), history)
