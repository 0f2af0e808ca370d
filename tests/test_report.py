"""`tfrec report` on results written by hand."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tfrec import report


def scorer(value: float, k: int) -> dict[str, Any]:
    names = [f"{name}@{k}" for name in ("HR", "NDCG", "MRR", "Recall", "coverage")]
    found = {
        "metrics": dict.fromkeys(names, value),
        "intervals": dict.fromkeys(names, [value - 0.01, value + 0.02]),
    }
    return {**found, "groups": {"all": found}, "slices": {}, "seconds": 0.5}


def write_run(path: Path, *, ranking: float, k: int = 10, split: str = "test") -> Path:
    path.mkdir(exist_ok=True)
    metrics = {
        "split": split,
        "targets": "next",
        "exclude_seen": True,
        "confidence": 0.95,
        "num_bootstrap": 10,
        "seed": 0,
        "k": [k],
        "groups": {"all": 1234},
        "num_queries": 1234,
        "num_positives": 1234,
        "num_items": 99,
        "scorers": {"ranking": scorer(ranking, k), "pop": scorer(0.1, k)},
        "skipped": {"tfidf": "no titles"},
    }
    name = "metrics.json" if split == "test" else f"metrics_{split}.json"
    (path / name).write_text(json.dumps(metrics))
    return path


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def test_one_run_shows_its_table_again(tmp_path, capsys):
    assert report.main(["--run", str(write_run(tmp_path / "a", ranking=0.2))]) == 0
    shown = capsys.readouterr().out
    assert "0.2000 [0.1900, 0.2200]" in shown
    assert "full ranking of 99 items" in shown
    assert "tfidf was skipped: no titles." in shown


def test_runs_are_compared_side_by_side(tmp_path, capsys):
    runs = [write_run(tmp_path / n, ranking=v) for n, v in (("a", 0.2), ("b", 0.3))]
    assert report.main(["--run", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {run: [line for line in lines if str(run) in line] for run in runs}
    for run, value in zip(runs, ("0.2000", "0.3000"), strict=True):
        (row,) = rows[run]
        assert value in row
    assert "Runs, evaluated on test, next, 1,234 queries, 99 items" in lines[0]
    (header,) = [line for line in lines if "scorer" in line]
    # Of the usual metrics those that the runs have.
    assert "HR@10" in header
    assert "NDCG@10" in header
    assert "@20" not in header


def test_runs_that_were_evaluated_differently_are_told_apart(tmp_path, capsys):
    runs = [write_run(tmp_path / name, ranking=0.2) for name in "ab"]
    path = runs[1] / "metrics.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_queries": 7}))
    assert report.main(["--run", *map(str, runs)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "Runs"
    for run, words in zip(runs, ("1,234 queries", "7 queries"), strict=True):
        (row,) = [line for line in lines if str(run) in line]
        assert words in row


def test_narrow_terminal_cuts_off_neither_runs_nor_figures(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "60")
    names = ("wide-embeddings-seed0", "wide-embeddings-seed1")
    runs = [write_run(tmp_path / name, ranking=0.2) for name in names]
    assert report.main(["--run", *map(str, runs)]) == 0
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert shown.count("0.2000") == 2 * 2  # HR and NDCG of two runs.
    # The folded path, put together again from the first column.
    rows = [line.split("│")[1].strip() for line in shown.splitlines() if "│" in line]
    assert "".join(rows) == "".join(map(str, runs))


def test_lists_of_other_lengths_are_compared_by_the_longest(tmp_path, capsys):
    runs = [write_run(tmp_path / n, ranking=0.4, k=3) for n in "ab"]
    assert report.main(["--run", *map(str, runs)]) == 0
    shown = capsys.readouterr().out
    assert "NDCG@3" in shown
    assert shown.count("0.4000") == 2 * 2  # HR and NDCG of two runs.


def test_results_of_the_validation_are_shown_on_request(tmp_path, capsys):
    run = write_run(tmp_path / "a", ranking=0.2)
    write_run(run, ranking=0.7, split="validation")
    assert report.main(["--run", str(run), "--split", "validation"]) == 0
    shown = capsys.readouterr().out
    assert "Evaluation on validation" in shown
    assert "0.7000" in shown


def test_missing_and_broken_results_are_named(tmp_path, capsys):
    assert report.main(["--run", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert "metrics.json is missing" in error
    assert f"tfrec.evaluate --run {tmp_path}" in error
    for text, message in (
        ('{"cut', "is no JSON"),
        ("[1]", "'scorers', 'split'"),
        ('{"scorers": {}}', "'split', 'targets'"),
    ):
        (tmp_path / "metrics.json").write_text(text)
        assert report.main(["--run", str(tmp_path)]) == 1
        assert message in capsys.readouterr().err


def test_report_and_help_load_no_tensorflow(tmp_path):
    run = write_run(tmp_path / "a", ranking=0.2)
    code = f"""
import contextlib, sys
from tfrec import evaluate, report
assert report.main(["--run", {str(run)!r}]) == 0
with contextlib.suppress(SystemExit):
    evaluate.main(["--help"])
assert "tensorflow" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "--split" in done.stdout
