import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import text_encoding
from benchmarks.text_encoding import main, make_titles
from tests.text.helpers import write_tiny_bert


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return write_tiny_bert(folder, max_position_embeddings=32)


def arguments(model: Path, *more: str) -> list[str]:
    small = ["--titles", "12", "--batch-size", "4", "--rounds", "1"]
    return ["--model", str(model), *small, *more]


def test_both_ways_are_measured_and_agree(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "speed.json"
    assert main(arguments(model, "--json", str(out))) == 0
    result = json.loads(out.read_text())
    assert set(result["sets"]) == {"24 tokens", "6 to 32 tokens"}
    for row in result["sets"].values():
        assert row["titles_per_second"] > 0
        assert row["plain_titles_per_second"] > 0
        assert row["greatest_difference"] < 1e-5
    assert "24 tokens" in capsys.readouterr().out


def test_check_fails_below_the_goal(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_encoding, "GOAL", 1e12)
    assert main(arguments(model, "--check")) == 1
    monkeypatch.setattr(text_encoding, "GOAL", 1e-9)
    assert main(arguments(model, "--check")) == 0


def test_missing_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "./no/such"]) == 1
    assert "error: `text.model` must exist" in capsys.readouterr().err


def test_titles_have_the_tokens_asked_for() -> None:
    encoder = SimpleNamespace(vocabulary=("[PAD]", "red", "##s", "blue", "a", "x1z"))
    titles = make_titles(encoder, 200, 6, 9, seed=0)
    # Two of the tokens are [CLS] and [SEP].
    assert {len(title.split()) for title in titles} == {4, 5, 6, 7}
    assert {word for title in titles for word in title.split()} == {"red", "blue"}
    with pytest.raises(ValueError, match="WordPiece"):
        make_titles(SimpleNamespace(vocabulary=None), 1, 6, 9, seed=0)
