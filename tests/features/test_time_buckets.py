import numpy as np
import tensorflow as tf

from tests.contracts import check_preprocessor
from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket


def test_buckets_double_and_are_bounded():
    gaps = [-5, 0, 1, 2, 3, 7, 2**20 - 1, 2**20, 2**62]
    gap = tf.constant(gaps, tf.int64)
    buckets = gap_bucket(gap, tf.ones_like(gap, tf.bool))
    # 1 + floor(log2(1 + gap)): the bucket changes exactly at 2^n - 1.
    np.testing.assert_array_equal(buckets, [1, 1, 2, 2, 3, 4, 21, 21, 31])
    assert NUM_GAP_BUCKETS == 32


def test_unknown_gaps_have_their_own_bucket():
    gap = tf.constant([100], tf.int64)
    np.testing.assert_array_equal(gap_bucket(gap, tf.constant([False])), [0])


def test_bucket_is_the_bit_length_of_the_gap():
    rng = np.random.default_rng(0)
    powers = [2**n + d for n in range(40) for d in (-2, -1, 0, 1) if 2**n + d >= 0]
    gaps = [*powers, *rng.integers(0, 2**31, 500).tolist()]
    # floor(log2(m)) + 1 of a whole number m > 0 is its length in binary digits.
    expected = [min((1 + gap).bit_length(), 31) for gap in gaps]
    gap = tf.constant(gaps, tf.int64)
    buckets = gap_bucket(gap, tf.ones_like(gap, tf.bool))
    assert buckets.dtype == tf.int32
    np.testing.assert_array_equal(buckets, expected)


def test_buckets_are_the_same_everywhere():
    gaps = np.array([[0, 1], [59, 10**9], [-5, 7]])
    known = np.array([[True, False], [True, True], [True, True]])
    check_preprocessor(gap_bucket, [gaps, known])
