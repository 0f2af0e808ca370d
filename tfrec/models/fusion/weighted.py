"""Fusion by attribute importance."""

from typing import Any

import tensorflow as tf

from tfrec.models.fusion.fusion import QUERY, Fields, Fusion, with_numbers


@tf.keras.utils.register_keras_serializable(package="tfrec")
class WeightedFusion(Fusion):
    """Weighs every field by how much it matters for this item and this shopper.

        a(c) = softmax over fields of (U numbers(c) + V query + b)
        x(c) = [norm([F a_1 e_1, ..., F a_F e_F]), numbers]

    The numbers hold what is known of the item (training count, demand, and its own
    price, rating, sales ... where the catalogue has them), the query is the state of
    the shopper. The brand may so count for a shopper of brands, and the attended
    history more for an item that few have bought. U, V and b start at 0: all fields
    weigh the same, and F a_f = 1 is `ConcatFusion`.

    `field_weights` returns a(c), to look at. A weight is a share of attention, not
    an effect: the dense layers behind it decide what is made of a field.

    Arguments and shapes are those of `Fusion`; there has to be a field `query`.

    Raises:
        ValueError: If there is no field `query`.

    References:
        - Xiao et al., "Attentional Factorization Machines", IJCAI 2017 (a softmax
          over parts; here over fields, and asked by item and shopper).
        - Huang et al., "FiBiNET", RecSys 2019 (importance of fields from their own
          values, SENET).
    """

    def build(self, input_shape: Any) -> None:
        if QUERY not in input_shape:
            raise ValueError(
                f"`fields` must hold '{QUERY}', which weighs them. Received: "
                f"fields={sorted(input_shape)}."
            )
        self.importance = tf.keras.layers.Dense(
            len(input_shape), kernel_initializer="zeros", dtype=tf.float32
        )
        super().build(input_shape)

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        weights = tf.split(self._weights(fields, numbers), len(fields), axis=-1)
        weighted = [
            len(fields) * tf.cast(weight, field.dtype) * field
            for weight, field in zip(weights, fields.values(), strict=True)
        ]
        return with_numbers(self.normalised(weighted, training), numbers)

    def field_weights(
        self, fields: Fields, numbers: tf.Tensor
    ) -> tuple[tuple[str, ...], tf.Tensor]:
        """Returns the fields' names and how much each weighs.

        Args:
            fields: As in a call.
            numbers: As in a call.

        Returns:
            Names of the last axis, and float32 `[batch_size, num_candidates,
            num_fields]`, which sums to 1 over it.
        """
        if not self.built:
            self(fields, numbers)
        return tuple(fields), self._weights(fields, numbers)

    def _weights(self, fields: Fields, numbers: tf.Tensor) -> tf.Tensor:
        state = tf.concat([numbers, tf.cast(fields[QUERY], numbers.dtype)], axis=-1)
        return tf.nn.softmax(self.importance(state))
