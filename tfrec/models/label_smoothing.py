"""Label smoothing of the exact softmax, without a pass over its logits."""

import tensorflow as tf


def label_smoothing_term(
    queries: tf.Tensor,
    candidates: tf.Tensor,
    candidate_bias: tf.Tensor,
    positive_columns: tf.Tensor,
    weights: tf.Tensor,
    *,
    repeat_columns: tf.Tensor | None = None,
    repeat_logits: tf.Tensor | None = None,
) -> tf.Tensor:
    """Sums what label smoothing adds to the exact softmax, but for its factor.

    A smoothed label gives epsilon of its mass to all K items alike. Since all labels
    of a position sum to 1, its cross-entropy differs from the plain one by

        epsilon (logit[positive] - mean_j logit[j])

    and the mean of dot products is a dot product with the mean candidate, so that
    no logit of the catalogue is needed: the cost does not grow with positions times
    items. Add `epsilon * term` to `chunked_softmax_loss`.

    Args:
        queries: float32 `[num_positions, dim]`, already divided by the temperature.
        candidates: float32 `[num_items, dim]`.
        candidate_bias: float32 `[num_items]`; items of -inf are no class.
        positive_columns: int32 `[num_positions]`, in `[0, num_items)`.
        weights: float32 `[num_positions]`; 0 takes a position out.
        repeat_columns: int32 `[num_positions, num_repeats]` columns that get an
            extra logit; negative ones are ignored. None for no extra logits.
        repeat_logits: float32, same shape.

    Returns:
        float32 scalar, the weighted sum over positions.

    References:
        - Szegedy et al., "Rethinking the Inception Architecture for Computer
          Vision", CVPR 2016, https://arxiv.org/abs/1512.00567.
    """
    is_class = tf.math.is_finite(candidate_bias)
    share = tf.cast(is_class, tf.float32)
    share /= tf.maximum(tf.reduce_sum(share), 1.0)
    bias = tf.where(is_class, candidate_bias, 0.0)
    mean_candidate = tf.linalg.matvec(candidates, share, transpose_a=True)
    mean_bias = tf.reduce_sum(share * bias)
    direction = tf.gather(candidates, positive_columns) - mean_candidate
    term = tf.reduce_sum(queries * direction, axis=1)
    term += tf.gather(bias, positive_columns) - mean_bias
    if repeat_columns is not None and repeat_logits is not None:
        is_known = repeat_columns >= 0
        of_item = tf.gather(share, tf.maximum(repeat_columns, 0))
        is_positive = tf.equal(repeat_columns, positive_columns[:, tf.newaxis])
        factor = tf.cast(is_positive, tf.float32) - of_item
        extra = tf.where(is_known, repeat_logits, 0.0)
        term += tf.reduce_sum(extra * factor, axis=1)
    return tf.reduce_sum(weights * term)
