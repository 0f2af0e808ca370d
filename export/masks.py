"""Which places of an answer are filled: masks and top-k over the catalogue."""

import tensorflow as tf

from tfrec.schema import NUM_SPECIAL_INDICES

MISSING_SCORE = float("-inf")


def mask_items(scores: tf.Tensor, item_index: tf.Tensor) -> tf.Tensor:
    """Sets the scores of the given items to -inf.

    A minimum is scattered, of +inf for padding and unknown items, which changes
    nothing: this needs no ragged selection and no `[batch, items, ids]` compare.

    Args:
        scores: float32 `[batch_size, num_items]`; column j is item index j + 2.
        item_index: int32 `[batch_size, num_masked]`; 0 and 1 mask nothing.

    Returns:
        float32 `[batch_size, num_items]`.

    Example:
        >>> mask_items(tf.ones((1, 3)), tf.constant([[3, 1, 0]])).numpy()
        array([[  1., -inf,   1.]], dtype=float32)
    """
    is_item = item_index >= NUM_SPECIAL_INDICES
    column = tf.maximum(item_index - NUM_SPECIAL_INDICES, 0)
    row = tf.range(tf.shape(item_index)[0])[:, tf.newaxis]
    target = tf.stack([tf.broadcast_to(row, tf.shape(column)), column], axis=-1)
    bound = tf.where(is_item, MISSING_SCORE, -MISSING_SCORE)
    return tf.tensor_scatter_nd_min(scores, target, bound)


def top_items(scores: tf.Tensor, num_columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the best scores and their items, ties in catalogue order.

    Args:
        scores: float32 `[batch_size, num_items]`; -inf is masked.
        num_columns: int32 scalar, at most `num_items`.

    Returns:
        float32 and int32 `[batch_size, num_columns]`, scores and item indices;
        the index is 0 where all that is left is masked.
    """
    best, column = tf.math.top_k(scores, num_columns)
    index = tf.where(best > MISSING_SCORE, column + NUM_SPECIAL_INDICES, 0)
    return best, index


def keep_first_k(item_index: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
    """Sets the item indices of row b to 0 from place `k[b]` on.

    Args:
        item_index: int32 `[batch_size, num_columns]`.
        k: int32 `[batch_size]`.

    Returns:
        int32 `[batch_size, num_columns]`.
    """
    place = tf.range(tf.shape(item_index)[1])
    return tf.where(place < k[:, tf.newaxis], item_index, 0)
