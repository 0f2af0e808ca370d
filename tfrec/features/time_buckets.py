"""Logarithmic buckets of time differences, in the graph."""

import tensorflow as tf

NUM_GAP_BUCKETS = 32  # 0 unknown, 1 below a second, then powers of 2 up to 34 years.


def gap_bucket(gap_seconds: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Returns int32 bucket indices of time differences, of the same shape.

        bucket = 1 + floor(log2(1 + gap_seconds)), at most NUM_GAP_BUCKETS - 1

    Args:
        gap_seconds: int64, any shape; negative ones count as 0.
        known: bool, same shape; False gives bucket 0.

    Example:
        >>> gap = tf.constant([0, 1, 3, 60], tf.int64)
        >>> gap_bucket(gap, gap >= 0).numpy()
        array([1, 2, 3, 6], dtype=int32)
    """
    # float64: float32 rounds 2^n - 1 up, and log2 is needed exactly there.
    gap = tf.cast(tf.maximum(gap_seconds, 0), tf.float64)
    exponent = tf.math.log1p(gap) / tf.math.log(tf.constant(2.0, tf.float64))
    bucket = 1 + tf.cast(tf.floor(exponent + 1e-9), tf.int32)
    return tf.where(known, tf.minimum(bucket, NUM_GAP_BUCKETS - 1), 0)
