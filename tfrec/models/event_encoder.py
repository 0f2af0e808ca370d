"""The event encoder: what one event of a history is."""

from typing import Any

import tensorflow as tf

from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket
from tfrec.features.tokens import Occurrences, Tokens

NUM_COUNT_BUCKETS = 8  # Seen 0, 1, ... 6, or at least 7 times before.


class EventEncoder(tf.keras.layers.Layer):
    """Embeds tokens: item, event type, time, position, dwell, earlier meetings.

        event = d(dwell) item + type + gap + position + times seen before
        d(x)  = 2 sigmoid(a log(1 + x) + b) where dwell is known, else 1

    The gap of a token is the time to the *next* event, or to the request: the
    last token so carries how long ago the shopper was last here. Without
    `use_request_time` it is the time since the event before.

    Args:
        embedding_dim: Width of the result.
        num_event_types: Event types of the schema.
        max_tokens: Largest number of tokens in a segment, the start token
            included.
        use_request_time: Whether the gap looks ahead.
        dropout: Share of dropped units.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        tokens: `Tokens`.
        items: float `[num_rows, num_tokens, embedding_dim]`, the item vectors of
            the tokens, from the candidate tower.
        occurrences: `Occurrences` of the tokens.

    Returns:
        float `[num_rows, num_tokens, embedding_dim]`.

    References:
        - Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
          https://arxiv.org/abs/1808.09781 (learned positions added to items).
        - Hidasi et al., "Parallel Recurrent Neural Network Architectures for
          Feature-rich Session-based Recommendations", RecSys 2016 (more than ids).
    """

    def __init__(
        self,
        embedding_dim: int,
        num_event_types: int,
        max_tokens: int,
        *,
        use_request_time: bool,
        dropout: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.embedding_dim = embedding_dim
        self.num_event_types = num_event_types
        self.max_tokens = max_tokens
        self.use_request_time = use_request_time

        def table(size: int, name: str) -> tf.keras.layers.Embedding:
            start = tf.keras.initializers.RandomNormal(stddev=0.02)
            return tf.keras.layers.Embedding(
                size, embedding_dim, embeddings_initializer=start, name=name
            )

        self.type_table = table(num_event_types + 2, "event_type")
        self.gap_table = table(NUM_GAP_BUCKETS, "gap")
        self.position_table = table(max_tokens, "position")
        self.count_table = table(NUM_COUNT_BUCKETS, "times_seen")
        self.dropout = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        self.dwell_weight = self.add_weight(
            name="dwell", shape=(2,), initializer="zeros"
        )
        super().build(input_shape)

    def call(
        self,
        tokens: Tokens,
        items: tf.Tensor,
        occurrences: Occurrences,
        training: bool = False,
    ) -> tf.Tensor:
        a, b = tf.unstack(tf.cast(self.dwell_weight, items.dtype))
        dwell = tf.cast(tokens.dwell_seconds, items.dtype)
        weight = 2.0 * tf.sigmoid(a * tf.math.log1p(tf.maximum(dwell, 0.0)) + b)
        weight = tf.where(dwell > 0.0, weight, 1.0)
        count = tf.minimum(occurrences.previous_count, NUM_COUNT_BUCKETS - 1)
        event = (
            items * tf.expand_dims(weight, -1)
            + self.type_table(tokens.event_type_index)
            + self.gap_table(self._gaps(tokens))
            + self.position_table(tf.minimum(tokens.positions, self.max_tokens - 1))
            + self.count_table(count)
        )
        return self.dropout(event, training=training)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "num_event_types": self.num_event_types,
            "max_tokens": self.max_tokens,
            "use_request_time": self.use_request_time,
            "dropout": self.dropout.rate,
        }

    def _gaps(self, tokens: Tokens) -> tf.Tensor:
        is_event = tokens.positions > 0
        if self.use_request_time:
            known = is_event & (tokens.timestamps > 0) & (tokens.next_timestamps > 0)
            return gap_bucket(tokens.next_timestamps - tokens.timestamps, known)
        before = tf.pad(tokens.timestamps[:, :-1], [[0, 0], [1, 0]])
        known = (tokens.positions > 1) & (tokens.timestamps > 0) & (before > 0)
        return gap_bucket(tokens.timestamps - before, known)
