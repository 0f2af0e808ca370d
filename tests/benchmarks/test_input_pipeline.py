"""`benchmarks.input_pipeline` on a tiny dataset, and its medians by hand."""

import json

import pytest

from benchmarks import input_pipeline
from benchmarks.input_pipeline import Rates, summarise
from tests.benchmarks.toy_experiment import write_experiment
from tests.synthetic import cycle


def rates(fed: float, consumed: float, together: float) -> Rates:
    # Two processors at work, so half per second of theirs.
    return Rates(fed, consumed, together, together / 2, 0.9, targets_per_batch=10.0)


def test_ratios_are_taken_within_a_round_before_the_median():
    # The machine is ten times slower in the second round: both rates sink alike.
    bucketed = [rates(600, 100, 90), rates(60, 10, 9), rates(500, 100, 80)]
    packed = [rates(400, 100, 60), rates(40, 10, 6), rates(300, 100, 80)]
    result = summarise({"bucketed": bucketed, "packed": packed})
    found = result["layouts"]["bucketed"]
    assert found["fed"] == 500  # Of 60, 500 and 600.
    assert found["fed_per_consumed"] == pytest.approx(6.0)  # Of 5, 6 and 6.
    assert result["layouts"]["packed"]["fed_per_consumed"] == pytest.approx(4.0)
    assert found["fed_batches"] == pytest.approx(50.0)  # Ten targets a batch.
    assert found["consumed_batches"] == pytest.approx(10.0)
    assert result["bucketed_per_packed"] == pytest.approx(1.5)  # Of 1, 1.5 and 1.5.
    assert result["bucketed_per_packed_cpu"] == pytest.approx(1.5)
    assert found["together_cpu"] == pytest.approx(40.0)  # Half of 9, 80 and 90.


def test_both_layouts_are_measured_and_written(tmp_path, capsys):
    config = write_experiment(tmp_path, cycle(num_users=30, length=9))
    out = tmp_path / "out.json"
    arguments = ["--config", str(config), "--steps", "2", "--rounds", "2"]
    arguments += ["--json", str(out), "--work_dir", str(tmp_path / "work")]
    assert input_pipeline.main(arguments) == 0
    assert (tmp_path / "work" / "toy-prepared").is_dir()
    result = json.loads(out.read_text())
    assert list(result["layouts"]) == ["bucketed", "packed"]
    for found in result["layouts"].values():
        assert min(found["fed"], found["consumed"], found["together"]) > 0
        # 30 users of 9 events, 7 of them for training: windows of one length.
        assert found["fill"] == 1
        # Five batches an epoch at least: 210 targets make 42 each.
        assert found["targets_per_batch"] == 42
    shown = " ".join(capsys.readouterr().out.split())
    assert "fed / consumed" in shown
    assert "2 rounds of 2 batches" in shown


def test_missed_goal_is_an_exit_code_where_asked(tmp_path, monkeypatch):
    config = write_experiment(tmp_path, cycle(num_users=30, length=9))

    class Slow:
        def __init__(self, *_: object) -> None:
            pass

        def __call__(self, layout: str) -> Rates:
            return rates(fed=49.0, consumed=10.0, together=9.0)

    monkeypatch.setattr(input_pipeline, "Measurement", Slow)
    arguments = ["--config", str(config), "--work_dir", str(tmp_path / "work")]
    assert input_pipeline.main(arguments) == 0
    assert input_pipeline.main([*arguments, "--check"]) == 1


def test_missing_data_are_named(tmp_path, capsys):
    config = write_experiment(tmp_path, cycle(num_users=3))
    (tmp_path / "events.csv").unlink()
    arguments = ["--config", str(config), "--work_dir", str(tmp_path / "work")]
    assert input_pipeline.main(arguments) == 1
    assert "events.csv" in capsys.readouterr().err
