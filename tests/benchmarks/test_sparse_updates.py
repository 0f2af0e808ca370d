"""`benchmarks.sparse_updates` on a small table."""

import json

import pytest

from benchmarks import sparse_updates


def test_both_optimizers_are_measured_and_the_goal_can_be_missed(
    tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out.json"
    size = ["--items", "200", "--dim", "4", "--rows", "20", "--steps", "3"]
    assert sparse_updates.main([*size, "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    both = result["lazy_adam_ms"] / result["adam_ms"]
    assert result["ratio"] == pytest.approx(both)
    shown = capsys.readouterr().out
    assert "LazyAdam" in shown
    assert "200 x 4, 20 rows a step" in shown
    monkeypatch.setattr(sparse_updates, "GOAL", 0.0)
    assert sparse_updates.main(size) == 0
    assert sparse_updates.main([*size, "--check"]) == 1
