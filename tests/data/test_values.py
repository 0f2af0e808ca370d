import datetime
import decimal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

Prepare = Callable[..., PreparedDataset]


def utc(*parts: int) -> int:
    return int(datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp())  # type: ignore[misc]


def test_mixed_zones_become_one_time_line(prepare_rows: Prepare) -> None:
    # Berlin is one hour ahead of UTC in January and two in July.
    written = {
        "2019-01-01 12:00:00": utc(2019, 1, 1, 11),
        "2019-07-01 12:00:00": utc(2019, 7, 1, 10),
        "2019-07-01T12:00:00Z": utc(2019, 7, 1, 12),
        "2019-07-01 12:00:00 UTC": utc(2019, 7, 1, 12),
        "2019-07-01T12:00:00+02:00": utc(2019, 7, 1, 10),
        "2019-07-01T12:00:00.250-0530": utc(2019, 7, 1, 17, 30),
        "2019-07-01": utc(2019, 6, 30, 22),
        "1561982400": 1561982400,
        " 1561982400.9 ": 1561982400,
    }
    rows = [(f"u{i}", "a", text) for i, text in enumerate(written)]

    dataset = prepare_rows(rows, time_zone="Europe/Berlin")

    sequences = dataset.load_sequences()
    found = dict(zip(sequences.user_ids, sequences.timestamps.tolist(), strict=True))
    assert found == {f"u{i}": seconds for i, seconds in enumerate(written.values())}


@pytest.mark.parametrize(
    ("unit", "factor"), [("milliseconds", 1_000), ("microseconds", 1_000_000)]
)
def test_finer_units_are_read_where_configured(
    unit: str, factor: int, prepare_rows: Prepare
) -> None:
    times = (1_569_888_001 * factor - 1, 1_569_888_001 * factor)
    rows = [("u", "a", times[0]), ("u", "b", times[1])]
    dataset = prepare_rows(rows, timestamp_unit=unit)
    assert dataset.load_sequences().timestamps.tolist() == [
        1_569_888_000,
        1_569_888_001,
    ]


@pytest.mark.parametrize(
    ("kind", "value", "seconds"),
    [
        (pa.timestamp("us"), datetime.datetime(2019, 7, 1, 12), utc(2019, 7, 1, 10)),
        (
            pa.timestamp("ms", "Asia/Tokyo"),
            datetime.datetime(2019, 7, 1, 12, tzinfo=datetime.UTC),
            utc(2019, 7, 1, 12),
        ),
        (pa.date32(), datetime.date(2019, 7, 1), utc(2019, 6, 30, 22)),
        (pa.float64(), 1561982400.5, 1561982400),
        (pa.int32(), 1561982400, 1561982400),
    ],
)
def test_typed_times_are_read(
    tmp_path: Path, make_config: Any, kind: pa.DataType, value: Any, seconds: int
) -> None:
    table = pa.table(
        {"user_id": ["u"], "item_id": ["a"], "timestamp": pa.array([value], kind)}
    )
    pq.write_table(table, tmp_path / "log.parquet")

    dataset = prepare(make_config(tmp_path / "log.parquet", time_zone="Europe/Berlin"))

    assert dataset.load_sequences().timestamps.tolist() == [seconds]


def test_ids_keep_their_spelling_but_for_floats_and_blanks(
    prepare_rows: Prepare,
) -> None:
    spellings = {
        "17850.0": "17850",
        "-3.00": "-3",
        "007": "007",
        "1.50": "1.50",
        "1.0.0": "1.0.0",
        "1e5": "1e5",
        " x y ": "x y",
        "\tz": "z",
        "Ñandú": "Ñandú",
        "none-such": "none-such",
    }
    rows = [(raw, raw, i + 1) for i, raw in enumerate(spellings)]

    dataset = prepare_rows(rows)

    assert set(dataset.load_sequences().user_ids) == set(spellings.values())
    assert set(dataset.items["item_id"].to_pylist()) == set(spellings.values())


def test_two_spellings_of_one_id_are_one(prepare_rows: Prepare) -> None:
    dataset = prepare_rows([("5.0", "a", 1), ("5", "a ", 2), (" 5", "b", 3)])
    assert dataset.load_sequences().user_ids.tolist() == ["5"]
    assert dataset.manifest["counts"]["items"] == 1  # b is the test item.


def test_numeric_id_columns_of_parquet_become_text(
    tmp_path: Path, make_config: Any
) -> None:
    table = pa.table(
        {
            "user_id": [7.0, None, float("nan")],
            "item_id": [2**60] * 3,
            "timestamp": [1, 2, 3],
        }
    )
    pq.write_table(table, tmp_path / "log.parquet")
    config = make_config(tmp_path / "log.parquet", cleaning={"max_reject_share": 0.7})

    dataset = prepare(config)

    assert dataset.load_sequences().user_ids.tolist() == ["7"]
    assert dataset.items["item_id"].to_pylist() == [str(2**60)]
    assert dataset.manifest["rejects"]["events"]["reasons"][0]["count"] == 2


def test_prices_that_are_no_numbers_are_missing_and_counted(
    prepare_rows: Prepare,
) -> None:
    prices = ["1.5", "nan", "free", "", "inf", "-1", "2.5"]
    dataset = prepare_rows(
        [("u", "a", i + 1, price) for i, price in enumerate(prices)]
        + [("v", "b", 9, "none")],
        header=("user_id", "item_id", "timestamp", "price"),
        event_columns={"timestamp": "timestamp", "price": "price"},
        item_attributes=[{"name": "price", "kind": "numeric"}],
    )

    items = dict(
        zip(
            dataset.items["item_id"].to_pylist(),
            dataset.items["price"].to_pylist(),
            strict=True,
        )
    )
    # The 2.5 is the test event, of which the catalogue knows nothing.
    assert items == {"a": 1.5, "b": None}
    # nan, free, inf, -1 of a and none of b; an empty price is just missing.
    assert dataset.manifest["warnings"] == [
        "events: 5 x value of 'price' that is no usable number (expected such as "
        "1234.5: a point, or a comma with `decimal: ','` beside `paths`, no other "
        "sign, no currency; no price or time below 0)"
    ]


def test_decimal_commas_are_read_where_they_are_declared(
    prepare_rows: Prepare, write_csv: Callable[..., Path]
) -> None:
    prices = ["1.234,50", " -0,5", "7", ",5", "12.345.678", "12.5", "1.23,4", "", "x"]
    items = write_csv(
        "items.csv", [(n, p) for n, p in enumerate(prices)], header=("item_id", "worth")
    )
    # The second quantity is dropped; the dwell time of the third is no number.
    rows = [
        ("u", "0", 1, "1,5", "2"),
        ("u", "1", 2, "1", "-0,5"),
        ("u", "2", 3, "1.5", "1"),
    ]
    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "timestamp", "dwell", "load"),
        event_columns={"timestamp": "timestamp", "dwell_seconds": "dwell"},
        events={"decimal": ","},
        items={"paths": [str(items)], "decimal": ","},
        item_attributes=[{"name": "worth", "kind": "numeric"}],
        cleaning={
            "min_user_events": 1,
            "drop_rows": [{"column": "load", "drop": "at_most", "value": 0}],
        },
    )

    found = {row["item_id"]: row["worth"] for row in dataset.items.to_pylist()}
    expected = [1234.5, -0.5, 7.0, 0.5, 12_345_678.0, None, None, None, None]
    assert [found[str(n)] for n in range(len(prices))] == expected
    assert dataset.load_sequences().dwell_seconds.tolist() == [1.5, 0.0]
    expected_text = "1.234,5: a comma, points between groups of three, no other sign"
    told = [text for text in dataset.manifest["warnings"] if "no usable number" in text]
    assert len(told) == 2
    assert all(expected_text in text for text in told)
    assert [text.split(" x ")[0] for text in told] == ["events: 1", "items: 3"]


def test_json_and_parquet_have_a_decimal_point_of_their_own(
    tmp_path: Path, make_config: Callable[..., ExperimentConfig]
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"user_id": "u", "item_id": "a", "timestamp": 1, "price": 2.5}\n')
    config = make_config(
        log,
        events={"decimal": ","},
        item_attributes=[{"name": "price", "kind": "numeric"}],
    )
    assert prepare(config).items["price"].to_pylist() == [2.5]


@pytest.mark.parametrize(
    "value", [[38.0, 40.0], datetime.date(2025, 1, 31), {"eur": 3.5}]
)
def test_a_column_whose_type_is_no_number_is_named(
    tmp_path: Path, make_config: Any, value: object
) -> None:
    row = {"user_id": "u", "item_id": "a", "timestamp": 1, "size": value}
    row |= {"weight": decimal.Decimal("1.25"), "nothing": None, "is_new": True}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "log.parquet")

    def prepare_numbers(*names: str) -> PreparedDataset:
        attributes = [{"name": name, "kind": "numeric"} for name in names]
        config = make_config(tmp_path / "log.parquet", item_attributes=attributes)
        return prepare(config)

    with pytest.raises(ValueError, match=r"`data.item_attributes.size`.*log.parquet"):
        prepare_numbers("size", "weight")
    (item,) = prepare_numbers("weight", "nothing", "is_new").items.to_pylist()
    found = [item[name] for name in ("weight", "nothing", "is_new")]
    assert found == [1.25, None, 1.0]


def test_numbers_that_only_an_attribute_reads_off_the_events_are_counted(
    prepare_rows: Prepare,
) -> None:
    rows = [("u", "a", 1, "-3", "-3", "x"), ("u", "a", 2, "0", "5", "1")]
    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "timestamp", "cost", "degrees", "load"),
        item_attributes=[
            {"name": "price", "column": "cost", "kind": "numeric"},
            {"name": "degrees", "kind": "numeric"},
        ],
        context=[{"name": "load", "kind": "numeric"}],
    )

    # A price below 0 is none, and 0 is one; other numbers may be below: (-3 + 5) / 2.
    assert dataset.items["price"].to_pylist() == [0.0]
    assert dataset.items["degrees"].to_pylist() == [1.0]
    counted = [w.partition(" that")[0] for w in dataset.manifest["warnings"]]
    assert "events: 1 x value of 'cost'" in counted
    assert "events: 1 x value of 'load'" in counted
    assert not any("degrees" in text for text in counted)
