"""The real logs that lie beside a checkout; each test is skipped where it is not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfrec.config_file import read_config
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prepare_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    def run(name: str) -> PreparedDataset:
        monkeypatch.chdir(ROOT)
        config = read_config(Path("configs") / f"{name}.yaml")
        missing = [p for p in config.data.events.paths if not Path(p).exists()]
        if missing:
            pytest.skip(f"needs the data beside the checkout: {missing[0]}")
        data = config.data.model_copy(update={"prepared_dir": tmp_path / name})
        return prepare(config.model_copy(update={"data": data}))

    return run


def test_online_retail_has_the_known_size_after_cleaning(prepare_log: Any) -> None:
    dataset = prepare_log("online_retail")
    counts = dataset.manifest["counts"]
    # Of the 3,622 items of the cleaned log, 20 occur only in the last 14 days.
    assert (counts["events"], counts["users"], counts["items"]) == (
        332_302,
        4_082,
        3_602,
    )
    split = dataset.load_sequences().split
    unknown = set(np.flatnonzero(dataset.load_sequences().item_index == 1))
    assert unknown
    assert unknown <= set(np.flatnonzero(split == 2))


def test_beauty_has_the_known_size(prepare_log: Any) -> None:
    dataset = prepare_log("beauty")
    counts = dataset.manifest["counts"]
    assert (counts["events"], counts["users"], counts["items"]) == (
        198_502,
        22_363,
        12_101,
    )
    assert counts["users_by_split"] == dict.fromkeys(counts["users_by_split"], 22_363)
    sequences = dataset.load_sequences()
    row = sequences.user_ids.tolist().index("1")  # The file's first line.
    part = slice(sequences.offsets[row], sequences.offsets[row + 1])
    ids = dataset.items["item_id"].to_pylist()
    assert [ids[i - 2] for i in sequences.item_index[part]] == ["1", "2", "3", "4", "5"]


def test_taobao_without_a_header_is_complete(prepare_log: Any) -> None:
    dataset = prepare_log("taobao_sample")
    counts = dataset.manifest["counts"]
    assert counts["events"] == 110_300
    assert dataset.manifest["rejects"]["events"]["rejected"] == 0
    by_type = [sum(t.values()) for t in counts["events_by_split"].values()]
    assert sum(by_type) == 110_300


def test_the_cut_off_line_of_rees46_is_the_only_reject(prepare_log: Any) -> None:
    dataset = prepare_log("rees46_sample")
    rejects = dataset.manifest["rejects"]["events"]
    # 17,435 rows below the header: the last one is line 17,436 and has 8 columns.
    assert (rejects["rows"], rejects["rejected"]) == (17_435, 1)
    assert rejects["reasons"][0]["example"]["row"] == 17_436
    duplicates = dataset.manifest["dropped"]["events"]["duplicate"]
    assert dataset.manifest["counts"]["events"] == 17_434 - duplicates
    tokens = dataset.attribute_vocabularies["category"].tokens
    assert {"furniture", "furniture.living_room"} <= set(tokens)


def test_ml_100k_with_typed_headers_is_complete(prepare_log: Any) -> None:
    dataset = prepare_log("ml_100k")
    counts = dataset.manifest["counts"]
    assert (counts["events"], counts["users"], counts["items"]) == (100_000, 943, 1_682)
    titles = dataset.items["title"].to_pylist()
    assert "Toy Story" in titles


def test_ml_1m_has_the_known_size(prepare_log: Any) -> None:
    counts = prepare_log("ml_1m").manifest["counts"]
    assert (counts["events"], counts["users"], counts["items"]) == (
        999_611,
        6_040,
        3_416,
    )
