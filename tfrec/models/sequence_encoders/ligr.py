"""The gated transformer: LiGR blocks."""

from typing import Any

import tensorflow as tf

from tfrec.models.transformer import TransformerBlock, TransformerEncoder


class SwiGLU(tf.keras.layers.Layer):
    """The inner half of a gated feed-forward net.

        silu(W x + b) * (V x + c)

    Args:
        units: Width of the result.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[..., dim]`.

    Returns:
        float `[..., units]`.

    References:
        - Shazeer, "GLU Variants Improve Transformer", 2020,
          https://arxiv.org/abs/2002.05202.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units
        self.projection = tf.keras.layers.Dense(2 * units)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        gate, value = tf.split(self.projection(x), 2, axis=-1)
        return tf.nn.silu(gate) * value

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


class LigrBlock(TransformerBlock):
    """A pre-norm transformer block whose two parts are gated by their input.

        x = x + sigmoid(G x) * dropout(attention(norm(x)))
        x = x + sigmoid(H x) * dropout(ffn(norm(x))),   ffn(y) = W SwiGLU(y)

    A gate lets a block leave out what attention or the net says of an event, which
    keeps deep stacks trainable. Arguments and errors are those of `TransformerBlock`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`.
        mask: bool `[num_rows, num_tokens, num_tokens]`, True where the token of the
            row may read that of the column.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    References:
        - Borisyuk et al., "From Features to Transformers: Redefining Ranking for
          Scalable Impact", 2025, https://arxiv.org/abs/2502.03417 (LiGR).
        - Tikhonovich et al., "eSASRec: Enhancing Transformer-based Recommendations
          in a Modular Fashion", RecSys 2025, https://arxiv.org/abs/2508.06450.
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        dim = int(input_shape[-1])
        self.expand = SwiGLU(self.feedforward_dim)
        self.attention_gate = tf.keras.layers.Dense(dim, tf.sigmoid)
        self.feedforward_gate = tf.keras.layers.Dense(dim, tf.sigmoid)

    def call(self, x: tf.Tensor, mask: tf.Tensor, training: bool = False) -> tf.Tensor:
        attended = self._attend(self.attention_norm(x), mask, training)
        x += self.attention_gate(x) * self.dropout(attended, training=training)
        hidden = self.contract(self.expand(self.feedforward_norm(x)))
        return x + self.feedforward_gate(x) * self.dropout(hidden, training=training)


class LigrEncoder(TransformerEncoder):
    """A stack of causal LiGR blocks with a last normalisation.

    Arguments are those of `TransformerEncoder`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            its own segment up to itself.
        timestamps: Not read.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: as in eSASRec, a history of events with one loss on every
    position, no set-wise attention between candidates.

    References:
        - Borisyuk et al., 2025, https://arxiv.org/abs/2502.03417.
        - Tikhonovich et al., RecSys 2025, https://arxiv.org/abs/2508.06450.
    """

    block_class = LigrBlock
