"""The funnel: probabilities of stages that presume one another (ESMM)."""

from collections.abc import Sequence

import tensorflow as tf


def and_then(first: tf.Tensor, then: tf.Tensor) -> tf.Tensor:
    """Returns the logit of a product of two probabilities given as logits.

        sigmoid(and_then(a, b)) = sigmoid(a) sigmoid(b)

    Neither small nor large probabilities lose digits: p = p_a p_b is computed as a
    logarithm, and its complement as 1 - p = (1 - p_a) + p_a (1 - p_b), a sum of
    positive terms.

    Args:
        first: float, logits of the first step.
        then: float, logits of the second step if the first happened; same shape.

    Returns:
        float, the same shape.

    Example:
        >>> half = tf.constant([0.0])
        >>> tf.sigmoid(and_then(half, half)).numpy()
        array([0.25], dtype=float32)
    """
    happened = tf.math.log_sigmoid(first)
    missed = tf.math.log_sigmoid(-first)
    missed_later = happened + tf.math.log_sigmoid(-then)
    highest = tf.stop_gradient(tf.maximum(missed, missed_later))
    both = tf.exp(missed - highest) + tf.exp(missed_later - highest)
    return happened + tf.math.log_sigmoid(then) - highest - tf.math.log(both)


def funnel_logits(logits: tf.Tensor, stages: Sequence[int]) -> tf.Tensor:
    """Turns conditional logits of a funnel into those of the probabilities themselves.

        P(stage_k) = prod_{j <= k} sigmoid(logit_j)

    so that P(purchase) = P(click) P(cart | click) P(purchase | cart): every shown item
    says something about the purchase, not only those that were put into the cart, and
    a purchase teaches the click. Probabilities never grow along the funnel.

    Args:
        logits: float `[..., num_heads]`; of a stage, given that the one before
            happened.
        stages: Columns of the stages, in order; the others stay as they are.

    Returns:
        float `[..., num_heads]`, logits of the unconditional probabilities.

    References:
        - Ma et al., "Entire Space Multi-Task Model: An Effective Approach for
          Estimating Post-Click Conversion Rate", SIGIR 2018.
        - Wen et al., "Entire Space Multi-Task Modeling via Post-Click Behavior
          Decomposition for Conversion Rate Prediction", SIGIR 2020 (longer funnels).
    """
    if not stages:
        return logits
    columns = tf.unstack(logits, axis=-1)
    for before, stage in zip(stages, stages[1:], strict=False):
        columns[stage] = and_then(columns[before], columns[stage])
    return tf.stack(columns, axis=-1)


def at_most_before(logits: tf.Tensor, stages: Sequence[int]) -> tf.Tensor:
    """Caps every stage of a funnel by the one before.

    Args:
        logits: float `[..., num_heads]` of unconditional probabilities.
        stages: Columns of the stages, in order; the others stay as they are.

    Returns:
        float `[..., num_heads]`.
    """
    if not stages:
        return logits
    columns = tf.unstack(logits, axis=-1)
    for before, stage in zip(stages, stages[1:], strict=False):
        columns[stage] = tf.minimum(columns[stage], columns[before])
    return tf.stack(columns, axis=-1)


def funnel_labels(labels: tf.Tensor, stages: Sequence[int]) -> tf.Tensor:
    """Makes labels agree with the funnel: what reached a stage reached those before.

    A log need not say so: a cart may follow without a logged click.

    Args:
        labels: int `[..., num_heads]`, 1 happened, 0 did not, -1 undefined.
        stages: Columns of the stages, in order.

    Returns:
        The same shape and type; an undefined or missing stage is 1 if a later one is.
    """
    if not stages:
        return labels
    columns = tf.unstack(labels, axis=-1)
    backwards = list(reversed(stages))
    for later, stage in zip(backwards, backwards[1:], strict=False):
        columns[stage] = tf.where(columns[later] > 0, columns[later], columns[stage])
    return tf.stack(columns, axis=-1)
