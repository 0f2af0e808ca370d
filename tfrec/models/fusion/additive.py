"""Fusion of scores: what speaks for the item plus what speaks for the shopper."""

from typing import Any, ClassVar

import tensorflow as tf

from tfrec.models.fusion.fusion import (
    CANDIDATE,
    QUERY,
    Fields,
    Fusion,
    describes_item,
    width_of,
    with_numbers,
)


@tf.keras.utils.register_keras_serializable(package="tfrec")
class AdditiveFusion(Fusion):
    """Adds a score of item weights and a score of user weights, head by head.

        s(i)   = f_t . W_i + g_t . X_u
        P(i)   = softmax over the candidates i of a request of s(i)
               = exp(s(i)) / sum_j exp(s(j))

        f_t    = [norm(fields of the item), numbers]   of candidate i at time t
        W_i    = W + A item(i)                         item weights
        g_t    = norm(fields of shopper and context)   towards candidate i at time t
        X_u    = X + B query(u)                        user weights

    Item weights come from the item's vector and user weights from the query, so
    that cold items and new shoppers have theirs. W, A, X and B are learned, one set
    a head, and start at 0. Of several interests (`retrieval.num_interests`) the
    query is that of the interest nearest to the candidate: X_u is then X_u(i), and
    candidates of one interest share it.

    It is a score-level fusion: s are the *logits* of the heads, and no dense layer
    comes behind it. The model adds a log p_retrieval(i), one more number of f_t
    whose weight starts at 1.

    The softmax over the candidates is that of the listwise loss, which is
    -log P(clicked), the mean of it where several are:

        loss = sum_j y_j / sum(y) (log sum_i exp(s(i)) - s(j))

    What is the same for all candidates of a request cancels in it: of g_t . X_u the
    parts of `query` and `context_*` neither change the order nor learn from it. They
    say how likely *anything* is clicked, which the pointwise loss and the
    probabilities need. The parts that differ by candidate (`match`, `attended`,
    `last_met`, `times_met`, and of several interests all of X_u(i)) order. Only there
    does a list's other candidates' score enter: s(i) itself depends on candidate i
    alone.

    Arguments and shapes are those of `Fusion`, and:

    Args:
        num_heads: Heads that a logit is given for. At least 1.

    Returns:
        float32 `[batch_size, num_candidates, num_heads]`, logits.

    Raises:
        ValueError: If `num_heads` is less than 1, or a field `query` or `candidate`
            is missing.

    References:
        - The formula is the owner's of this project. As a sum of linear scores under
          a softmax over alternatives it is the conditional logit of McFadden,
          "Conditional logit analysis of qualitative choice behavior", 1973.
        - Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
          Approach", ICML 2007 (softmax over a list as a loss).
    """

    gives_logits: ClassVar[bool] = True

    def __init__(self, dropout: float, *, num_heads: int, **k: Any) -> None:
        super().__init__(dropout, **k)
        if num_heads < 1:
            raise ValueError(
                f"`num_heads` must be at least 1. Received: num_heads={num_heads}."
            )
        self.num_heads = num_heads
        self.shopper_norm = tf.keras.layers.LayerNormalization(epsilon=1e-6)
        # Their widths follow from fields and numbers of the first call.
        self.item_weights: tf.keras.layers.Dense | None = None
        self.user_weights: tf.keras.layers.Dense | None = None

    def build(self, input_shape: Any) -> None:
        missing = {QUERY, CANDIDATE} - set(input_shape)
        if missing:
            raise ValueError(
                "`fields` must hold the vectors that give item and user weights. "
                f"Received: fields={sorted(input_shape)} without {sorted(missing)}."
            )
        super().build(input_shape)

    def call(
        self, fields: Fields, numbers: tf.Tensor, training: bool = False
    ) -> tf.Tensor:
        item = [field for name, field in fields.items() if describes_item(name)]
        rest = [field for name, field in fields.items() if not describes_item(name)]
        of_item = with_numbers(self.normalised(item, training), numbers)
        of_shopper = self.dropout(
            self.shopper_norm(tf.concat(rest, axis=-1)), training=training
        )
        of_shopper = tf.cast(of_shopper, numbers.dtype)
        if self.item_weights is None or self.user_weights is None:
            self.item_weights = self._weights(width_of(of_item))
            self.user_weights = self._weights(width_of(of_shopper))
        item_logits = self._score(of_item, self.item_weights(fields[CANDIDATE]))
        user_weights = self.user_weights(_distinct(fields[QUERY]))
        return item_logits + self._score(of_shopper, user_weights)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_heads": self.num_heads}

    def _weights(self, dim: int) -> tf.keras.layers.Dense:
        return tf.keras.layers.Dense(
            dim * self.num_heads, kernel_initializer="zeros", dtype=tf.float32
        )

    def _score(self, features: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Returns `[batch_size, num_candidates, num_heads]`, features . weights."""
        parts = tf.split(weights, self.num_heads, axis=-1)
        return tf.stack(
            [tf.reduce_sum(features * part, axis=-1) for part in parts], axis=-1
        )


def _distinct(query: tf.Tensor) -> tf.Tensor:
    """Returns the queries that user weights are made of, as few as will do.

    With one interest all candidates of a request have the same query: its weights are
    then made once a request in place of once a candidate, which is most of their cost.

    Args:
        query: float `[batch_size, num_candidates, dim]`.

    Returns:
        float `[batch_size, 1, dim]` if every request has one query, else `query`.
    """
    is_shared = tf.reduce_all(query == query[:, :1])
    return query[:, : tf.where(is_shared, 1, tf.shape(query)[1])]
