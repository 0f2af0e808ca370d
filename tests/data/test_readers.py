import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrec.config import TableConfig
from tfrec.data.prepare import prepare
from tfrec.data.readers import find_files
from tfrec.data.store import PreparedDataset

HEADER = "user_id,item_id,timestamp\n"
Histories = Callable[[PreparedDataset], dict[str, list[str]]]


def prepared_rows(
    histories: Histories, dataset: PreparedDataset
) -> list[tuple[str, str]]:
    return [(u, i) for u, items in histories(dataset).items() for i in items]


@pytest.mark.parametrize(
    ("name", "text", "settings"),
    [
        ("log.csv", HEADER + "u,a,1\nu,b,2\n", {}),
        ("log.csv", HEADER.replace("\n", "\r\n") + "u,a,1\r\nu,b,2\r\n", {}),
        ("log.csv", "\ufeff" + HEADER + "u,a,1\nu,b,2", {}),
        ("log.csv", HEADER + 'u,"a",1\n"u",b,"2"\n', {}),
        ("log.txt", "u|1|a\nu|2|b\n", {
            "format": "csv", "delimiter": "|", "header": False,
            "columns": ["user_id", "timestamp", "item_id"],
        }),
        ("log.tsv", "user_id\titem_id\ttimestamp\nu\ta\t1\nu\tb\t2\n", {}),
        ("log.csv", HEADER.replace(",", ";") + "u;a;1\nu;b;2\n", {}),
        ("log.csv", '"user_id"|"item_id"|timestamp|"a, b, c, d, e"\nu|a|1|\nu|b|2|\n',
         {}),
        ("log.csv", "u;a, b, c;a;1\nu;;b;2\n", {
            "header": False, "columns": ["user_id", "title", "item_id", "timestamp"],
        }),
        ("log.csv.gz", HEADER + "u,a,1\nu,b,2\n", {}),
        ("log.jsonl.gz", '{"user_id":"u","item_id":"a","timestamp":1,"x":[1]}\n'
         '{"timestamp":2,"item_id":"b","user_id":"u"}\n', {}),
        ("log.ndjson", '\n{"user_id":"u","item_id":"a",'
         '"timestamp":"1970-01-01T00:00:01Z"}\n'
         '{"timestamp":2,"item_id":"b","user_id":"u"}\n\n', {}),
    ],
)  # fmt: skip
def test_the_same_events_are_read_from_every_format(
    tmp_path: Path,
    make_config: Any,
    name: str,
    text: str,
    settings: dict[str, Any],
) -> None:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "wb") as stream:
        stream.write(text.encode())

    dataset = prepare(make_config(tmp_path / name, events=settings))

    sequences = dataset.load_sequences()
    # A user with two events is wholly training: both items are in the catalogue.
    assert sorted(dataset.items["item_id"].to_pylist()) == ["a", "b"]
    assert sequences.user_ids.tolist() == ["u"]
    assert sequences.timestamps.tolist() == [1, 2]
    assert dataset.manifest["rejects"]["events"]["rows"] == 2
    assert dataset.manifest["rejects"]["events"]["rejected"] == 0


def test_a_line_of_a_sequences_file_is_a_history(
    tmp_path: Path, make_config: Any, histories: Histories
) -> None:
    (tmp_path / "log.txt.gz").write_bytes(gzip.compress(b"ann  3 1   3 2\nbob 7\n\n"))
    config = make_config(
        tmp_path / "log.txt.gz", events={"format": "sequences"}, event_columns={}
    )

    dataset = prepare(config)

    # Equal rows without times are different events: 3 stays twice.
    assert histories(dataset) == {"ann": ["3", "1", "3", "?"], "bob": ["7"]}
    assert set(dataset.load_sequences().timestamps) == {0}
    assert dataset.load_sequences().split.tolist() == [0, 0, 1, 2, 0]


@pytest.mark.parametrize("line", ["", "  ", "sep=;"])
def test_a_line_before_the_names_of_columns_is_told(
    line: str, tmp_path: Path, make_config: Any
) -> None:
    (tmp_path / "log.csv").write_text(f"{line}\n{HEADER}u,a,1\n")
    match = rf"`data\.events` must begin with the names.*'{line}'. Take that line out"
    with pytest.raises(ValueError, match=match):
        prepare(make_config(tmp_path / "log.csv"))


def test_structures_are_refused_by_name(tmp_path: Path, make_config: Any) -> None:
    row = {"user_id": {"id": 3}, "item_id": "a", "timestamp": 1}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "log.parquet")
    config = make_config(tmp_path / "log.parquet")
    match = r"`data\.event_columns\.user_id` .*text or numbers.*'user_id'.*struct"
    with pytest.raises(ValueError, match=match):
        prepare(config)


def test_columns_of_a_log_may_have_any_names(
    tmp_path: Path, make_config: Any, histories: Histories
) -> None:
    names = ["_file", "_line", "_problem", "row", "filename"]
    text = ",".join(["user_id,item_id,timestamp", *names])
    (tmp_path / "log.csv").write_text(f"{text}\nu,a,1,v,w,x,y,z\nu,b,2,v,w,x,y,z\n")
    columns = {"timestamp": "timestamp", "session_id": "_line", "query": "_problem"}
    dataset = prepare(make_config(tmp_path / "log.csv", event_columns=columns))
    assert histories(dataset) == {"u": ["a", "b"]}


def test_a_user_without_items_is_a_reject(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "log.txt").write_text("ann 3 1\nbob\n")
    config = make_config(
        tmp_path / "log.txt",
        events={"format": "sequences"},
        event_columns={},
        cleaning={"max_reject_share": 0.5},
    )

    rejects = prepare(config).manifest["rejects"]["events"]["reasons"]

    assert [(r["reason"], r["example"]["row"]) for r in rejects] == [("no item id", 2)]


def test_globs_read_all_files(
    tmp_path: Path, make_config: Any, histories: Histories
) -> None:
    for day in (2, 1):
        rows = [{"user_id": "u", "item_id": f"i{day}", "timestamp": 5}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"day-{day}.parquet")

    dataset = prepare(make_config(tmp_path / "day-*.parquet"))

    assert histories(dataset) == {"u": ["i1", "i2"]}
    assert len(dataset.manifest["inputs"]["events"]) == 2


def test_a_glob_that_matches_nothing_is_named(tmp_path: Path, make_config: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"`data.events.paths`.*none-\*.csv"):
        prepare(make_config(tmp_path / "none-*.csv"))


def test_an_empty_file_is_named(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "log.csv").touch()
    with pytest.raises(ValueError, match=r"log.csv' is empty \(0 bytes\)"):
        prepare(make_config(tmp_path / "log.csv"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_text_that_is_not_utf_8_is_named(
    tmp_path: Path, make_config: Any, encoding: str
) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,item_id,timestamp\r\nu,i,5\r\n", encoding=encoding)
    with pytest.raises(ValueError, match=r"UTF-8\. Received: '.*log\.csv'"):
        prepare(make_config(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log.csv", HEADER + "u,café,5\n"),
        ("log.csv", HEADER.replace("\n", ",café\n") + "u,a,5,x\n"),
        ("log.csv.gz", HEADER.replace("\n", ",café\n") + "u,a,5,x\n"),
        ("log.jsonl", '{"user_id": "u", "item_id": "café", "timestamp": 5}\n'),
    ],
)
def test_latin_1_is_answered_with_how_to_re_encode_it(
    tmp_path: Path, make_config: Any, name: str, text: str
) -> None:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "wb") as stream:
        stream.write(text.encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"(?s)`data.events`.*UTF-8.*iconv -f latin1 -t utf-8"
    ) as caught:
        prepare(make_config(tmp_path / name))
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["log.csv", "log.csv.gz"])
def test_a_header_without_rows_is_named(
    tmp_path: Path, make_config: Any, name: str
) -> None:
    opener = gzip.open if name.endswith(".gz") else open
    with opener(tmp_path / name, "wb") as stream:
        stream.write(HEADER.encode())
    with pytest.raises(ValueError, match=r"`data.events` must have rows.*and no row"):
        prepare(make_config(tmp_path / name))
    assert not (tmp_path / "prepared").exists()


def test_a_missing_column_is_named_with_the_nearest(
    tmp_path: Path, make_config: Any
) -> None:
    (tmp_path / "log.csv").write_text("userid,item_id,timestamp\nu,a,1\n")
    with pytest.raises(
        ValueError, match=r"`data.event_columns.user_id`.*Did you mean 'userid'\?"
    ):
        prepare(make_config(tmp_path / "log.csv"))


def test_files_with_other_columns_are_named(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "a.csv").write_text(HEADER + "u,a,1\n")
    (tmp_path / "b.csv").write_text("item_id,user_id,timestamp\na,u,1\n")
    with pytest.raises(ValueError, match=r"same columns.*a.csv.*b.csv"):
        prepare(make_config(tmp_path / "*.csv"))


def test_an_unknown_ending_asks_for_the_format(
    tmp_path: Path, make_config: Any
) -> None:
    (tmp_path / "log.dat").write_text(HEADER + "u,a,1\n")
    with pytest.raises(ValueError, match=r"`data.events.format` must be set"):
        prepare(make_config(tmp_path / "log.dat"))


def test_a_cut_off_gzip_file_is_named(tmp_path: Path, make_config: Any) -> None:
    lines = "".join(f"u,i{i},{i + 1}\n" for i in range(20_000))
    (tmp_path / "log.csv.gz").write_bytes(
        gzip.compress((HEADER + lines).encode())[:-500]
    )
    with pytest.raises(ValueError, match=r"`data.events` must be readable.*log.csv.gz"):
        prepare(make_config(tmp_path / "log.csv.gz"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv.gz"]


@pytest.mark.parametrize("endings", [("\r\n", "\n"), ("\n", "\r\n"), ("\r\r\n",) * 2])
def test_lines_that_end_differently_are_named_or_read(
    tmp_path: Path, make_config: Any, endings: tuple[str, str]
) -> None:
    first, last = endings
    text = HEADER.rstrip() + first + f"u,a,1{first}" * 3 + f"u,b,2{last}"
    (tmp_path / "log.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=r"end alike.*log.csv.*sed -i") as caught:
        prepare(make_config(tmp_path / "log.csv"))
    assert "strict_mode" not in str(caught.value)
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize("other", ["item_id", "Item_ID"])
def test_a_column_that_is_there_twice_is_named(
    other: str, tmp_path: Path, make_config: Any
) -> None:
    (tmp_path / "log.csv").write_text(f"user_id,item_id,timestamp,{other}\nu,a,1,b\n")
    with pytest.raises(ValueError, match=rf"log.csv' has \['{other}'.* Rename them"):
        prepare(make_config(tmp_path / "log.csv"))


def test_lines_that_end_in_carriage_returns_alone_are_explained(
    tmp_path: Path, make_config: Any
) -> None:
    text = (HEADER + "u,a,1\nu,b,2\n").replace("\n", "\r")
    (tmp_path / "log.csv").write_bytes(text.encode())
    with pytest.raises(ValueError, match=r"line feed.*log.csv.*carriage returns alone"):
        prepare(make_config(tmp_path / "log.csv"))


def test_gz_that_is_not_gzip_is_named(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "log.csv.gz").write_text(HEADER + "u,a,1\n")
    with pytest.raises(ValueError, match=r"must be gzip.*log.csv.gz"):
        prepare(make_config(tmp_path / "log.csv.gz"))


def test_a_cut_off_parquet_file_is_named(tmp_path: Path, make_config: Any) -> None:
    table = pa.table({"user_id": ["u"], "item_id": ["a"], "timestamp": [1]})
    pq.write_table(table, tmp_path / "log.parquet")
    whole = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(whole[:-20])
    with pytest.raises(ValueError, match=r"log.parquet' is no Parquet file"):
        prepare(make_config(tmp_path / "log.parquet"))


def test_lists_are_tags_in_every_format_that_has_lists(
    tmp_path: Path, make_config: Any
) -> None:
    log = [("a", ["x", "y z"]), ("b", None), ("c", [])]
    rows = [{"user_id": "u", "item_id": i, "name": i, "tags": t} for i, t in log]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "log.parquet")
    rows.append({"user_id": "v", "item_id": "d", "name": ["d"], "tags": "x/w"})
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "log.jsonl").write_text(lines)

    for name in ("log.parquet", "log.jsonl"):
        config = make_config(
            tmp_path / name,
            prepared_dir=tmp_path / name[4:],
            item_attributes=[{"name": "tags", "kind": "tags"}],
            item_columns={"title": "name"},
            event_columns={},
        )
        items = prepare(config).items.to_pylist()
        tags = {row["item_id"]: row["tags"] for row in items}
        mixed = {"d": "x/w"} if name == "log.jsonl" else {}
        assert tags == {"a": "x/y z", "b": None} | mixed


def test_json_without_objects_is_named(tmp_path: Path, make_config: Any) -> None:
    (tmp_path / "log.jsonl").write_text("[1, 2]\nhello\n")
    with pytest.raises(ValueError, match="one JSON object a line"):
        prepare(make_config(tmp_path / "log.jsonl"))


def test_column_names_with_quotes_and_dots_are_read(
    tmp_path: Path, make_config: Any
) -> None:
    row = {'user"id': "u", "it'em.id": "a", "user_id:token": 5}
    (tmp_path / "log.jsonl").write_text(json.dumps(row))
    (tmp_path / "log.csv").write_text("user_id:token,'it',ti me\n5,a,1\n")

    as_json = make_config(
        tmp_path / "log.jsonl",
        event_columns={"user_id": "user_id:token", "item_id": "it'em.id"},
    )
    as_csv = make_config(
        tmp_path / "log.csv",
        prepared_dir=tmp_path / "csv",
        event_columns={
            "user_id": "user_id:token",
            "item_id": "'it'",
            "timestamp": "ti me",
        },
    )

    for config in (as_json, as_csv):
        dataset = prepare(config)
        assert dataset.load_sequences().user_ids.tolist() == ["5"]
        assert dataset.items["item_id"].to_pylist() == ["a"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        (",user_id,item_id,timestamp", "0,u,a,1"),  # The index of a data frame.
        ("user_id,item_id,timestamp,", "u,a,1,"),
        (",user_id,,item_id,timestamp,", "0,u,x,a,1,"),
    ],
)
def test_columns_without_a_name_are_passed_over(
    tmp_path: Path, make_config: Any, histories: Histories, header: str, row: str
) -> None:
    (tmp_path / "log.csv").write_text(f"{header}\n{row}\n")
    dataset = prepare(make_config(tmp_path / "log.csv"))
    assert prepared_rows(histories, dataset) == [("u", "a")]


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl"])
def test_columns_whose_names_differ_in_case_alone_are_named(
    tmp_path: Path, make_config: Any, name: str
) -> None:
    row = {"USER_ID": "x", "user_id": "u", "item_id": "a", "timestamp": 1}
    match name:
        case "log.csv":
            lines = (row, row.values())
            text = "\n".join(",".join(map(str, line)) for line in lines)
            (tmp_path / name).write_text(text)
        case "log.parquet":
            pq.write_table(pa.Table.from_pylist([row]), tmp_path / name)
        case _:
            (tmp_path / name).write_text(json.dumps(row))

    with pytest.raises(ValueError, match=rf"{name}' has \['USER_ID', 'user_id'\]"):
        prepare(make_config(tmp_path / name))


@pytest.mark.parametrize("name", ["log.csv", "log.parquet", "log.jsonl"])
def test_columns_are_those_of_the_file_not_of_its_folder(
    tmp_path: Path, make_config: Any, histories: Histories, name: str
) -> None:
    folder = tmp_path / "user_id=7"
    folder.mkdir()
    row = {"user_id": "u", "item_id": "a", "timestamp": 1}
    match name:
        case "log.csv":
            (folder / name).write_text(HEADER + "u,a,1\n")
        case "log.parquet":
            pq.write_table(pa.Table.from_pylist([row]), folder / name)
        case _:
            (folder / name).write_text(json.dumps(row))

    dataset = prepare(make_config(tmp_path / "*" / name))

    assert prepared_rows(histories, dataset) == [("u", "a")]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    config = TableConfig(paths=(str(tmp_path),))
    with pytest.raises(FileNotFoundError, match=r"a folder.*\*\.csv"):
        find_files(config, name="data.events")
