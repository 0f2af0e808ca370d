"""Frequency filtering beside attention: BSARec blocks, made causal."""

from typing import Any

import tensorflow as tf

from tfrec.models.sequence_encoders.recency_mean import RecencyMean
from tfrec.models.transformer import TransformerBlock, TransformerEncoder

FILTER_SHARE = 0.7  # Of the filter beside attention: alpha of the paper on Beauty.


class BsarecBlock(TransformerBlock):
    """A pre-norm transformer block with a frequency filter beside the attention.

        y      = norm(x)
        filter = low(y) + beta^2 (y - low(y))
        x      = x + dropout(alpha filter + (1 - alpha) attention(y))
        x      = x + dropout(ffn(norm(x)))

    Attention is itself a low-pass filter: deep stacks make all events alike. The
    filter passes what changes slowly (`low`, lasting interests) and, by the learned
    beta of each channel, what changes fast. Arguments and errors are those of
    `TransformerBlock`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`.
        mask: bool `[num_rows, num_tokens, num_tokens]`, True where the token of the
            row may read that of the column.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: `low` is a `RecencyMean` instead of the lowest frequencies
    of a Fourier transform. That transform runs over the whole padded sequence, so
    each state holds events that come after it: with a loss on every position it
    would show the answers. The recency mean is a low-pass filter too, but reads the
    past alone, and its cut-off (half-life) is learned instead of set; so is alpha,
    from .7. Pre-norm and no normalisation of the filter's own.

    References:
        - Shin, Choi, Wi, Park, "An Attentive Inductive Bias for Sequential
          Recommendation beyond the Self-Attention", AAAI 2024,
          https://arxiv.org/abs/2312.10325.
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        dim = int(input_shape[-1])
        self.low_pass = RecencyMean(self.num_heads)
        # Not ones: they would make the filter the identity, whatever its half-life.
        self.beta = self.add_weight(
            name="beta",
            shape=(dim,),
            initializer=tf.keras.initializers.RandomNormal(stddev=1.0),
        )
        start = float(tf.math.log(FILTER_SHARE / (1.0 - FILTER_SHARE)))
        self.filter_logit = self.add_weight(
            name="alpha", shape=(), initializer=tf.keras.initializers.Constant(start)
        )

    def call(self, x: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        normalised = self.attention_norm(x)
        low = self.low_pass(normalised, mask)
        share = tf.sigmoid(tf.cast(self.filter_logit, x.dtype))
        beta = tf.square(tf.cast(self.beta, x.dtype))
        filtered = low + beta * (normalised - low)
        attended = self._attend(normalised, mask, training)
        mixed = share * filtered + (1.0 - share) * attended
        x += self.dropout(mixed, training=training)
        hidden = self.contract(self.expand(self.feedforward_norm(x)))
        return x + self.dropout(hidden, training=training)


class BsarecEncoder(TransformerEncoder):
    """A stack of causal BSARec blocks with a last normalisation.

    Arguments are those of `TransformerEncoder`;
    `num_heads` is also the number of half-lives of the filter.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            its own segment up to itself.
        timestamps: Not read.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    References:
        - Shin et al., AAAI 2024, https://arxiv.org/abs/2312.10325.
    """

    block_class = BsarecBlock
