"""Extra logits for items that the shopper has met before."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.features.time_buckets import NUM_GAP_BUCKETS, gap_bucket
from tfrec.features.tokens import Occurrences, Tokens
from tfrec.models.event_encoder import NUM_COUNT_BUCKETS

# Adam moves a weight by about the learning rate a step, and these logits have to go
# from 0 to 5 or so: without the factor that alone takes thousands of steps.
WEIGHT_SCALE = 10.0
NUM_STEPS = 32  # Events since; more count as that many.
PAUSE_SECONDS = 1_800  # A usual end of a session.
_RANK = 8  # Kinds of items that come back in their own time.


class RepeatLogits(NamedTuple):
    """Extra logits per query and past event; those of one item add up.

    Attributes:
        item_index: int32 `[num_queries, num_tokens]`, 0 where there is nothing.
        logits: float32 `[num_queries, num_tokens]`; 0 where there is nothing.
    """

    item_index: tf.Tensor
    logits: tf.Tensor


class RepeatBias(tf.keras.layers.Layer):
    """Scores known items by how often, when and how they were last met.

        logit(i) = sum_{m=1..n} f[m] + g[gap since last] + h[type of last]
                   + s[events since last] + w . query
                   + a[pause, type of last, gap since last] . (P item(i), 1)
                                                if i was met n >= 1 times, else 0

    f, g, h, s, w and a are `WEIGHT_SCALE` times the layer's weights. `pause` says
    whether the shopper comes back after `PAUSE_SECONDS` or more. The last term knows
    what no sum of single ones can: that coffee bought three weeks ago is looked up
    again when the next visit begins, and a lamp is not.

    A dot product of two towers can only weakly say "this very item again";
    where shoppers repeat themselves this part says it exactly. All weights
    start at 0.

    Args:
        num_event_types: Event types of the schema.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        queries: float `[num_queries, embedding_dim]`.
        query_tokens: int32 `[num_queries]`, place of each query's token in the
            flattened `[num_rows * num_tokens]` tokens.
        tokens: `Tokens`.
        occurrences: `Occurrences` of the tokens.
        items: float `[num_rows, num_tokens, embedding_dim]`, vectors of the tokens.

    Returns:
        `RepeatLogits`.

    References:
        - Ren et al., "RepeatNet: A Repeat Aware Neural Recommendation Machine
          for Session-based Recommendation", AAAI 2019,
          https://arxiv.org/abs/1812.02646 (the idea of a repeat mode).
        - Hu et al., "Modeling Personalized Item Frequency Information for
          Next-basket Recommendation", SIGIR 2020 (counts and recency).
    """

    def __init__(self, num_event_types: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_event_types = num_event_types

    def build(self, input_shape: Any) -> None:
        def zeros(name: str, *shape: int) -> tf.Variable:
            return self.add_weight(name=name, shape=shape, initializer="zeros")

        self.count_logits = zeros("count", NUM_COUNT_BUCKETS)
        self.gap_logits = zeros("gap", NUM_GAP_BUCKETS)
        self.type_logits = zeros("event_type", self.num_event_types + 2)
        self.step_logits = zeros("steps", NUM_STEPS + 1)
        dim = int(input_shape[-1])
        self.query_weights = zeros("query", dim)
        num_kinds = 2 * (self.num_event_types + 2) * NUM_GAP_BUCKETS
        self.return_weights = zeros("return", num_kinds, _RANK + 1)
        self.item_kernel = self.add_weight(name="item_kernel", shape=(dim, _RANK))
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_event_types": self.num_event_types}

    def call(
        self,
        queries: tf.Tensor,
        query_tokens: tf.Tensor,
        tokens: Tokens,
        occurrences: Occurrences,
        items: tf.Tensor,
    ) -> RepeatLogits:
        num_tokens = tf.shape(tokens.item_index)[1]
        row = query_tokens // num_tokens
        place = query_tokens - row * num_tokens
        columns = tf.range(num_tokens)[tf.newaxis]

        def of_row(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(values, row)  # [num_queries, num_tokens]

        def of_query(values: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.reshape(values, [-1]), query_tokens)[:, tf.newaxis]

        item_index = of_row(tokens.item_index)
        read = columns <= place[:, tf.newaxis]
        read &= of_row(tokens.segment_ids) == of_query(tokens.segment_ids)
        read &= item_index > 1
        is_last = of_row(occurrences.next_place) > place[:, tf.newaxis]
        then, now = of_row(tokens.timestamps), of_query(tokens.next_timestamps)
        gap = gap_bucket(now - then, (then > 0) & (now > 0))
        event_type = of_row(tokens.event_type_index)
        before = of_query(tokens.timestamps)
        pause = (before > 0) & (now - before >= PAUSE_SECONDS)
        kind = tf.cast(pause, tf.int32) * (self.num_event_types + 2) + event_type
        returning = tf.gather(self.return_weights, kind * NUM_GAP_BUCKETS + gap)
        projected = tf.tensordot(tf.cast(items, tf.float32), self.item_kernel, 1)
        projected = tf.pad(projected, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)
        count = tf.minimum(of_row(occurrences.previous_count), NUM_COUNT_BUCKETS - 1)
        steps = tf.clip_by_value(place[:, tf.newaxis] - columns, 0, NUM_STEPS)
        last = (
            tf.gather(self.gap_logits, gap)
            + tf.gather(self.step_logits, steps)
            + tf.gather(self.type_logits, event_type)
            + tf.reduce_sum(returning * of_row(projected), axis=-1)
            + tf.linalg.matvec(tf.cast(queries, tf.float32), self.query_weights)[
                :, tf.newaxis
            ]
        )
        logits = tf.gather(self.count_logits, count) + tf.where(is_last, last, 0.0)
        return RepeatLogits(
            tf.where(read, item_index, 0), tf.where(read, WEIGHT_SCALE * logits, 0.0)
        )
