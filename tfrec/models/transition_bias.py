"""Extra logits for items that often came next after the newest ones."""

from typing import Any

import tensorflow as tf

from tfrec.features.followers import NUM_FOLLOWERS, Followers
from tfrec.features.tokens import Tokens
from tfrec.models.repeat_bias import WEIGHT_SCALE, RepeatLogits

NUM_STEPS = 3  # Newest events that are looked at.
_SHRINKAGE = 5.0  # Added to counts below a division: rare pairs prove little.


class TransitionBias(tf.keras.layers.Layer):
    """Scores items by how often they came right after the newest events' items.

        logit(i) = sum_e (v[e] + u . query) log(1 + 100 p(i | item of e)) / 5
        p(i | a) = #(i right after a) / (#(anything after a) + 5)

    over the `NUM_STEPS` newest events, e = 0 the newest; of an item that is there
    twice, the newest alone. v and u are `WEIGHT_SCALE` times the layer's weights, and
    start at 0. Where links lead from item to item, or one thing goes with another,
    that is sharper than the product of two vectors can be: what follows is then one
    of a handful, and towers learn it pair by pair, if at all.

    In training the target's own pair is taken off its count. Without that every pair
    would seem to have been seen before, and rare ones would be trusted.

    Args:
        num_items: Size of the catalogue.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        queries: float `[num_queries, embedding_dim]`.
        query_tokens: int32 `[num_queries]`, place of each query's token in the
            flattened `[num_rows * num_tokens]` tokens.
        tokens: `Tokens`.
        targets: int32 `[num_queries]`, in training the item that came next; None
            otherwise.

    Returns:
        `RepeatLogits` of `NUM_STEPS * NUM_FOLLOWERS` columns.

    References:
        - Rendle et al., "Factorizing Personalized Markov Chains for Next-Basket
          Recommendation", WWW 2010 (a chain beside factors).
    """

    def __init__(self, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items

    def build(self, input_shape: Any) -> None:
        rows = self.num_items + 2

        def fixed(name: str, *shape: int, dtype: Any = tf.float32) -> tf.Variable:
            # Counted, not trained; weights, so that a later catalogue keeps them.
            return self.add_weight(
                name=name,
                shape=shape,
                dtype=dtype,
                initializer="zeros",
                trainable=False,
            )

        self.followers = fixed("followers", rows, NUM_FOLLOWERS, dtype=tf.int32)
        self.count = fixed("count", rows, NUM_FOLLOWERS)
        self.total = fixed("total", rows)
        self.step_weights = self.add_weight(
            name="steps", shape=(NUM_STEPS,), initializer="zeros"
        )
        self.query_weights = self.add_weight(
            name="query", shape=(int(input_shape[-1]),), initializer="zeros"
        )
        super().build(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_items": self.num_items}

    def set_followers(self, followers: Followers) -> None:
        """Sets the counts; the layer must be built."""
        self.followers.assign(followers.item_index)
        self.count.assign(followers.count)
        self.total.assign(followers.total)

    def call(
        self,
        queries: tf.Tensor,
        query_tokens: tf.Tensor,
        tokens: Tokens,
        targets: tf.Tensor | None = None,
    ) -> RepeatLogits:
        num_tokens = tf.shape(tokens.item_index)[1]
        row = query_tokens // num_tokens
        first = row * num_tokens
        place = query_tokens[:, tf.newaxis] - tf.range(NUM_STEPS)
        inside = place >= first[:, tf.newaxis]
        place = tf.maximum(place, first[:, tf.newaxis])
        segments = tf.gather(tf.reshape(tokens.segment_ids, [-1]), place)
        items = tf.gather(tf.reshape(tokens.item_index, [-1]), place)
        inside &= (segments == segments[:, :1]) & (items > 1)
        newer = items[:, :, tf.newaxis] == items[:, tf.newaxis, :]
        newer = tf.linalg.band_part(tf.cast(newer, tf.int32), -1, 0)
        is_first = tf.reduce_sum(newer, axis=2) == 1  # Itself alone.
        items = tf.where(inside & is_first, items, 0)  # [num_queries, NUM_STEPS]
        index = tf.gather(self.followers, items)  # [..., NUM_FOLLOWERS]
        count, total = tf.gather(self.count, items), tf.gather(self.total, items)
        if targets is not None:
            own = tf.cast(
                index[:, :1] == targets[:, tf.newaxis, tf.newaxis], tf.float32
            )
            # Of the newest item only: pairs are of events next to one another.
            own = tf.pad(own, [[0, 0], [0, NUM_STEPS - 1], [0, 0]])
            count = tf.maximum(count - own, 0.0)
        share = count / (total + _SHRINKAGE)[..., tf.newaxis]
        weights = (
            self.step_weights
            + tf.linalg.matvec(tf.cast(queries, tf.float32), self.query_weights)[
                :, tf.newaxis
            ]
        )
        logits = (
            WEIGHT_SCALE * weights[..., tf.newaxis] * tf.math.log1p(100 * share) / 5
        )
        shape = [-1, NUM_STEPS * NUM_FOLLOWERS]
        logits = tf.where(index > 0, logits, 0.0)
        return RepeatLogits(tf.reshape(index, shape), tf.reshape(logits, shape))
