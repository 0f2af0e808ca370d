import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.windows import cut_windows, find_targets
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


@pytest.mark.parametrize("max_length", [1, 3, 4, 100])
def test_every_target_is_in_exactly_one_window(max_length):
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
        covered = np.zeros(sum(lengths), int)
        for start, stop in zip(windows.starts, windows.stops, strict=True):
            assert 0 < stop - start <= max_length
            covered[start:stop] += 1
        np.testing.assert_array_equal(covered, 1)
        opens = np.isin(windows.starts, sequences.offsets[:-1])
        np.testing.assert_array_equal(windows.opens, opens)


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
