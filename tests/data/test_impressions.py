from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfrec.data.store import Impressions, PreparedDataset

HEADER = (
    "user_id", "item_id", "event_type", "timestamp", "session",
    "impression", "position", "propensity",
)  # fmt: skip
SETTINGS: dict[str, Any] = {
    "event_columns": {
        "event_type": "event_type",
        "timestamp": "timestamp",
        "session_id": "session",
        "impression_id": "impression",
        "position": "position",
        "propensity": "propensity",
    },
    "event_types": ["click", "cart", "buy"],
    "target_event_types": ["click"],
    "impression_event_type": "shown",
}
ROWS = [
    ("u", "b", "shown", 10, "s1", "l1", 2, 0.5),
    ("u", "a", "shown", 10, "s1", "l1", 1, 1.0),
    ("u", "c", "shown", 10, "s1", "l1", 3, ""),
    ("u", "a", "click", 11, "s1", "l1", "", ""),
    ("u", "b", "buy", 12, "s1", "", "", ""),  # Not through the list.
    ("u", "a", "cart", 13, "s1", "", "", ""),  # Follows the click.
    ("u", "a", "buy", 20, "s2", "", "", ""),  # Another session.
    ("u", "a", "shown", 30, "s2", "l2", "", ""),
    ("v", "a", "shown", 5, "s3", "l1", 1, 1.0),  # Same list id, another user.
]


def as_lists(shown: Impressions, values: np.ndarray) -> list[list[Any]]:
    return [part.tolist() for part in np.split(values, shown.offsets[1:-1])]


@pytest.fixture
def shown(prepare_rows: Callable[..., PreparedDataset]) -> Impressions:
    dataset = prepare_rows(ROWS, header=HEADER, **SETTINGS)
    impressions = dataset.load_impressions()
    assert impressions is not None
    return impressions


def test_items_shown_together_are_a_list_in_the_order_of_places(
    shown: Impressions,
) -> None:
    assert shown.user_ids.tolist() == ["u", "u", "v"]
    assert shown.timestamps.tolist() == [10, 30, 5]
    assert as_lists(shown, shown.position) == [[1, 2, 3], [0], [1]]
    a, b = shown.item_index[:2]
    # c was only shown: it is not in a catalogue that is read off the events.
    assert as_lists(shown, shown.item_index) == [[a, b, 1], [a], [a]]
    assert shown.propensity[:2].tolist() == [1.0, 0.5]
    assert np.isnan(shown.propensity[2:4]).all()


def zero_place_warnings(dataset: PreparedDataset) -> list[str]:
    return [w for w in dataset.manifest["warnings"] if "from 1" in w]


def test_places_that_are_counted_from_0_are_warned_of(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    rows = [(*r[:6], r[6] if r[6] == "" else r[6] - 1, r[7]) for r in ROWS]
    dataset = prepare_rows(rows, header=HEADER, **SETTINGS)
    (warning,) = zero_place_warnings(dataset)
    assert "`data.event_columns.position` should count places from 1" in warning
    assert "Received: 'position', which is 0 in 2 rows of impressions" in warning
    assert "add 1 to all of them" in warning
    shown = dataset.load_impressions()
    assert shown is not None
    assert as_lists(shown, shown.position) == [[0, 1, 2], [0], [0]]  # 0 is unknown.


@pytest.mark.parametrize("place_of_events", ["", 0])
def test_places_from_1_are_not_warned_of(
    place_of_events: Any, prepare_rows: Callable[..., PreparedDataset]
) -> None:
    """Whatever stands in rows of events, which have no place."""
    rows = [r if r[2] == "shown" else (*r[:6], place_of_events, r[7]) for r in ROWS]
    dataset = prepare_rows(rows, header=HEADER, **SETTINGS)
    assert not zero_place_warnings(dataset)


@pytest.mark.parametrize("propensity", [50, -0.5])
def test_a_propensity_that_is_no_chance_is_told_its_range(
    propensity: float, prepare_rows: Callable[..., PreparedDataset]
) -> None:
    rows = [(*r[:7], propensity if r[7] == 0.5 else r[7]) for r in ROWS]
    dataset = prepare_rows(rows, header=HEADER, **SETTINGS)
    assert dataset.manifest["warnings"][0] == (
        "events: 1 x value of 'propensity' that is no usable number (expected a chance "
        "from 0 to 1, such as 0.25)"
    )


def test_lists_keep_their_context_and_what_was_searched_for(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    header = (*HEADER, "device", "battery", "words")
    told = {
        ("shown", "l1"): ("phone", 0.5, "red lamp"),
        ("shown", "l2"): ("fridge", "", ""),  # No event has that device.
        ("click", "l1"): ("phone", 0.25, ""),
    }
    nothing = ("desk", "", "")
    rows = [(*row, *told.get((row[2], row[5]), nothing)) for row in ROWS[:8]]
    rows += [(*ROWS[8], "", "", "")]
    columns = {**SETTINGS["event_columns"], "query": "words"}
    context = [{"name": "device"}, {"name": "battery", "kind": "numeric"}]
    settings = {**SETTINGS, "event_columns": columns, "context": context}
    dataset = prepare_rows(rows, header=header, **settings)
    shown = dataset.load_impressions()
    assert shown is not None
    assert shown.query_text.tolist() == ["red lamp", "", ""]
    (phone,) = dataset.attribute_vocabularies["device"].lookup(["phone"])
    assert shown.context["device"].tolist() == [phone, 1, 0]  # 1 unknown, 0 none.
    np.testing.assert_allclose(shown.context["battery"], [0.5, np.nan, np.nan])
    sequences = dataset.load_sequences()
    assert phone in sequences.context["device"]  # Events have the same indices.


def test_a_log_without_any_row_of_impressions_has_no_lists(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    """Also where the lists would have a context."""
    rows = [(*row, "phone") for row in ROWS if row[2] != "shown"]
    settings = {**SETTINGS, "context": [{"name": "device"}]}
    dataset = prepare_rows(rows, header=(*HEADER, "device"), **settings)
    assert dataset.manifest["counts"]["impressions"] == {"lists": 0, "shown_items": 0}
    shown = dataset.load_impressions()
    assert shown is not None
    assert len(shown.split) == 0
    assert shown.offsets.tolist() == [0]


def test_a_label_is_the_strongest_event_that_followed_through_the_list(
    shown: Impressions,
) -> None:
    # click, cart, buy have the indices 2, 3, 4: a was clicked, then put in the cart.
    assert as_lists(shown, shown.event_type_index) == [[3, 0, 0], [0], [0]]


def test_impressions_are_no_events(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    dataset = prepare_rows(ROWS, header=HEADER, **SETTINGS)
    assert dataset.load_sequences().timestamps.tolist() == [11, 12, 13, 20]
    assert dataset.manifest["counts"]["impressions"] == {"lists": 3, "shown_items": 5}


def test_lists_are_split_like_the_events_of_their_user(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    def row(item: str, kind: str, time: int) -> tuple[Any, ...]:
        return (
            "u",
            item,
            kind,
            time,
            "s",
            f"l{time}" if kind == "shown" else "",
            "",
            "",
        )

    rows = [row("a", "click", t) for t in (10, 20, 30)]
    rows += [row("a", "shown", t) for t in (5, 15, 20, 29, 30, 99)]

    dataset = prepare_rows(rows, header=HEADER, **SETTINGS)

    # Leave-one-out: validation starts with the click at 20, test with that at 30.
    impressions = dataset.load_impressions()
    assert impressions is not None
    found = dict(zip(impressions.timestamps, impressions.split, strict=True))
    assert found == {5: 0, 15: 0, 20: 1, 29: 1, 30: 2, 99: 2}


def test_a_list_knows_no_events_of_a_later_split(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    shown_at = {"l1": 5, "l2": 15, "l3": 25}
    rows = [
        ("u", item, "shown", time, "s", impression, "", "")
        for impression, time in shown_at.items()
        for item in "ab"
    ]
    rows += [
        ("u", "a", "click", 10, "s", "l1", "", ""),
        ("u", "a", "click", 20, "s", "l2", "", ""),  # The target of the validation.
        ("u", "b", "click", 30, "s", "l2", "", ""),  # That of the test.
    ]
    impressions = prepare_rows(rows, header=HEADER, **SETTINGS).load_impressions()
    assert impressions is not None
    assert impressions.split.tolist() == [0, 0, 1]
    # Of l1 the click of the training alone; l2 was shown before the validation began.
    assert as_lists(impressions, impressions.event_type_index) == [
        [2, 0],
        [0, 0],
        [0, 0],
    ]


def test_impressions_without_a_list_are_dropped_and_counted(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    rows = [*ROWS, ("u", "a", "shown", 40, "s2", "", 1, "")]
    dropped = prepare_rows(rows, header=HEADER, **SETTINGS).manifest["dropped"][
        "events"
    ]
    assert dropped["impression without an impression id"] == 1


def test_a_log_without_an_impression_column_has_no_lists(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    columns = {"event_type": "event_type", "timestamp": "timestamp"}
    settings = SETTINGS | {"event_columns": columns}
    dataset = prepare_rows(ROWS, header=HEADER, **settings)
    assert dataset.load_impressions() is None
    dropped = dataset.manifest["dropped"]["events"]
    assert dropped["impression without an impression id"] == 5


def test_many_chunks_read_like_one(
    prepare_rows: Callable[..., PreparedDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrec.data.impressions.NUM_ROWS_PER_CHUNK", 2)
    dataset = prepare_rows(ROWS, header=HEADER, **SETTINGS)
    impressions = dataset.load_impressions()
    assert impressions is not None
    assert len(list((dataset.path / "impressions").iterdir())) > 1
    assert sorted(impressions.timestamps.tolist()) == [5, 10, 30]
    assert sorted(impressions.position.tolist()) == [0, 1, 1, 2, 3]


def test_the_core_drops_impressions_of_what_it_drops(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    # b has one event: its place in the list would look as if nothing followed.
    settings = SETTINGS | {"cleaning": {"min_item_events": 2}}
    dataset = prepare_rows(ROWS, header=HEADER, **settings)
    impressions = dataset.load_impressions()
    assert impressions is not None
    assert as_lists(impressions, impressions.position)[0] == [1, 3]
