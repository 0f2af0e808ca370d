"""What ranking is trained for: losses of all heads, weighted, free of position bias."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.features.request import Leaf
from tfrec.models.examination import ExaminationTower, inverse_propensity
from tfrec.models.ranking_losses import (
    HeadLoss,
    graded_labels,
    listmle_loss,
    listwise_softmax_loss,
    pairwise_loss,
    pointwise_loss,
    regression_loss,
)
from tfrec.models.uncertainty_weights import UncertaintyWeights
from tfrec.task_config import TaskConfig

OrderLoss = Callable[..., HeadLoss]
ORDER_LOSSES: dict[str, OrderLoss] = {
    "pairwise": pairwise_loss,
    "listwise": listwise_softmax_loss,
    "listmle": listmle_loss,
}


class Outcomes(NamedTuple):
    """What became of the candidates of a batch.

    Attributes:
        labels: float `[batch_size, num_candidates, num_heads]`, 1, 0 or -1.
        defined: bool, same shape; False where nothing is to be learned.
        novel: bool `[batch_size, num_candidates]`, False where the history holds the
            candidate; `()` where no loss asks for it.
        positions: int32 `[batch_size, num_candidates]`, 0 unknown, or `()`.
        propensities: float32, same shape, NaN unknown, or `()`.
        dwell_seconds: float32, same shape, 0 unknown, or `()`.
    """

    labels: tf.Tensor
    defined: tf.Tensor
    novel: Leaf = ()
    positions: Leaf = ()
    propensities: Leaf = ()
    dwell_seconds: Leaf = ()


class RankingObjective(tf.keras.layers.Layer):
    """The loss of a ranking model, with what is learned for training alone.

        loss = sum over kinds a_kind mean over terms of w_head term
               + a_dwell (log(1 + dwell) - predicted)^2 / 2

    or, with `uncertainty_weights`, per head instead, see `UncertaintyWeights`. The
    kinds are the losses of `ranking_losses`, and the novel loss: the listwise softmax
    over the candidates N that the history does not hold,

        novel = sum_{c in N} w_c y_c / sum_{c in N} y_c
                (logsumexp_{c' in N} logit_c' - logit_c)

    of lists with a positive in N. Where customers repeat themselves, repeats have the
    greatest logits and say little of the order of what is new; this one leaves them out
    (our own: `listwise_softmax_loss` with fewer candidates).

    Args:
        config: Weights and ways.
        head_types: Event type of each head.
        **kwargs: Passed to `tf.keras.layers.Layer`.
    """

    def __init__(
        self, config: TaskConfig, head_types: Sequence[str], **kwargs: Any
    ) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.settings = config
        self.head_weights = [config.loss_weights.get(t, 1.0) for t in head_types]
        self.gains = [config.event_gains.get(t, 1.0) for t in head_types]
        self.has_dwell = config.dwell_weight > 0.0
        self.examination = (
            ExaminationTower(config.num_positions)
            if config.position_bias == "examination"
            else None
        )
        num_tasks = len(self.head_weights) + self.has_dwell
        self.uncertainty = (
            UncertaintyWeights(num_tasks) if config.uncertainty_weights else None
        )

    def loss(
        self, logits: tf.Tensor, outcomes: Outcomes, log_dwell: Leaf = ()
    ) -> tf.Tensor:
        """Returns the loss of a batch, a float scalar.

        Args:
            logits: float `[batch_size, num_candidates, num_heads]`.
            outcomes: What became of the candidates.
            log_dwell: float `[batch_size, num_candidates]`, predicted log(1 + dwell);
                `()` without that head.
        """
        if self.examination is not None and not isinstance(outcomes.positions, tuple):
            logits = self.examination(logits, outcomes.positions)
        losses = self._weighted_losses(logits, outcomes)
        dwell = None
        if self.has_dwell and not isinstance(outcomes.dwell_seconds, tuple):
            seconds = outcomes.dwell_seconds
            target = tf.math.log1p(tf.maximum(seconds, 0.0))
            dwell = regression_loss(target, log_dwell, seconds > 0.0)
        if self.uncertainty is not None:
            return self._by_uncertainty(self.uncertainty, losses, dwell)
        total = tf.add_n([weight * self._mean(loss) for weight, loss in losses])
        if dwell is not None:
            total += self.settings.dwell_weight * dwell.mean()
        return total

    def _weighted_losses(
        self, logits: tf.Tensor, outcomes: Outcomes
    ) -> list[tuple[float, HeadLoss]]:
        """Returns the losses that count, each with its weight."""
        labels, defined, config = outcomes.labels, outcomes.defined, self.settings
        weights = None
        if config.position_bias == "propensity" and not isinstance(
            outcomes.propensities, tuple
        ):
            weights = inverse_propensity(
                outcomes.propensities, min_propensity=config.min_propensity
            )
            weights = tf.expand_dims(weights, -1) + tf.zeros_like(logits)
        losses = []
        if config.pointwise_weight:
            loss = pointwise_loss(labels, logits, defined, weights=weights)
            losses.append((config.pointwise_weight, loss))
        if config.event_gains:
            labels = graded_labels(labels, tf.constant(self.gains, logits.dtype))
        for name, order_loss in ORDER_LOSSES.items():
            weight = getattr(config, f"{name}_weight")
            if weight:
                loss = order_loss(labels, logits, defined, weights=weights)
                losses.append((weight, loss))
        if config.novel_weight:
            novel = defined & tf.expand_dims(outcomes.novel, -1)
            loss = listwise_softmax_loss(labels, logits, novel, weights=weights)
            losses.append((config.novel_weight, loss))
        return losses

    def _mean(self, loss: HeadLoss) -> tf.Tensor:
        weights = tf.constant(self.head_weights, loss.total.dtype)
        return loss._replace(total=loss.total * weights).mean()

    def _by_uncertainty(
        self,
        uncertainty: UncertaintyWeights,
        losses: list[tuple[float, HeadLoss]],
        dwell: HeadLoss | None,
    ) -> tf.Tensor:
        values = tf.add_n(
            [w * tf.math.divide_no_nan(loss.total, loss.count) for w, loss in losses]
        )
        counts = tf.add_n([loss.count for _, loss in losses])
        weights = list(self.head_weights)
        if self.has_dwell:
            none = tf.zeros([1], values.dtype)
            total, count = (none, none) if dwell is None else dwell
            value = tf.math.divide_no_nan(total, count)
            values = tf.concat([values, self.settings.dwell_weight * value], axis=0)
            counts = tf.concat([counts, count], axis=0)
            weights.append(1.0)
        return uncertainty(values, counts > 0.0, tf.constant(weights, values.dtype))
