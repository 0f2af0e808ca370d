"""The recurrent encoder: GRU4Rec."""

from typing import Any

import tensorflow as tf


class ResettingGRUCell(tf.keras.layers.GRUCell):
    """A GRU cell that can forget all it knew before a step.

        h_t = GRU(x_t, keep_t h_{t-1})

    Args:
        units: Width of the state.
        **kwargs: Passed to `tf.keras.layers.GRUCell`.

    Call arguments:
        inputs: `(x, keep)`: float `[num_rows, dim]` and `[num_rows, 1]`, where keep is
            0 at the first token of a segment, else 1.
        states: The state, float `[num_rows, units]`.

    Returns:
        The output and the new state.

    References:
        - Hidasi et al., "Session-based Recommendations with Recurrent Neural
          Networks", ICLR 2016, https://arxiv.org/abs/1511.06939 (states are reset
          where a session ends, so that rows hold several).
    """

    def build(self, input_shape: Any) -> None:
        super().build(input_shape[0])

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        x, keep = inputs
        state = states[0] if tf.nest.is_nested(states) else states
        return super().call(x, [state * keep], training=training)


class GruEncoder(tf.keras.layers.Layer):
    """A stack of recurrent layers with a last normalisation.

        h = GRU_n(... GRU_1(x));  state = norm(W h + b)

    The state is set back to zeros at the start of every segment, so that packed
    rows give what their histories give alone. Each step waits for the one before, so
    that it trains and answers more slowly than attention of the same width.

    Args:
        num_layers: Recurrent layers; 0 only projects and normalises.
        units: Width of their states.
        dropout: Share of dropped outputs of each layer.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; the tokens of a
            segment stand side by side, and a token reads its own up to itself.
        timestamps: Not read.
        query_timestamps: Not read.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: a loss on every position of a user's history instead of
    session-parallel batches that carry states over.

    References:
        - Hidasi et al., "Session-based Recommendations with Recurrent Neural
          Networks", ICLR 2016, https://arxiv.org/abs/1511.06939.
        - Hidasi, Karatzoglou, "Recurrent Neural Networks with Top-k Gains for
          Session-based Recommendations", CIKM 2018, https://arxiv.org/abs/1706.03847.
    """

    def __init__(
        self, num_layers: int, units: int, *, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.units = units
        self.dropout_rate = dropout
        self.recurrent_layers = [
            tf.keras.layers.RNN(ResettingGRUCell(units), return_sequences=True)
            for _ in range(num_layers)
        ]
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)

    def build(self, input_shape: Any) -> None:
        self.output_projection = tf.keras.layers.Dense(int(input_shape[-1]))
        super().build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        segment_ids: tf.Tensor,
        timestamps: tf.Tensor | None = None,
        query_timestamps: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        # Nothing stands before the first token; no segment has the id -1.
        before = tf.pad(segment_ids[:, :-1], [[0, 0], [1, 0]], constant_values=-1)
        keep = tf.cast(tf.equal(segment_ids, before), x.dtype)[:, :, tf.newaxis]
        for layer in self.recurrent_layers:
            x = self.dropout(layer((x, keep)), training=training)
        return self.norm(self.output_projection(x))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "units": self.units,
            "dropout": self.dropout_rate,
        }
