"""Heads that shown lists do not teach are trained, calibrated, measured elsewhere."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import configure_shop
from tests.training.test_ranking import train, untrained
from tfrec.data.prepare import prepare
from tfrec.data.store import Impressions
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.head_evaluation import evaluate_heads

NUM_EVENT_TYPES = 4
RETRIEVED = dict.fromkeys(["view", "click", "cart", "purchase"], "retrieved")


def without_rows(shown: Impressions) -> Impressions:
    nothing = {
        name: getattr(shown, name)[:0]
        for name in vars(shown)
        if name not in ("offsets", "context")
    }
    context = {name: values[:0] for name, values in shown.context.items()}
    return replace(shown, **nothing, offsets=np.zeros(1, np.int64), context=context)


def of_unknown_items(shown: Impressions) -> Impressions:
    return replace(shown, item_index=np.ones_like(shown.item_index))


def one_place_lower(shown: Impressions) -> Impressions:
    """No list of the log has a first place: an advertisement is always there, say."""
    return replace(shown, position=shown.position + 1)


def without_purchases(shown: Impressions) -> Impressions:
    cart = np.unique(shown.event_type_index)[-2]
    return replace(shown, event_type_index=np.minimum(shown.event_type_index, cart))


def measure(
    shop: Path,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Impressions], Impressions],
    *more: str,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trains on changed lists; returns what training and what evaluation says."""
    config = configure_shop(shop, path, "--training.ranking.max_epochs", "1", *more)
    dataset = prepare(config)
    shown = dataset.load_impressions()
    assert shown is not None
    assert len(np.unique(shown.event_type_index)) == NUM_EVENT_TYPES
    monkeypatch.setattr(dataset, "load_impressions", lambda: change(shown))
    model, history = train(config, dataset, path / "ranking")
    (path / "ranking" / "finished.json").write_text(json.dumps(history))
    retrieval = untrained(config, dataset).retrieval
    both = TrainedRecommender(retrieval, model, num_candidates=20)
    found = evaluate_heads(config, dataset, both, split="test")
    assert found is not None
    return history, found["heads"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "populations"),
    [
        (without_rows, RETRIEVED),
        (of_unknown_items, RETRIEVED),
        (without_purchases, {**RETRIEVED, "click": "shown", "cart": "shown"}),
    ],
)
def test_heads_that_shown_lists_do_not_teach_are_about_retrieved_ones(
    change, populations, shop, tmp_path, monkeypatch
):
    history, heads = measure(shop, tmp_path, monkeypatch, change)
    assert history["populations"] == populations
    for about in history["calibration"].values():
        assert about["candidates"] > 0
    for head, measured in heads.items():
        assert measured["population"] == populations[head]
        assert measured["num_candidates"] > 0
        assert measured["metrics"]["log_loss"] > 0


@pytest.mark.slow
def test_without_position_bias_the_best_place_counts_and_whole_lists_have_an_order(
    shop, tmp_path, monkeypatch
):
    bias = ("--ranking.position_bias", "examination")
    history, heads = measure(shop, tmp_path, monkeypatch, one_place_lower, *bias)
    assert history["calibration"]["click"]["candidates"] > 0
    click = heads["click"]
    assert click["num_candidates"] == click["num_lists"]
    assert click["whole_lists"]["num_candidates"] > 2 * click["num_candidates"]
    assert 0.0 < click["metrics"]["NDCG"] < 1.0
    assert click["metrics"]["log_loss"] > 0.0
    assert "whole_lists" not in heads["view"]
