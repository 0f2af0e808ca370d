"""Fusion by bilinear interactions of fields."""

from itertools import combinations
from typing import Any

import tensorflow as tf

from tfrec.models.fusion.fusion import Fields, Fusion, with_numbers


@tf.keras.utils.register_keras_serializable(package="tfrec")
class BilinearFusion(Fusion):
    """Adds what every two fields say together.

        v_i  = P_i e_i                            all of one width
        p_ij = (W_i v_i) * v_j                    for i < j
        x(c) = [norm([e_1, ..., e_F, p_12, p_13, ...]), numbers]

    P brings fields of different width to `interaction_dim`. The width grows with
    the square of the number of fields: F (F - 1) / 2 pairs. Relative to the paper:
    without the second set of pairs of re-weighted fields (`WeightedFusion` weighs).

    Arguments and shapes are those of `Fusion`, and:

    Args:
        interaction_dim: Width of v and p. At least 1.

    Raises:
        ValueError: If `interaction_dim` is less than 1, or there is one field only.

    References:
        - Huang et al., "FiBiNET: Combining Feature Importance and Bilinear feature
          Interaction for Click-Through Rate Prediction", RecSys 2019,
          https://arxiv.org/abs/1905.09433 (type "each").
    """

    def __init__(self, dropout: float, *, interaction_dim: int, **k: Any) -> None:
        super().__init__(dropout, **k)
        if interaction_dim < 1:
            raise ValueError(
                "`interaction_dim` must be at least 1. Received: "
                f"interaction_dim={interaction_dim}."
            )
        self.interaction_dim = interaction_dim

    def build(self, input_shape: Any) -> None:
        if len(input_shape) < 2:
            raise ValueError(
                "`fields` must be two or more to interact. Received: "
                f"fields={sorted(input_shape)}."
            )

        def dense() -> tf.keras.layers.Dense:
            return tf.keras.layers.Dense(self.interaction_dim, use_bias=False)

        self.projections = [dense() for _ in input_shape]
        self.left = [dense() for _ in range(len(input_shape) - 1)]
        super().build(input_shape)

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        right = [
            project(field)
            for project, field in zip(self.projections, fields.values(), strict=True)
        ]
        left = [
            weigh(value) for weigh, value in zip(self.left, right[:-1], strict=True)
        ]
        pairs = [left[i] * right[j] for i, j in combinations(range(len(right)), 2)]
        parts = [*fields.values(), *pairs]
        return with_numbers(self.normalised(parts, training), numbers)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "interaction_dim": self.interaction_dim}
