"""`tfrec report` and the summary of `benchmarks.quality`, on results by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import comparisons, markdown, summarise
from tests.training.conftest import make_config
from tfrec import report
from tfrec.config_file import save_config


def scorer(value: float) -> dict[str, Any]:
    found = {
        "metrics": {"HR@10": 2 * value, "NDCG@10": value},
        "intervals": {"HR@10": [0.0, 1.0], "NDCG@10": [value - 0.01, value + 0.01]},
    }
    return {**found, "groups": {"all": found}}


def write_run(path: Path, *, seed: int, ranking: float) -> Path:
    path.mkdir()
    metrics = {
        "split": "test",
        "targets": "next",
        "exclude_seen": True,
        "seed": seed,
        "num_queries": 1234,
        "num_items": 99,
        "scorers": {"ranking": scorer(ranking), "pop": scorer(0.10)},
    }
    (path / "metrics.json").write_text(json.dumps(metrics))
    (path / "timings.json").write_text(json.dumps({"retrieval": 60.0, "evaluate": 30}))
    (path / "versions.json").write_text(json.dumps({"git_commit": "abc123"}))
    save_config(make_config(path), path / "config.yaml")
    return path


def test_runs_are_compared_side_by_side(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    runs = [
        write_run(tmp_path / n, seed=0, ranking=v) for n, v in (("a", 0.2), ("b", 0.3))
    ]
    assert report.main(["--run", *map(str, runs)]) == 0
    shown = capsys.readouterr().out
    assert shown.index("0.2000") < shown.index("0.3000")
    assert "1,234" in shown
    assert "HR@10" in shown


def test_missing_and_broken_results_are_named(tmp_path, capsys):
    assert report.main(["--run", str(tmp_path)]) == 1
    assert "metrics.json is missing" in capsys.readouterr().err
    (tmp_path / "metrics.json").write_text('{"cut')
    assert report.main(["--run", str(tmp_path)]) == 1
    assert "is no JSON" in capsys.readouterr().err


def test_summary_over_seeds_has_mean_deviation_and_gain(tmp_path):
    runs = [
        write_run(tmp_path / str(seed), seed=seed, ranking=value)
        for seed, value in enumerate([0.10, 0.12, 0.14])
    ]
    result = summarise(runs)
    found = result["scorers"]["ranking"]["all"]["NDCG@10"]
    assert found["mean"] == pytest.approx(0.12)
    assert found["sd"] == pytest.approx(0.02)  # With n - 1.
    assert found["interval"] == pytest.approx([0.09, 0.11])
    assert result["seconds"] == [90.0] * 3
    lines = comparisons(result)
    assert any("0.1200, best baseline pop 0.1000, +20.0%" in line for line in lines)
    page = markdown({**result, "command": "python -m benchmarks.quality"})
    assert "| ranking | 0.2400 ± 0.0400" in page
    assert "1.5, 1.5, 1.5 minutes" in page
    assert "Commit abc123." in page  # Of the runs, not of this moment.
