"""The recency-weighted mean of a history: the encoder without an order."""

from typing import Any

import tensorflow as tf

from tfrec.models.sequence_encoders.recency_mean import RecencyMean
from tfrec.models.transformer import causal_segment_mask


class FeedforwardBlock(tf.keras.layers.Layer):
    """A pre-norm feed-forward net beside its input.

        x = x + dropout(W gelu(V norm(x)))

    Args:
        feedforward_dim: Width between the two dense layers.
        dropout: Share of dropped outputs.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., dim]`.

    References:
        - Xiong et al., "On Layer Normalization in the Transformer Architecture",
          ICML 2020, https://arxiv.org/abs/2002.04745 (pre-norm).
    """

    def __init__(self, feedforward_dim: int, *, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.feedforward_dim = feedforward_dim
        self.dropout_rate = dropout
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.expand = tf.keras.layers.Dense(feedforward_dim, tf.nn.gelu)

    def build(self, input_shape: Any) -> None:
        self.contract = tf.keras.layers.Dense(int(input_shape[-1]))
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        hidden = self.contract(self.expand(self.norm(x)))
        return x + self.dropout(hidden, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "feedforward_dim": self.feedforward_dim,
            "dropout": self.dropout_rate,
        }


class MeanEncoder(tf.keras.layers.Layer):
    """A recency-weighted mean of the past events, then feed-forward nets.

        state = norm(ffn_n(... ffn_1(RecencyMean(x))))

    It knows how long ago an event was, but not what stood beside it. The quickest
    encoder, and the bar that one with attention has to pass.

    Args:
        num_layers: Feed-forward nets behind the mean; 0 averages and normalises.
        num_heads: Groups of channels with a half-life each; must divide the width.
        feedforward_dim: Width inside a net.
        dropout: Share of dropped units.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            its own segment up to itself.
        timestamps: Not read.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: a learned half-life instead of the plain mean, a state at
    every position, residual nets.

    References:
        - Covington, Adams, Sargin, "Deep Neural Networks for YouTube
          Recommendations", RecSys 2016, https://doi.org/10.1145/2959100.2959190.
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        feedforward_dim: int,
        *,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.feedforward_dim = feedforward_dim
        self.dropout_rate = dropout
        self.mean = RecencyMean(num_heads)
        self.blocks = [
            FeedforwardBlock(feedforward_dim, dropout=dropout)
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
        x = self.mean(x, causal_segment_mask(segment_ids))
        for block in self.blocks:
            x = block(x, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "feedforward_dim": self.feedforward_dim,
            "dropout": self.dropout_rate,
        }
