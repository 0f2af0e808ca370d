import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benchmarks import word_vectors
from benchmarks.word_vectors import frequent_words, main
from tfrec.data.simulator import simulate, sized_config
from tfrec.text.word_vector_file import read_word_vectors


@pytest.fixture(scope="module")
def arguments(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    path = tmp_path_factory.mktemp("shop")
    shop = simulate(sized_config("tiny", seed=0), path / "shop").config_path
    prepared = ["--data.prepared_dir", str(path / "prepared")]
    return ["--config", str(shop), "--out", str(path / "words.txt"), *prepared]


def test_words_come_by_frequency_as_the_encoder_splits_them() -> None:
    words = frequent_words(["Red lamp, small", "", "lamp", "lamp", "red <b>rug</b>"])
    assert words == ["lamp", "red", ",", "rug", "small"]


def test_what_is_written_is_read_again(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def embed(words: Sequence[str]) -> np.ndarray:
        return np.arange(3 * len(words), dtype=np.float32).reshape(-1, 3)

    monkeypatch.setattr(word_vectors, "embed", embed)
    assert main(arguments) == 0
    words, vectors = read_word_vectors(Path(arguments[3]))
    assert len(words) > 20
    np.testing.assert_array_equal(vectors, embed(words))


def test_a_missing_package_is_named_and_nothing_is_written(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "wordllama", None)
    out = tmp_path / "words.txt"
    assert main([*arguments[:2], "--out", str(out), *arguments[4:]]) == 1
    assert ".[benchmarks]" in capsys.readouterr().err
    assert not out.exists()


def test_vectors_of_the_package_know_what_is_alike() -> None:
    pytest.importorskip("wordllama", reason="needs the extra `benchmarks`")
    lamp, light, banana = word_vectors.embed(["lamp", "light", "banana"])
    assert lamp @ light > 5 * abs(lamp @ banana)
