import numpy as np
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.item_statistics import NUM_NEIGHBOURS
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request
from tfrec.models.history_slots import HistorySlots, found_values
from tfrec.models.ranking_features import (
    NeighbourWeights,
    cross_features,
    neighbour_features,
    recency_weights,
)

NUM_ROWS = 12  # Items of the catalogue, and two special rows.


def test_slots_hold_sums_and_maxima_of_equal_values_of_a_row():
    slots = HistorySlots(tf.constant([[7, 3, 7], [3, 3, 5]]))
    values = tf.constant([[[1.0], [2.0], [4.0]], [[8.0], [16.0], [32.0]]])
    place, found = slots.find(tf.constant([[7, 3, 9, 0], [3, 7, 5, 4]]))
    np.testing.assert_array_equal(found, [[1, 1, 0, 0], [1, 0, 1, 0]])
    sums = tf.squeeze(found_values(slots.sums(values), place, found), -1)
    np.testing.assert_array_equal(sums, [[5, 2, 0, 0], [24, 0, 32, 0]])
    maxima = tf.squeeze(found_values(slots.maxima(values), place, found), -1)
    np.testing.assert_array_equal(maxima, [[4, 2, 0, 0], [16, 0, 32, 0]])


def test_slots_of_no_rows_and_of_no_candidates_are_empty():
    for shape, wanted in (((0, 3), (0, 2)), ((2, 3), (2, 0))):
        slots = HistorySlots(tf.zeros(shape, tf.int32))
        place, found = slots.find(tf.zeros(wanted, tf.int32))
        sums = slots.sums(tf.zeros((*shape, 1)))
        assert found_values(sums, place, found).shape == (*wanted, 1)


def catalogue() -> ItemTable:
    """Tags with repeated values in a row, as two unknown words of a title are."""
    rng = np.random.default_rng(3)
    tags = rng.integers(0, 6, (NUM_ROWS, 4)).astype(np.int32)
    tags[:2] = 0
    return ItemTable(np.arange(NUM_ROWS), {"tags": tags}, {"tags": 6}, {}, {})


def past_requests() -> Request:
    rng = np.random.default_rng(4)
    items = rng.integers(1, NUM_ROWS, (3, 9))
    items[1, 5:], items[2] = 0, 0
    times = rng.integers(0, 1_000, (3, 9)) * (items > 0)  # Not in order, some 0.
    return request(items.tolist(), timestamps=times.tolist(), now=[2_000, 5_000, 0])


def candidates() -> np.ndarray:
    return np.random.default_rng(5).integers(0, NUM_ROWS, (3, 7)).astype(np.int32)


def test_comparisons_equal_those_of_all_pairs():
    table, past, index = catalogue(), past_requests(), candidates()
    found = cross_features(past, tf.constant(index), table, num_event_types=1)
    history, times = past.item_index.numpy(), past.timestamps.numpy()
    recent = recency_weights(past.history_mask).numpy()
    tags = table.indices["tags"]
    idf = np.log1p([10 / max((tags == v).sum(), 1) for v in range(6)])
    idf[0] = 0.0
    for row, column in np.ndindex(index.shape):
        mine = index[row, column]
        real = history[row] > 0
        met = (history[row] == mine) & (mine > 1)
        assert found.times_met[row, column] == met.sum()
        gap = past.request_timestamp[row] - times[row][met].max(initial=0)
        dated = times[row][met].max(initial=0) > 0 and row < 2
        bucket = 1 + int(np.floor(np.log2(1 + gap))) if dated else 0
        assert found.last_met_bucket[row, column] == bucket
        own = [v for v in tags[mine] if v]
        share = np.array(
            [sum(idf[v] for v in own if v in tags[e]) for e in history[row]]
        ) / max(sum(idf[v] for v in own), 1e-9)
        newest = share[real][-1] if real.any() else 0.0
        even = share[real].mean() if real.any() else 0.0
        np.testing.assert_allclose(
            found.numbers[row, column, 1:4],
            np.array([share @ recent[row], newest, even]),
            rtol=1e-5,
            atol=1e-6,
        )


def test_neighbours_equal_those_of_all_pairs():
    rng = np.random.default_rng(6)
    shape = (NUM_ROWS, NUM_NEIGHBOURS)
    item_index, strength = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    for item in range(2, NUM_ROWS):
        item_index[item, :5] = rng.permutation(np.arange(2, NUM_ROWS))[:5]
        strength[item, :5] = rng.random(5)
    weights = NeighbourWeights(
        tf.Variable(tf.constant(item_index)), tf.Variable(tf.constant(strength))
    )
    past, index = past_requests(), candidates()
    found = neighbour_features(past, tf.constant(index), weights).numpy()
    for row, column in np.ndindex(index.shape):
        mine = index[row, column]
        events = [e for e in past.item_index[row].numpy() if e][::-1]
        follows = [
            sum(np.log1p(100 * strength[e][(item_index[e] == mine) & (mine > 1)]) / 5)
            for e in events
        ] or [0.0]
        decay = 0.8 ** np.arange(len(follows))
        expected = [
            follows[0],
            decay @ follows / decay.sum(),
            max(follows),
            np.log1p(sum(follows)),
        ]
        np.testing.assert_allclose(found[row, column], expected, rtol=1e-5, atol=1e-6)
