"""The command `tfrec tune`, in processes of its own where it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.tuning.conftest import log_folder, tuning_config
from tfrec.config_file import save_config
from tfrec.tune import main

__all__ = ["log_folder"]  # A fixture.


@pytest.fixture
def config_file(log_folder: Path, tmp_path: Path) -> Path:
    save_config(tuning_config(log_folder, tmp_path), tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


def test_help_names_budget_space_and_what_happens_after_a_kill(
    capsys: pytest.CaptureFixture[str],
):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    for words in ("goes on where it was", "--tune.trials", "--tune.space", "--workers"):
        assert words in printed


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--tune.trials", "0"], 2, "`tune.trials`"),
        (
            ["--tune.space", '{"retrieval.dropuot": {"low": 0, "high": 1}}'],
            2,
            "dropout",
        ),
        (["--workers", "0"], 1, "num_workers=0"),
        (["--training.strategy", "multi_worker"], 1, "Received: multi_worker"),
        (["--data.events.paths", "[gone.csv]"], 1, "gone.csv"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_are_told_before_any_trial(
    config_file: Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    code: int,
    message: str,
):
    with pytest.raises(SystemExit) as stopped:
        sys.exit(main(["--config", str(config_file), *more]))
    assert stopped.value.code == code
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not (config_file.parent / "run" / "tuning" / "trials").exists()


def command(config_file: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "tfrec", "tune", "--config", str(config_file), *more]


def trials_of(config_file: Path) -> list[dict]:
    path = config_file.parent / "run" / "tuning" / "trials.json"
    return json.loads(path.read_text())["trials"]


@pytest.mark.slow
def test_killed_search_goes_on_with_the_trial_it_was_at(config_file: Path):
    long = ["--training.retrieval.max_epochs", "40", "--tune.trials", "1"]
    long += ["--training.retrieval.patience", "40"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    process = subprocess.Popen(
        command(config_file, *long),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    trial = config_file.parent / "run" / "tuning" / "trials" / "trial-0000"
    history = trial / "retrieval" / "history.json"
    deadline = time.monotonic() + 120
    while not (history.is_file() and len(json.loads(history.read_text())["epoch"]) > 2):
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = json.loads(history.read_text())
    assert 3 <= len(before["epoch"]) < 40
    done = subprocess.run(
        command(config_file, *long), env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    killed, again = trials_of(config_file)
    assert (killed["state"], again["state"]) == ("killed", "complete")
    assert again["values"] == killed["values"]
    assert again["run"] == "trial-0000"
    assert len(again["by_epoch"]) == 40
    kept = len(before["epoch"]) - 1  # That in the moment of the kill may be lost.
    assert again["by_epoch"][:kept] == before["validation_NDCG@5"][:kept]
    assert "Best settings" in done.stdout


@pytest.mark.slow
def test_two_workers_share_one_budget(config_file: Path):
    more = ("--tune.trials", "3", "--tune.pruner", "none", "--workers", "2")
    done = subprocess.run(
        command(config_file, *more),
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    trials = trials_of(config_file)
    assert [trial["state"] for trial in trials] == ["complete"] * 3
    assert len({json.dumps(trial["values"]) for trial in trials}) == 3
    for number in range(3):
        assert f"Trial {number} complete" in done.stdout
    workers = config_file.parent / "run" / "tuning" / "workers"
    logs = [path.read_text() for path in workers.glob("*.log")]
    assert sum("complete, NDCG@5" in log for log in logs) == 2  # Both have trained.
    assert not [p for p in workers.iterdir() if p.suffix != ".log"]  # All left well.
