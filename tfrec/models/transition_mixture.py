"""What came next after the newest items, mixed with the softmax of the towers."""

from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.features.followers import NUM_FOLLOWERS, Followers
from tfrec.features.tokens import Tokens
from tfrec.models.repeat_bias import WEIGHT_SCALE
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX

NUM_STEPS = 3  # Newest events that are looked at.
_SHRINKAGE = 5.0  # Added to counts below a division: rare pairs prove little.
_LEAST_MASS = float(np.finfo(np.float32).tiny)
_LOG_NOTHING = -1e9  # Log of the mass of what never came next.
_MOST = 0.999  # Of the probability that transitions may have together.
_START = -2.0  # Logit of a step before training: an eighth of the softmax's share.


class Transitions(NamedTuple):
    """The part of a query's distribution that transitions are, and what is left.

    Attributes:
        item_index: int32 `[num_queries, NUM_STEPS * NUM_FOLLOWERS]`, 0 where there
            is nothing. An item may be there more than once; its parts add up.
        probability: float32, same shape; 0 where there is nothing.
        log_softmax_share: float32 `[num_queries]`, log of 1 minus the sum of them.
    """

    item_index: tf.Tensor
    probability: tf.Tensor
    log_softmax_share: tf.Tensor

    def log_mass(self, targets: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[num_queries]`, the log of what one item of each query has.

        It is finite, `_LOG_NOTHING` where the item has nothing.

        Args:
            targets: int32 `[num_queries]`, item index.
        """
        is_target = tf.equal(self.item_index, targets[:, tf.newaxis])
        mass = tf.reduce_sum(tf.where(is_target, self.probability, 0.0), axis=1)
        log_mass = tf.math.log(tf.maximum(mass, _LEAST_MASS))
        return tf.where(mass > 0.0, log_mass, _LOG_NOTHING)

    def without(self, is_left_out: tf.Tensor) -> "Transitions":
        """Returns the same with nothing for some items.

        Args:
            is_left_out: bool `[num_items + 2]`, by item index.
        """
        left_out = tf.gather(is_left_out, self.item_index)
        return self._replace(probability=tf.where(left_out, 0.0, self.probability))

    def mixed_with(self, log_softmax: tf.Tensor) -> tf.Tensor:
        """Returns the log-probabilities of the whole mixture.

        Args:
            log_softmax: float32 `[num_queries, num_items]`, log-probabilities of the
                softmax; items of -inf stay out of it, whatever they came after.

        Returns:
            float32, same shape.
        """
        same = tf.equal(
            self.item_index[:, :, tf.newaxis], self.item_index[:, tf.newaxis]
        )
        mass = tf.linalg.matvec(tf.cast(same, tf.float32), self.probability)
        columns = tf.maximum(self.item_index - NUM_SPECIAL_INDICES, 0)
        own = tf.gather(log_softmax, columns, batch_dims=1)
        own += self.log_softmax_share[:, tf.newaxis]
        # Once per item: what is written twice would get its gradient twice.
        is_first = tf.argmax(
            tf.cast(same, tf.int32), axis=2, output_type=tf.int32
        ) == tf.range(tf.shape(same)[1])
        is_mixed = is_first & (mass > 0.0) & tf.math.is_finite(own)
        places = tf.where(is_mixed)  # [num_mixed, 2]
        column = tf.cast(tf.gather_nd(columns, places), tf.int64)
        parts = [tf.gather_nd(own, places), tf.math.log(tf.gather_nd(mass, places))]
        return tf.tensor_scatter_nd_update(
            log_softmax + self.log_softmax_share[:, tf.newaxis],
            tf.stack([places[:, 0], column], axis=1),
            tf.reduce_logsumexp(tf.stack(parts), axis=0),
        )


class TransitionMixture(tf.keras.layers.Layer):
    """Gives a share of the probability to what came right after the newest items.

        P(i)     = (1 - sum_e w_e sum_j p_e(j)) softmax(i) + sum_e w_e p_e(i)
        w        = softmax(0, ..., v[e] + U[e] . query, ...)
        p_e(i)   = #(i right after a_e) / (#(anything after a_e) + 5)

    over the items a_e of the `NUM_STEPS` newest events, e = 1 the newest; of an item
    that is there twice, the newest alone. Counts are kept of the `NUM_FOLLOWERS` most
    frequent followers of an item; what the others would have is the softmax's.
    `softmax` is that of the towers with all extra logits. v and U are `WEIGHT_SCALE`
    times the layer's weights, v from -2 on.

    Where links lead from item to item, or one thing goes with another, what follows
    is one of a handful. Towers learn that pair by pair, if at all; extra logits would
    have to outweigh whatever the towers say of these items and of all others. In a
    mixture each part is right on its own: what the counts explain is taken off what
    the towers have to learn, and they are asked for the rest.

    In training the target's own pair is taken off its counts, where it is in them: the
    first target behind a query comes right after its newest known item, what is asked
    for in the same place after it (the rest of a basket) does not. Without that every
    pair would seem to have been seen before, and rare ones would be trusted.

    Args:
        num_items: Size of the catalogue.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        queries: float `[num_queries, embedding_dim]`.
        query_tokens: int32 `[num_queries]`, place of each query's token in the
            flattened `[num_rows * num_tokens]` tokens.
        tokens: `Tokens`.
        targets: int32 `[num_queries]`, in training the item that is asked for; None
            otherwise. Queries of one place stand together, in the order of the log.

    Returns:
        `Transitions`.

    References:
        - Rendle et al., "Factorizing Personalized Markov Chains for Next-Basket
          Recommendation", WWW 2010 (a chain beside factors).
        - See et al., "Get To The Point: Summarization with Pointer-Generator
          Networks", ACL 2017, https://arxiv.org/abs/1704.04368 (a gate that the
          query sets between a softmax and a distribution over few items).
    """

    def __init__(self, num_items: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_items = num_items

    def build(self, input_shape: Any) -> None:
        rows = self.num_items + NUM_SPECIAL_INDICES

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
            name="steps",
            shape=(NUM_STEPS,),
            initializer=tf.keras.initializers.Constant(_START / WEIGHT_SCALE),
        )
        self.query_weights = self.add_weight(
            name="query", shape=(int(input_shape[-1]), NUM_STEPS), initializer="zeros"
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
        *,
        targets: tf.Tensor | None = None,
    ) -> Transitions:
        items = _newest_items(query_tokens, tokens)
        index = tf.gather(self.followers, items)  # [..., NUM_STEPS, NUM_FOLLOWERS]
        count, total = tf.gather(self.count, items), tf.gather(self.total, items)
        if targets is not None:
            own = _own_pairs(query_tokens, items, targets)
            is_target = tf.equal(index, targets[:, tf.newaxis, tf.newaxis])
            count -= own[:, :, tf.newaxis] * tf.cast(is_target, tf.float32)
            # Not below 0: an event may have been moved, or come from another split.
            count, total = tf.maximum(count, 0.0), tf.maximum(total - own, 0.0)
        probability = count / (total + _SHRINKAGE)[:, :, tf.newaxis]
        probability *= self._weights(queries, items)[:, :, tf.newaxis]
        probability = tf.where(index > 0, probability, 0.0)
        taken = tf.reduce_sum(probability, axis=[1, 2])
        shape = [-1, NUM_STEPS * NUM_FOLLOWERS]
        return Transitions(
            tf.reshape(index, shape),
            tf.reshape(probability, shape),
            tf.math.log1p(-tf.minimum(taken, _MOST)),
        )

    def _weights(self, queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """Returns float32 `[num_queries, NUM_STEPS]`; the rest is the softmax's."""
        asked = tf.matmul(tf.cast(queries, tf.float32), self.query_weights)
        logits = WEIGHT_SCALE * (self.step_weights + asked)
        logits = tf.where(items > 0, logits, logits.dtype.min)
        return tf.nn.softmax(tf.pad(logits, [[0, 0], [1, 0]]))[:, 1:]


def _newest_items(query_tokens: tf.Tensor, tokens: Tokens) -> tf.Tensor:
    """Returns int32 `[num_queries, NUM_STEPS]`, the newest first; 0 for none.

    An item that is there twice stands where it is newest, events without a known item
    are 0.
    """
    num_tokens = tf.shape(tokens.item_index)[1]
    first = query_tokens // num_tokens * num_tokens
    place = query_tokens[:, tf.newaxis] - tf.range(NUM_STEPS)
    inside = place >= first[:, tf.newaxis]
    place = tf.maximum(place, first[:, tf.newaxis])
    segments = tf.gather(tf.reshape(tokens.segment_ids, [-1]), place)
    items = tf.gather(tf.reshape(tokens.item_index, [-1]), place)
    inside &= (segments == segments[:, :1]) & (items > OOV_INDEX)
    newer = items[:, :, tf.newaxis] == items[:, tf.newaxis, :]
    newer = tf.linalg.band_part(tf.cast(newer, tf.int32), -1, 0)
    is_first = tf.reduce_sum(newer, axis=2) == 1  # Itself alone.
    return tf.where(inside & is_first, items, 0)


def _own_pairs(
    query_tokens: tf.Tensor, items: tf.Tensor, targets: tf.Tensor
) -> tf.Tensor:
    """Returns float32 `[num_queries, NUM_STEPS]`, 1 at the counted pair of a target.

    It is that of the newest known item, unless the target is that item again.
    """
    known = items > 0
    is_newest = known & (tf.cumsum(tf.cast(known, tf.int32), axis=1) == 1)
    is_next = tf.not_equal(query_tokens[1:], query_tokens[:-1])
    is_next = tf.pad(is_next, [[1, 0]], constant_values=True)
    is_next = is_next[: tf.shape(query_tokens)[0]]  # Of no query there is none.
    is_other = items != targets[:, tf.newaxis]
    return tf.cast(is_newest & is_next[:, tf.newaxis] & is_other, tf.float32)
