import numpy as np
import tensorflow as tf

from tests.models.toys import request, rich_item_table
from tfrec.models.ranking_features import cross_features, recency_weights


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
    )
    np.testing.assert_array_equal(found.times_met, [[2, 1, 0, 0, 0]])
    # 63 s since item 2: 1 + log2(64); 79 s since item 3: 1 + floor(log2(80)).
    np.testing.assert_array_equal(found.last_met_bucket, [[7, 7, 0, 0, 0]])


def test_shared_values_weigh_rare_ones_more():
    # Items 2, 3, 4 share category (2, 3); 5, 6 have (2, 4): only the first level.
    table = rich_item_table()
    found = cross_features(request([[2]]), tf.constant([[3, 5, 7]]), table)
    shared = found.numbers[0, :, 1]  # Newest first pool: recency-weighted = alone.
    # 6 items; value 2 is in 5 of them, 4 in 2, 3 in 3.
    idf = {value: np.log1p(6 / count) for value, count in {2: 5, 3: 3, 4: 2}.items()}
    np.testing.assert_allclose(
        shared, [1.0, idf[2] / (idf[2] + idf[4]), 0.0], rtol=1e-5
    )


def test_price_difference_is_from_the_mean_and_the_newest_known_price():
    table = rich_item_table()
    # Prices of items 2, 3, 4 are -1, 0, 1; that of item 7 is not known.
    found = cross_features(request([[2, 3]]), tf.constant([[4, 7]]), table)
    mean = (0.8 * -1 + 1.0 * 0) / 1.8
    own, from_mean, from_newest = np.moveaxis(found.numbers[0, :, -3:].numpy(), 1, 0)
    np.testing.assert_allclose(own, [1, 0], atol=1e-6)
    np.testing.assert_allclose(from_mean, [1 - mean, 0], rtol=1e-5)
    np.testing.assert_allclose(from_newest, [1, 0], atol=1e-6)
