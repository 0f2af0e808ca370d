"""`tfrec compare-encoders`: what is compared, and its page; nothing is trained."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import make_config
from tfrec import encoder_page
from tfrec.compare_encoders import main
from tfrec.config import TextConfig
from tfrec.config_file import save_config

FIGURES = {
    "NDCG@10": 0.25,
    "cold_Recall@10": 0.125,
    "search_NDCG@10": None,
    "parameters": 12345.0,
    "texts_per_second": 678.4,
    "ms_per_search": 1.25,
    "ms_per_request": 4.5,
    "megabytes": 9.75,
}


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> dict[str, TextConfig | None]:
    """Gets what is compared instead of a training."""
    asked: dict[str, TextConfig | None] = {}

    def compare(
        config: Any, encoders: Mapping[str, TextConfig | None], **options: Any
    ) -> dict[str, Any]:
        asked.update(encoders)
        assert options["hidden_share"] == 0.05
        return dict.fromkeys(encoders, FIGURES)

    monkeypatch.setattr("tfrec.training.encoder_comparison.compare_encoders", compare)
    return asked


def command(tmp_path: Path, *more: str, text: object) -> list[str]:
    (tmp_path / "items.csv").write_text("item_id,name\n1,x\n")
    data = {
        "items": {"paths": [str(tmp_path / "items.csv")]},
        "item_columns": {"title": "name"},
    }
    save_config(make_config(tmp_path, data=data, text=text), tmp_path / "toy.yaml")
    folder = ["--folder", str(tmp_path / "encoders")]
    return ["--config", str(tmp_path / "toy.yaml"), *folder, *more]


def test_the_configured_encoder_is_compared_as_it_is(tmp_path, compared):
    text = {"model": "some/model", "max_length": 17, "pooling": "cls"}
    argv = command(tmp_path, "--encoders", "configured", "minilm", "none", text=text)
    assert main(argv) == 0
    assert compared["configured"] == TextConfig.model_validate(text)
    minilm = compared["minilm"]
    assert minilm is not None
    assert minilm.model == TextConfig().model  # Not the configured one.
    assert minilm.max_length == 17
    assert compared["none"] is None


def test_configured_needs_a_section_of_text(tmp_path, compared, capsys):
    argv = command(tmp_path, "--encoders", "configured", text=None)
    assert main(argv) == 1
    assert "`configured` among --encoders needs a section" in capsys.readouterr().err


def test_page_says_command_split_meaning_machine_and_commit(
    tmp_path, compared, monkeypatch
):
    state = {"git_commit": "abcdef1234567890", "git_dirty": True}
    monkeypatch.setattr(encoder_page, "git_state", lambda: state)
    out = tmp_path / "pages" / "encoders.md"
    argv = command(tmp_path, "--encoders", "none", "--out", str(out), text=None)
    assert main(argv) == 0
    page = out.read_text()
    cells = "0.2500 | 0.1250 | – | 12,345 | 678 | 1.2 | 4.5 | 9.8"
    for words in (
        "# Text encoders compared: toy\n",
        f"`tfrec compare-encoders --config {tmp_path / 'toy.yaml'} ",
        "5% of the items hidden until the test. Split: leave_one_out; targets next",
        "Texts/s: item titles into an empty cache",
        f"| none | {cells} |",
        " cores, ",
        "Commit abcdef123456, with uncommitted changes.",
    ):
        assert words in page
    record = json.loads(out.with_suffix(".json").read_text())
    assert record["encoders"] == {"none": FIGURES}
    assert record["split"]["protocol"] == "leave_one_out"
    assert record["versions"]["git_commit"] == "abcdef1234567890"


def test_page_must_be_markdown_since_its_json_lies_beside_it(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(command(tmp_path, "--out", "figures.json", text=None))
    assert "--out must end in .md" in capsys.readouterr().err
