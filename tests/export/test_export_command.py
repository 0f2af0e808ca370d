import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from export.__main__ import main
from tests.export.conftest import Toy
from tfrec.data.store import PreparedDataset


@pytest.fixture
def run(toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose folder has moved since it was trained."""
    folder = tmp_path / "moved"
    folder.mkdir()
    metrics = {"retrieval": {"NDCG@10": 0.1234, "seeds": [1, 2]}, "protocol": "full"}
    (folder / "metrics.json").write_text(json.dumps(metrics))

    def load_recommender(run_dir: Path) -> tuple:
        return toy.recommender, PreparedDataset(toy.dataset.path), toy.config

    stand_in = ModuleType("tfrec.training.run")
    stand_in.load_recommender = load_recommender  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "tfrec.training.run", stand_in)
    return folder


def test_command_exports_into_the_run_and_says_where(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["--run", str(run), "--version", "7"]) == 0
    path = run / "model" / "toy" / "7"
    output = capsys.readouterr().out
    assert f"Written to {path}" in output
    for expected in ("signature similar_items", "gate parity", "passed"):
        assert expected in output
    card = (path / "assets.extra" / "model_card.md").read_text()
    assert "| retrieval.NDCG@10 | 0.1234 |" in card
    assert "| protocol | full |" in card
    assert "| events | 70 |" in card


def test_command_refuses_a_taken_version_in_one_line(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    taken = tmp_path / "models" / "toy" / "2"
    taken.mkdir(parents=True)
    options = ["--run", str(run), "--model_dir", str(tmp_path / "models")]
    assert main([*options, "--version", "2"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("export: Version 2 must be new")
    assert error.count("\n") == 1
    assert list(taken.iterdir()) == []


def test_help_says_what_is_written_and_where(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    output = " ".join(capsys.readouterr().out.split())
    for expected in ("--run DIR", "--version N", "<model_dir>/<model_name>/<version>/"):
        assert expected in output
