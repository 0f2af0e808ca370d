"""Heads that shown lists do not teach are trained, calibrated, measured elsewhere."""

import json
from collections.abc import Callable
from dataclasses import replace

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


def without_purchases(shown: Impressions) -> Impressions:
    cart = np.unique(shown.event_type_index)[-2]
    return replace(shown, event_type_index=np.minimum(shown.event_type_index, cart))


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
    change: Callable[[Impressions], Impressions],
    populations: dict[str, str],
    shop,
    tmp_path,
    monkeypatch,
):
    config = configure_shop(shop, tmp_path, "--training.ranking.max_epochs", "1")
    dataset = prepare(config)
    shown = dataset.load_impressions()
    assert shown is not None
    assert len(np.unique(shown.event_type_index)) == NUM_EVENT_TYPES
    monkeypatch.setattr(dataset, "load_impressions", lambda: change(shown))
    path = tmp_path / "ranking"
    model, history = train(config, dataset, path)
    assert history["populations"] == populations
    for about in history["calibration"].values():
        assert about["candidates"] > 0
    (path / "finished.json").write_text(json.dumps(history))
    retrieval = untrained(config, dataset).retrieval
    both = TrainedRecommender(retrieval, model, num_candidates=20)
    found = evaluate_heads(config, dataset, both, split="test")
    assert found is not None
    for head, measured in found["heads"].items():
        assert measured["population"] == populations[head]
        assert measured["num_candidates"] > 0
        assert measured["metrics"]["log_loss"] > 0
