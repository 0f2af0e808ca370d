from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_loss
from tfrec.models.ranking_losses import (
    HeadLoss,
    graded_labels,
    listmle_loss,
    listwise_softmax_loss,
    pairwise_loss,
    pointwise_loss,
    regression_loss,
)

LOSSES = [pointwise_loss, listwise_softmax_loss, pairwise_loss, listmle_loss]
LOGITS = np.array([[2.0, 1.0, 0.0, 5.0], [0.0, 1.0, 3.0, 0.5]])
LABELS = np.array([[1, 0, 1, 0], [0, 1, 0, 0]])
MASK = np.array([[1, 1, 1, 0], [1, 1, 0, 0]], bool)


def softplus(x: np.ndarray | float) -> np.ndarray:
    return np.log1p(np.exp(x))


def one_head(loss: Callable[..., HeadLoss]) -> Callable[..., tf.Tensor]:
    def mean(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        parts = (tf.expand_dims(values, -1) for values in (labels, logits, mask))
        return loss(*parts).mean()

    return mean


def test_pointwise_loss_is_the_mean_cross_entropy_of_defined_labels():
    positives = softplus(-np.array([2.0, 0.0, 1.0])).sum()
    negatives = softplus(np.array([1.0, 0.0])).sum()
    expected = (positives + negatives) / 5
    check_loss(
        one_head(pointwise_loss),
        logits=LOGITS,
        labels=LABELS,
        mask=MASK,
        expected=expected,
    )


def test_listwise_loss_is_the_mean_cross_entropy_over_lists_with_a_positive():
    # Two positives of weight 1/2 each in the first list.
    first = np.log(np.exp([2.0, 1.0, 0.0]).sum()) - (2.0 + 0.0) / 2
    second = np.log(np.exp([0.0, 1.0]).sum()) - 1.0
    check_loss(
        one_head(listwise_softmax_loss),
        logits=LOGITS,
        labels=LABELS,
        mask=MASK,
        expected=(first + second) / 2,
    )


def test_pairwise_loss_is_the_mean_logistic_loss_of_the_pairs_of_a_list():
    first = (softplus(1.0 - 2.0) + softplus(1.0 - 0.0)) / 2
    second = softplus(0.0 - 1.0)
    check_loss(
        one_head(pairwise_loss),
        logits=LOGITS,
        labels=LABELS,
        mask=MASK,
        expected=(first + second) / 2,
    )


def test_listmle_loss_of_two_grades_compares_every_positive_with_all():
    first = 2 * np.log(np.exp([2.0, 1.0, 0.0]).sum()) - (2.0 + 0.0)
    second = np.log(np.exp([0.0, 1.0]).sum()) - 1.0
    check_loss(
        one_head(listmle_loss),
        logits=LOGITS,
        labels=LABELS,
        mask=MASK,
        expected=(first + second) / 2,
    )


def test_listmle_is_the_likelihood_of_drawing_the_list_in_its_order():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 2)).astype(np.float32)
    labels = rng.permuted(np.tile(np.arange(5.0), (3, 2, 1)), axis=2)
    labels = np.moveaxis(labels, 1, 2).astype(np.float32)  # All grades distinct.
    expected = []
    for row in range(3):
        for head in range(2):
            order = np.argsort(-labels[row, :, head])
            likelihood = 1.0
            for place in range(5):
                left = np.exp(logits[row, order[place:], head].astype(np.float64))
                likelihood *= left[0] / left.sum()
            expected.append(-np.log(likelihood))
    loss = listmle_loss(
        tf.constant(labels), tf.constant(logits), tf.ones_like(labels, tf.bool)
    )
    np.testing.assert_allclose(loss.mean(), np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(loss.total[1], np.sum(expected[1::2]), rtol=1e-5)


def test_graded_pairs_count_by_the_difference_of_gains():
    labels = tf.constant([[[4.0], [1.0], [0.0]]])
    logits = tf.constant([[[0.5], [1.0], [-1.0]]])
    defined = tf.ones_like(labels, tf.bool)
    expected = (
        3 * softplus(1.0 - 0.5) + 4 * softplus(-1.0 - 0.5) + 1 * softplus(-1.0 - 1.0)
    ) / 3
    loss = pairwise_loss(labels, logits, defined)
    np.testing.assert_allclose(loss.mean(), expected, rtol=1e-6)


def test_graded_positives_share_the_softmax_by_gain():
    labels = tf.constant([[[3.0], [1.0], [0.0]]])
    logits = tf.constant([[[0.5], [1.0], [-1.0]]])
    log_sum = np.log(np.exp([0.5, 1.0, -1.0]).sum())
    expected = 3 / 4 * (log_sum - 0.5) + 1 / 4 * (log_sum - 1.0)
    loss = listwise_softmax_loss(labels, logits, tf.ones_like(labels, tf.bool))
    np.testing.assert_allclose(loss.mean(), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_heads_do_not_mix(loss):
    rng = np.random.default_rng(2)
    labels = (rng.random((3, 5, 2)) < 0.4).astype(np.float32)
    logits = rng.normal(size=labels.shape).astype(np.float32)
    defined = rng.random(labels.shape) < 0.8
    both = loss(tf.constant(labels), tf.constant(logits), tf.constant(defined))
    for head in range(2):
        part = slice(head, head + 1)
        alone = loss(
            *(tf.constant(values[..., part]) for values in (labels, logits, defined))
        )
        np.testing.assert_allclose(both.total[part], alone.total, rtol=1e-5)
        np.testing.assert_allclose(both.count[part], alone.count)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_positive_that_was_hard_to_see_counts_by_its_weight(loss):
    labels = tf.constant([[[1.0], [0.0], [0.0]], [[0.0], [1.0], [0.0]]])
    logits = tf.constant([[[0.3], [1.0], [-1.0]], [[0.2], [-0.7], [2.0]]])
    defined = tf.ones_like(labels, tf.bool)

    def total(first: float, second: float, *, of_negatives: float = 1.0) -> float:
        weights = np.full((2, 3, 1), of_negatives, np.float32)
        weights[0, 0], weights[1, 1] = first, second
        found = loss(labels, logits, defined, weights=tf.constant(weights))
        return float(found.total[0])

    plain = float(loss(labels, logits, defined).total[0])
    assert total(1.0, 1.0) == pytest.approx(plain, rel=1e-5)
    step = total(2.0, 1.0) - plain  # The loss of the first positive.
    assert step > 0.1
    assert total(5.0, 1.0) - plain == pytest.approx(4 * step, rel=1e-4)
    # Negatives have no weight: who was not seen need not be clicked.
    assert total(1.0, 1.0, of_negatives=7.0) == pytest.approx(plain, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_lists_of_no_batch_have_no_loss(loss):
    empty = tf.zeros((0, 3, 2))
    found = loss(empty, empty, tf.zeros((0, 3, 2), tf.bool))
    assert float(found.mean()) == 0.0


@pytest.mark.parametrize("loss", LOSSES[1:])
def test_lists_without_any_positive_have_no_loss(loss):
    zeros = tf.zeros((2, 3, 1))
    found = loss(zeros, tf.random.stateless_normal((2, 3, 1), (0, 0)), zeros == 0.0)
    assert float(found.mean()) == 0.0
    assert float(found.count[0]) == 0.0


def test_regression_is_half_the_mean_squared_error_of_what_is_known():
    targets = tf.constant([[1.0, 2.0, 99.0]])
    predictions = tf.constant([[1.5, 0.0, 0.0]])
    known = tf.constant([[True, True, False]])
    loss = regression_loss(targets, predictions, known)
    np.testing.assert_allclose(loss.mean(), (0.5**2 + 2.0**2) / 2 / 2)
    nothing = regression_loss(targets, predictions, tf.zeros_like(known))
    assert float(nothing.mean()) == 0.0


def test_a_positive_is_worth_the_strongest_event_that_happened():
    # Heads: view 1, cart 2, purchase 6.
    labels = tf.constant(
        [[[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, -1.0, 1.0], [0.0, 0.0, 0.0]]]
    )
    found = graded_labels(labels, tf.constant([1.0, 2.0, 6.0]))
    expected = [[[1, 0, 0], [2, 1, 0], [6, -1, 1], [0, 0, 0]]]
    np.testing.assert_allclose(found, expected)
