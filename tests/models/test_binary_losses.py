import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_loss
from tfrec.models.binary_losses import (
    calibrated_positive_power,
    generalized_bce_loss,
    mask_accidental_hits,
)

RNG = np.random.default_rng(0)
POSITIVE = np.array([0.5, -1.0, 2.0], np.float32)
NEGATIVE = RNG.normal(size=(3, 4)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0]], bool)
WEIGHTS = np.array([1.0, 0.5, 2.0], np.float32)


def brute_force(power: np.ndarray) -> float:
    """The papers' formula, item by item."""

    def sigmoid(x: float) -> float:
        return 1.0 / (1.0 + np.exp(-x))

    total = 0.0
    for p in range(3):
        real = NEGATIVE[p][MASK[p]]
        loss = -np.log(sigmoid(POSITIVE[p]) ** power[p])
        loss -= sum(np.log(1.0 - sigmoid(x)) for x in real)
        total += WEIGHTS[p] * loss / (len(real) + 1)
    return total


def loss_of(power: np.ndarray | None) -> float:
    tensors = map(tf.constant, (POSITIVE, NEGATIVE, MASK, WEIGHTS))
    chosen = None if power is None else tf.constant(power, tf.float32)
    return float(generalized_bce_loss(*tensors, positive_power=chosen))


def test_bce_is_the_sum_of_log_probabilities():
    np.testing.assert_allclose(loss_of(None), brute_force(np.ones(3)), rtol=1e-5)


def test_gbce_raises_the_positive_probability_to_its_power():
    power = np.array([0.25, 0.9, 0.5])
    np.testing.assert_allclose(loss_of(power), brute_force(power), rtol=1e-5)
    assert abs(loss_of(power) - loss_of(None)) > 0.1


def test_bce_keeps_the_contract_of_losses():
    """The positive stands outside the candidates, at a logit that costs nothing."""

    def loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        del labels
        sure = tf.fill([tf.shape(logits)[0]], 200.0)
        return generalized_bce_loss(sure, logits, mask, tf.ones(tf.shape(logits)[0]))

    cells = np.where(MASK, np.log1p(np.exp(NEGATIVE)), 0.0)
    expected = (cells.sum(axis=1) / (1 + MASK.sum(axis=1))).sum()
    check_loss(
        loss,
        logits=NEGATIVE,
        labels=np.zeros_like(NEGATIVE),
        mask=MASK,
        expected=expected,
    )


@pytest.mark.parametrize("power", [1.0, 0.4])
def test_gbce_keeps_the_contract_of_losses(power):
    """The candidate with the label is the positive, the other real ones negatives."""

    def loss(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        chosen = tf.logical_and(labels > 0.0, mask)
        return generalized_bce_loss(
            tf.reduce_sum(tf.where(chosen, logits, 0.0), axis=1),
            logits,
            tf.logical_and(mask, labels == 0.0),
            tf.cast(tf.reduce_any(chosen, axis=1), tf.float32),
            positive_power=tf.fill([tf.shape(logits)[0]], power),
        )

    logits = np.array([[1.0, 0.0, -1.0], [0.5, 1.5, 3.0]])
    softplus = np.log1p(np.exp([-1.0, 0.0, -1.0, -1.5, 0.5]))
    # -power log s(x+) - sum log s(-x-), over the negatives and the positive.
    first = (power * softplus[0] + softplus[1] + np.log1p(np.exp(-1.0))) / 3
    second = (power * softplus[3] + softplus[4]) / 2
    check_loss(
        loss,
        logits=logits,
        labels=np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        mask=np.array([[True, True, True], [True, True, False]]),
        expected=first + second,
    )


@pytest.mark.parametrize("logit", [1e4, -1e4])
def test_extreme_positive_logits_stay_finite(logit):
    positive = tf.constant([logit])
    with tf.GradientTape() as tape:
        tape.watch(positive)
        loss = generalized_bce_loss(
            positive, tf.zeros((1, 1)), tf.zeros((1, 1), tf.bool), tf.ones(1)
        )
    np.testing.assert_allclose(loss, max(-logit, 0.0), rtol=1e-5)
    assert np.isfinite(tf.convert_to_tensor(tape.gradient(loss, positive))).all()


def test_negatives_that_are_the_positive_are_accidental_hits():
    own = mask_accidental_hits(tf.constant([4, 7]), tf.constant([[4, 5], [5, 4]]))
    np.testing.assert_array_equal(own, [[False, True], [True, True]])
    shared = mask_accidental_hits(tf.constant([4, 7]), tf.constant([[7, 4, 9]]))
    np.testing.assert_array_equal(shared, [[True, False, True], [False, True, True]])


@pytest.mark.parametrize("calibration", [0.0, 0.3, 1.0])
def test_power_is_that_of_the_paper(calibration):
    mask = tf.constant([[True, True, True, False], [True, False, False, False]])
    found = calibrated_positive_power(mask, num_items=11, calibration=calibration)
    rate = np.array([3 / 10, 1 / 10])  # Of the 10 items that are not the positive.
    expected = rate * (calibration * (1 - 1 / rate) + 1 / rate)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_full_calibration_recovers_the_probability_without_sampling():
    """With t = 1 the optimal sigmoid of a sampled loss is that over all items.

    An item that is the positive with probability p, and else a negative drawn with
    probability alpha, minimises -p beta log s - (1 - p) alpha log(1 - s) at s = p.
    """
    p, num_items = 0.2, 21
    mask = tf.constant([[True] * 5 + [False] * 3])  # alpha = 5 / 20.
    (beta,) = calibrated_positive_power(
        mask, num_items=num_items, calibration=1.0
    ).numpy()
    s = np.linspace(0.001, 0.999, 999)
    loss = -p * beta * np.log(s) - (1 - p) * 0.25 * np.log(1 - s)
    assert s[loss.argmin()] == pytest.approx(p, abs=0.002)


def test_calibration_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"calibration=1\.5"):
        calibrated_positive_power(
            tf.ones((1, 1), tf.bool), num_items=3, calibration=1.5
        )
