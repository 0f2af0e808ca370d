"""The final order of candidates: formulas over probabilities, prices and bids."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.formula import Formula, evaluate, formula_name
from tfrec.order_config import (
    BID,
    BOOST,
    RECOMMEND,
    RETRIEVAL,
    WEIGHT_PREFIX,
    head_weights,
    number_attributes,
    resolve_formulas,
)
from tfrec.schema import NUM_SPECIAL_INDICES, PROBABILITY_SUFFIX

_TINY = float(np.finfo(np.float32).tiny)  # The logarithm of 0 is that of this.


class ScoredCandidates(NamedTuple):
    """What is known of candidates before they are put in order.

    Attributes:
        index: int32 `[batch_size, num_candidates]`, item indices.
        probabilities: Per output name of `Schema.heads` float32, same shape.
        retrieval_scores: float32, same shape, log-probabilities.
    """

    index: tf.Tensor
    probabilities: Mapping[str, tf.Tensor]
    retrieval_scores: tf.Tensor


class OrderWishes(NamedTuple):
    """What requests say about the formula; `None` and empty say nothing.

    Attributes:
        order: string `[batch_size]`, names of formulas; "" is the default.
        weights: Per head, by formula name, float32 `[batch_size]`; NaN says nothing.
        boosts: float32 `[batch_size, num_candidates]`, factors of 0 or more.
        bids: float32 `[batch_size, num_candidates]`; NaN leaves the catalogue's.
    """

    order: tf.Tensor | None = None
    weights: Mapping[str, tf.Tensor] | None = None
    boosts: tf.Tensor | None = None
    bids: tf.Tensor | None = None


class FinalOrder(tf.Module):
    """Computes final scores by formulas that were read from the configuration.

    Formulas know the probability of each head by its event type, `weight_<head>`,
    the probability of retrieval as `retrieval`, the numeric attributes of items by
    their names, and `boost`. The result is multiplied by the request's boost of an
    item (`boosted`), unless the formula says itself what `boost` does.

    Every score is finite: `a / b` is 0 where b is 0, `sqrt` and broken powers
    take what is negative as 0, `log` takes the smallest positive number instead
    of 0, and what exceeds float32 is its greatest number.

    Args:
        formulas: By name.
        default: Name of the formula of a request that names none.
        weights: Weight of each head by formula name.
        numbers: Per name in formulas float `[num_items]`; NaN is missing.
        missing_values: What a missing number counts as, 0 if not named; `boost`: 1.

    Raises:
        ValueError: If `default` is not among `formulas`.
    """

    def __init__(
        self,
        formulas: Mapping[str, Formula],
        *,
        default: str,
        weights: Mapping[str, float],
        numbers: Mapping[str, np.ndarray],
        missing_values: Mapping[str, float],
    ) -> None:
        super().__init__()
        if default not in formulas:
            raise ValueError(
                f"`default` must be one of {sorted(formulas)}. Received: {default!r}."
            )
        self.formulas = dict(formulas)
        self.default = default
        self.weights = dict(weights)
        used = {name for formula in formulas.values() for name in formula.names}
        self._missing = {BOOST: 1.0, **missing_values}
        self._numbers = {
            name: tf.Variable(
                tf.constant(self._table(name, values)),
                trainable=False,
                name=f"number_{name}",
            )
            for name, values in numbers.items()
            if name in used
        }

    @property
    def changes_default(self) -> bool:
        """Whether a plain request gets another order than the model's own."""
        recommend = self.formulas.get(RECOMMEND)
        own = " + ".join(f"{WEIGHT_PREFIX}{head} * {head}" for head in self.weights)
        is_own = recommend is not None and recommend.text == own
        return self.default != RECOMMEND or not is_own

    def default_reads(self, name: str) -> bool:
        """Returns whether the default formula names a number, such as `bid`."""
        return name in self.formulas[self.default].names

    def __call__(
        self, candidates: ScoredCandidates, wishes: OrderWishes | None = None
    ) -> tf.Tensor:
        """Returns finite float32 `[batch_size, num_candidates]`; higher is better.

        Raises:
            tf.errors.InvalidArgumentError: If `wishes.order` names no formula.
        """
        wishes = wishes or OrderWishes()
        values = self._values(candidates, wishes)
        if wishes.order is None:
            return self._score(self.default, values, wishes, candidates)
        names = tf.where(tf.equal(wishes.order, ""), self.default, wishes.order)
        known = list(self.formulas)
        is_named = tf.equal(names[:, tf.newaxis], tf.constant(known))  # [batch, names]
        check = tf.debugging.assert_equal(
            tf.reduce_any(is_named, axis=1),
            True,
            message=f"`order` must be one of {sorted(known)}, or empty",
        )
        with tf.control_dependencies([] if check is None else [check]):
            total = tf.zeros_like(candidates.retrieval_scores)
        for column, name in enumerate(known):
            score = self._score(name, values, wishes, candidates)
            total = tf.where(is_named[:, column, tf.newaxis], score, total)
        return total

    def _table(self, name: str, values: np.ndarray) -> np.ndarray:
        """Returns float32 `[num_items + 2]`, finite."""
        missing = self._missing.get(name, 0.0)
        filled = np.where(np.isfinite(values), values, missing)
        special = np.full(NUM_SPECIAL_INDICES, missing)
        limit = np.finfo(np.float32).max
        table = np.clip(np.concatenate([special, filled]), -limit, limit)
        return table.astype(np.float32)

    def _values(
        self, candidates: ScoredCandidates, wishes: OrderWishes
    ) -> dict[str, tf.Tensor]:
        values = {
            name: tf.gather(table, candidates.index)
            for name, table in self._numbers.items()
        }
        boosts = wishes.boosts
        one = tf.ones_like(candidates.retrieval_scores)
        values[BOOST] = values.get(BOOST, one) * (one if boosts is None else boosts)
        if wishes.bids is not None:
            bid = values.get(BID, one * self._missing.get(BID, 0.0))
            values[BID] = tf.where(tf.math.is_nan(wishes.bids), bid, wishes.bids)
        elif BID not in values:
            values[BID] = one * self._missing.get(BID, 0.0)
        values[RETRIEVAL] = tf.exp(candidates.retrieval_scores)
        for output_name, probability in candidates.probabilities.items():
            head = formula_name(output_name.removesuffix(PROBABILITY_SUFFIX))
            values[head] = probability
            values[WEIGHT_PREFIX + head] = self._weight(head, wishes)
        return values

    def _weight(self, head: str, wishes: OrderWishes) -> tf.Tensor:
        configured = tf.constant(self.weights[head], tf.float32)
        if wishes.weights is None:
            return configured
        said = wishes.weights[head][:, tf.newaxis]  # [batch_size, 1]
        return tf.where(tf.math.is_finite(said), said, configured)

    def _score(
        self,
        name: str,
        values: Mapping[str, tf.Tensor],
        wishes: OrderWishes,
        candidates: ScoredCandidates,
    ) -> tf.Tensor:
        formula = self.formulas[name]
        score = evaluate(formula.expression, values, _OPERATIONS)
        score = tf.broadcast_to(score, tf.shape(candidates.retrieval_scores))
        if wishes.boosts is not None and BOOST not in formula.names:
            score = boosted(score, wishes.boosts)
        score = tf.where(tf.math.is_nan(score), score.dtype.min, score)
        return tf.clip_by_value(score, score.dtype.min, score.dtype.max)


def boosted(scores: tf.Tensor, boosts: tf.Tensor) -> tf.Tensor:
    """Multiplies scores; divides those below 0, so that a boost above 1 always raises.

    Args:
        scores: float32 `[batch_size, num_candidates]`.
        boosts: float32, same shape, 0 or more; 0 puts an item behind all others.

    Returns:
        float32, same shape.
    """
    raised = tf.where(
        scores >= 0.0, scores * boosts, tf.math.divide_no_nan(scores, boosts)
    )
    return tf.where(boosts == 0.0, scores.dtype.min, raised)


def build_final_order(
    config: ExperimentConfig, dataset: PreparedDataset
) -> FinalOrder | None:
    """Builds the final order of an experiment; None without a ranking model.

    Args:
        config: Formulas and head weights.
        dataset: Gives the numbers of the catalogue.
    """
    if config.ranking is None:
        return None
    schema, settings = config.experiment_schema, config.ranking.final_order
    return FinalOrder(
        resolve_formulas(settings, schema),
        default=settings.default,
        weights=head_weights(config.ranking.head_weights, schema),
        numbers={
            name: dataset.items[attribute]
            .to_numpy(zero_copy_only=False)
            .astype(np.float64)
            for name, attribute in number_attributes(schema).items()
        },
        missing_values=settings.missing_values,
    )


def own_final_order(
    config: ExperimentConfig, dataset: PreparedDataset
) -> FinalOrder | None:
    """Returns the final order if plain requests need it, else None.

    The preset `recommend` is what the ranking model computes by itself.
    """
    order = build_final_order(config, dataset)
    return order if order is not None and order.changes_default else None


def listed_values(
    candidate_index: tf.Tensor,
    listed_index: tf.Tensor,
    values: tf.Tensor,
    *,
    default: float,
) -> tf.Tensor:
    """Looks candidates up in a request's own list of items and numbers.

    Args:
        candidate_index: int32 `[batch_size, num_candidates]`.
        listed_index: int32 `[batch_size, num_listed]`; 0 and 1 name no item.
        values: float32 `[batch_size, num_listed]`; those that are not finite say
            nothing.
        default: For candidates that are not listed.

    Returns:
        float32 `[batch_size, num_candidates]`; of an item that is listed twice, the
        last.
    """
    real = (listed_index >= NUM_SPECIAL_INDICES) & tf.math.is_finite(values)
    same = candidate_index[:, :, tf.newaxis] == listed_index[:, tf.newaxis]
    same &= real[:, tf.newaxis]  # [batch_size, num_candidates, num_listed]
    place = tf.range(1, tf.shape(listed_index)[1] + 1)
    last = tf.maximum(tf.reduce_max(tf.where(same, place, 0), axis=2), 0)
    padded = tf.pad(values, [[0, 0], [1, 0]], constant_values=default)
    return tf.gather(padded, last, batch_dims=1)


def _power(base: Any, exponent: float) -> Any:
    if exponent < 0.0:
        return tf.math.divide_no_nan(1.0, _power(base, -exponent))
    whole = float(exponent).is_integer()
    return tf.pow(base if whole else tf.maximum(base, 0.0), exponent)


def _divide(numerator: Any, denominator: Any) -> Any:
    numerator = tf.convert_to_tensor(numerator, tf.float32)
    return tf.math.divide_no_nan(numerator, denominator)


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": _divide,
    "power": _power,
    "negate": lambda a: -a,
    "abs": tf.abs,
    "exp": tf.exp,
    "log": lambda a: tf.math.log(tf.maximum(a, _TINY)),
    "log1p": lambda a: tf.math.log(tf.maximum(1.0 + a, _TINY)),
    "sqrt": lambda a: tf.sqrt(tf.maximum(a, 0.0)),
    "max": tf.maximum,
    "min": tf.minimum,
}
