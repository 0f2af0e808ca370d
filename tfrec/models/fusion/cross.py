"""Fusion by a cross network."""

from typing import Any

import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrec.models.fusion.fusion import Fields, Fusion, with_numbers

# Products of numbers far out (a retrieval score of what is excluded) would drown
# all others; those that say something lie within.
MAX_NUMBER = 5.0


@tf.keras.utils.register_keras_serializable(package="tfrec")
class CrossFusion(Fusion):
    """Multiplies every part with every other, to a bounded degree.

        x_0     = [norm([e_1, ..., e_F]), numbers cut off at +-5]
        x_(l+1) = x_0 * (U_l V_l x_l + b_l) + x_l
        x(c)    = x_L

    Arguments and shapes are those of `Fusion`, and:

    Args:
        num_layers: L; the degree of the products is at most L + 1. At least 1.
        projection_dim: Rank of U V; None: a full matrix.

    Raises:
        ValueError: If `num_layers` is less than 1.

    References:
        - Wang et al., "DCN V2: Improved Deep & Cross Network and Practical Lessons
          for Web-scale Learning to Rank Systems", WWW 2021,
          https://arxiv.org/abs/2008.13535; `tfrs.layers.dcn.Cross`.
    """

    def __init__(
        self, dropout: float, *, num_layers: int, projection_dim: int | None, **k: Any
    ) -> None:
        super().__init__(dropout, **k)
        if num_layers < 1:
            raise ValueError(
                f"`num_layers` must be at least 1. Received: num_layers={num_layers}."
            )
        self.num_layers = num_layers
        self.projection_dim = projection_dim
        self.crosses = [
            tfrs.layers.dcn.Cross(projection_dim, dtype=tf.float32)
            for _ in range(num_layers)
        ]

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        numbers = tf.clip_by_value(numbers, -MAX_NUMBER, MAX_NUMBER)
        start = with_numbers(self.normalised([*fields.values()], training), numbers)
        crossed = start
        for layer in self.crosses:
            crossed = layer(start, crossed)
        return crossed

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "projection_dim": self.projection_dim,
        }
