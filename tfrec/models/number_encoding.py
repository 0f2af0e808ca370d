"""Numbers as places among their quantiles, so that dense layers can bend at them."""

from typing import Any

import numpy as np
import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="tfrec")
class NumberEncoding(tf.keras.layers.Layer):
    """Encodes each number by how far it fills each of its bins.

        e_t(x) = clip((x - edge_t) / (edge_(t+1) - edge_t), 0, 1),  t = 0 ... bins - 1

    A dense layer behind it is piecewise linear in every number, with a slope of its
    own in each bin: what trees do with thresholds, and a dense layer on the number
    itself learns slowly. The edges are not learned by gradients: `set_edges`. Until
    then, and in bins without width, the encoding is 0.

    Args:
        num_bins: Bins of a number.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        numbers: float `[..., num_numbers]`.

    Returns:
        float32 `[..., num_numbers * num_bins]`, in 0 to 1.

    References:
        - Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep
          Learning", NeurIPS 2022, https://arxiv.org/abs/2203.05556 (piecewise linear
          encoding).
    """

    def __init__(self, num_bins: int, **kwargs: Any) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.num_bins = num_bins

    def build(self, input_shape: Any) -> None:
        self.num_numbers = int(input_shape[-1])
        self.edges = self.add_weight(
            name="edges",
            shape=(self.num_numbers, self.num_bins + 1),
            initializer="zeros",
            trainable=False,
        )
        super().build(input_shape)

    def set_edges(self, values: np.ndarray) -> None:
        """Sets the edges from what numbers look like in the training lists.

        Args:
            values: float32 `[num_rows, num_numbers]`, finite.

        Raises:
            ValueError: If there are none, or some are not finite.
        """
        if not len(values) or not np.isfinite(values).all():
            raise ValueError(
                "Edges of bins must be measured on finite numbers of one candidate or "
                f"more. Received: {values.shape[0]} rows, "
                f"{int((~np.isfinite(values)).sum())} numbers that are not finite."
            )
        columns = [bin_edges(column, self.num_bins) for column in values.T]
        self.edges.assign(np.stack(columns))

    def call(self, numbers: tf.Tensor) -> tf.Tensor:
        values = tf.expand_dims(tf.cast(numbers, tf.float32), -1)
        low, width = self.edges[:, :-1], self.edges[:, 1:] - self.edges[:, :-1]
        filled = tf.math.divide_no_nan(values - low, width)
        shape = tf.concat([tf.shape(numbers)[:-1], [-1]], axis=0)
        encoded = tf.reshape(tf.clip_by_value(filled, 0.0, 1.0), shape)
        width_of_all = self.num_numbers * self.num_bins
        return tf.ensure_shape(encoded, [*numbers.shape[:-1], width_of_all])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_bins": self.num_bins}


def bin_edges(values: np.ndarray, num_bins: int) -> np.ndarray:
    """Returns float32 `[num_bins + 1]` edges, ascending, least and greatest included.

    They are quantiles, but one value counts for half a bin at most: many numbers are
    0 for nearly all candidates, and the edges belong where the others differ.

    Args:
        values: float32 `[num_rows]`, at least one.
        num_bins: How many bins.
    """
    distinct, counts = np.unique(values, return_counts=True)
    weights = np.minimum(counts, max(len(values) // (2 * num_bins), 1))
    reached = np.cumsum(weights) / weights.sum()
    inner = np.linspace(0.0, 1.0, num_bins + 1)[1:-1]
    places = np.searchsorted(reached, inner)
    return np.concatenate(
        [distinct[:1], distinct[places], distinct[-1:]], dtype=np.float32
    )
