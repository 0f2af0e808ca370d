"""The causal transformer over a history."""

import math
from typing import Any

import tensorflow as tf


def causal_segment_mask(segment_ids: tf.Tensor) -> tf.Tensor:
    """Returns bool `[num_rows, num_tokens, num_tokens]`: may token i read token j?

    It may where j is not later than i, in the same segment, and both are real.
    """
    num_tokens = tf.shape(segment_ids)[1]
    causal = tf.linalg.band_part(tf.ones([num_tokens, num_tokens], tf.bool), -1, 0)
    same = tf.equal(segment_ids[:, :, tf.newaxis], segment_ids[:, tf.newaxis, :])
    return same & causal & (segment_ids > 0)[:, tf.newaxis, :]


class TransformerBlock(tf.keras.layers.Layer):
    """One pre-norm block of masked self-attention and a feed-forward net.

        x = x + dropout(attention(norm(x)));  x = x + dropout(ffn(norm(x)))

    Args:
        num_heads: Attention heads; must divide the width of the input.
        feedforward_dim: Width between the two dense layers (GELU).
        dropout: Share of dropped outputs.
        attention_dropout: Share of dropped attention weights; None: as `dropout`.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`.
        mask: bool `[num_rows, num_tokens, num_tokens]`, True where the token of
            the row may read the token of the column. A token that may read
            nothing gets zeros from the attention.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Raises:
        ValueError: If `num_heads` does not divide `dim`.

    References:
        - Xiong et al., "On Layer Normalization in the Transformer Architecture",
          ICML 2020, https://arxiv.org/abs/2002.04745.
    """

    def __init__(
        self,
        num_heads: int,
        feedforward_dim: int,
        *,
        dropout: float,
        attention_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.dropout_rate = dropout
        self.attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.feedforward_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.attention_dropout_rate = attention_dropout
        self.attention_dropout = tf.keras.layers.Dropout(
            dropout if attention_dropout is None else attention_dropout
        )

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        if dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the input width. Received: "
                f"num_heads={self.num_heads}, dim={dim}."
            )
        self.projection = tf.keras.layers.Dense(3 * dim)
        self.output_projection = tf.keras.layers.Dense(dim)
        self.expand = tf.keras.layers.Dense(self.feedforward_dim, tf.nn.gelu)
        self.contract = tf.keras.layers.Dense(dim)
        super().build(input_shape)

    def call(self, x: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        attended = self._attend(self.attention_norm(x), mask, training)
        x += self.dropout(attended, training=training)
        hidden = self.contract(self.expand(self.feedforward_norm(x)))
        return x + self.dropout(hidden, training=training)

    def _attend(self, x: tf.Tensor, mask: tf.Tensor, training: bool) -> tf.Tensor:
        num_rows, num_tokens = tf.unstack(tf.shape(x)[:2])
        dim = self.contract.units
        head_dim = dim // self.num_heads
        joint = tf.reshape(
            self.projection(x), [num_rows, num_tokens, 3, self.num_heads, head_dim]
        )
        query, key, value = tf.unstack(tf.transpose(joint, [2, 0, 3, 1, 4]))
        logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(head_dim)
        readable = mask[:, tf.newaxis]  # [num_rows, 1, num_tokens, num_tokens]
        logits = tf.where(readable, logits, logits.dtype.min)
        weights = tf.nn.softmax(logits)
        any_readable = tf.reduce_any(readable, axis=-1, keepdims=True)
        weights *= tf.cast(any_readable, weights.dtype)
        weights = self.attention_dropout(weights, training=training)
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        return self.output_projection(tf.reshape(mixed, [num_rows, num_tokens, dim]))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "feedforward_dim": self.feedforward_dim,
            "dropout": self.dropout_rate,
            "attention_dropout": self.attention_dropout_rate,
        }


class TransformerEncoder(tf.keras.layers.Layer):
    """A stack of causal blocks with a last normalisation (SASRec).

    Args:
        num_layers: Blocks; 0 only normalises.
        num_heads: Attention heads of a block.
        feedforward_dim: Width of its feed-forward net.
        dropout: Share of dropped units.
        attention_dropout: Share of dropped attention weights; None: as `dropout`.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            its own segment up to itself.
        timestamps: Not read; every sequence encoder may be given them.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: pre-norm, GELU, dropout rates as given.

    References:
        - Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
          https://arxiv.org/abs/1808.09781.
    """

    block_class = TransformerBlock

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        *,
        dropout: float,
        attention_dropout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.dropout_rate = dropout
        self.attention_dropout_rate = attention_dropout
        self.blocks = [
            self.block_class(
                num_heads,
                feedforward_dim,
                dropout=dropout,
                attention_dropout=attention_dropout,
            )
            for _ in range(num_layers)
        ]
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)

    def call(
        self,
        x: tf.Tensor,
        segment_ids: tf.Tensor,
        timestamps: tf.Tensor | None = None,
        query_timestamps: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        mask = causal_segment_mask(segment_ids)
        for block in self.blocks:
            x = block(x, mask, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feedforward_dim": self.feedforward_dim,
            "dropout": self.dropout_rate,
            "attention_dropout": self.attention_dropout_rate,
        }
