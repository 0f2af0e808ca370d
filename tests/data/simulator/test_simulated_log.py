"""What the rows of a simulated log promise."""

import numpy as np

from tests.data.simulator.shops import Shop
from tfrec.data.simulator.world import World

COLUMNS = [
    "user_id", "item_id", "event_type", "timestamp", "session_id", "dwell_seconds",
    "query", "position", "impression_id", "propensity", "price", "device",
]  # fmt: skip


def test_the_log_has_all_columns_and_only_the_values_its_rows_can_have(
    tiny_shop: Shop,
) -> None:
    events = tiny_shop.events
    assert list(events) == COLUMNS
    present = {
        "impression": {"position", "impression_id", "propensity"},
        "view": {"dwell_seconds"},
        "click": {"position", "impression_id", "propensity", "dwell_seconds"},
        "cart": set(),
        "purchase": set(),
    }
    optional = ["dwell_seconds", "position", "impression_id", "propensity"]
    for event_type, names in present.items():
        rows = tiny_shop.rows(event_type)
        assert len(rows) == tiny_shop.summary.event_counts[event_type] > 0
        for name in optional:
            missing = [v is None or v != v for v in events[name][rows]]
            assert all(missing) if name not in names else not any(missing), name
    searched = [query is not None for query in events["query"]]
    assert set(events["event_type"][searched]) == {"view"}


def test_times_grow_strictly_per_user_and_lists_come_before_their_clicks(
    tiny_shop: Shop,
) -> None:
    events = tiny_shop.events
    list_times: dict[str, int] = {}
    for row in tiny_shop.rows("impression"):
        time = events["timestamp"][row]
        assert list_times.setdefault(events["impression_id"][row], time) == time
    behaviour = np.flatnonzero(events["event_type"] != "impression")
    same_user = events["user_id"][behaviour][1:] == events["user_id"][behaviour][:-1]
    gaps = np.diff(events["timestamp"][behaviour])[same_user]
    assert (gaps > 0).all()
    for row in tiny_shop.rows("click"):
        assert events["timestamp"][row] > list_times[events["impression_id"][row]]
    config = tiny_shop.config
    assert events["timestamp"].min() >= config.start_seconds
    assert events["timestamp"].max() < config.end_seconds


def test_sessions_are_what_a_gap_of_half_an_hour_would_find(tiny_shop: Shop) -> None:
    events = tiny_shop.events
    same_user = events["user_id"][1:] == events["user_id"][:-1]
    far = np.diff(events["timestamp"]) > 1_800
    other_session = events["session_id"][1:] != events["session_id"][:-1]
    np.testing.assert_array_equal(far[same_user], other_session[same_user])


def test_nothing_is_shown_or_met_before_its_launch(
    tiny_shop: Shop, tiny_world: World
) -> None:
    catalogue = tiny_world.catalogue
    launch = dict(zip(catalogue.item_ids, catalogue.launch, strict=True))
    times = np.array([launch[item] for item in tiny_shop.events["item_id"]])
    assert (times <= tiny_shop.events["timestamp"]).all()
    assert (times > tiny_shop.config.start_seconds).mean() > 0.02


def test_carts_follow_a_visit_and_purchases_follow_a_cart_of_the_item(
    tiny_shop: Shop,
) -> None:
    events = tiny_shop.events
    stage: dict[tuple[str, str], set[str]] = {}
    for user, item, kind in zip(
        events["user_id"], events["item_id"], events["event_type"], strict=True
    ):
        before = stage.setdefault((user, item), set())
        if kind == "cart":
            assert before & {"view", "click"}
        if kind == "purchase":
            assert "cart" in before
        before.add(kind)


def test_lists_hold_distinct_items_at_places_that_count_from_one(
    tiny_shop: Shop,
) -> None:
    events = tiny_shop.events
    rows = tiny_shop.rows("impression")
    lists: dict[str, list[int]] = {}
    for row in rows:
        lists.setdefault(events["impression_id"][row], []).append(row)
    for members in lists.values():
        assert len(set(events["item_id"][members])) == len(members)
        np.testing.assert_array_equal(
            events["position"][members], np.arange(1, len(members) + 1)
        )
    sizes = [len(members) for members in lists.values()]
    assert max(sizes) == tiny_shop.config.list_length
    assert np.mean(sizes) > 0.8 * tiny_shop.config.list_length
    expected = events["position"][rows] ** -tiny_shop.config.position_bias
    np.testing.assert_allclose(events["propensity"][rows], expected, rtol=1e-6)


def test_clicks_are_on_shown_items_and_say_where_they_were(tiny_shop: Shop) -> None:
    events = tiny_shop.events
    names = ("impression_id", "item_id", "position", "propensity", "session_id")
    shown = {
        tuple(events[name][row] for name in names)
        for row in tiny_shop.rows("impression")
    }
    clicked = {
        tuple(events[name][row] for name in names) for row in tiny_shop.rows("click")
    }
    assert clicked <= shown
    assert len(clicked) == len(tiny_shop.rows("click"))


def test_prices_are_those_of_the_catalogue_and_queries_name_the_kind_of_item(
    tiny_shop: Shop,
) -> None:
    events = tiny_shop.events
    rows = np.arange(len(events["price"]))
    np.testing.assert_array_equal(events["price"], tiny_shop.item_column("price", rows))
    searched = np.array([row for row in rows if events["query"][row] is not None])
    assert 0.02 < len(searched) / len(tiny_shop.rows("view")) < 0.3
    leaves = tiny_shop.item_column("category", searched)
    nouns = [path.split("/")[-1] for path in leaves]
    for query, noun in zip(events["query"][searched], nouns, strict=True):
        assert query.replace(" ", "-").endswith(noun)
