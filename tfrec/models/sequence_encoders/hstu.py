"""The time-aware encoder with pointwise attention: HSTU."""

import math
from typing import Any

import tensorflow as tf

from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket
from tfrec.models.transformer import causal_segment_mask


class RelativeBias(tf.keras.layers.Layer):
    """What attention adds for how far apart, and how long ago, an event is.

        bias[h, i, j] = position[h, i - j] + time[h, bucket(asked_i - happened_j)]

    The bucket is the logarithm of the seconds, `gap_bucket`. Where either time is
    unknown, only the position counts. Both tables start at 0.

    Args:
        num_heads: Attention heads.
        max_tokens: Largest number of tokens in a segment; those further apart share
            the last row.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        buckets: int32 `[num_rows, num_tokens, num_tokens]`, 0 where unknown; None
            without times.
        num_tokens: int32 scalar.

    Returns:
        float `[num_rows or 1, num_heads, num_tokens, num_tokens]`.

    References:
        - Zhai et al., "Actions Speak Louder than Words", ICML 2024,
          https://arxiv.org/abs/2402.17152 (the relative attention bias).
    """

    def __init__(self, num_heads: int, max_tokens: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.max_tokens = max_tokens
        self.position_bias = self.add_weight(
            name="position", shape=(num_heads, max_tokens), initializer="zeros"
        )
        self.time_bias = self.add_weight(
            name="time", shape=(num_heads, NUM_GAP_BUCKETS - 1), initializer="zeros"
        )

    def call(self, buckets: tf.Tensor | None, num_tokens: tf.Tensor) -> tf.Tensor:
        place = tf.range(num_tokens)
        steps = place[:, tf.newaxis] - place
        steps = tf.clip_by_value(steps, 0, self.max_tokens - 1)
        # Along the second axis: the gradient of a lookup is then dense.
        position = tf.gather(tf.convert_to_tensor(self.position_bias), steps, axis=1)
        if buckets is None:
            return position[tf.newaxis]
        # Bucket 0 is unknown and says nothing.
        table = tf.pad(tf.convert_to_tensor(self.time_bias), [[0, 0], [1, 0]])
        time = tf.transpose(tf.gather(table, buckets, axis=1), [1, 0, 2, 3])
        return position[tf.newaxis] + time

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_tokens": self.max_tokens,
        }


class HstuBlock(tf.keras.layers.Layer):
    """One block of pointwise aggregated attention with a gate.

        u, v, q, k = split(silu(W norm(x)))
        a          = silu(q k' / sqrt(head_dim) + bias) / n   where readable, else 0
        x          = x + dropout(W2 (norm(a v) * u))

    Unlike a softmax, the weights of a token need not sum to 1, so that a block sees
    how *much* of something there was. The gate u takes the place of a feed-forward
    net.

    Args:
        num_heads: Attention heads; must divide the width of the input.
        max_tokens: Largest number of tokens in a segment.
        dropout: Share of dropped outputs.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`.
        mask: bool `[num_rows, num_tokens, num_tokens]`, True where the token of
            the row may read the token of the column.
        buckets: int32, the shape of `mask`, see `RelativeBias`; None without times.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Raises:
        ValueError: If `num_heads` does not divide `dim`.

    References:
        - Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter
          Sequential Transducers for Generative Recommendations", ICML 2024,
          https://arxiv.org/abs/2402.17152.
    """

    def __init__(
        self, num_heads: int, max_tokens: int, *, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_heads = num_heads
        self.max_tokens = max_tokens
        self.dropout_rate = dropout
        self.input_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.attention_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout = tf.keras.layers.Dropout(dropout)
        self.bias = RelativeBias(num_heads, max_tokens)

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        if dim % self.num_heads:
            raise ValueError(
                "`num_heads` must divide the input width. Received: "
                f"num_heads={self.num_heads}, dim={dim}."
            )
        self.projection = tf.keras.layers.Dense(4 * dim, tf.nn.silu)
        self.output_projection = tf.keras.layers.Dense(dim)
        super().build(input_shape)

    def call(
        self,
        x: tf.Tensor,
        mask: tf.Tensor,
        buckets: tf.Tensor | None = None,
        training: bool = False,
    ) -> tf.Tensor:
        num_rows, num_tokens = tf.unstack(tf.shape(x)[:2])
        dim = self.output_projection.units
        gate, joint = tf.split(
            self.projection(self.input_norm(x)), [dim, 3 * dim], axis=-1
        )
        head_dim = dim // self.num_heads
        shape = [num_rows, num_tokens, 3, self.num_heads, head_dim]
        value, query, key = tf.unstack(
            tf.transpose(tf.reshape(joint, shape), [2, 0, 3, 1, 4])
        )
        logits = tf.matmul(query, key, transpose_b=True) / math.sqrt(head_dim)
        logits += self.bias(buckets, num_tokens)
        readable = tf.cast(mask, x.dtype)[:, tf.newaxis]
        count = tf.maximum(tf.reduce_sum(readable, axis=-1, keepdims=True), 1.0)
        weights = tf.nn.silu(logits) * readable / count
        mixed = tf.transpose(tf.matmul(weights, value), [0, 2, 1, 3])
        mixed = self.attention_norm(tf.reshape(mixed, [num_rows, num_tokens, dim]))
        return x + self.dropout(self.output_projection(mixed * gate), training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "max_tokens": self.max_tokens,
            "dropout": self.dropout_rate,
        }


class HstuEncoder(tf.keras.layers.Layer):
    """A stack of causal HSTU blocks with a last normalisation.

    Args:
        num_layers: Blocks; 0 only normalises.
        num_heads: Attention heads of a block.
        max_tokens: Largest number of tokens in a segment.
        dropout: Share of dropped units.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        x: float `[num_rows, num_tokens, dim]`, oldest first.
        segment_ids: int32 `[num_rows, num_tokens]`, 0 is padding; a token reads
            its own segment up to itself.
        timestamps: int64 `[num_rows, num_tokens]`, when a token happened, in
            seconds; 0 unknown. None without times.
        query_timestamps: int64, same shape, when the state of the token is asked
            for: the time of the next event, or of the request; 0 unknown.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    Relative to the paper: n is the number of tokens that may be read, not the
    length of the padded row, so that padding and packing change nothing; logits are
    divided by sqrt(head_dim); each head has biases of its own; buckets of time
    double, those of the published code grow by a third.

    References:
        - Zhai et al., ICML 2024, https://arxiv.org/abs/2402.17152.
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        max_tokens: int,
        *,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.max_tokens = max_tokens
        self.dropout_rate = dropout
        self.blocks = [
            HstuBlock(num_heads, max_tokens, dropout=dropout) for _ in range(num_layers)
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
        buckets = None
        if timestamps is not None and query_timestamps is not None:
            asked, happened = query_timestamps[:, :, tf.newaxis], timestamps[:, None]
            known = mask & (asked > 0) & (happened > 0)
            buckets = gap_bucket(asked - happened, known)
        for block in self.blocks:
            x = block(x, mask, buckets, training=training)
        return self.norm(x)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "max_tokens": self.max_tokens,
            "dropout": self.dropout_rate,
        }
