"""Losses that ask of every item alone whether it is the next: BCE and gBCE."""

import tensorflow as tf


def mask_accidental_hits(
    positive_item_index: tf.Tensor, negative_item_index: tf.Tensor
) -> tf.Tensor:
    """Returns bool, True for a real negative, False for the positive's own id.

    Args:
        positive_item_index: int32 `[num_positions]`.
        negative_item_index: int32 `[num_positions, num_negatives]`, or
            `[1, num_negatives]` where all positions share them.

    Returns:
        bool `[num_positions, num_negatives]`.

    References:
        - `tf.nn.compute_accidental_hits`, which does the same for sampled classes.

    Example:
        >>> mask_accidental_hits(tf.constant([4, 7]), tf.constant([[7, 5]])).numpy()
        array([[ True,  True],
               [False,  True]])
    """
    return tf.not_equal(positive_item_index[:, tf.newaxis], negative_item_index)


def calibrated_positive_power(
    negative_mask: tf.Tensor, *, num_items: int, calibration: float
) -> tf.Tensor:
    """Returns the power of the positive's probability in gBCE, of each position.

        alpha = number of negatives / (num_items - 1)
        beta  = alpha (t (1 - 1 / alpha) + 1 / alpha) = 1 - t (1 - alpha)

    Few negatives make a model sure of too much: it sees a positive as often as all
    negatives together. t = 0 leaves BCE as it is, t = 1 makes the sigmoid the
    probability that it would be with every item as a negative.

    Args:
        negative_mask: bool `[num_positions, num_negatives]`, True for a real,
            distinct negative.
        num_items: Items of the catalogue.
        calibration: t, in [0, 1].

    Returns:
        float32 `[num_positions]`, beta in (0, 1].

    Raises:
        ValueError: If `calibration` is not in [0, 1].

    Example:
        >>> mask = tf.constant([[True, True, False]])  # 2 of 5 other items.
        >>> calibrated_positive_power(mask, num_items=6, calibration=0.5).numpy()
        array([0.7], dtype=float32)

    References:
        - Petrov, Macdonald, "gSASRec: Reducing Overconfidence in Sequential
          Recommendation Trained with Negative Sampling", RecSys 2023,
          https://arxiv.org/abs/2308.07192.
    """
    if not 0.0 <= calibration <= 1.0:
        raise ValueError(
            f"`calibration` must be in [0, 1]. Received: calibration={calibration}."
        )
    drawn = tf.reduce_sum(tf.cast(negative_mask, tf.float32), axis=1)
    sampling_rate = drawn / tf.constant(float(max(num_items - 1, 1)))
    return 1.0 - calibration * (1.0 - sampling_rate)


def generalized_bce_loss(
    positive_logits: tf.Tensor,
    negative_logits: tf.Tensor,
    negative_mask: tf.Tensor,
    weights: tf.Tensor,
    *,
    positive_power: tf.Tensor | None = None,
) -> tf.Tensor:
    """Sums the (generalised) binary cross-entropy over positions.

        loss = sum_p weights[p] / (n_p + 1)
               (-beta_p log sigmoid(l+_p) - sum_j log(1 - sigmoid(l-_pj)))

    n_p is the number of negatives of the position, beta 1 for plain BCE.

    Args:
        positive_logits: float32 `[num_positions]`.
        negative_logits: float32 `[num_positions, num_negatives]`.
        negative_mask: bool, same shape, True for a real negative; accidental hits
            are False and take no part.
        weights: float32 `[num_positions]`; 0 takes a position out.
        positive_power: float32 `[num_positions]`, beta, see
            `calibrated_positive_power`; None for 1.

    Returns:
        float32 scalar, the weighted sum over positions.

    Example:
        >>> zero, hit = tf.zeros((1, 2)), tf.constant([[True, False]])
        >>> loss = generalized_bce_loss(tf.zeros(1), zero, hit, tf.ones(1))
        >>> print(round(float(loss), 4))  # log 2: as for a coin.
        0.6931

    Relative to the papers: SASRec sums its two terms instead of averaging them, which
    Adam does not notice.

    References:
        - Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018,
          https://arxiv.org/abs/1808.09781 (BCE, one negative).
        - Petrov, Macdonald, RecSys 2023, https://arxiv.org/abs/2308.07192 (gBCE).
    """
    positive = tf.nn.softplus(-positive_logits)
    if positive_power is not None:
        positive *= positive_power
    real = tf.cast(negative_mask, negative_logits.dtype)
    # Zeroed before, not after: the gradient of a masked logit stays finite.
    kept = tf.where(negative_mask, negative_logits, 0.0)
    negative = tf.reduce_sum(tf.nn.softplus(kept) * real, axis=1)
    terms = 1.0 + tf.reduce_sum(real, axis=1)
    return tf.reduce_sum(weights * (positive + negative) / terms)
