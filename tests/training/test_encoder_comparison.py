"""What an encoder costs, told without a training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

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
