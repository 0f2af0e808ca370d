"""Several vectors of a history: one for each taste that is mixed in it."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.models.transformer import causal_segment_mask


class InterestPooling(tf.keras.layers.Layer):
    """Reads the interests of a history off every one of its tokens.

        a[t, j]      = w_j . tanh(W state[t])
        weight[i, t] = softmax over the tokens t <= i of the segment of a[t, j]
        interest_j   = state[i] + V_j sum_t weight[i, t] state[t]

    Self-attentive pooling, one attention per interest, over what the sequence
    encoder says of the tokens up to i: every position of a row is a query of its
    own, as the training on all positions wants it. Relative to the paper:

    - `state[i]` stands in every interest. With pooling alone the order of events
      would be lost behind it, and what was just looked at says most of what is next.
    - V_j lets an interest say where from its events the next one lies. It starts as
      the identity, so that an interest points at the items of its events before
      anything is learned; on users of two tastes that beat a random start. What
      tells the interests apart from the first step on is w_j.

    Args:
        num_interests: Vectors of a query, k; at least 2.
        dropout: Share of dropped units of what is pooled.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        states: float `[num_rows, num_tokens, dim]`.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding.

    Returns:
        float `[num_rows, num_tokens, num_interests, dim]`.

    Raises:
        ValueError: If `num_interests` is less than 2.

    References:
        - Cen et al., "Controllable Multi-Interest Framework for Recommendation"
          (ComiRec-SA), KDD 2020, https://arxiv.org/abs/2005.09347.
        - Lin et al., "A Structured Self-attentive Sentence Embedding", ICLR 2017,
          https://arxiv.org/abs/1703.03130.
    """

    def __init__(
        self, num_interests: int, *, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if num_interests < 2:
            raise ValueError(
                "`num_interests` must be at least 2: a query of one vector is the "
                "state itself and needs no pooling. Received: "
                f"num_interests={num_interests}."
            )
        self.num_interests = num_interests
        self.dropout_rate = dropout
        self.hidden: tf.keras.layers.Layer
        self.dropout = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        self.hidden = tf.keras.layers.Dense(
            dim, tf.nn.tanh, use_bias=False, name="hidden"
        )
        self.attention = tf.keras.layers.Dense(
            self.num_interests, use_bias=False, name="attention"
        )
        identities = np.tile(np.eye(dim, dtype=np.float32), [self.num_interests, 1, 1])
        self.kernel = self.add_weight(
            name="kernel",
            shape=identities.shape,
            initializer=tf.keras.initializers.Constant(identities),
        )
        super().build(input_shape)

    def call(
        self, states: tf.Tensor, segment_ids: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        logits = self.attention(self.hidden(states))
        logits = tf.transpose(logits, [0, 2, 1])[:, :, tf.newaxis]
        readable = causal_segment_mask(segment_ids)[:, tf.newaxis]
        # [num_rows, num_interests, num_tokens, num_tokens]; padding is even and unread.
        weights = tf.nn.softmax(tf.where(readable, logits, logits.dtype.min))
        pooled = tf.matmul(weights, states[:, tf.newaxis])
        kernel = tf.cast(self.kernel, states.dtype)
        vectors = tf.transpose(tf.matmul(pooled, kernel), [0, 2, 1, 3])
        return states[:, :, tf.newaxis] + self.dropout(vectors, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_interests": self.num_interests,
            "dropout": self.dropout_rate,
        }
