"""Fusion by concatenation."""

import tensorflow as tf

from tfrec.models.fusion.fusion import Fields, Fusion, with_numbers


@tf.keras.utils.register_keras_serializable(package="tfrec")
class ConcatFusion(Fusion):
    """Lays all fields side by side; the dense layers find what belongs together.

        x(c) = [norm([e_1, ..., e_F]), numbers]

    Arguments and shapes are those of `Fusion`.

    References:
        - Covington et al., "Deep Neural Networks for YouTube Recommendations",
          RecSys 2016.
    """

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        return with_numbers(self.normalised([*fields.values()], training), numbers)
