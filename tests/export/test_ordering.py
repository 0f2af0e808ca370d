"""What a request says about the order, and items that ranking does not know."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.ordering import RequestOrdering
from tests.models.test_new_items import (
    SCHEMA,
    TEXTS,
    build_model,
    build_ranking,
    request,
)
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.lookup import VocabularyLookup
from tfrec.models.final_order import FinalOrder, ScoredCandidates
from tfrec.models.recommender import TrainedRecommender
from tfrec.order_config import FinalOrderConfig, head_weights, resolve_formulas

NEW = 6
INDEX = tf.constant([[NEW, 2, 3, 4]])  # Retrieval has the new item first.
RETRIEVAL_SCORES = tf.constant([[-1.0, -2.0, -3.0, -4.0]])
ORDERING_SCHEMA = replace(SCHEMA, rules=("order", "boost", "weights", "bids"))
FORMULAS = {"with_bids": "event * bid"}


@pytest.fixture(scope="module")
def candidates() -> tuple[ScoredCandidates, tf.Tensor]:
    recommender = TrainedRecommender(
        build_model(TEXTS), build_ranking(), num_candidates=4
    )
    ranked = recommender.rank(request([[2, 3]]), INDEX, RETRIEVAL_SCORES)
    scored = ScoredCandidates(INDEX, ranked.probabilities, RETRIEVAL_SCORES)
    return scored, ranked.scores


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> VocabularyLookup:
    path: Path = tmp_path_factory.mktemp("items") / "items.txt"
    return VocabularyLookup(Vocabulary([f"i{n}" for n in range(2, 8)]), path)


def make_order(default: str = "recommend") -> FinalOrder:
    settings = FinalOrderConfig(formulas=FORMULAS, default=default)
    return FinalOrder(
        resolve_formulas(settings, ORDERING_SCHEMA),
        default=default,
        weights=head_weights({}, ORDERING_SCHEMA),
        numbers={},
        missing_values={"bid": 1.0},
    )


def scores(
    items: VocabularyLookup,
    candidates: tuple[ScoredCandidates, tf.Tensor],
    *,
    order: str = "",
    boosts: dict[str, float] | None = None,
    bids: dict[str, float] | None = None,
    weight: float = np.nan,
    default: str = "recommend",
) -> np.ndarray:
    boosts, bids = boosts or {"": 1.0}, bids or {"": 1.0}
    raw = {
        "order": tf.constant([order]),
        "boost_item_ids": tf.constant([list(boosts)]),
        "boost_factors": tf.constant([list(boosts.values())]),
        "bid_item_ids": tf.constant([list(bids)]),
        "bids": tf.constant([list(bids.values())]),
        "weight_event": tf.constant([weight], tf.float32),
    }
    ordering = RequestOrdering(make_order(default), ORDERING_SCHEMA, items=items)
    return ordering.scores(raw, *candidates).numpy()[0]


def test_boosts_multiply_and_leave_new_items_their_places(items, candidates):
    plain = candidates[1].numpy()[0]
    assert np.argmax(plain) == 0  # As in retrieval.
    for boosts in ({"no such": 2.0}, {"i2": 1.0}, {"i3": 0.5}):
        factors = [1.0, 1.0, boosts.get("i3", 1.0), 1.0]
        found = scores(items, candidates, boosts=boosts)
        np.testing.assert_allclose(found, plain * factors, rtol=1e-6)
    raised = scores(items, candidates, boosts={"i4": 9.0})
    assert np.argmax(raised) == 3
    last = scores(items, candidates, boosts={"i6": 0.0})
    assert np.argmin(last) == 0


def test_bids_count_only_for_a_formula_that_reads_them(items, candidates):
    bids = {"i3": 5.0}
    plain = candidates[1].numpy()[0]
    np.testing.assert_array_equal(scores(items, candidates, bids=bids), plain)
    named = scores(items, candidates, bids=bids, order="with_bids")
    probabilities = candidates[0].probabilities
    expected = next(iter(probabilities.values())).numpy()[0] * [1.0, 1.0, 5.0, 1.0]
    np.testing.assert_allclose(named, expected, rtol=1e-6)
    default = scores(items, candidates, bids=bids, default="with_bids")
    np.testing.assert_allclose(default, expected, rtol=1e-6)


def test_weights_ask_for_the_formula(items, candidates):
    expected = 2.0 * next(iter(candidates[0].probabilities.values())).numpy()[0]
    found = scores(items, candidates, weight=2.0)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert np.argmax(found) != 0  # Nobody met the new item.
