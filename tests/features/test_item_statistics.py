import numpy as np

from tests.synthetic import make_sequences
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
    for statistics in (measure_items(sequences, SCHEMA, 3),):
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
