"""How the states of a text's tokens become one vector."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# States and mask in, one vector a text out: a function, or a layer with weights.
Pooling = Callable[..., Any]
_MASKED_LOGIT = -1e9  # Far below any logit, and finite: no NaN where all are masked.


def mean_pooling(states: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
    """Returns the mean state of the real tokens; zeros where there are none.

    Args:
        states: float `[batch_size, num_tokens, text_dim]`.
        padding_mask: bool `[batch_size, num_tokens]`, True = real token.

    Returns:
        float `[batch_size, text_dim]`.
    """
    weights = tf.cast(padding_mask, states.dtype)[:, :, tf.newaxis]
    total = tf.reduce_sum(weights, axis=1)
    return tf.math.divide_no_nan(tf.reduce_sum(states * weights, axis=1), total)


def first_token_pooling(states: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
    """Returns the state of the first token, [CLS]; shapes as `mean_pooling`."""
    weights = tf.cast(padding_mask[:, :1], states.dtype)
    return states[:, 0] * weights


@tf.keras.utils.register_keras_serializable(package="tfrec")
class AttentionPooling(tf.keras.layers.Layer):
    """Mean of the states, weighted by how well each fits the text and the task.

    `w_t = softmax_t(h_t · (q + mean h) / sqrt(d))`; the learned `q` starts at 0, so
    untrained it is attention of the text to itself. After Yang et al. 2016,
    "Hierarchical Attention Networks", and Lin et al. 2017, "A Structured
    Self-attentive Sentence Embedding".
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def build(self, input_shape: tf.TensorShape) -> None:
        """Creates the query from `[batch_size, num_tokens, text_dim]`."""
        self._query = self.add_weight(
            name="query", shape=input_shape[-1:], initializer="zeros"
        )
        super().build(input_shape)

    def call(self, states: tf.Tensor, padding_mask: tf.Tensor) -> tf.Tensor:
        """Pools; shapes as `mean_pooling`."""
        query = self._query + mean_pooling(states, padding_mask)
        scale = tf.math.rsqrt(tf.cast(tf.shape(states)[-1], tf.float32))
        logits = tf.cast(tf.einsum("btd,bd->bt", states, query), tf.float32) * scale
        logits = tf.where(padding_mask, logits, _MASKED_LOGIT)
        weights = tf.cast(tf.nn.softmax(logits, axis=1), states.dtype)
        weights *= tf.cast(padding_mask, states.dtype)
        return tf.einsum("bt,btd->bd", weights, states)


def build_pooling(pooling: str) -> Pooling:
    """Returns `mean`, `cls` or `attention`."""
    if pooling == "attention":
        return AttentionPooling(name="attention_pooling")
    poolings = {"mean": mean_pooling, "cls": first_token_pooling}
    if pooling not in poolings:
        raise ValueError(
            "`pooling` must be `mean`, `cls` or `attention`. "
            f"Received: {pooling!r}. Set `text.pooling`."
        )
    return poolings[pooling]
