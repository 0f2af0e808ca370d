"""What an encoder costs, told without a training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.config_file import save_config
from tfrec.run_record import CONFIG_FILE
from tfrec.text.reader import TextReader
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig
from tfrec.training import encoder_comparison


def test_speed_is_that_of_texts_on_their_way_into_an_empty_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "words.txt").write_text("lamp 1 0\nsofa 0 1\n")
    text = TextConfig(
        encoder="word_vectors", model=str(tmp_path / "words.txt"), batch_tokens=77
    )
    encoder = build_text_encoder(text, texts=tuple, scratch_dir=tmp_path)
    reader = TextReader(encoder, ["", "", "lamp", "sofa", "lamp", "", "a lamp"])
    asked: list[tuple[list[str], Path, int]] = []
    encode_cached = encoder_comparison.encode_cached

    def recorded(
        encoder: Any, texts: list[str], *, folder: Path, batch_tokens: int
    ) -> np.ndarray:
        assert not list(folder.iterdir())
        asked.append((texts, folder, batch_tokens))
        vectors = encode_cached(
            encoder, texts, folder=folder, batch_tokens=batch_tokens
        )
        assert list(folder.iterdir())
        return vectors

    monkeypatch.setattr(encoder_comparison, "encode_cached", recorded)
    recommender: Any = SimpleNamespace(
        text_encoder=encoder, text_reader=reader, num_items=5
    )
    cost = encoder_comparison._cost(recommender, text)
    ((texts, folder, batch_tokens),) = asked
    assert (texts, batch_tokens) == (["lamp", "sofa", "a lamp"], 77)
    assert not folder.exists()
    assert cost["texts_per_second"] is not None
    assert cost["texts_per_second"] > 0.0
    nothing: Any = SimpleNamespace(text_encoder=None, text_reader=None)
    assert set(encoder_comparison._cost(nothing, None).values()) == {None}


def test_models_of_other_settings_are_not_taken_for_these(tmp_path: Path) -> None:
    def compare(share: float, max_length: int) -> None:
        text = TextConfig(encoder="scratch", model=None, max_length=max_length)
        encoder_comparison.compare_encoders(
            make_config(tmp_path),
            {"none": None, "scratch": text},
            hidden_share=share,
            folder=tmp_path / "encoders",
        )

    trained = make_config(tmp_path, text={"encoder": "scratch", "model": None})
    own = trained.model_copy(
        update={"name": "scratch", "run_dir": tmp_path / "encoders" / "scratch"}
    )
    save_config(own.model_copy(update={"ranking": None}), _folder(own) / CONFIG_FILE)
    with pytest.raises(ValueError, match=r"another configuration: text\.max_length"):
        compare(0.05, max_length=17)
    with pytest.raises(ValueError, match=r"another share .* 0\.05.*hidden_share=0\.1"):
        compare(0.1, max_length=17)
    assert not (tmp_path / "encoders" / "none").exists()


def _folder(config: ExperimentConfig) -> Path:
    """Makes the folder of a run look as if its retrieval had been trained."""
    (config.run_path / "retrieval").mkdir(parents=True)
    return config.run_path
