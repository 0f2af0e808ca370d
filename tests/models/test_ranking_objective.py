"""The loss of a ranking model is that of its losses, put together by hand."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import RankingConfig
from tfrec.models.ranking_losses import (
    HeadLoss,
    graded_labels,
    listmle_loss,
    listwise_softmax_loss,
    pairwise_loss,
    pointwise_loss,
)
from tfrec.models.ranking_objective import Outcomes, RankingObjective

TYPES = ("click", "cart", "purchase")
RNG = np.random.default_rng(0)
LOGITS = tf.constant(RNG.normal(size=(3, 5, 3)), tf.float32)
CLICKS = RNG.random((3, 5)) < 0.6
CARTS = CLICKS & (RNG.random((3, 5)) < 0.7)
LABELS = tf.constant(
    np.stack([CLICKS, CARTS, CARTS & (RNG.random((3, 5)) < 0.7)], axis=-1), tf.float32
)
DEFINED = tf.constant(RNG.random((3, 5, 3)) < 0.9)
PROPENSITIES = np.array([[1.0, 0.5, 0.25, 0.05, np.nan]] * 3, np.float32)
OUTCOMES = Outcomes(LABELS, DEFINED, propensities=tf.constant(PROPENSITIES))
NONE = {"pointwise_weight": 0.0, "listwise_weight": 0.0}
LOSSES: dict[str, Callable[..., HeadLoss]] = {
    "pointwise": pointwise_loss,
    "pairwise": pairwise_loss,
    "listwise": listwise_softmax_loss,
    "listmle": listmle_loss,
}
each_loss = pytest.mark.parametrize("name", LOSSES)


def found(**settings: Any) -> float:
    config = RankingConfig.model_validate({**NONE, **settings})
    return float(RankingObjective(config, TYPES).loss(LOGITS, OUTCOMES))


def test_the_losses_differ_here():
    values = [found(**{f"{name}_weight": 1.0}) for name in LOSSES]
    assert len({round(value, 4) for value in values}) == len(values)


@each_loss
def test_each_weight_is_of_its_loss(name: str):
    loss = LOSSES[name](LABELS, LOGITS, DEFINED)
    expected = 0.5 * float(loss.mean())
    assert found(**{f"{name}_weight": 0.5}) == pytest.approx(expected, rel=1e-6)


def test_losses_are_added():
    expected = sum(
        float(loss(LABELS, LOGITS, DEFINED).mean()) for loss in LOSSES.values()
    )
    weights = {f"{name}_weight": 1.0 for name in LOSSES}
    assert found(**weights) == pytest.approx(expected, rel=1e-6)


@each_loss
def test_a_logged_chance_divides_down_to_its_bound(name: str):
    divisors = np.array([1.0, 0.5, 0.25, 0.2, 1.0])  # The last one is not known.
    weights = tf.constant(np.tile((1 / divisors)[:, np.newaxis], (3, 1, 3)), tf.float32)
    expected = LOSSES[name](LABELS, LOGITS, DEFINED, weights=weights).mean()
    settings = {"position_bias": "propensity", "min_propensity": 0.2}
    weighted = found(**settings, **{f"{name}_weight": 1.0})
    assert weighted == pytest.approx(float(expected), rel=1e-6)
    assert weighted != pytest.approx(found(**{f"{name}_weight": 1.0}), rel=1e-3)


@pytest.mark.parametrize("name", ["pairwise", "listwise", "listmle"])
def test_gains_grade_the_losses_of_order(name: str):
    graded = graded_labels(LABELS, tf.constant([1.0, 3.0, 9.0]))
    expected = LOSSES[name](graded, LOGITS, DEFINED).mean()
    settings = {"event_gains": {"cart": 3.0, "purchase": 9.0}, f"{name}_weight": 1.0}
    assert found(**settings) == pytest.approx(float(expected), rel=1e-6)
    assert float(expected) != pytest.approx(found(**{f"{name}_weight": 1.0}), rel=1e-3)


def test_gains_leave_probabilities_alone():
    plain = found(pointwise_weight=1.0)
    assert found(pointwise_weight=1.0, event_gains={"cart": 3.0}) == plain


def test_heads_weigh_what_the_configuration_says():
    loss = pointwise_loss(LABELS, LOGITS, DEFINED)
    weights = np.array([1.0, 0.5, 4.0])
    expected = (loss.total.numpy() * weights).sum() / loss.count.numpy().sum()
    settings = {"pointwise_weight": 1.0, "loss_weights": {"cart": 0.5, "purchase": 4.0}}
    assert found(**settings) == pytest.approx(expected, rel=1e-6)
