"""Position bias: a click says that an item was liked *and* looked at."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.models.funnel import and_then

LEARNING_SCALE = 10.0  # Adam moves a weight by its rate a step: too slow for a table.


class ExaminationTower(tf.keras.layers.Layer):
    """Learns how likely each place of a list is looked at (PAL).

        P(event | place k) = P(seen | k) P(event | seen)
        P(seen | 1) = 1,  P(seen | k) = sigmoid(10 w_k - log(k - 1)),  w_k = 0 at start

    so training starts from P(seen | k) = 1 / k. The first place is the measure: of a
    product only one factor has a scale of its own. Used in training only; at serving
    P(event | seen) remains, the probability in the first place.

    Relative to the paper: the tower sees the place alone, and its scale is fixed.

    Args:
        num_positions: Places that are told apart; those behind share the last.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        logits: float `[batch_size, num_candidates, num_heads]` of P(event | seen).
        positions: int32 `[batch_size, num_candidates]`, 1 is the first place; 0
            unknown: P(seen) = 1.

    Returns:
        float32, the shape of `logits`: logits of P(event | place).

    References:
        - Guo et al., "PAL: a position-bias aware learning framework for CTR
          prediction in live recommender systems", RecSys 2019.
        - Joachims et al., "Unbiased Learning-to-Rank with Biased Feedback", WSDM 2017
          (1 / k).
    """

    def __init__(self, num_positions: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        if num_positions < 2:
            raise ValueError(
                "`num_positions` must be at least 2. "
                f"Received: num_positions={num_positions}."
            )
        self.num_positions = num_positions
        self.start = -np.log(np.arange(1.0, num_positions)).astype(np.float32)
        self.learned = self.add_weight(
            name="seen", shape=(num_positions - 1,), initializer="zeros"
        )

    def call(self, logits: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
        table = self.start + LEARNING_SCALE * self.learned
        row = tf.clip_by_value(positions, 2, self.num_positions) - 2
        seen = tf.expand_dims(tf.gather(table, row), -1) + tf.zeros_like(logits)
        known = tf.expand_dims(positions > 1, -1)
        return tf.where(known, and_then(seen, logits), logits)

    def seen_probabilities(self) -> tf.Tensor:
        """Returns P(seen | k), float32 `[num_positions]`, the first place first."""
        later = tf.sigmoid(self.start + LEARNING_SCALE * self.learned)
        return tf.concat([tf.ones([1]), later], axis=0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_positions": self.num_positions}


def inverse_propensity(
    propensities: tf.Tensor, *, min_propensity: float = 0.1
) -> tf.Tensor:
    """Returns the weight of an event that followed although it might not be seen.

        w = 1 / max(propensity, min_propensity)

    The bound keeps single lucky clicks from counting for hundreds.

    Args:
        propensities: float, any shape, probability in (0, 1] that the place was looked
            at; NaN or 0 unknown.
        min_propensity: Lower bound of a known one.

    Returns:
        float, same shape; 1 where unknown.

    References:
        - Joachims et al., "Unbiased Learning-to-Rank with Biased Feedback", WSDM 2017.
    """
    known = tf.math.is_finite(propensities) & (propensities > 0.0)
    bounded = tf.maximum(tf.where(known, propensities, 1.0), min_propensity)
    return 1.0 / bounded
