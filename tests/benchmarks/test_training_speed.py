"""`benchmarks.training_speed` and `step_profile`: ratios by hand, and a tiny run."""

import json

import pytest

from benchmarks import step_profile, training_speed
from benchmarks.training_speed import summarise
from tests.benchmarks.toy_experiment import write_experiment
from tests.synthetic import cycle


def test_shares_are_taken_within_a_round_before_the_median():
    # The machine is ten times slower in the second round: all rates sink alike.
    rates = {
        "product": [100.0, 10.0, 200.0],
        "plain softmax": [20.0, 2.0, 50.0],
        "our softmax": [80.0, 8.0, 100.0],
        "step": [50.0, 5.0, 50.0],
    }
    result = summarise(rates)
    assert result["gflops"]["step"] == 50  # Of 5, 50 and 50.
    assert result["share_of_product"]["step"] == pytest.approx(0.5)  # .5, .5, .25.
    assert result["share_of_product"]["our softmax"] == pytest.approx(0.8)
    assert result["softmax_per_plain"] == pytest.approx(4.0)  # Of 4, 4 and 2.


def test_steps_are_measured_beside_the_matrix_product(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.training_work.SQUARE", 64)
    monkeypatch.setattr(training_speed, "SQUARE", 64)
    config = write_experiment(tmp_path, cycle(num_users=30, length=9))
    out = tmp_path / "out.json"
    arguments = ["--config", str(config), "--steps", "2", "--rounds", "2"]
    arguments += ["--json", str(out), "--work_dir", str(tmp_path / "work")]
    assert training_speed.main(arguments) == 0
    result = json.loads(out.read_text())
    assert min(result["gflops"].values()) > 0.0
    assert result["share_of_product"]["product"] == 1.0
    assert result["targets_per_second"] > 0.0
    shown = " ".join(capsys.readouterr().out.split())
    assert "64 x 64 matrices" in shown
    assert f"{result['targets_per_second']:,.0f} targets a second" in shown


def test_parts_of_a_step_are_compared_with_the_whole(tmp_path, capsys):
    config = write_experiment(tmp_path, cycle(num_users=30, length=9))
    out = tmp_path / "out.json"
    arguments = ["--config", str(config), "--steps", "1", "--rounds", "2"]
    arguments += ["--json", str(out), "--work_dir", str(tmp_path / "work")]
    assert step_profile.main(arguments) == 0
    result = json.loads(out.read_text())
    parts = {"candidates", "queries", "queries_xla", "softmax", "gradient"}
    assert set(result["ms"]) == {*parts, "step", "mixed", "batch"}
    assert min(result["ms"].values()) > 0.0
    assert result["share_of_step"]["step"] == 1.0
    shown = " ".join(capsys.readouterr().out.split())
    assert "whole gradient" in shown
    assert "Medians of 2 rounds of 1 batches" in shown


@pytest.mark.parametrize("benchmark", [training_speed, step_profile])
def test_missing_data_are_named(benchmark, tmp_path, capsys):
    config = write_experiment(tmp_path, cycle(num_users=3))
    (tmp_path / "events.csv").unlink()
    arguments = ["--config", str(config), "--work_dir", str(tmp_path / "work")]
    assert benchmark.main(arguments) == 1
    assert "events.csv" in capsys.readouterr().err


@pytest.mark.parametrize("benchmark", [training_speed, step_profile])
def test_no_rounds_are_refused(benchmark, tmp_path, capsys):
    config = write_experiment(tmp_path, cycle(num_users=3))
    with pytest.raises(SystemExit):
        benchmark.main(["--config", str(config), "--rounds", "0"])
    assert "--rounds must be at least 1" in capsys.readouterr().err
