import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

DAY = 86_400
Prepare = Callable[..., PreparedDataset]
Histories = Callable[[PreparedDataset], dict[str, list[str]]]


def test_events_of_a_user_are_ordered_by_time(
    prepare_rows: Prepare, histories: Histories
) -> None:
    dataset = prepare_rows([("u", "b", 30), ("v", "c", 1), ("u", "a", 10)])

    assert histories(dataset) == {"u": ["a", "b"], "v": ["c"]}
    assert dataset.load_sequences().timestamps.tolist() == [10, 30, 1]


def test_ties_keep_the_order_of_files_and_rows(
    tmp_path: Path, make_config: Any, histories: Histories
) -> None:
    # 200 rows of one time, in two files: by name, b.csv is read behind a.csv.
    for name, numbers in (("b", range(100, 200)), ("a", range(100))):
        lines = [f"u,{i},7" for i in reversed(numbers)]
        text = "\n".join(["user_id,item_id,timestamp", *lines])
        (tmp_path / f"{name}.csv").write_text(text)

    dataset = prepare(make_config(tmp_path / "*.csv"))

    expected = [str(i) for i in (*range(99, -1, -1), *range(199, 99, -1))]
    # The catalogue is read off the events before the test: the last item is not.
    assert histories(dataset)["u"] == [*expected[:-1], "?"]
    assert "ties keep the order" in dataset.manifest["tie_rule"]


def test_fractions_of_seconds_decide_the_order_but_seconds_are_kept(
    prepare_rows: Prepare, histories: Histories
) -> None:
    dataset = prepare_rows([("u", "late", "5.75"), ("u", "early", "5.25")])

    assert histories(dataset) == {"u": ["early", "late"]}
    assert dataset.load_sequences().timestamps.tolist() == [5, 5]


def test_counts_in_the_manifest_add_up(prepare_rows: Prepare) -> None:
    rows = [("u", "a", "view", 1), ("u", "b", "buy", 2), ("u", "a", "buy", 3)]
    rows += [("u", "c", "view", 4), ("u", "b", "buy", 5), ("v", "a", "view", 6)]
    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "event_type", "timestamp"),
        event_columns={"event_type": "event_type", "timestamp": "timestamp"},
        event_types=["view", "buy"],
        target_event_types=["buy"],
    )

    counts = dataset.manifest["counts"]
    # u buys at 2, 3 and 5: the view at 4 follows the validation purchase at 3.
    assert counts["events_by_split"] == {
        "train": {"view": 2, "buy": 1},
        "validation": {"view": 1, "buy": 1},
        "test": {"view": 0, "buy": 1},
    }
    assert counts["users_by_split"] == {"train": 2, "validation": 1, "test": 1}
    assert (counts["users"], counts["items"], counts["events"]) == (2, 3, 6)
    assert dataset.load_sequences().event_type_index.tolist() == [2, 3, 3, 2, 3, 2]


def test_repeat_share_counts_training_targets_met_before(prepare_rows: Prepare) -> None:
    # Training: a b a c | a b. Of the four targets, the second a is a repeat.
    items = ["a", "b", "a", "c", "a", "b"]
    dataset = prepare_rows([("u", item, t + 1) for t, item in enumerate(items)])

    assert dataset.manifest["repeat_share_train"] == pytest.approx(1 / 4)


def test_sequences_of_many_shards_read_like_one(
    prepare_rows: Prepare, tmp_path: Path, histories: Histories
) -> None:
    rows = [(f"u{u}", f"i{u}{e}", e + 1) for u in range(7) for e in range(3)]
    kwargs: dict[str, Any] = {"cleaning": {"duplicates": "keep"}}
    many = prepare_rows(rows, num_shards=5, prepared_dir=tmp_path / "many", **kwargs)
    one = prepare_rows(rows, num_shards=1, prepared_dir=tmp_path / "one", **kwargs)

    assert len(list((many.path / "sequences").iterdir())) == 5
    assert len(list((one.path / "sequences").iterdir())) == 1
    assert histories(many) == histories(one)


def test_chunks_of_users_read_like_one(
    prepare_rows: Prepare, histories: Histories, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tfrec.data.writer.NUM_EVENTS_PER_CHUNK", 2)
    rows = [(f"u{u}", f"i{e}", e + 1) for u in range(5) for e in range(u + 1)]

    dataset = prepare_rows(rows, num_shards=2)

    lengths = {user: len(items) for user, items in histories(dataset).items()}
    assert lengths == {f"u{u}": u + 1 for u in range(5)}
    assert dataset.manifest["counts"]["events"] == 15


def test_context_becomes_indices_of_what_training_saw(prepare_rows: Prepare) -> None:
    rows = [
        ("u", "a", 1, "de", "1.5"),
        ("u", "b", 2, "fr", ""),
        ("u", "c", 3, "de", "nan"),
        ("u", "d", 4, "", "2"),
        ("u", "e", 5, "it", "3"),
    ]
    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "timestamp", "country", "load"),
        context=[{"name": "country"}, {"name": "load", "kind": "numeric"}],
    )

    vocabulary = dataset.attribute_vocabularies["country"]
    assert (vocabulary.tokens, vocabulary.counts.tolist()) == (["de", "fr"], [2, 1])
    context = dataset.load_sequences().context
    # de is 2, fr is 3, none is 0, and the Italian test event is unknown: 1.
    assert context["country"].tolist() == [2, 3, 2, 0, 1]
    assert context["load"].tolist() == pytest.approx(
        [1.5, float("nan"), float("nan"), 2, 3], nan_ok=True
    )


def test_query_and_dwell_are_kept_with_their_events(prepare_rows: Prepare) -> None:
    dataset = prepare_rows(
        [
            ("u", "b", 2, "12.5", ""),
            ("u", "a", 1, "", " red shoes "),
            ("u", "c", 3, "x", ""),
        ],
        header=("user_id", "item_id", "timestamp", "dwell", "search"),
        event_columns={
            "timestamp": "timestamp",
            "dwell_seconds": "dwell",
            "query": "search",
        },
    )

    sequences = dataset.load_sequences()
    assert sequences.query_text.tolist() == ["red shoes", "", ""]
    assert sequences.dwell_seconds.tolist() == [0, 12.5, 0]
    text = "events: 1 x value of 'dwell' that is no usable number"
    assert dataset.manifest["warnings"][0].startswith(text)


def test_parquet_and_json_lines_read_like_csv(
    tmp_path: Path, make_config: Any, histories: Histories
) -> None:
    rows = [
        {"user_id": "u", "item_id": i, "timestamp": t}
        for i, t in ((3, 9), (1, 4), (2, 6))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "events.parquet")
    (tmp_path / "events.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")

    found = [
        histories(
            prepare(make_config(tmp_path / name, prepared_dir=tmp_path / name[7:]))
        )
        for name in ("events.parquet", "events.jsonl")
    ]

    assert found == [{"u": ["1", "2", "?"]}] * 2


def test_a_finished_dataset_is_returned_unread(
    write_csv: Any, make_config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(
        write_csv("events.csv", [("u", "a", 1)], ("user_id", "item_id", "timestamp"))
    )
    first = prepare(config)

    def fail(*_: object) -> None:
        raise AssertionError("The log was read again.")

    monkeypatch.setattr("tfrec.data.prepare._write", fail)
    assert prepare(config).manifest == first.manifest


def test_filters_of_the_export_do_not_ask_for_another_dataset(
    write_csv: Any, make_config: Any
) -> None:
    path = write_csv(
        "events.csv", [("u", "a", 1, "x")], ("user_id", "item_id", "timestamp", "brand")
    )
    config: ExperimentConfig = make_config(path, item_attributes=[{"name": "brand"}])
    prepare(config)
    filtered = config.model_copy(
        update={"export": config.export.model_copy(update={"filters": ("brand",)})}
    )

    assert prepare(filtered).schema.filters == ("brand",)


def test_another_configuration_is_an_error_that_names_the_difference(
    write_csv: Any, make_config: Any
) -> None:
    path = write_csv("events.csv", [("u", "a", 1)], ("user_id", "item_id", "timestamp"))
    prepare(make_config(path))

    with pytest.raises(FileExistsError, match=r"data.session_gap_minutes: 30.0 -> 5.0"):
        prepare(make_config(path, session_gap_minutes=5))

    again = prepare(make_config(path, session_gap_minutes=5), overwrite=True)
    assert again.manifest["data_config"]["session_gap_minutes"] == 5


def test_overwriting_keeps_vectors_of_texts_and_drops_the_shops_own_encoder(
    write_csv: Any, make_config: Any
) -> None:
    path = write_csv("events.csv", [("u", "a", 1)], ("user_id", "item_id", "timestamp"))
    texts = prepare(make_config(path)).path / "text"
    for name in ("0f3c", "scratch", "scratch-hidden-12"):
        (texts / name).mkdir(parents=True)
        (texts / name / "file").write_text(name)

    again = prepare(make_config(path, session_gap_minutes=5), overwrite=True)

    assert [child.name for child in (again.path / "text").iterdir()] == ["0f3c"]
    assert (again.path / "text" / "0f3c" / "file").read_text() == "0f3c"
    assert not list(again.path.parent.glob(".*old*"))


def test_a_changed_file_is_an_error_that_names_it(
    write_csv: Any, make_config: Any
) -> None:
    header = ("user_id", "item_id", "timestamp")
    config = make_config(write_csv("events.csv", [("u", "a", 1)], header))
    prepare(config)
    write_csv("events.csv", [("u", "a", 1), ("u", "b", 2)], header)

    with pytest.raises(FileExistsError, match=r"file '.*events.csv'"):
        prepare(config)


def test_a_foreign_folder_is_never_removed(
    write_csv: Any, make_config: Any, tmp_path: Path
) -> None:
    config = make_config(
        write_csv("events.csv", [("u", "a", 1)], ("user_id", "item_id", "timestamp"))
    )
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "thesis.txt").write_text("mine")

    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="holds no manifest.json"):
            prepare(config, overwrite=overwrite)
    assert (tmp_path / "prepared" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failure_while_writing_leaves_nothing_behind(
    write_csv: Any,
    make_config: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    overwrite: bool,
) -> None:
    path = write_csv("events.csv", [("u", "a", 1)], ("user_id", "item_id", "timestamp"))
    if overwrite:
        prepare(make_config(path))
    before = sorted(tmp_path.rglob("*"))

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tfrec.data.writer.pq.ParquetWriter", fail)
    with pytest.raises(OSError, match="No space left"):
        prepare(make_config(path, num_shards=3), overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


def test_newest_event_in_the_future_is_told(prepare_rows: Any) -> None:
    def warnings(last: str) -> str:
        rows = [("u", "a", f"2024-01-{day:02}") for day in range(1, 29)]
        split = {"protocol": "by_time", "validation_days": 3, "test_days": 3}
        dataset = prepare_rows([*rows, ("u", "b", last)], split=split)
        shutil.rmtree(dataset.path)
        return " ".join(dataset.manifest["warnings"])

    assert "future" not in warnings("2024-01-29")
    assert "lies in the future, before 2098-01-03" in warnings("2098-01-02")
