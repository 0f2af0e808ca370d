"""The texts of a history as one vector: what the shopper has been reading."""

import math
from typing import Any, Literal

import tensorflow as tf

from tfrec.features.tokens import Tokens
from tfrec.models.transformer import causal_segment_mask

NUM_JOINED = 4  # Newest texts that `concat` lays side by side.

SequencePooling = Literal["mean", "concat", "attention"]


class TextSequence(tf.keras.layers.Layer):
    """Pools the texts of past events, each encoded alone ("multi-sequence").

    The weight of event j at token i, before normalisation:

        log w_ij = - a log(1 + steps from j to i) + b log(1 + dwell_j) + e[type_j]

    - `mean`: sum_j softmax_j(log w_ij) t_j
    - `attention`: sum_j softmax_j(log w_ij + q_i . K t_j / sqrt(dim)) t_j
    - `concat`: the newest `NUM_JOINED` texts, w_ij t_j, side by side

    t_j is the projected text of event j; then comes a dense layer that starts at
    0. Events without text, later events and other segments get no weight; where
    nothing is left the result is 0. a, b and e are learned; a starts at 1, so
    that recent events weigh more.

    Args:
        pooling: See above.
        num_event_types: Event types of the schema.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        states: float `[num_rows, num_tokens, dim]`, of the sequence encoder.
        texts: float `[num_rows, num_tokens, dim]`; zeros where there is none.
        tokens: `Tokens`.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    References:
        - Hou et al., "Towards Universal Sequence Representation Learning for
          Recommender Systems", KDD 2022, https://arxiv.org/abs/2206.05941 (texts
          of events, encoded alone).
    """

    def __init__(
        self, pooling: SequencePooling, num_event_types: int, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling
        self.num_event_types = num_event_types

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        ones = tf.keras.initializers.Ones()
        self.recency = self.add_weight(name="recency", shape=(), initializer=ones)
        self.dwell = self.add_weight(name="dwell", shape=(), initializer="zeros")
        self.event_type = self.add_weight(
            name="event_type", shape=(self.num_event_types + 2,), initializer="zeros"
        )
        if self.pooling == "attention":
            self.query = tf.keras.layers.Dense(dim, name="query")
            self.key = tf.keras.layers.Dense(dim, use_bias=False, name="key")
        self.output_layer = tf.keras.layers.Dense(dim, kernel_initializer="zeros")
        super().build(input_shape)

    def call(self, states: tf.Tensor, texts: tf.Tensor, tokens: Tokens) -> tf.Tensor:
        texts = tf.cast(texts, states.dtype)
        has_text = tf.reduce_any(tf.not_equal(texts, 0.0), axis=-1)
        readable = causal_segment_mask(tokens.segment_ids) & has_text[:, tf.newaxis]
        weights = self._log_weights(tokens)  # [num_rows, num_tokens, num_tokens]
        if self.pooling == "concat":
            return self.output_layer(self._joined(texts, weights, readable))
        if self.pooling == "attention":
            query = self.query(states) / math.sqrt(self.query.units)
            weights += tf.cast(
                tf.matmul(query, self.key(texts), transpose_b=True), tf.float32
            )
        weights = tf.nn.softmax(tf.where(readable, weights, weights.dtype.min))
        weights = tf.where(readable, weights, 0.0)
        return self.output_layer(tf.matmul(tf.cast(weights, texts.dtype), texts))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "num_event_types": self.num_event_types,
        }

    def _log_weights(self, tokens: Tokens) -> tf.Tensor:
        place = tf.range(tf.shape(tokens.item_index)[1])
        steps = tf.maximum(place[:, tf.newaxis] - place[tf.newaxis], 0)
        recency = tf.cast(self.recency, tf.float32)
        by_steps = -recency * tf.math.log1p(tf.cast(steps, tf.float32))
        dwell = tf.maximum(tf.cast(tokens.dwell_seconds, tf.float32), 0.0)
        of_event = tf.cast(self.dwell, tf.float32) * tf.math.log1p(dwell)
        types = tf.gather(self.event_type, tokens.event_type_index)
        of_event += tf.cast(types, tf.float32)
        return by_steps[tf.newaxis] + of_event[:, tf.newaxis]

    def _joined(
        self, texts: tf.Tensor, log_weights: tf.Tensor, readable: tf.Tensor
    ) -> tf.Tensor:
        """Lays the texts of the newest events side by side, the newest first."""
        weights = tf.where(readable, tf.exp(log_weights), 0.0)
        num_tokens = tf.shape(texts)[1]
        parts = []
        for steps in range(NUM_JOINED):
            # Token i - steps of every token i; the mask hides those before 0.
            place = tf.maximum(tf.range(num_tokens) - steps, 0)
            exists = tf.range(num_tokens) >= steps
            weight = tf.gather(
                weights, tf.broadcast_to(place, tf.shape(texts)[:2]), batch_dims=2
            )
            weight = tf.expand_dims(tf.where(exists, weight, 0.0), -1)
            parts.append(tf.gather(texts, place, axis=1) * tf.cast(weight, texts.dtype))
        return tf.concat(parts, axis=-1)
