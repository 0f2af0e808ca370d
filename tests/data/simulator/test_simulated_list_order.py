"""Lists whose places go by popularity."""

import numpy as np
import pytest

from tests.data.simulator.shops import Shop, open_shop
from tfrec.data.simulator import sized_config
from tfrec.data.simulator.world import World


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    config = sized_config("tiny", seed=4, list_order="popularity")
    return open_shop(config, tmp_path_factory.mktemp("order") / "shop")


def test_the_most_popular_item_stands_first(shop: Shop) -> None:
    catalogue = World.build(shop.config).catalogue
    popularity = dict(zip(catalogue.item_ids, catalogue.popularity, strict=True))
    rows = shop.rows("impression")
    value = np.array([popularity[item] for item in shop.events["item_id"][rows]])
    follows = shop.events["position"][rows][1:] > 1
    assert follows.sum() > 1_000
    assert (np.diff(value)[follows] <= 0).all()


def test_places_still_count_from_one_without_gaps(shop: Shop) -> None:
    rows = shop.rows("impression")
    position = shop.events["position"][rows]
    starts = np.flatnonzero(position == 1)
    expected = np.arange(len(rows)) - np.repeat(
        starts, np.diff(np.append(starts, len(rows)))
    )
    assert (position == expected + 1).all()
