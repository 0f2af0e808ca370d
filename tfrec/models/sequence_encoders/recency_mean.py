"""A running mean over the past that forgets: the causal low-pass filter."""

from typing import Any

import numpy as np
import tensorflow as tf

SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE = 1.0, 16.0  # Events, at the start.


class RecencyMean(tf.keras.layers.Layer):
    """Averages a token and those it may read, each older one for less.

        mean_i = sum_{j <= i} w(i - j) x_j / sum_{j <= i} w(i - j)
        w(n)   = 2^(-n / half_life)

    The channels are parted into groups, each with a half-life of its own in events,
    learned, so that some follow the last events and others the whole history. A
    token that may read nothing gets zeros.

    Args:
        num_groups: Groups of channels; must divide the width of the input. Their
            half-lives start in even ratios from 1 to 16 events.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        mask: bool `[num_rows, num_tokens, num_tokens]`, True where the token of
            the row may read the token of the column; never a later one.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Raises:
        ValueError: If `num_groups` does not divide `dim`.

    References:
        - Ding and Li, "Time Weight Collaborative Filtering", CIKM 2005 (half-lives).
    """

    def __init__(self, num_groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_groups = num_groups

    def build(self, input_shape: Any) -> None:
        self.dim = int(input_shape[-1])
        if self.dim % self.num_groups:
            raise ValueError(
                "`num_groups` must divide the input width. Received: "
                f"num_groups={self.num_groups}, dim={self.dim}."
            )
        start = np.geomspace(SHORTEST_HALF_LIFE, LONGEST_HALF_LIFE, self.num_groups)
        self.log_half_life = self.add_weight(
            name="log_half_life",
            shape=(self.num_groups,),
            initializer=tf.keras.initializers.Constant(np.log(start)),
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        num_rows, num_tokens = tf.unstack(tf.shape(x)[:2])
        place = tf.range(num_tokens)
        # Later tokens are masked, but 2^+n must not overflow before.
        steps = tf.maximum(place[:, tf.newaxis] - place, 0)
        rate = np.log(2.0) * tf.exp(-tf.cast(self.log_half_life, tf.float32))
        decay = tf.exp(-rate[:, tf.newaxis, tf.newaxis] * tf.cast(steps, tf.float32))
        # [num_rows, num_groups, num_tokens, num_tokens]
        weights = tf.cast(mask, tf.float32)[:, tf.newaxis] * decay
        total = tf.reduce_sum(weights, axis=-1, keepdims=True)
        weights = tf.cast(tf.math.divide_no_nan(weights, total), x.dtype)
        group_dim = self.dim // self.num_groups
        groups = tf.reshape(x, [num_rows, num_tokens, self.num_groups, group_dim])
        mean = tf.matmul(weights, tf.transpose(groups, [0, 2, 1, 3]))
        return tf.reshape(
            tf.transpose(mean, [0, 2, 1, 3]), [num_rows, num_tokens, self.dim]
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_groups": self.num_groups}
