"""What requests say about formulas, weights, boosts and bids, inside the graph."""

from collections.abc import Mapping

import tensorflow as tf

from tfrec.features.lookup import VocabularyLookup
from tfrec.models.final_order import (
    FinalOrder,
    OrderWishes,
    ScoredCandidates,
    boosted,
    listed_values,
)
from tfrec.order_config import BID, BOOST
from tfrec.schema import (
    BID_ITEM_IDS,
    BIDS,
    BOOST_FACTORS,
    BOOST_ITEM_IDS,
    ORDER,
    WEIGHT_PREFIX,
    RequestRule,
    Schema,
)


class RequestOrdering:
    """Scores candidates anew where a request says something about the order.

    A row that asks for a formula or weights is scored by the formula, and so is one
    with bids or boosts where the default formula reads them. Boosts of another row
    multiply the scores of the recommender, so that new items stay where it has put
    them (`keep_places`). Where no row of the batch says anything, nothing is computed;
    a row that does not keeps the scores of the recommender bit by bit.

    Args:
        final_order: The formulas; None where the schema has no rule about them.
        schema: Says which rules there are.
        items: Looks up item ids.

    Raises:
        ValueError: If there are rules and no formulas.
    """

    def __init__(
        self,
        final_order: FinalOrder | None,
        schema: Schema,
        *,
        items: VocabularyLookup,
    ) -> None:
        if schema.order_features and final_order is None:
            raise ValueError(
                "`final_order` must be given where `schema.rules` has rules about "
                f"formulas. Received: None, rules={list(schema.rules)}."
            )
        self._final_order = final_order
        self._items = items
        self._rules = schema.rules
        self._heads = schema.head_names
        self._is_used = bool(schema.order_features)

    def scores(
        self,
        raw: Mapping[str, tf.Tensor],
        candidates: ScoredCandidates,
        scores: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the scores as the request wants them.

        Args:
            raw: Inputs of the signature by name.
            candidates: What the formulas read.
            scores: float32 `[batch_size, num_candidates]` of the recommender.
        """
        final_order = self._final_order
        if final_order is None or not self._is_used:
            return scores
        has_boosts = self._lists(raw, RequestRule.BOOST, BOOST_ITEM_IDS)
        has_bids = self._lists(raw, RequestRule.BIDS, BID_ITEM_IDS)
        wants_formula = self._wants_formula(
            final_order, raw, has_boosts=has_boosts, has_bids=has_bids
        )

        def computed() -> tf.Tensor:
            wishes = self._wishes(raw, candidates.index)
            own = scores
            if wishes.boosts is not None:
                own = tf.where(
                    has_boosts[:, tf.newaxis], boosted(scores, wishes.boosts), scores
                )
            by_formula = final_order(candidates, wishes)
            return tf.where(wants_formula[:, tf.newaxis], by_formula, own)

        says = wants_formula | has_boosts | has_bids
        return tf.cond(tf.reduce_any(says), computed, lambda: scores)

    def _wants_formula(
        self,
        final_order: FinalOrder,
        raw: Mapping[str, tf.Tensor],
        *,
        has_boosts: tf.Tensor,
        has_bids: tf.Tensor,
    ) -> tf.Tensor:
        """Returns bool `[batch_size]`."""
        said = [tf.zeros_like(has_boosts)]
        if RequestRule.ORDER in self._rules:
            said.append(tf.not_equal(raw[ORDER], ""))
        if RequestRule.WEIGHTS in self._rules:
            said += [tf.math.is_finite(raw[WEIGHT_PREFIX + h]) for h in self._heads]
        if final_order.default_reads(BOOST):
            said.append(has_boosts)
        if final_order.default_reads(BID):
            said.append(has_bids)
        return tf.reduce_any(tf.stack(said), axis=0)

    def _lists(
        self, raw: Mapping[str, tf.Tensor], rule: RequestRule, name: str
    ) -> tf.Tensor:
        """Returns bool `[batch_size]`: which rows name an item there."""
        if rule not in self._rules:
            return tf.zeros(tf.shape(next(iter(raw.values())))[:1], tf.bool)
        return tf.reduce_any(tf.not_equal(raw[name], ""), axis=1)

    def _wishes(self, raw: Mapping[str, tf.Tensor], index: tf.Tensor) -> OrderWishes:
        wishes = OrderWishes()
        if RequestRule.ORDER in self._rules:
            wishes = wishes._replace(order=raw[ORDER])
        if RequestRule.WEIGHTS in self._rules:
            weights = {h: raw[WEIGHT_PREFIX + h] for h in self._heads}
            wishes = wishes._replace(weights=weights)
        if RequestRule.BOOST in self._rules:
            factors = self._listed(
                raw, BOOST_ITEM_IDS, BOOST_FACTORS, index, default=1.0
            )
            wishes = wishes._replace(boosts=tf.maximum(factors, 0.0))
        if RequestRule.BIDS in self._rules:
            bids = self._listed(raw, BID_ITEM_IDS, BIDS, index, default=float("nan"))
            wishes = wishes._replace(bids=bids)
        return wishes

    def _listed(
        self,
        raw: Mapping[str, tf.Tensor],
        ids_name: str,
        values_name: str,
        index: tf.Tensor,
        *,
        default: float,
    ) -> tf.Tensor:
        """Returns what a request lists for each candidate."""
        ids, values = raw[ids_name], raw[values_name]
        check = tf.debugging.assert_equal(
            tf.shape(ids),
            tf.shape(values),
            message=f"`{values_name}` must have one number per id of `{ids_name}`",
        )
        with tf.control_dependencies([] if check is None else [check]):
            listed_index = self._items.lookup(ids)
        return listed_values(index, listed_index, values, default=default)
