"""Losses of ranking over the candidates of each request, head by head.

All return a `HeadLoss`. Padding and undefined labels change nothing.
"""

from typing import NamedTuple

import tensorflow as tf


class HeadLoss(NamedTuple):
    """A loss as sums per head, so that heads can be weighted.

    Attributes:
        total: float `[num_heads]`, sum of the loss over its terms.
        count: float `[num_heads]`, number of the terms.
    """

    total: tf.Tensor
    count: tf.Tensor

    def mean(self) -> tf.Tensor:
        """Returns float scalar, the mean over the terms of all heads; 0 without any."""
        return tf.math.divide_no_nan(
            tf.reduce_sum(self.total), tf.reduce_sum(self.count)
        )


def pointwise_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    defined: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
) -> HeadLoss:
    """Sums the cross-entropy of each defined label.

        loss = - w y log p - (1 - y) log(1 - p),   p = sigmoid(logit), y in {0, 1}

    With w = 1 / propensity it is the unbiased estimate of Saito et al. without its
    negative part, (1 - w) log(1 - p) at positives: that one has no lower bound. For
    rare events, as clicks are, the difference is small.

    Args:
        labels: float `[batch_size, num_candidates, num_heads]`, 0 or a gain above 0,
            which counts as 1.
        logits: float, same shape.
        defined: bool, same shape; False takes a candidate out.
        weights: float, same shape, of positives, such as 1 / propensity; None: 1.

    Returns:
        A term is one defined label.

    References:
        - Saito et al., "Unbiased Recommender Learning from Missing-Not-At-Random
          Implicit Feedback", WSDM 2020.
    """
    happened = tf.cast(labels > 0.0, logits.dtype)
    terms = tf.nn.sigmoid_cross_entropy_with_logits(happened, logits)
    if weights is not None:
        terms *= tf.where(labels > 0.0, weights, 1.0)
    weight = tf.cast(defined, logits.dtype)
    axes = [0, 1]
    return HeadLoss(tf.reduce_sum(terms * weight, axes), tf.reduce_sum(weight, axes))


def listwise_softmax_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    defined: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
) -> HeadLoss:
    """Sums the softmax cross-entropy of lists.

        loss = sum_c w_c y_c / sum(y) (logsumexp_c' logit_c' - logit_c)

    Args:
        labels: float `[batch_size, num_candidates, num_heads]`, 0 or a gain above 0.
        logits: float, same shape.
        defined: bool, same shape; False takes a candidate out.
        weights: float, same shape, of positives, such as 1 / propensity; None: 1.

    Returns:
        A term is a list with a positive.

    References:
        - Cao et al., "Learning to Rank: From Pairwise Approach to Listwise
          Approach", ICML 2007 (ListNet, top one).
    """
    masked = tf.where(defined, logits, logits.dtype.min)
    log_probability = logits - tf.reduce_logsumexp(masked, axis=1, keepdims=True)
    positive = tf.where(defined, tf.maximum(labels, 0.0), 0.0)
    count = tf.reduce_sum(positive, axis=1)  # [batch_size, num_heads]
    worth = positive if weights is None else positive * weights
    total = tf.reduce_sum(tf.where(defined, log_probability, 0.0) * worth, axis=1)
    per_list = -tf.math.divide_no_nan(total, count)
    return _sum_lists(per_list, count > 0.0)


def pairwise_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    defined: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
) -> HeadLoss:
    """Sums the logistic loss of pairs of a list (RankNet).

        loss = sum_{y_i > y_j} v_ij softplus(logit_j - logit_i) / number of the pairs
        v_ij = w_i (y_i - y_j)

    With labels 0 and 1 every pair counts alike; graded ones weigh it by the
    difference of gains.

    Args:
        labels: float `[batch_size, num_candidates, num_heads]`, 0 or a gain above 0.
        logits: float, same shape.
        defined: bool, same shape; False takes a candidate out.
        weights: float, same shape, of positives, such as 1 / propensity; None: 1.

    Returns:
        A term is a list with at least one pair.

    References:
        - Burges et al., "Learning to rank using gradient descent", ICML 2005.
    """
    gains = tf.where(defined, tf.maximum(labels, 0.0), 0.0)
    better = gains[:, :, tf.newaxis] - gains[:, tf.newaxis]  # [batch, i, j, heads]
    is_pair = (better > 0.0) & defined[:, :, tf.newaxis] & defined[:, tf.newaxis]
    worth = tf.where(is_pair, better, 0.0)
    if weights is not None:
        worth *= weights[:, :, tf.newaxis]
    difference = logits[:, tf.newaxis] - logits[:, :, tf.newaxis]
    terms = tf.nn.softplus(tf.where(is_pair, difference, 0.0)) * worth
    num_pairs = tf.reduce_sum(tf.cast(is_pair, logits.dtype), axis=[1, 2])
    per_list = tf.math.divide_no_nan(tf.reduce_sum(terms, axis=[1, 2]), num_pairs)
    return _sum_lists(per_list, num_pairs > 0.0)


def listmle_loss(
    labels: tf.Tensor,
    logits: tf.Tensor,
    defined: tf.Tensor,
    *,
    weights: tf.Tensor | None = None,
) -> HeadLoss:
    """Sums the negative log-likelihood of the order by relevance (ListMLE).

        loss = sum_{y_i > 0} w_i (logsumexp_{y_j <= y_i} logit_j - logit_i)

    Candidates are drawn one after the other in proportion to exp(logit), the most
    relevant first. For distinct labels, one of them 0, it is ListMLE exactly. Equal
    ones have no order: each is compared with all that are not better (Breslow's
    approximation), and the order among candidates of label 0 does not count.

    Args:
        labels: float `[batch_size, num_candidates, num_heads]`, 0 or a gain above 0.
        logits: float, same shape.
        defined: bool, same shape; False takes a candidate out.
        weights: float, same shape, of positives, such as 1 / propensity; None: 1.

    Returns:
        A term is a list with a positive.

    References:
        - Xia et al., "Listwise approach to learning to rank: theory and
          algorithm", ICML 2008.
        - Breslow, "Covariance Analysis of Censored Survival Data", Biometrics 1974.
    """
    gains = tf.where(defined, tf.maximum(labels, 0.0), 0.0)
    remains = gains[:, tf.newaxis] <= gains[:, :, tf.newaxis]  # [batch, i, j, heads]
    remains &= defined[:, tf.newaxis]
    rivals = tf.where(remains, logits[:, tf.newaxis], logits.dtype.min)
    terms = tf.reduce_logsumexp(rivals, axis=2) - logits
    positive = gains > 0.0
    if weights is not None:
        terms *= weights
    per_list = tf.reduce_sum(tf.where(positive, terms, 0.0), axis=1)
    return _sum_lists(per_list, tf.reduce_any(positive, axis=1))


def regression_loss(
    targets: tf.Tensor, predictions: tf.Tensor, known: tf.Tensor
) -> HeadLoss:
    """Sums half the squared error of one number per candidate.

        loss = (prediction - target)^2 / 2

    Args:
        targets: float `[batch_size, num_candidates]`.
        predictions: float, same shape.
        known: bool, same shape; False takes a candidate out.

    Returns:
        One head; a term is one known target.

    References:
        - Hastie, Tibshirani, Friedman, "The Elements of Statistical Learning", 2nd
          edition, 2009, section 2.4 (squared error estimates the conditional mean).
    """
    error = tf.where(known, predictions - targets, 0.0)
    count = tf.reduce_sum(tf.cast(known, predictions.dtype))
    return HeadLoss(tf.reduce_sum(error**2)[tf.newaxis] / 2.0, count[tf.newaxis])


def graded_labels(labels: tf.Tensor, gains: tf.Tensor) -> tf.Tensor:
    """Makes positives worth the gain of the strongest event that happened.

        gain(c)  = max over heads h that happened of gains[h]
        y_h(c)  <- y_h(c) gain(c) / gains[h]

    The click of an item that was bought so counts more than a mere click.

    Args:
        labels: float `[..., num_heads]`: 1, 0, or -1 undefined.
        gains: float `[num_heads]`, above 0 where a head shall count.

    Returns:
        float, same shape; what is not positive stays.

    References:
        - Järvelin and Kekäläinen, "Cumulated Gain-based Evaluation of IR Techniques",
          ACM TOIS 2002 (graded relevance).
    """
    happened = tf.where(labels > 0.0, gains, 0.0)
    strongest = tf.reduce_max(happened, axis=-1, keepdims=True)
    graded = tf.math.divide_no_nan(strongest, gains)
    return tf.where(labels > 0.0, graded, labels)


def _sum_lists(per_list: tf.Tensor, counts: tf.Tensor) -> HeadLoss:
    """Sums `[batch_size, num_heads]` over the lists that count."""
    count = tf.reduce_sum(tf.cast(counts, per_list.dtype), axis=0)
    return HeadLoss(tf.reduce_sum(per_list, axis=0), count)
