from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

NUMBERS = {
    "dwell_seconds": "dwell",
    "position": "place",
    "propensity": "share",
    "quantity": "number",
    "price": "cost",
}
ROLES = {"session_id": "visit", "query": "words", **NUMBERS}


def noted(dataset: PreparedDataset) -> dict[str, str]:
    """Returns the raw columns that warnings call empty, by configuration key."""
    notes = [w for w in dataset.manifest["warnings"] if "no usable one" in w]
    return {note.split("`")[1]: note.split("'")[1] for note in notes}


def test_columns_that_hold_nothing_are_named(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    header = ["user_id", "item_id", "timestamp", *ROLES.values(), "name", "load"]
    empty = [""] * (len(ROLES) + 2)

    dataset = prepare_rows(
        [("u", "a", 1, *empty), ("u", "b", 2, *empty)],
        header=header,
        event_columns={"timestamp": "timestamp", **ROLES},
        item_columns={"title": "name"},
        context=[{"name": "traffic", "column": "load", "kind": "numeric"}],
    )

    assert noted(dataset) == {
        **{f"data.event_columns.{role}": column for role, column in ROLES.items()},
        "data.context.traffic": "load",
        "data.item_columns.title": "name",
    }
    (note,) = [w for w in dataset.manifest["warnings"] if "'name'" in w]
    assert "in 2 rows" in note
    assert "nothing is learnt from it" in note
    assert "Name another column" in note


def test_one_value_is_enough(prepare_rows: Callable[..., PreparedDataset]) -> None:
    header = ["user_id", "item_id", "timestamp", *ROLES.values(), "name", "load"]
    num_values = len(ROLES) + 2

    dataset = prepare_rows(
        [("u", "a", 1, *["1"] * num_values), ("u", "b", 2, *[""] * num_values)],
        header=header,
        event_columns={"timestamp": "timestamp", **ROLES},
        item_columns={"title": "name"},
        context=[{"name": "traffic", "column": "load", "kind": "numeric"}],
    )

    assert noted(dataset) == {}


def test_null_columns_of_parquet_are_named(tmp_path: Path, make_config: Any) -> None:
    events = {"user_id": ["u"] * 2, "item_id": ["a", "b"], "timestamp": [1, 2]}
    items = {"item_id": ["a", "b"], "title": pa.nulls(2), "price": pa.nulls(2)}
    items |= {"brand": ["x", None], "tags": pa.nulls(2, pa.list_(pa.string()))}
    pq.write_table(pa.table({**events, "cost": pa.nulls(2)}), tmp_path / "log.parquet")
    pq.write_table(pa.table(items), tmp_path / "items.parquet")

    dataset = prepare(
        make_config(
            tmp_path / "log.parquet",
            event_columns={"timestamp": "timestamp", "price": "cost"},
            items={"paths": [str(tmp_path / "items.parquet")]},
            item_columns={"title": "title"},
            item_attributes=[
                {"name": "price", "kind": "numeric"},
                {"name": "brand"},
                {"name": "tags", "kind": "tags"},
            ],
        )
    )

    assert noted(dataset) == {
        "data.event_columns.price": "cost",
        "data.item_columns.title": "title",
        "data.item_attributes.price": "price",
        "data.item_attributes.tags": "tags",
    }


def test_a_time_column_that_holds_nothing_is_an_error(
    prepare_rows: Callable[..., PreparedDataset],
) -> None:
    with pytest.raises(ValueError, match="2 x no timestamp"):
        prepare_rows([("u", "a", ""), ("u", "b", "")])
