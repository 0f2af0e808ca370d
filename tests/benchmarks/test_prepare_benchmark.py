"""`benchmarks.prepare` on a small shop."""

import json

import pytest

from benchmarks import prepare
from tfrec.data.prepare import read_manifest


@pytest.mark.slow
def test_a_shop_is_simulated_prepared_and_counted(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out.json"
    arguments = ["--events", "10000", "--folder", str(tmp_path / "work")]
    monkeypatch.setattr(prepare, "MIN_ROWS_PER_SECOND", 1)
    assert prepare.main([*arguments, "--json", str(out), "--check"]) == 0
    result = json.loads(out.read_text())
    counts = read_manifest(tmp_path / "work" / "prepared")["counts"]
    assert result["behaviour_events"] == counts["events"]
    assert result["users"] == counts["users"] == 100
    assert result["rows"] == pytest.approx(10_000, rel=0.5)
    assert 0.05 < result["peak_gigabytes"] < 4.0
    assert "rows, impressions included" in capsys.readouterr().out
    # Rows and peak are those of the folder; only the goal is another.
    monkeypatch.setattr(prepare, "MAX_GIGABYTES", 0.0)
    monkeypatch.setattr(prepare, "measure", lambda *_, **__: result)
    assert prepare.main([*arguments, "--check"]) == 1
    assert prepare.main(arguments) == 0
