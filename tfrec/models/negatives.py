"""Negatives of the sampled losses, and how likely an item is to be one."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tfrec.schema import NUM_SPECIAL_INDICES


class Negatives(NamedTuple):
    """Negatives that all queries of a batch share.

    Attributes:
        item_index: int32 `[num_negatives]`, each item once.
        num_in_batch: int32 scalar, how many were drawn from the targets.
    """

    item_index: tf.Tensor
    num_in_batch: tf.Tensor


def draw_uniform(shape: tf.Tensor | Sequence[int], *, num_items: int) -> tf.Tensor:
    """Returns int32 item indices, each as likely as any other, with replacement.

    Args:
        shape: Of the result, such as `[num_positions, num_negatives]`.
        num_items: Items of the catalogue.
    """
    return NUM_SPECIAL_INDICES + tf.random.uniform(shape, 0, num_items, tf.int32)


def draw_negatives(
    target_items: tf.Tensor, *, num_uniform: int, num_items: int
) -> Negatives:
    """Draws targets of the batch and items of the catalogue, each item kept once.

    The first are popular items, the second reach the whole catalogue. An item drawn
    twice is one negative: its share of the softmax is that of one item.

    Args:
        target_items: int32 `[num_targets]`, item indices.
        num_uniform: Draws from the catalogue, with replacement; also the most draws
            from the targets, without.
        num_items: Items of the catalogue.

    References:
        - Yang et al., "Mixed Negative Sampling for Learning Two-tower Neural Networks
          in Recommendations", WWW 2020.
    """
    num_in_batch = tf.minimum(tf.size(target_items), num_uniform)
    in_batch = tf.random.shuffle(target_items)[:num_in_batch]
    uniform = draw_uniform([num_uniform], num_items=num_items)
    return Negatives(tf.unique(tf.concat([uniform, in_batch], 0))[0], num_in_batch)


def inclusion_probability(
    frequency: tf.Tensor,
    *,
    num_in_batch: tf.Tensor | int,
    num_uniform: int,
    num_items: int,
) -> tf.Tensor:
    """Returns the probability Q that an item is among the negatives.

        Q(i) = 1 - (1 - frequency(i))^num_in_batch (1 - 1 / num_items)^num_uniform

    Args:
        frequency: float32, any shape: the item's share of all training targets,
            below 1.
        num_in_batch: Draws from the targets of a batch.
        num_uniform: Draws from the catalogue.
        num_items: Items of the catalogue; with one item Q is 1.

    Returns:
        float32 of the shape of `frequency`, in (0, 1].

    Example:
        >>> half = tf.constant([0.5])
        >>> inclusion_probability(
        ...     half, num_in_batch=2, num_uniform=1, num_items=4
        ... ).numpy().round(4)  # 1 - 1/4 * 3/4
        array([0.8125], dtype=float32)
    """
    # The logarithm keeps small probabilities that 1 - x would round away.
    log_missed = tf.cast(num_in_batch, tf.float32) * tf.math.log1p(-frequency)
    if num_uniform:
        log_missed += num_uniform * tf.math.log1p(tf.constant(-1.0 / num_items))
    return -tf.math.expm1(log_missed)
