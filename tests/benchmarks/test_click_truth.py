"""What the benchmark knows of clicks, against what the simulator drew."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.click_measure import (
    RETRIEVED,
    SHOWN,
    KnownLists,
    known_lists,
    measure_lists,
    ndcg,
    revenue,
)
from benchmarks.click_truth import ClickTruth, examine_everything, take_lists
from benchmarks.position_bias import add_bids, make_shop
from tests.data.simulator.shops import Shop, open_shop
from tests.training.test_ranking_validation import lists_of
from tfrec.config_file import load_config
from tfrec.data.simulator import sized_config
from tfrec.data.store import Impressions

CLICK = 3


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    config = sized_config(
        "tiny", seed=5, list_order="popularity", impression_rate=0.7, num_users=300
    )
    return open_shop(config, tmp_path_factory.mktemp("clicks") / "shop")


@pytest.fixture(scope="module")
def truth(shop: Shop) -> ClickTruth:
    return ClickTruth(shop.summary.truth_path, item_ids=item_ids(shop))


def item_ids(shop: Shop) -> list[str]:
    """Another order than that of the shop's tables."""
    return sorted(shop.items["item_id"].to_pylist())


def read_lists(shop: Shop) -> Impressions:
    """The shown lists of the log, as a prepared dataset would hold them."""
    events, shown = shop.events, shop.rows("impression")
    first = np.flatnonzero(events["position"][shown] == 1)
    ids = {item: index for index, item in enumerate(item_ids(shop), start=2)}
    clicks = shop.rows("click")
    pairs = zip(events["impression_id"][clicks], events["item_id"][clicks], strict=True)
    clicked = set(pairs)
    outcome = [
        CLICK * ((list_id, item) in clicked)
        for list_id, item in zip(
            events["impression_id"][shown], events["item_id"][shown], strict=True
        )
    ]
    return Impressions(
        user_ids=events["user_id"][shown][first],
        timestamps=events["timestamp"][shown][first].astype(np.int64),
        split=np.zeros(len(first), np.int8),
        offsets=np.append(first, len(shown)),
        item_index=np.array([ids[i] for i in events["item_id"][shown]], np.int32),
        position=events["position"][shown].astype(np.int32),
        propensity=events["propensity"][shown].astype(np.float32),
        event_type_index=np.array(outcome, np.int32),
        query_text=np.full(len(first), "", object),
        context={},
    )


def flat_interest(truth: ClickTruth, lists: Impressions) -> np.ndarray:
    lengths = np.diff(lists.offsets)
    return truth.interest(
        np.repeat(lists.user_ids, lengths),
        np.repeat(lists.timestamps, lengths),
        lists.item_index[:, np.newaxis],
    )[:, 0]


def test_true_chances_are_those_that_clicks_were_drawn_from(shop, truth):
    lists = known_lists(read_lists(shop), truth)
    chance = flat_interest(truth, lists) * lists.propensity
    clicked = lists.event_type_index == CLICK
    # By level: elsewhere, favourite category, weak and strong match, and by place.
    interest = chance / lists.propensity
    for edges, values in (
        ((0.0, 0.03, 0.1, 0.3, 0.5, 1.0), interest),
        ((0.0, 2.0, 4.0, 20.0), lists.position),
    ):
        part = np.digitize(values, edges)
        for level in np.unique(part):
            rows = part == level
            expected = chance[rows].sum()
            deviation = np.sqrt((chance[rows] * (1 - chance[rows])).sum())
            assert abs(clicked[rows].sum() - expected) < 4.5 * deviation
    assert clicked.sum() > 300


def test_lists_after_the_last_view_are_not_known(shop, truth):
    lists = read_lists(shop)
    known = truth.known(lists.user_ids, lists.timestamps)
    views, users = shop.rows("view"), shop.events["user_id"]
    last = dict(zip(users[views], shop.events["timestamp"][views], strict=True))
    expected = [
        last[user] > time
        for user, time in zip(lists.user_ids, lists.timestamps, strict=True)
    ]
    assert known.tolist() == expected
    assert 0 < known.sum() < len(known)
    with pytest.raises(ValueError, match="not `known`"):
        truth.interest(lists.user_ids, lists.timestamps, np.full((len(known), 1), 2))


def test_padding_interests_nobody(shop, truth):
    lists = known_lists(read_lists(shop), truth)
    found = truth.interest(
        lists.user_ids[:5], lists.timestamps[:5], np.array([[2, 0]] * 5)
    )
    assert (found[:, 0] > 0).all()
    assert (found[:, 1] == 0).all()


def test_clicks_drawn_without_position_bias_are_as_frequent_at_every_place(shop, truth):
    lists = known_lists(read_lists(shop), truth)
    drawn = examine_everything(lists, truth, click_index=CLICK, seed=0)
    assert (drawn.propensity == 1.0).all()
    assert set(np.unique(drawn.event_type_index)) == {0, CLICK}
    chance, clicked = flat_interest(truth, lists), drawn.event_type_index == CLICK
    deviation = np.sqrt((chance * (1 - chance)).sum())
    assert abs(clicked.sum() - chance.sum()) < 4.5 * deviation
    # Behind the first places the log has far fewer.
    low = lists.position > 4
    assert clicked[low].sum() > 1.5 * (lists.event_type_index[low] == CLICK).sum()
    again = examine_everything(lists, truth, click_index=CLICK, seed=0)
    assert (again.event_type_index == drawn.event_type_index).all()


def test_lists_are_taken_whole(shop):
    lists = read_lists(shop)
    part = take_lists(lists, np.array([3, 1]))
    for place, source in enumerate([3, 1]):
        own = slice(*part.offsets[place : place + 2])
        old = slice(*lists.offsets[source : source + 2])
        np.testing.assert_array_equal(part.item_index[own], lists.item_index[old])
        np.testing.assert_array_equal(part.position[own], lists.position[old])
    assert part.user_ids.tolist() == lists.user_ids[[3, 1]].tolist()


def test_revenue_and_ndcg_are_those_of_the_formula():
    gains, scores = np.array([[0.2, 0.0, 0.6]]), np.array([[3.0, 2.0, 1.0]])
    reached = 0.2 / np.log2(2) + 0.6 / np.log2(4)
    best = 0.6 / np.log2(2) + 0.2 / np.log2(3)
    assert ndcg(gains, scores)[0] == pytest.approx(reached / best)
    assert ndcg(gains, gains)[0] == pytest.approx(1.0)
    assert revenue(gains, scores, np.array([1.0, 0.5]))[0] == pytest.approx(0.2)


def test_lists_are_measured_by_the_truth_and_padding_comes_last(shop, truth):
    known = known_lists(read_lists(shop), truth)
    items = np.array([[2, 3, 0]])
    lists = lists_of([[0.0] * 3], [[0] * 3], [0])
    one = KnownLists(
        lists=lists,
        user_ids=known.user_ids[:1],
        truth=truth,
        expected_interest=lambda items: np.where(items > 0, items / 10.0, 0.0),
        bids=np.arange(200.0),
        examined=np.array([1.0, 0.25]),
    )
    lists.request_timestamps[:] = known.timestamps[0]
    first, second = truth.interest(one.user_ids, known.timestamps[:1], items)[0, :2]
    table = {
        "items": items,
        "click": np.array([[0.2, 0.1, 0.9]]),
        "ads": np.array([[0.1, 0.2, -np.inf]]),
        "retrieval": np.zeros((1, 3)),
    }
    tables = {SHOWN: table, RETRIEVED: table}
    assert not any("observer" in name for name in measure_lists(one, tables))
    found = measure_lists(one, tables, with_observer=True)
    assert found["shown_revenue"][0] == pytest.approx(3 * second + 0.25 * 2 * first)
    values = sorted([2 * first, 3 * second])
    assert found["shown_best"][0] == pytest.approx(values[1] + 0.25 * values[0])
    assert found["shown_clicks"][0] == pytest.approx(0.3)
    assert found["retrieved_true_clicks"][0] == pytest.approx(first + second)
    # The observer takes the second item for better, and padding for nothing.
    assert found["shown_observer_revenue"] == found["shown_revenue"]
    assert found["shown_observer_clicks"][0] == pytest.approx(0.5)


def test_shop_is_simulated_once_with_bids_that_no_model_reads(tmp_path: Path):
    from rich.console import Console

    def make(num_users: int | None = None) -> list[str]:
        return make_shop(
            tmp_path,
            size="tiny",
            list_order="random",
            num_users=num_users,
            console=Console(quiet=True),
        )

    files = make()
    path = tmp_path / "shop-tiny-random" / "items.parquet"
    items = pq.read_table(path)
    bids = items["bid"].to_numpy()
    assert (bids > 0).all()
    assert len(np.unique(bids)) > 50
    stamp = path.stat().st_mtime_ns
    assert make() == files
    assert path.stat().st_mtime_ns == stamp
    config = load_config(files, description="")
    bid = config.data.item_attributes[-1]
    assert (bid.name, bid.learned) == ("bid", False)
    assert config.ranking is not None
    assert config.ranking.final_order.default == "ads"
    with pytest.raises(ValueError, match="bid"):
        add_bids(path, seed=0)
    fewer = load_config(make(60), description="")
    assert (config.name, fewer.name) == ("tiny_random", "tiny_random_60")
