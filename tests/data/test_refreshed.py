"""A catalogue that changed: what is read, and what becomes of each item."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrec.config import AttributeConfig, DataConfig, ItemColumns, TableConfig
from tfrec.data.changed_catalogue import read_changed_items, read_removed_ids
from tfrec.data.refreshed import RefreshedDataset, change_catalogue
from tfrec.data.store import FORMAT_VERSION, RETIRED, PreparedDataset
from tfrec.schema import AttributeKind


def make_data(items: TableConfig | None = None) -> DataConfig:
    return DataConfig(
        events=TableConfig(paths=("log.txt",), format="sequences"),
        items=items,
        item_columns=ItemColumns(item_id="sku", title="name"),
        item_attributes=(
            AttributeConfig(name="brand"),
            AttributeConfig(name="price", column="eur", kind=AttributeKind.NUMERIC),
        ),
        split={"protocol": "leave_one_out"},  # pyright: ignore[reportArgumentType]
    )


def table(*rows: tuple[str, str | None, str | None, float | None]) -> pa.Table:
    ids, titles, brands, prices = zip(*rows, strict=True) if rows else [()] * 4
    return pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "title": pa.array(titles, pa.string()),
            "brand": pa.array(brands, pa.string()),
            "price": pa.array(prices, pa.float64()),
        }
    )


@pytest.fixture
def catalogue() -> pa.Table:
    items = table(
        ("a", "red", "Acme", 1.0), ("b", "blue", None, None), ("c", None, "Bolt", 3.0)
    )
    items = items.add_column(2, "train_count", pa.array([5, 2, 0], pa.int64()))
    return items.add_column(3, "first_timestamp", pa.array([7, 8, 9], pa.int64()))


def column(items: pa.Table, name: str) -> dict[str, object]:
    ids = items["item_id"].to_pylist()
    return dict(zip(ids, items[name].to_pylist(), strict=True))


def test_known_items_keep_their_rows_and_new_ones_follow(catalogue):
    given = table(
        ("x", "green", "New", 9.0), ("b", "blue", "Bolt", None), ("y", None, None, None)
    )
    change = change_catalogue(catalogue, given)
    new = sorted(["x", "y"], key=lambda i: hashlib.sha256(i.encode()).hexdigest())
    assert change.items["item_id"].to_pylist() == ["a", "b", "c", *new]
    assert column(change.items, "brand") == {
        "a": "Acme",
        "b": "Bolt",
        "c": "Bolt",
        "x": "New",
        "y": None,
    }
    counts = {"a": 5, "b": 2, "c": 0, "x": 0, "y": 0}
    assert column(change.items, "train_count") == counts
    assert column(change.items, "first_timestamp")["x"] == 0
    assert not any(column(change.items, RETIRED).values())
    assert (change.num_added, change.num_changed, change.num_removed) == (2, 1, 0)


def test_rows_as_they_were_change_nothing(catalogue):
    unknown = table(("b", "blue", None, float("nan")))  # As unknown as None.
    assert change_catalogue(catalogue, unknown).is_empty
    given = table(("b", "blue", None, None), ("c", None, "Bolt", 3.0))
    change = change_catalogue(catalogue, given)
    assert change.is_empty
    assert change.items.drop_columns(RETIRED).equals(catalogue)


@pytest.mark.parametrize(
    "row",
    [
        ("a", None, "Acme", 1.0),
        ("a", "Red", "Acme", 1.0),
        ("a", "red", "Acme", None),
        ("a", "red", "Acme", 1.5),
    ],
)
def test_any_other_value_is_a_change(row, catalogue):
    change = change_catalogue(catalogue, table(row))
    assert change.num_changed == 1
    assert change.items.slice(1).drop_columns(RETIRED).equals(catalogue.slice(1))


def test_removed_items_keep_their_rows_until_they_come_back(catalogue):
    change = change_catalogue(catalogue, None, removed=["b"])
    assert column(change.items, RETIRED) == {"a": False, "b": True, "c": False}
    assert change.num_removed == 1
    again = change_catalogue(change.items, None, removed=["b"])
    assert again.is_empty
    back = change_catalogue(change.items, table(("b", "blue", None, None)))
    assert (back.num_restored, back.num_changed) == (1, 0)
    assert not any(column(back.items, RETIRED).values())


def test_items_that_a_complete_catalogue_lacks_are_removed(catalogue):
    given = table(("c", None, "Bolt", 3.0), ("x", "new", None, None))
    change = change_catalogue(catalogue, given, complete=True)
    gone = {"a": True, "b": True, "c": False, "x": False}
    assert column(change.items, RETIRED) == gone
    assert (change.num_added, change.num_removed) == (1, 2)


def test_removals_that_cannot_be_meant_are_refused(catalogue):
    with pytest.raises(ValueError, match="only unknown ids: 'y', 'z'.*`data.items`"):
        change_catalogue(catalogue, None, removed=["y", "z"])
    with pytest.raises(ValueError, match="both for 'a'"):
        change_catalogue(catalogue, table(("a", "x", None, None)), removed=["a"])
    with pytest.raises(ValueError, match="both for 'new'"):
        change_catalogue(catalogue, table(("new", "x", None, None)), removed=["new"])
    with pytest.raises(ValueError, match="removes all 3"):
        change_catalogue(catalogue, None, removed=["a", "b", "c"])


def test_unknown_removed_items_are_told_and_the_others_are_removed(catalogue):
    warnings: list[str] = []
    change = change_catalogue(
        catalogue, None, removed=["z", "b", "y"], warn=warnings.append
    )
    assert column(change.items, RETIRED) == {"a": False, "b": True, "c": False}
    assert warnings == [
        "2 removed items are not in the catalogue, and left out: 'z', 'y'"
    ]


def test_unknown_removed_items_do_not_stop_items_that_are_given(catalogue):
    warnings: list[str] = []
    unknown = [f"z{n}" for n in range(23)]
    given = table(("x", "new", None, None))
    change = change_catalogue(catalogue, given, removed=unknown, warn=warnings.append)
    assert (change.num_added, change.num_removed) == (1, 0)
    (text,) = warnings
    assert text.startswith("23 removed items")
    assert text.endswith("'z18', 'z19' and 3 more")


def test_dataset_says_what_differs_from_the_training(catalogue, tmp_path):
    pq.write_table(catalogue, tmp_path / "items.parquet")
    schema = make_data().build_schema().to_json()
    manifest = {
        "format_version": FORMAT_VERSION,
        "schema": schema,
        "counts": {"users": 4},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    trained = PreparedDataset(tmp_path)
    assert not trained.retired.any()
    given = table(("x", None, None, None), ("c", "new", "Bolt", 3.0))
    change = change_catalogue(catalogue, given, removed=["a"])
    dataset = RefreshedDataset(trained, change.items)
    assert dataset.differs.tolist() == [False, False, True, True]
    assert dataset.retired.tolist() == [True, False, False, False]
    assert dataset.manifest["counts"] == {"users": 4, "items": 3}
    # Back to what training saw: no difference any more, also after two changes.
    back = change_catalogue(change.items, table(("c", None, "Bolt", 3.0)))
    assert not RefreshedDataset(trained, back.items).differs[2]
    with pytest.raises(ValueError, match="must begin with the items of the training"):
        RefreshedDataset(trained, change.items.slice(1))


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl"])
def test_all_formats_are_read_by_the_roles_of_the_run(ending, tmp_path):
    path = tmp_path / f"new.{ending}"
    if ending == "parquet":
        columns = {"eur": [2.5, None], "name": [" lamp ", ""], "sku": ["7", "8"]}
        pq.write_table(pa.table({**columns, "brand": ["Acme", None]}), path)
    elif ending == "jsonl":
        path.write_text(
            '{"sku": 7, "name": "lamp", "brand": "Acme", "eur": 2.5}\n{"sku": "8"}\n'
        )
    else:
        mark = "\t" if ending == "tsv" else ";"
        lines = [["eur", "sku", "name", "brand"], ["2.5", "7", "lamp", "Acme"]]
        lines.append(["", "8", "", ""])
        path.write_text("\n".join(map(mark.join, lines)) + "\n")
    delimiter = "\t" if ending == "tsv" else ";"
    configured = TableConfig(paths=("old.csv",), delimiter=delimiter)
    items = read_changed_items(make_data(configured), path)
    rows = sorted(items.to_pylist(), key=lambda row: row["item_id"])
    assert rows == [
        {"item_id": "7", "title": "lamp", "brand": "Acme", "price": 2.5},
        {"item_id": "8", "title": None, "brand": None, "price": None},
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("sku,name,brand,eur\n", "must have rows"),
        ("id,name,brand,eur\n1,x,y,2\n", r"data\.item_columns\.item_id.*'sku'"),
        ("sku,name,eur\n1,x,2\n", r"data\.item_attributes\.brand"),
        ("sku,name,brand,eur\n,x,y,2\n1,x,y,2\n", "no item id"),
    ],
)
def test_what_cannot_be_used_is_explained(text, message, tmp_path):
    path = tmp_path / "new.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"(?s)new\.csv.*{message}"):
        read_changed_items(make_data(), path)


def test_what_prepare_accepts_is_accepted_with_a_warning(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("sku,name,brand,eur\n1,x,y,2\n3,,,NaN\n1,z,y,7\n4,,,cheap\n")
    warnings: list[str] = []
    items = read_changed_items(make_data(), path, warn=warnings.append)
    rows = {row["item_id"]: row for row in items.to_pylist()}
    assert rows["1"]["title"] == "z"  # The last row counts.
    assert (rows["1"]["price"], rows["3"]["price"], rows["4"]["price"]) == (
        7,
        None,
        None,
    )
    assert warnings == [
        "new.csv: 1 x earlier row of the same item",
        "new.csv: 2 x value of 'eur' that is no usable number (expected such as "
        "1234.5: a point, or a comma with `decimal: ','` beside `paths`, no other "
        "sign, no currency; no price or time below 0)",
    ]


def test_columns_without_any_value_are_told(tmp_path):
    path = tmp_path / "new.csv"
    path.write_text("sku,name,brand,eur\n1, ,,2\n2,,,\n")
    warnings: list[str] = []
    read_changed_items(make_data(), path, warn=warnings.append)
    brand, title = sorted(warnings)
    assert title == (
        "new.csv: `data.item_columns.title` should name a column with values. "
        "Received: 'name', which has no usable one in 2 rows: it is unknown of these "
        "items from now on, whatever it was before. Export the column again if they "
        "have one"
    )
    assert brand.startswith("new.csv: `data.item_attributes.brand` should name")


def test_price_of_a_wrong_type_is_explained(tmp_path):
    path = tmp_path / "new.parquet"
    columns = {"sku": ["1"], "name": ["x"], "brand": ["y"], "eur": [[1.0, 2.0]]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ValueError, match=r"new\.parquet' cannot be used"):
        read_changed_items(make_data(), path)


def test_ending_that_tells_no_format_needs_the_configuration(tmp_path):
    path = tmp_path / "new.dump"
    path.write_text("sku|name|brand|eur\n1|x|y|2\n")
    with pytest.raises(ValueError, match="ending that tells its format"):
        read_changed_items(make_data(), path)
    configured = TableConfig(paths=("old",), format="csv", delimiter="|")
    assert read_changed_items(make_data(configured), path)["price"].to_pylist() == [2.0]


def test_removed_ids_are_lines_each_once(tmp_path: Path):
    path = tmp_path / "gone.txt"
    path.write_text("a\n\n 灯 \na\n", encoding="utf-8")
    assert read_removed_ids(path) == ["a", "灯"]
    path.write_text("17.0\nnan\n 17\n007\n")  # As data frames write ids.
    assert read_removed_ids(path) == ["17", "007"]
    path.write_text("\n\n")
    with pytest.raises(ValueError, match=r"gone\.txt.*Received: none"):
        read_removed_ids(path)
    path.write_bytes(np.array([255, 254, 250], np.uint8).tobytes())
    with pytest.raises(ValueError, match=r"gone\.txt.*UTF-8"):
        read_removed_ids(path)
