"""Fusion by gates."""

from typing import Any

import tensorflow as tf

from tfrec.models.fusion.fusion import Fields, Fusion, width_of, with_numbers


@tf.keras.utils.register_keras_serializable(package="tfrec")
class GatedFusion(Fusion):
    """Opens or closes every field by what all of them say.

        g(c) = 2 sigmoid(W [norm([e_1, ..., e_F]), numbers] + b)
        x(c) = [g_1 norm(e)_1, ..., g_F norm(e)_F, numbers]

    Gates do not compete, unlike the weights of `WeightedFusion`: all may be open.
    W and b start at 0, where every gate is 1 and this is `ConcatFusion`.

    Arguments and shapes are those of `Fusion`.

    References:
        - Huang et al., "GateNet: Gating-Enhanced Deep Network for Click-Through
          Rate Prediction", 2020, https://arxiv.org/abs/2007.03519 (gates of whole
          embeddings; here each sees all fields).
        - Chang et al., "PEPNet", KDD 2023 (2 sigmoid, so that an open gate is 1).
    """

    def build(self, input_shape: Any) -> None:
        self.gates = tf.keras.layers.Dense(
            len(input_shape), kernel_initializer="zeros", dtype=tf.float32
        )
        super().build(input_shape)

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        embedding = self.normalised([*fields.values()], training)
        gates = 2.0 * tf.sigmoid(self.gates(with_numbers(embedding, numbers)))
        parts = tf.split(embedding, [width_of(f) for f in fields.values()], -1)
        gated = [
            tf.cast(gate, part.dtype) * part
            for gate, part in zip(
                tf.split(gates, len(fields), axis=-1), parts, strict=True
            )
        ]
        return with_numbers(tf.concat(gated, axis=-1), numbers)
