"""What a simulated shop promises about its shoppers, over many of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.data.simulator.shops import Shop, open_shop
from tfrec.data.simulator import SimulatorConfig

DAY_SECONDS = 86_400


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    config = SimulatorConfig(
        num_users=1_000, num_items=300, num_categories=12, num_brands=20,
        impression_rate=0.6, list_length=5, position_bias=1.0,
    )  # fmt: skip
    return open_shop(config, tmp_path_factory.mktemp("s") / "shop")


def test_clicks_divided_by_propensity_are_the_same_at_every_place(shop: Shop) -> None:
    """The logging policy fills all places alike: only the position bias is left."""
    shown, clicks = (
        np.bincount(shop.events["position"][shop.rows(kind)].astype(int), minlength=6)
        for kind in ("impression", "click")
    )
    rate = clicks[1:] / shown[1:]
    unbiased = rate * np.arange(1, 6)  # Propensity of place p: 1 / p.
    spread = 4 / np.sqrt(clicks[1:].min())
    np.testing.assert_allclose(unbiased, unbiased.mean(), rtol=spread)
    assert rate[0] > 3 * rate[-1]


def test_longer_dwell_goes_with_carts(shop: Shop) -> None:
    visits = np.flatnonzero(np.isin(shop.events["event_type"], ["view", "click"]))
    visits = visits[visits + 1 < len(shop.events["event_type"])]
    dwell = shop.events["dwell_seconds"][visits]
    carted = shop.events["event_type"][visits + 1] == "cart"
    assert dwell[carted].mean() > 1.3 * dwell[~carted].mean()


def test_intents_keep_the_category_and_favourites_keep_coming_back(shop: Shop) -> None:
    views = shop.rows("view")
    category = shop.item_column("category", views)
    user, session = shop.events["user_id"][views], shop.events["session_id"][views]
    same_session = session[1:] == session[:-1]
    stays = category[1:] == category[:-1]
    assert stays[same_session].mean() > 0.7
    # Between sessions an intent often goes on; 1 / 12 would be chance.
    between = (user[1:] == user[:-1]) & ~same_session
    assert 0.4 < stays[between].mean() < stays[same_session].mean()


def test_carts_make_their_complement_the_next_category(shop: Shop) -> None:
    """After a cart the next other category is far from evenly spread."""
    kinds = shop.events["event_type"]
    rows = np.flatnonzero(np.isin(kinds, ["view", "cart"]))
    category = shop.item_column("category", rows)
    user = shop.events["user_id"][rows]
    followers: dict[str, list[str]] = {}
    for place in np.flatnonzero(kinds[rows] == "cart"):
        for later in range(place + 1, min(place + 12, len(rows))):
            if user[later] != user[place]:
                break
            if kinds[rows[later]] == "view" and category[later] != category[place]:
                followers.setdefault(category[place], []).append(category[later])
                break
    shares = []
    for names in followers.values():
        _, counts = np.unique(names, return_counts=True)
        shares.append(counts.max() / counts.sum())
    # The complement takes about `complement_probability` of the new intents.
    assert np.median(shares) > 0.4


def test_bought_consumables_are_bought_again_once_they_are_used_up(
    tmp_path: Path,
) -> None:
    values: dict[str, Any] = {
        "num_users": 400, "num_items": 400, "num_categories": 24, "num_brands": 8,
        "mean_sessions": 20.0,
    }  # fmt: skip

    def late_repurchases(restock_probability: float) -> int:
        config = SimulatorConfig(restock_probability=restock_probability, **values)
        shop = open_shop(config, tmp_path / str(restock_probability))
        last: dict[tuple[str, str], int] = {}
        count = 0
        for row in shop.rows("purchase"):
            pair = (shop.events["user_id"][row], shop.events["item_id"][row])
            time = shop.events["timestamp"][row]
            count += time - last.get(pair, time) >= 10 * DAY_SECONDS
            last[pair] = time
        return count

    assert late_repurchases(0.9) > 1.5 * late_repurchases(0.0)
