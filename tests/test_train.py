from pathlib import Path

import pytest

from tests.training.conftest import make_config
from tfrec.config_file import save_config
from tfrec.train import main


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration that never trains: its log is not there."""
    save_config(make_config(tmp_path), tmp_path / "config.yaml")
    return tmp_path / "config.yaml"


def test_help_says_what_happens_after_a_kill(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "goes on where it was" in printed
    assert "--training.retrieval.max_epochs" in printed


def test_missing_log_ends_with_code_1_and_its_reason(
    config_file: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--config", str(config_file)]) == 1
    printed = capsys.readouterr()
    assert "tfrec train: error:" in printed.err
    assert "events.csv" in printed.err
    assert "Traceback" not in printed.err + printed.out
    assert not (config_file.parent / "run" / "retrieval").exists()


def test_wrong_field_ends_before_anything_is_written(
    config_file: Path, capsys: pytest.CaptureFixture[str]
):
    argv = ["--config", str(config_file), "--training.retrieval.patience", "0"]
    with pytest.raises(SystemExit) as stopped:
        main(argv)
    assert stopped.value.code == 2
    assert "patience" in capsys.readouterr().err
    assert not (config_file.parent / "run").exists()


def test_interrupted_run_says_how_to_go_on(
    config_file: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tfrec.training.run.train", interrupt)
    assert main(["--config", str(config_file)]) == 130
    assert "same command goes on" in capsys.readouterr().err
