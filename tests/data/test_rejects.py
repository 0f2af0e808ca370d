import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset
from tfrec.data.values import BAD_TIME

HEADER = b"user_id,item_id,timestamp\n"


def run(
    tmp_path: Path, make_config: Any, text: bytes, **data: Any
) -> tuple[PreparedDataset, list[dict[str, str]]]:
    (tmp_path / "log.csv").write_bytes(text)
    settings = {"cleaning": {"max_reject_share": 1.0}, **data}
    dataset = prepare(make_config(tmp_path / "log.csv", **settings))
    with (dataset.path / "rejects.csv").open(newline="", encoding="utf-8") as stream:
        return dataset, list(csv.DictReader(stream))


def test_unusable_rows_are_kept_with_file_row_and_reason(
    tmp_path: Path, make_config: Any
) -> None:
    bad = {
        b",b,2": "no user id",
        b"  ,b,2": "no user id",
        b"NaN,b,2": "no user id",
        b"u,null,2": "no item id",
        b"u,,2": "no item id",
        b"u,b,": "no timestamp",
        b"u,b,yesterday": BAD_TIME,
        b"u,b,31/12/2019": BAD_TIME,
        b"u,b,nan": BAD_TIME,
        b"u,b,-5": "timestamp before 1970-01-01 00:00:01",
        b"u,b,0": "timestamp before 1970-01-01 00:00:01",
        b"u,b,1066-10-14": "timestamp before 1970-01-01 00:00:01",
        b"u,b,9999-12-31": "timestamp after 2099",
        b"u,b,5000000000": "timestamp after 2099",
        b"u,b,20191001": "timestamp written as YYYYMMDD (write YYYY-MM-DD)",
        b"u,b,1569888000000": "timestamp in milliseconds "
        "(set data.timestamp_unit: milliseconds; where only some rows are so, write "
        "all in one unit)",
        b"u,b,1569888000000000": "timestamp in microseconds "
        "(set data.timestamp_unit: microseconds; where only some rows are so, write "
        "all in one unit)",
        b"u,b": "too few columns (cut-off line?)",
        b"u,b,2,3": "too many columns",
        b"u,b\xff,2": "bytes that are not UTF-8 (re-encode the file, for instance by "
        "`iconv -f latin1 -t utf-8 OLD > NEW`)",
        b'u,"b\nc",2': "line break in item id",
    }
    text = HEADER + b"u,a,1\n" + b"\n".join(bad) + b"\nu,c,3\n"

    dataset, rejects = run(tmp_path, make_config, text)

    # The header is line 1 and `u,a,1` line 2: unusable rows start in line 3.
    expected = {line: reason for line, reason in enumerate(bad.values(), start=3)}
    assert {int(r["row"]): r["reason"] for r in rejects} == expected
    assert len(rejects) == len(bad)
    assert all(r["file"].endswith("log.csv") for r in rejects)
    summary = dataset.manifest["rejects"]["events"]
    assert (summary["rows"], summary["rejected"]) == (len(bad) + 2, len(bad))
    assert sum(reason["count"] for reason in summary["reasons"]) == len(bad)
    assert dataset.load_sequences().timestamps.tolist() == [1, 3]


def test_a_nul_byte_far_down_is_a_reject(tmp_path: Path, make_config: Any) -> None:
    # In the first bytes of a file it says that the file is no text.
    text = HEADER + b"u,a,1\n" * 5_000 + b"u\0x,a,2\n"
    _, rejects = run(tmp_path, make_config, text)
    assert [r["reason"] for r in rejects] == ["NUL byte in user id"]


def test_raw_values_are_kept_as_they_came(tmp_path: Path, make_config: Any) -> None:
    _, rejects = run(tmp_path, make_config, HEADER + b"u,a,1\n ann ,b,soon\n")

    assert rejects[0]["values"] == (
        '{"user_id": " ann ", "item_id": "b", "timestamp": "soon"}'
    )


def test_rows_behind_a_broken_line_have_their_own_line_number(
    tmp_path: Path, make_config: Any
) -> None:
    # Lines: 1 header, 2 good, 3 too few columns, 4 good, 5 no user.
    _, rejects = run(tmp_path, make_config, HEADER + b"u,a,1\nu,b\nu,c,3\n,d,4\n")

    assert [(r["row"], r["reason"]) for r in rejects] == [
        ("3", "too few columns (cut-off line?)"),
        ("5", "no user id"),
    ]


def test_rows_of_a_second_file_are_counted_from_its_start(
    tmp_path: Path, make_config: Any
) -> None:
    (tmp_path / "a.csv").write_bytes(HEADER + b"u,a,1\nu,b,2\nu,c,3\n")
    (tmp_path / "b.csv").write_bytes(HEADER + b"u,d,4\nu,,5\n")
    config = make_config(tmp_path / "?.csv", cleaning={"max_reject_share": 0.5})

    example = prepare(config).manifest["rejects"]["events"]["reasons"][0]["example"]

    assert (Path(example["file"]).name, example["row"]) == ("b.csv", 3)


def test_an_open_quote_counts_every_line_that_it_swallows(
    tmp_path: Path, make_config: Any
) -> None:
    text = HEADER + b'u,a,1\nu,"b,2\n' + b"u,c,3\n" * 5

    dataset, rejects = run(tmp_path, make_config, text)

    assert len(rejects) == 6  # The line of the quote and five behind it.
    assert dataset.manifest["rejects"]["events"]["rows"] == 7


def test_broken_json_is_a_reject_with_its_line(
    tmp_path: Path, make_config: Any
) -> None:
    good = '{"user_id": "u", "item_id": "a", "timestamp": 1}'
    (tmp_path / "log.jsonl").write_text(f'{good}\n\n{{"user_id": "u", "ite\n')
    config = make_config(tmp_path / "log.jsonl", cleaning={"max_reject_share": 0.5})

    reasons = prepare(config).manifest["rejects"]["events"]["reasons"]

    assert [(r["reason"], r["example"]["row"]) for r in reasons] == [
        ("not valid JSON", 3)
    ]


def test_unknown_event_types_are_rejects_and_mapped_ones_are_not(
    tmp_path: Path, make_config: Any
) -> None:
    text = b"user_id,item_id,what\nu,a,pv\nu,b,fav\nu,c, view \nu,d,\n"
    dataset, rejects = run(
        tmp_path,
        make_config,
        text,
        event_columns={"event_type": "what"},
        event_types=["view", "buy"],
        event_type_names={"pv": "view"},
    )

    assert [r["reason"] for r in rejects] == [
        "unknown event type 'fav' (known: view, buy, pv)",
        "no event type",
    ]
    assert dataset.load_sequences().event_type_index.tolist() == [2, 2]


@pytest.mark.parametrize(
    ("raw", "nearest"),
    [
        ("Purchase", "purchase"),
        ("purchases", "purchase"),
        ("vjew", "view"),
        ("PV", "pv"),
        ("cards", "card"),
        ("fav", None),
        ("remove_from_cart", None),
    ],
)
def test_event_types_that_are_nearly_known_get_a_hint(
    tmp_path: Path, make_config: Any, raw: str, nearest: str | None
) -> None:
    _, rejects = run(
        tmp_path,
        make_config,
        f"user_id,item_id,what\nu,a,purchase\nu,b,{raw}\n".encode(),
        event_columns={"event_type": "what"},
        event_types=["view", "cart", "card", "purchase"],
        event_type_names={"pv": "view", "unused": "other"},
    )

    known = "view, cart, card, purchase, pv, unused"
    reason = f"unknown event type '{raw}' (known: {known})"
    if nearest is not None:
        event_type = {"pv": "view"}.get(nearest, nearest)
        reason += (
            f"; did you mean '{nearest}'? "
            f"Set data.event_type_names: {{'{raw}': {event_type}}}"
        )
    assert [r["reason"] for r in rejects] == [reason]


def test_too_many_rejects_are_an_error_with_examples_and_leave_nothing(
    tmp_path: Path, make_config: Any
) -> None:
    rows = b"".join(b"u,i%d,%d\n" % (i, i + 1) for i in range(9))
    (tmp_path / "log.csv").write_bytes(HEADER + rows + b"u,x,soon\n")
    config = make_config(tmp_path / "log.csv", cleaning={"max_reject_share": 0.05})

    # One of ten rows, 10 %, stands in line 11.
    with pytest.raises(
        ValueError, match=r"(?s)1 of 10 \(10.00%\).*unparseable.*log.csv row 11.*soon"
    ):
        prepare(config)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv"]


@pytest.mark.parametrize(
    ("unit", "seconds", "option"),
    [
        ("auto", 1_569_888_000_000, "milliseconds"),
        ("seconds", 1_569_888_000_000, "milliseconds"),
        ("milliseconds", 1_569_888_000, "seconds"),
    ],
)
def test_timestamps_of_another_unit_name_the_option(
    prepare_rows: Callable[..., Any], unit: str, seconds: int, option: str
) -> None:
    rows = [("u", f"i{i}", seconds + i) for i in range(3)]
    with pytest.raises(ValueError, match=f"set data.timestamp_unit: {option}"):
        prepare_rows(rows, timestamp_unit=unit)


def test_a_log_without_usable_rows_is_an_error(
    prepare_rows: Callable[..., Any],
) -> None:
    with pytest.raises(ValueError, match="must hold usable events.*2 are unusable"):
        prepare_rows([("", "a", 1), ("", "b", 2)], cleaning={"max_reject_share": 1.0})
