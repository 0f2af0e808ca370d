"""Sampled softmax, and the correction of what sampling does to it (logQ)."""

import tensorflow as tf

from tfrec.models.interest_scores import catalogue_scores, paired_scores


def correct_logits(
    logits: tf.Tensor,
    candidate_sampling_probability: tf.Tensor,
    *,
    min_probability: float = 1e-6,
) -> tf.Tensor:
    """Removes the sampling bias of negatives from logits (logQ).

    A sampled negative is drawn more often the more popular its item is, so a
    plain softmax over samples pushes popular items down too far. Subtracting
    the log of the sampling probability makes it an estimate of the full softmax:

        corrected[i, j] = logits[i, j] - log(probability[j])

    Use it in training only: at serving time nothing is sampled.

    Args:
        logits: float `[batch_size, num_candidates]`, already divided by the
            temperature.
        candidate_sampling_probability: float `[num_candidates]`, each in (0, 1].
        min_probability: Lower bound applied before the logarithm, so that an
            item missing from the counts cannot give an infinite logit.

    Returns:
        float `[batch_size, num_candidates]`, the dtype of `logits`.

    Raises:
        ValueError: If `min_probability` is not in (0, 1].

    Example:
        >>> p = tf.constant([1.0, 0.5])
        >>> correct_logits(tf.zeros((1, 2)), p).numpy().round(4)
        array([[0.    , 0.6931]], dtype=float32)

    References:
        - Yi et al., "Sampling-bias-corrected neural modeling for large corpus
          item recommendations", RecSys 2019.
    """
    if not 0.0 < min_probability <= 1.0:
        raise ValueError(
            "`min_probability` must be in (0, 1]. "
            f"Received: min_probability={min_probability}."
        )
    probability = tf.clip_by_value(candidate_sampling_probability, min_probability, 1.0)
    return logits - tf.math.log(tf.cast(probability, logits.dtype))


def sampled_softmax_loss(
    queries: tf.Tensor,
    positives: tf.Tensor,
    negatives: tf.Tensor,
    *,
    positive_item_index: tf.Tensor,
    negative_item_index: tf.Tensor,
    positive_probability: tf.Tensor,
    negative_probability: tf.Tensor,
    weights: tf.Tensor,
) -> tf.Tensor:
    """Sums the softmax cross-entropy over each positive and shared negatives.

        l+    = q . c+ - log Q(c+);   l-_j = q . c-_j - log Q(c-_j)
        loss  = sum_p weights[p] (log(exp l+ + sum_j exp l-_j) - l+)

    Accidental hits, negatives with the positive's id, are masked out.

    Args:
        queries: float `[num_positions, dim]`, already divided by the temperature; or
            `[num_positions, num_interests, dim]`, of which the highest logit counts.
        positives: float `[num_positions, dim]`.
        negatives: float `[num_negatives, dim]`, shared by all positions.
        positive_item_index: int32 `[num_positions]`.
        negative_item_index: int32 `[num_negatives]`.
        positive_probability: float `[num_positions]`, Q of each positive.
        negative_probability: float `[num_negatives]`, Q of each negative.
        weights: float `[num_positions]`; 0 takes a position out.

    Returns:
        float scalar, the weighted sum over positions.

    References:
        - Bengio, Senecal, "Adaptive Importance Sampling to Accelerate Training of
          a Neural Probabilistic Language Model", 2008.
        - Yi et al., RecSys 2019 (logQ).
    """
    positive_logits = paired_scores(queries, positives)[:, tf.newaxis]
    negative_logits = catalogue_scores(queries, negatives)
    logits = tf.concat(
        [
            positive_logits - _log_probability(positive_probability)[:, tf.newaxis],
            correct_logits(negative_logits, negative_probability),
        ],
        axis=1,
    )
    hit = tf.equal(positive_item_index[:, tf.newaxis], negative_item_index)
    hit = tf.pad(hit, [[0, 0], [1, 0]])
    logits = tf.where(hit, logits.dtype.min, logits)
    labels = tf.zeros(tf.shape(logits)[0], tf.int32)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    return tf.reduce_sum(losses * weights)


def _log_probability(probability: tf.Tensor) -> tf.Tensor:
    """The same clipped log as `correct_logits`, for one column of logits."""
    return -correct_logits(tf.zeros_like(probability), probability)
