"""Keeps new items where retrieval put them when the known ones are ranked."""

import numpy as np
import tensorflow as tf

_STEP = float(np.finfo(np.float32).eps)  # Between new items of one place, relative.
_LEAST = 1e-6  # Taken for a score of 0, so that there is room around it.


def keep_places(
    scores: tf.Tensor,
    retrieval_scores: tf.Tensor,
    *,
    is_known: tf.Tensor,
    is_new: tf.Tensor,
) -> tf.Tensor:
    """Scores new candidates so that as many known ones are ahead as in retrieval.

    Most of what a ranking model knows is what shoppers did with an item. Of one that
    nobody has met it says that nobody wants it. How much room new items get was decided
    in retrieval; here only the known ones are put in order, around them.

    A new candidate with n known ones ahead of it in retrieval gets a score just above
    that of the (n + 1)-th best known one; those of one n follow in the order of
    retrieval. Behind all known ones it gets half of the least score. Its score so
    belongs to this list alone. Without a known candidate nothing is changed.

    Args:
        scores: float32 `[batch_size, num_candidates]`, finite.
        retrieval_scores: float32, same shape, finite.
        is_known: bool, same shape, items that training saw.
        is_new: bool, same shape, items that it did not; neither is no item.

    Returns:
        float32, same shape; scores of other candidates are unchanged.
    """
    lowest = scores.dtype.min
    best = tf.sort(tf.where(is_known, scores, lowest), direction="DESCENDING")
    best = tf.pad(best, [[0, 0], [0, 1]])  # There may be no candidate.
    num_known = tf.math.count_nonzero(is_known, 1, keepdims=True, dtype=tf.int32)
    last = tf.maximum(num_known - 1, 0)
    # Level with a known one it comes behind: a tie is no reason to be shown.
    num_ahead = _count_from(retrieval_scores, is_known)
    least = tf.gather(best, last, batch_dims=1)
    below_all = least - tf.maximum(tf.abs(least), _LEAST) / 2.0
    behind = tf.gather(best, tf.minimum(num_ahead, last), batch_dims=1)
    behind = tf.where(num_ahead < num_known, behind, below_all)
    num_new = tf.math.count_nonzero(is_new, 1, keepdims=True, dtype=tf.int32)
    steps = 1 + num_new - _count_from(retrieval_scores, is_new)
    steps = tf.cast(steps, scores.dtype)
    moved = behind + tf.maximum(tf.abs(behind), _LEAST) * _STEP * steps
    return tf.where(is_new & (num_known > 0), moved, scores)


def _count_from(values: tf.Tensor, chosen: tf.Tensor) -> tf.Tensor:
    """Returns int32 `[batch_size, n]`: how many chosen values are as great or more."""
    ascending = tf.sort(tf.where(chosen, values, values.dtype.min))
    return tf.shape(values)[1] - tf.searchsorted(ascending, values, side="left")
