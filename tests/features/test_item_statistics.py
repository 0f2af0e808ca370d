import itertools

import numpy as np

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.features.item_statistics import measure_items
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("event",), target_event_types=("event",))
DAY = 86_400


def test_next_is_the_shrunken_share_of_followers():
    sequences = make_sequences([[0, 1, 0, 1, 0, 2], [0, 0]], splits=[[0] * 6, [0] * 2])
    found = measure_items(sequences, SCHEMA, 3).next_item
    # Item 0 is followed by 1 twice and by 2 once; itself does not count. 5 shrinks.
    assert found.item_index[2, :3].tolist() == [3, 4, 0]
    np.testing.assert_allclose(found.strength[2, :3], [2 / 8, 1 / 8, 0])


def test_held_out_events_are_not_counted():
    sequences = make_sequences([[0, 1, 2]], splits=[[0, 1, 2]])
    statistics = measure_items(sequences, SCHEMA, 3)
    assert statistics.next_item.strength.sum() == 0
    assert statistics.near.strength.sum() == 0
    later = measure_items(sequences, SCHEMA, 3, splits=("train", "validation"))
    assert later.next_item.item_index[2, 0] == 3


def test_near_goes_both_ways_and_falls_with_distance():
    sequences = make_sequences([[0, 1, 2]], splits=[[0] * 3])
    near = measure_items(sequences, SCHEMA, 3).near
    strength = {
        (row - 2, int(item) - 2): float(value)
        for row in (2, 3, 4)
        for item, value in zip(near.item_index[row], near.strength[row], strict=True)
        if item
    }
    # n(0,1) = 1, n(0,2) = 1/2, n(1,2) = 1; totals 1.5, 2, 1.5, each plus 5.
    assert strength[0, 1] == strength[1, 0]
    np.testing.assert_allclose(strength[0, 1], 1 / np.sqrt(6.5 * 7), rtol=1e-6)
    np.testing.assert_allclose(strength[0, 2], 0.5 / 6.5, rtol=1e-6)


def test_demand_tells_rising_items_from_falling_ones():
    times = [[0, DAY, 300 * DAY, 301 * DAY]]
    sequences = make_sequences([[0, 0, 1, 1]], timestamps=times, splits=[[0] * 4])
    demand = measure_items(sequences, SCHEMA, 2).demand
    assert demand[3, 0] > demand[2, 0]  # More in the last 30 days,
    assert demand[3, 1] > 0 > demand[2, 1]  # more, and fewer, than on average.


def test_logs_without_times_have_no_demand():
    sequences = make_sequences([[0, 1]], timestamps=[[0, 0]], splits=[[0, 0]])
    assert not measure_items(sequences, SCHEMA, 2).demand.any()


def random_log() -> EventSequences:
    rng = np.random.default_rng(0)
    lengths = [1, 2, 5, 12, 90]
    return make_sequences(
        [rng.integers(-1, 6, n) for n in lengths],
        event_types=[rng.integers(0, 2, n) for n in lengths],
        splits=[np.sort(rng.choice([0, 0, 0, 1], n)) for n in lengths],
    )


def training_views(sequences: EventSequences) -> list[list[int]]:
    """Catalogue rows of each user's training events of the first type."""
    rows = []
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        rows.append(
            [
                int(sequences.item_index[e]) - 2
                for e in range(start, stop)
                if sequences.split[e] == 0
                and sequences.event_type_index[e] == 2
                and sequences.item_index[e] > 1
            ]
        )
    return rows


def test_neighbours_agree_with_plain_loops():
    sequences = random_log()
    schema = Schema(event_types=("view", "cart"), target_event_types=("view",))
    follows, near = np.zeros((6, 6)), np.zeros((6, 6))
    for items in training_views(sequences):
        for i, j in itertools.combinations(range(len(items)), 2):
            first, second = items[i], items[j]
            if first == second or j - i > 10:
                continue
            follows[first, second] += j - i == 1
            near[first, second] += 1 / (j - i)
            near[second, first] += 1 / (j - i)
    own = near.sum(axis=1) + 5
    expected = {
        "next_item": follows / (follows.sum(axis=1, keepdims=True) + 5),
        "near": near / np.sqrt(own[:, None] * own[None, :]),
    }
    found = measure_items(sequences, schema, 6)
    for name, table in expected.items():
        neighbours = getattr(found, name)
        dense = np.zeros((6, 6))
        for item, place in np.ndindex(6, neighbours.strength.shape[1]):
            other = int(neighbours.item_index[item + 2, place])
            if other:
                dense[item, other - 2] = neighbours.strength[item + 2, place]
        np.testing.assert_allclose(dense, table, rtol=1e-5, err_msg=name)
        assert (np.diff(neighbours.strength, axis=1) <= 0).all(), "strongest first"
        assert not neighbours.item_index[:2].any(), "padding and unknown have none"


def test_the_strongest_are_kept_and_ties_go_to_the_more_frequent():
    # Item 0 is followed once by each of 1 to 40, twice by 40.
    pairs = [[0, i] for i in [*range(1, 41), 40]]
    sequences = make_sequences(pairs, splits=[[0, 0]] * len(pairs))
    found = measure_items(sequences, SCHEMA, 41).next_item
    assert found.item_index.shape == (43, 32)
    # The catalogue is in the order of training counts: a lower row is more frequent.
    assert found.item_index[2].tolist() == [42, *range(3, 34)]


def test_demand_is_standardised_and_compared_with_the_long_run():
    days = [0, 30, 60, 89, 90]
    sequences = make_sequences(
        [[0, 0, 0, 1, 1]], timestamps=[[d * DAY for d in days]], splits=[[0] * 5]
    )
    demand = measure_items(sequences, SCHEMA, 2).demand
    # Within the last 30 days: none of item 0, since day 60 is not within, and two
    # of item 1. All four rows count for the mean, the two special ones too.
    logs = np.log1p([0, 0, 0, 2])
    np.testing.assert_allclose(
        demand[:, 0], (logs - logs.mean()) / logs.std(), rtol=1e-5
    )
    expected = np.array([0, 0, 3, 2]) * 30 / 90
    np.testing.assert_allclose(demand[:, 1], logs - np.log1p(expected), rtol=1e-5)


def test_log_without_training_targets_has_no_statistics():
    sequences = make_sequences([[0, 1]], splits=[[1, 2]])
    found = measure_items(sequences, SCHEMA, 2)
    assert not found.next_item.strength.any()
    assert not found.near.item_index.any()
    np.testing.assert_array_equal(found.demand, np.zeros((4, 2)))
