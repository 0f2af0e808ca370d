import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.windows import (
    Targets,
    Windows,
    cut_windows,
    find_targets,
    has_baskets,
)
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("view", "cart"), target_event_types=("view",))
DAY = 86_400


def test_only_known_training_events_of_a_target_type_are_targets():
    sequences = make_sequences(
        [[0, 1, -1, 2, 3, 4]],
        event_types=[[0, 1, 0, 0, 0, 0]],
        splits=[[0, 0, 0, 0, 1, 2]],
    )
    weights = find_targets(sequences, SCHEMA).weights
    # The second is a cart, the third unknown, the last two are held out.
    np.testing.assert_array_equal(weights, [1, 0, 0, 1, 0, 0])


def test_validation_events_are_targets_when_asked_for():
    sequences = make_sequences([[0, 1, 2]], splits=[[0, 1, 2]])
    weights = find_targets(sequences, SCHEMA, splits=("train", "validation")).weights
    np.testing.assert_array_equal(weights, [1, 1, 0])


def test_weight_halves_with_the_half_life_and_has_mean_one():
    sequences = make_sequences([[0, 1]], timestamps=[[0, 10 * DAY]], splits=[[0, 0]])
    weights = find_targets(sequences, SCHEMA, recency_half_life_days=10.0).weights
    # 1/2 and 1, divided by their mean 3/4.
    np.testing.assert_allclose(weights, [2 / 3, 4 / 3], rtol=1e-6)


def test_events_of_one_time_are_asked_for_together():
    sequences = make_sequences(
        [[0, 1, 2, 3], [4, 5]],
        timestamps=[[10, 20, 20, 20], [20, 20]],
        splits=[[0] * 4, [0] * 2],
    )
    targets = find_targets(sequences, SCHEMA, simultaneous_unordered=True)
    np.testing.assert_array_equal(targets.query_offsets, [0, 0, 1, 2, 0, 1])


def test_a_log_has_baskets_where_most_events_share_a_time():
    basket, alone = [[10, 10, 20, 20, 20]], [[10, 10, 20, 30, 40]]
    histories, splits = [[0, 1, 2, 3, 4]], [[0] * 5]
    for timestamps, expected in ((basket, True), (alone, False)):
        sequences = make_sequences(histories, timestamps=timestamps, splits=splits)
        assert has_baskets(sequences) is expected
    # What is not trained on does not count, and without events there are none.
    for splits in ([[0, 0, 1, 1, 1]], [[2] * 5]):
        sequences = make_sequences(
            histories, timestamps=[[10, 20, 30, 30, 30]], splits=splits
        )
        assert not has_baskets(sequences)


def asked_for(windows: Windows, targets: Targets) -> list[int]:
    """Events that windows ask for: with a query that knows the history before."""
    events = []
    spans = zip(windows.starts, windows.stops, windows.opens, strict=True)
    for start, stop, opens in spans:
        own = [
            event
            for event in range(start, stop)
            if targets.weights[event] > 0
            and (opens or event - targets.query_offsets[event] > start)
        ]
        assert own, f"window {start}:{stop} asks for nothing"
        events += own
    return sorted(events)


@pytest.mark.parametrize("max_length", [2, 3, 4, 100])
def test_every_target_is_asked_for_exactly_once_per_epoch(max_length: int):
    rng = np.random.default_rng(0)
    lengths = [1, 2, 3, 7, 12, 30]
    sequences = make_sequences(
        [rng.integers(0, 5, n) for n in lengths], splits=[[0] * n for n in lengths]
    )
    targets = find_targets(sequences, SCHEMA)
    for epoch in range(5):
        windows = cut_windows(
            sequences, targets, max_length, rng=np.random.default_rng(epoch)
        )
        assert asked_for(windows, targets) == list(range(sum(lengths)))
        assert windows.lengths.max() <= max_length
        assert windows.lengths.min() >= 1
        users = sequences.user_rows
        np.testing.assert_array_equal(
            users[windows.starts], users[windows.stops - 1], "a window of two users"
        )
        opens = np.isin(windows.starts, sequences.offsets[:-1])
        np.testing.assert_array_equal(windows.opens, opens)


def test_baskets_that_fit_a_window_are_asked_for_whole_exactly_once():
    rng = np.random.default_rng(0)
    # Baskets of 1 to 4 events; windows of 5 events hold any one of them and the
    # event before it.
    times = [np.repeat(np.arange(40), rng.integers(1, 5, 40)) for _ in range(3)]
    sequences = make_sequences(
        [rng.integers(0, 5, len(t)) for t in times],
        timestamps=times,
        splits=[[0] * len(t) for t in times],
    )
    targets = find_targets(sequences, SCHEMA, simultaneous_unordered=True)
    everything = list(range(len(sequences.item_index)))
    for epoch in range(5):
        windows = cut_windows(sequences, targets, 5, rng=np.random.default_rng(epoch))
        assert asked_for(windows, targets) == everything
        assert windows.lengths.max() <= 5


def test_end_of_a_basket_longer_than_a_window_is_left_out_and_nothing_else():
    times = [1, *[2] * 9, 3, 4]
    sequences = make_sequences(
        [np.zeros(12, int)], timestamps=[times], splits=[[0] * 12]
    )
    targets = find_targets(sequences, SCHEMA, simultaneous_unordered=True)
    for epoch in range(8):
        windows = cut_windows(sequences, targets, 5, rng=np.random.default_rng(epoch))
        asked = asked_for(windows, targets)
        # A window holds event 0 and four of the nine, or begins with them.
        assert asked == [0, 1, 2, 3, 4, 10, 11]
        assert windows.lengths.max() <= 5


def test_window_of_one_token_asks_for_the_first_event_only():
    sequences = make_sequences([[0, 1, 2], [3]], splits=[[0] * 3, [0]])
    targets = find_targets(sequences, SCHEMA)
    windows = cut_windows(sequences, targets, 1, rng=np.random.default_rng(0))
    assert asked_for(windows, targets) == [0, 3]


def test_windows_whose_only_target_was_asked_for_before_are_left_out():
    # Targets are the first, the fifth and the last but one of ten events.
    splits = [[0, 1, 1, 1, 0, 1, 1, 1, 0, 1]]
    sequences = make_sequences([np.zeros(10, int)], splits=splits)
    targets = find_targets(sequences, SCHEMA)
    for epoch in range(8):
        windows = cut_windows(sequences, targets, 3, rng=np.random.default_rng(epoch))
        assert asked_for(windows, targets) == [0, 4, 8]
        assert len(windows.starts) == 3


def test_history_that_fits_is_one_window_even_if_its_last_basket_goes_on():
    # The last basket is events 2 to 4, of which 3 and 4 are no targets.
    sequences = make_sequences(
        [[0, 1, 2, 3, 4]], timestamps=[[1, 2, 3, 3, 3]], splits=[[0, 0, 0, 1, 2]]
    )
    targets = find_targets(sequences, SCHEMA, simultaneous_unordered=True)
    windows = cut_windows(sequences, targets, 5, rng=np.random.default_rng(0))
    assert (windows.starts.tolist(), windows.stops.tolist()) == ([0], [3])


def test_nothing_to_learn_gives_no_windows():
    sequences = make_sequences([[0, 1]], splits=[[1, 2]])
    targets = find_targets(sequences, SCHEMA)
    windows = cut_windows(sequences, targets, 3, rng=np.random.default_rng(0))
    assert (len(windows.starts), len(windows.stops), len(windows.opens)) == (0, 0, 0)
    assert windows.opens.dtype == bool


def test_windows_without_a_target_are_left_out():
    sequences = make_sequences([[0, 1, 2, 3], [0, 1]], splits=[[0, 0, 1, 2], [1, 2]])
    windows = cut_windows(
        sequences,
        find_targets(sequences, SCHEMA),
        10,
        rng=np.random.default_rng(0),
    )
    # The events behind the last training target, and the second user, are nothing
    # to learn from.
    assert (windows.starts.tolist(), windows.stops.tolist()) == ([0], [2])


def test_long_histories_are_cut_elsewhere_in_another_epoch():
    sequences = make_sequences([np.zeros(40, int)], splits=[[0] * 40])
    targets = find_targets(sequences, SCHEMA)
    starts = {
        tuple(cut_windows(sequences, targets, 10, rng=np.random.default_rng(e)).starts)
        for e in range(8)
    }
    assert len(starts) > 2
