import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

Prepare = Callable[..., PreparedDataset]
Histories = Callable[[PreparedDataset], dict[str, list[str]]]


@pytest.fixture
def prepare_with_items(
    tmp_path: Path, write_csv: Any, make_config: Any
) -> Callable[..., PreparedDataset]:
    def run(events: Any, items: str, **data: Any) -> PreparedDataset:
        path = write_csv("events.csv", events, ("user_id", "item_id", "timestamp"))
        (tmp_path / "items.csv").write_text(items)
        table = {"paths": [str(tmp_path / "items.csv")]}
        return prepare(make_config(path, items=table, **data))

    return run


def column(dataset: PreparedDataset, name: str) -> dict[str, Any]:
    items = dataset.items
    return dict(zip(items["item_id"].to_pylist(), items[name].to_pylist(), strict=True))


def test_items_are_ordered_by_training_count_then_by_hash(
    prepare_rows: Prepare,
) -> None:
    training = [*"ccc", *"aa", *"bb", *"dd", "e"]
    rows = [("u", item, t + 1) for t, item in enumerate([*training, "v", "t"])]

    items = prepare_rows(rows).items

    def digest(item: str) -> str:
        return hashlib.sha256(item.encode()).hexdigest()

    # v is the validation item, so it is known but was never trained on; t is not.
    expected = ["c", *sorted("abd", key=digest), "e", "v"]
    assert items["item_id"].to_pylist() == expected
    assert items["train_count"].to_pylist() == [3, 2, 2, 2, 1, 0]


def test_first_timestamp_is_the_first_event_before_the_test(
    prepare_rows: Prepare,
) -> None:
    rows = [("u", "a", 5), ("u", "b", 6), ("u", "a", 7), ("v", "a", 3)]
    assert column(prepare_rows(rows), "first_timestamp") == {"a": 3, "b": 6}


def test_a_given_catalogue_keeps_items_without_events(
    prepare_with_items: Prepare, histories: Histories
) -> None:
    events = [("u", "a", 1), ("u", "b", 2), ("u", "cold", 3), ("v", "extra", 4)]
    events += [("u", "new", 0.5)]
    items = "item_id,title\ncold,Cold\na,Anna\nb,\n"

    dataset = prepare_with_items(events, items, item_columns={"title": "title"})

    assert column(dataset, "title") == {
        "a": "Anna", "b": None, "cold": "Cold", "extra": None, "new": None,
    }  # fmt: skip
    # The cold item is in the given catalogue, so its test event has an index.
    assert histories(dataset)["u"] == ["new", "a", "b", "cold"]
    assert column(dataset, "train_count")["cold"] == 0
    assert column(dataset, "first_timestamp")["cold"] == 0


def test_a_catalogue_of_other_ids_is_told(prepare_with_items: Prepare) -> None:
    events = [("u", "007", 1), ("u", "007", 2), ("u", "12", 3), ("u", "x", 4)]
    dataset = prepare_with_items(events, "item_id\n7\n12\n")
    (note,) = [w for w in dataset.manifest["warnings"] if "catalogue" in w]
    assert note.startswith("3 of 4 events (75%) are of 2 items")
    assert "such as '007', 'x'" in note


def test_a_catalogue_of_the_same_ids_needs_no_note(prepare_with_items: Prepare) -> None:
    events = [("u", "007", 1), ("u", "12", 3), ("u", "x", 4)]
    dataset = prepare_with_items(events, "item_id\n007\n12\nx\n")
    assert not [w for w in dataset.manifest["warnings"] if "catalogue" in w]


def test_the_last_row_of_an_item_counts(prepare_with_items: Prepare) -> None:
    items = "item_id,title,brand\na,old,x\nb,only,y\n a ,new,\n"

    dataset = prepare_with_items(
        [("u", "a", 1)],
        items,
        item_columns={"title": "title"},
        item_attributes=[{"name": "brand"}],
    )

    assert column(dataset, "title") == {"a": "new", "b": "only"}
    assert column(dataset, "brand") == {"a": None, "b": "y"}
    assert dataset.manifest["dropped"]["items"] == {"earlier row of the same item": 1}


def test_words_for_nothing_are_no_title_and_no_attribute(
    prepare_with_items: Prepare,
) -> None:
    items = "item_id,title,brand\na,NaN,null\nb,\\N,None\nc,Null lamp,nan\n"
    items += "d,<NA>,Nulls\n"

    dataset = prepare_with_items(
        [("u", "a", 1)],
        items,
        item_columns={"title": "title"},
        item_attributes=[{"name": "brand"}],
    )

    assert column(dataset, "title") == {
        "a": None,
        "b": None,
        "c": "Null lamp",
        "d": None,
    }
    assert column(dataset, "brand") == {"a": None, "b": None, "c": None, "d": "Nulls"}


def test_items_without_an_id_are_rejects_of_their_table(
    prepare_with_items: Prepare,
) -> None:
    items = "item_id,title\n,lost\na,Anna\n"
    expected = r"(?s)`data.items`.*1 of 2.*items.csv row 2.*raise the share\.$"
    with pytest.raises(ValueError, match=expected):  # `drop_rows` is for events.
        prepare_with_items([("u", "a", 1)], items)

    dataset = prepare_with_items(
        [("u", "a", 1)], items, cleaning={"max_reject_share": 0.5}
    )
    assert dataset.manifest["rejects"]["items"]["rejected"] == 1
    assert "items.csv" in (dataset.path / "rejects.csv").read_text()


def test_a_missing_catalogue_column_is_named(prepare_with_items: Prepare) -> None:
    with pytest.raises(ValueError, match="`data.item_columns.title`.*'titel'"):
        prepare_with_items(
            [("u", "a", 1)], "item_id,titel\na,x\n", item_columns={"title": "title"}
        )


def test_vocabularies_hold_every_prefix_and_tag_with_counts(
    prepare_with_items: Prepare,
) -> None:
    items = (
        "item_id,category,tags,price\n"
        "a,home/lamps/desk/led,red|blue,1.5\n"
        "b,home / lamps,red| |red,x\n"
        "c,garden,,\n"
    )
    dataset = prepare_with_items(
        [("u", "a", 1)],
        items,
        item_attributes=[
            {"name": "category", "kind": "path", "max_levels": 3},
            {"name": "tags", "kind": "tags", "separator": "|"},
            {"name": "price", "kind": "numeric"},
        ],
    )

    def counts(name: str) -> dict[str, int]:
        vocabulary = dataset.attribute_vocabularies[name]
        return dict(zip(vocabulary.tokens, vocabulary.counts.tolist(), strict=True))

    assert counts("category") == {
        "home": 2, "home/lamps": 2, "garden": 1, "home/lamps/desk": 1,
    }  # fmt: skip
    assert list(counts("category"))[:2] == ["home", "home/lamps"]  # Frequent first.
    assert counts("tags") == {"red": 2, "blue": 1}  # An item counts once a tag.
    assert column(dataset, "price") == {"a": 1.5, "b": None, "c": None}
    assert dataset.manifest["warnings"][0].startswith("items: 1 x value of 'price'")


def test_negative_prices_of_the_catalogue_are_missing_and_counted_by_table(
    tmp_path: Path, write_csv: Any, make_config: Any
) -> None:
    header = ("user_id", "item_id", "timestamp", "price")
    events = write_csv("events.csv", [("u", "a", 1, -1), ("u", "b", 2, 3)], header)
    items = [("a", -2.5), ("b", 0), ("c", -1)]
    path = write_csv("items.csv", items, ("item_id", "price"))

    dataset = prepare(
        make_config(
            events,
            event_columns={"timestamp": "timestamp", "price": "price"},
            items={"paths": [str(path)]},
            item_attributes=[{"name": "price", "kind": "numeric"}],
        )
    )

    assert column(dataset, "price") == {"a": None, "b": 0.0, "c": None}
    counted = [w.partition(" that")[0] for w in dataset.manifest["warnings"][:2]]
    assert counted == [
        "events: 1 x value of 'price'",
        "items: 2 x value of 'price'",
    ]


def test_without_a_catalogue_attributes_are_read_off_the_events(
    prepare_rows: Prepare,
) -> None:
    rows = [
        ("u", "a", 1, "Lamp", "x", 1),
        ("u", "a", 2, "Old lamp", "", 9),
        ("u", "a", 3, "Lamp", "y", 2),
        ("u", "b", 4, "Vase", "y", ""),
        ("u", "b", 5, "New vase", "", ""),
        ("u", "c", 6, "Cup", "z", 1),
        # The test event is not looked at: it would make "Test" the latest title.
        ("u", "b", 7, "Test", "q", 5),
    ]
    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "timestamp", "name", "brand", "cost"),
        item_columns={"title": "name"},
        item_attributes=[
            {"name": "brand"},
            {"name": "price", "column": "cost", "kind": "numeric"},
        ],
    )

    # Titles: the most frequent, ties to the latest. Prices: the median of 1, 9, 2.
    assert column(dataset, "title") == {"a": "Lamp", "b": "New vase", "c": "Cup"}
    assert column(dataset, "brand") == {"a": "y", "b": "y", "c": "z"}
    assert column(dataset, "price") == {"a": 2.0, "b": None, "c": 1.0}
    assert dataset.attribute_vocabularies["brand"].tokens == ["y", "z"]


def test_one_user_and_one_item_are_enough(prepare_rows: Prepare) -> None:
    dataset = prepare_rows([("u", "a", t) for t in (1, 2, 3)])
    assert column(dataset, "train_count") == {"a": 1}
    assert dataset.load_sequences().item_index.tolist() == [2, 2, 2]
