"""Is the shop worth learning from? Simple rules get part of the way, not far."""

from typing import Any

import numpy as np
import pytest

from tests.data.simulator.shops import Shop, open_shop
from tests.data.simulator.test_simulated_oracle import Queries, make_sequences
from tfrec.data.simulator import Oracle, SimulatorConfig

TEST_DAYS = 7
RECENT_VIEWS = 30
DECAY = 0.8


def ndcg_at_10(scores: np.ndarray, item: Any) -> float:
    ties_against = (scores > scores[item]).sum() + (scores == scores[item]).sum()
    return 1 / np.log2(ties_against + 1) if ties_against <= 10 else 0.0


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """NDCG@10 of the first view in the test window, over the whole catalogue."""
    config = SimulatorConfig(num_users=1_500, num_items=750, num_categories=24)
    shop = open_shop(config, tmp_path_factory.mktemp("s") / "shop")
    cut = config.end_seconds - TEST_DAYS * 86_400
    ids = shop.items["item_id"].to_pylist()
    place = {item: n for n, item in enumerate(ids)}
    behaviour = np.flatnonzero(shop.events["event_type"] != "impression")
    user = shop.events["user_id"][behaviour]
    time = shop.events["timestamp"][behaviour]
    is_view = shop.events["event_type"][behaviour] == "view"
    item = np.array([place[i] for i in shop.events["item_id"][behaviour]])
    tested = np.flatnonzero((time >= cut) & is_view)
    users, first = np.unique(user[tested], return_index=True)
    targets = tested[first]
    oracle = Oracle(shop.summary.truth_path, item_ids=ids).score(
        make_sequences(users.tolist()),
        Queries(np.arange(len(users)), time[targets]),
        np.arange(len(users)),
    )
    train = (time < cut) & is_view
    popular = np.bincount(item[train], minlength=len(ids)).astype(float)
    begins = {name: row for row, name in reversed(list(enumerate(user)))}
    values: dict[str, list[float]] = {"oracle": [], "popular": [], "history": []}
    tastes = _tastes(shop)
    for row, (name, target) in enumerate(zip(users, targets, strict=True)):
        history = item[begins[name] : target][::-1][:RECENT_VIEWS]
        values["oracle"].append(ndcg_at_10(oracle[row], item[target]))
        values["popular"].append(ndcg_at_10(popular, item[target]))
        by_history = _score(history, popular, tastes)
        values["history"].append(ndcg_at_10(by_history, item[target]))
    return {name: float(np.mean(v)) for name, v in values.items()}


def _tastes(shop: Shop) -> list[np.ndarray]:
    columns = ("category", "brand")
    return [
        np.unique(shop.items[c].to_pylist(), return_inverse=True)[1] for c in columns
    ]


def _score(
    history: np.ndarray, popular: np.ndarray, tastes: list[np.ndarray]
) -> np.ndarray:
    """Recency-weighted counts of category and brand, times popularity."""
    weight = DECAY ** np.arange(len(history))
    category, brand = (
        np.bincount(values[history], weight, values.max() + 1)[values]
        for values in tastes
    )
    return (category + 0.02) * (1 + 0.5 * brand) * (popular + 1)


def test_the_oracle_is_good_but_far_from_certain(results: dict[str, float]) -> None:
    assert 0.25 < results["oracle"] < 0.5


def test_visible_history_tells_half_of_what_the_oracle_knows(
    results: dict[str, float],
) -> None:
    assert results["history"] > 0.5 * results["oracle"]
    assert results["history"] < 0.85 * results["oracle"]


def test_popularity_alone_tells_little(results: dict[str, float]) -> None:
    assert results["popular"] < 0.25 * results["oracle"]
