import numpy as np
import tensorflow as tf

from tests.models.toys import request, rich_item_table
from tfrec.features.item_statistics import NUM_NEIGHBOURS
from tfrec.models.ranking_features import (
    NUM_NEIGHBOUR_EVENTS,
    NeighbourWeights,
    cross_features,
    neighbour_features,
    recency_weights,
)


def test_recency_weights_decay_by_a_fifth_and_sum_to_one():
    mask = tf.constant([[True, True, False], [False, False, False]])
    # 0.8 and 1 over 1.8; an empty row has nothing.
    np.testing.assert_allclose(
        recency_weights(mask), [[0.8 / 1.8, 1 / 1.8, 0], [0, 0, 0]], rtol=1e-6
    )


def test_meetings_of_a_candidate_are_counted_and_dated():
    found = cross_features(
        request([[2, 3, 2, 0]], timestamps=[[10, 20, 36, 0]], now=[99]),
        tf.constant([[2, 3, 4, 0, 1]]),
        rich_item_table(),
        num_event_types=1,
    )
    np.testing.assert_array_equal(found.times_met, [[2, 1, 0, 0, 0]])
    # 63 s since item 2: 1 + log2(64); 79 s since item 3: 1 + floor(log2(80)).
    np.testing.assert_array_equal(found.last_met_bucket, [[7, 7, 0, 0, 0]])


def test_shared_values_weigh_rare_ones_more():
    # Items 2, 3, 4 share category (2, 3); 5, 6 have (2, 4): only the first level.
    table = rich_item_table()
    found = cross_features(
        request([[2]]), tf.constant([[3, 5, 7]]), table, num_event_types=1
    )
    shared = found.numbers[0, :, 1]  # Newest first pool: recency-weighted = alone.
    # 6 items; value 2 is in 5 of them, 4 in 2, 3 in 3.
    idf = {value: np.log1p(6 / count) for value, count in {2: 5, 3: 3, 4: 2}.items()}
    np.testing.assert_allclose(
        shared, [1.0, idf[2] / (idf[2] + idf[4]), 0.0], rtol=1e-5
    )


def test_price_difference_is_from_the_mean_and_the_newest_known_price():
    table = rich_item_table()
    # Prices of items 2, 3, 4 are -1, 0, 1; that of item 7 is not known.
    found = cross_features(
        request([[2, 3]]), tf.constant([[4, 7]]), table, num_event_types=1
    )
    mean = (0.8 * -1 + 1.0 * 0) / 1.8
    prices = found.numbers[0, :, -7:-4].numpy()  # Four numbers of meetings behind.
    own, from_mean, from_newest = np.moveaxis(prices, 1, 0)
    np.testing.assert_allclose(own, [1, 0], atol=1e-6)
    np.testing.assert_allclose(from_mean, [1 - mean, 0], rtol=1e-5)
    np.testing.assert_allclose(from_newest, [1, 0], atol=1e-6)


def neighbours(strengths: dict[int, dict[int, float]]) -> NeighbourWeights:
    """The neighbours of items 0 to 7, and how strong each is."""
    item_index = np.zeros((8, NUM_NEIGHBOURS), np.int32)
    strength = np.zeros((8, NUM_NEIGHBOURS), np.float32)
    for item, found in strengths.items():
        item_index[item, : len(found)] = list(found)
        strength[item, : len(found)] = list(found.values())
    return NeighbourWeights(
        tf.Variable(tf.constant(item_index)), tf.Variable(tf.constant(strength))
    )


def test_neighbours_of_the_newest_events_are_pooled_in_four_ways():
    weights = neighbours({3: {5: 0.8}, 2: {4: 0.4, 5: 0.1}})
    # Candidate 6 is nobody's neighbour; 0 is padding, and so is the place of 0s.
    found = neighbour_features(
        request([[2, 3, 0]]), tf.constant([[5, 4, 6, 0, 1]]), weights
    )
    newest, before = np.log1p([80.0, 10.0]) / 5  # Of candidate 5.
    only_before = np.log1p(40.0) / 5  # Of candidate 4: item 2 is the older event.
    expected = [
        [newest, (newest + 0.8 * before) / 1.8, newest, np.log1p(newest + before)],
        [0, 0.8 * only_before / 1.8, only_before, np.log1p(only_before)],
        *[[0, 0, 0, 0]] * 3,
    ]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5, atol=1e-7)


def test_neighbours_of_events_long_ago_are_left_out():
    weights = neighbours({2: {5: 0.8}})
    history = [2, *[3] * NUM_NEIGHBOUR_EVENTS]
    found = neighbour_features(request([history]), tf.constant([[5]]), weights)
    np.testing.assert_array_equal(found, np.zeros((1, 1, 4)))
    found = neighbour_features(request([history[:-1]]), tf.constant([[5]]), weights)
    assert found[0, 0, 2] > 0.0  # The oldest event that is looked at.


def test_neighbours_of_no_history_are_zeros():
    found = neighbour_features(
        request([[0, 0]]), tf.constant([[5]]), neighbours({2: {5: 0.8}})
    )
    np.testing.assert_array_equal(found, np.zeros((1, 1, 4)))


def test_popularity_is_the_standardised_log_of_training_counts():
    table = rich_item_table()
    found = cross_features(
        request([[2]]), tf.constant([[2, 7]]), table, num_event_types=1
    ).numbers[0, :, 0]
    logs = np.log1p([0, 0, 9, 7, 5, 3, 1, 0])
    expected = (logs[[2, 7]] - logs.mean()) / logs.std()
    np.testing.assert_allclose(found, expected, rtol=1e-5)
