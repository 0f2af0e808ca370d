import logging
from pathlib import Path
from typing import Any

import pytest

from tests.text.helpers import write_tiny_sentence_piece
from tests.text.test_word_vectors import LINES, write
from tfrec.text.encoder import TextEncoder
from tfrec.text.encoder_checks import (
    unknown_share,
    unread_share,
    warn_of_unread_texts,
)
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

# The tiny BERT knows all letters, and of Chinese 鞋子红色 alone.
KNOWN = ["red shoe blue sock", "鞋子"]


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> TextEncoder:
    config = TextConfig(model=str(tiny_bert), max_length=12)
    return build_text_encoder(config, texts=list, scratch_dir=Path("unused"))


def test_share_is_of_tokens_without_end_marks(encoder: TextEncoder) -> None:
    assert unknown_share(encoder, KNOWN) == 0.0
    # red, shoe, 灯, 泡, 鞋: two of five.
    assert unknown_share(encoder, ["red shoe", "", "灯泡鞋"]) == pytest.approx(0.4)
    assert unknown_share(encoder, []) == 0.0
    assert unknown_share(encoder, ["", "<br>"]) == 0.0


def warnings_of(
    encoder: TextEncoder, texts: list[str], caplog: pytest.LogCaptureFixture
) -> list[str]:
    with caplog.at_level(logging.WARNING):
        warn_of_unread_texts(encoder, texts)
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("texts", "shares"),
    [
        (["red shoe 灯", "", "鞋"], ("25 %", "0 %")),
        (["red shoe blue sock red shoe", "灯"], ("14 %", "50 %")),
        (["red shoe blue sock", "<br>"], ("0 %", "50 %")),
        # Just 20 % is not over it.
        (["red shoe blue sock 灯"], None),
        (["red", "shoe", "blue", "sock", "灯"], None),
        (KNOWN, None),
    ],
)
def test_a_large_share_of_what_is_unknown_is_a_warning(
    encoder: TextEncoder,
    caplog: pytest.LogCaptureFixture,
    texts: list[str],
    shares: tuple[str, str] | None,
) -> None:
    messages = warnings_of(encoder, texts, caplog)
    assert len(messages) == (shares is not None)
    for message in messages:
        assert shares is not None
        assert message.startswith(f"{shares[0]} of the words of item texts are unknown")
        assert f"{shares[1]} of the texts hold none" in message
        assert "`text.encoder=scratch`" in message


def test_words_without_a_vector_are_unknown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"encoder": "word_vectors", "model": str(write(tmp_path / "v", LINES))}
    config = TextConfig.model_validate({**settings, "max_length": 3})
    words = build_text_encoder(config, texts=list, scratch_dir=tmp_path)
    # Marks are no words, and what is cut off is a word all the same.
    assert unknown_share(words, ["the RED, (shoe)!", ""]) == 0.0
    assert unknown_share(words, ["the red shoe lamp", "lamp"]) == pytest.approx(0.4)
    assert unread_share(words, ["the red", "lamp", "lamp sofa", "- red"]) == 0.5
    (message,) = warnings_of(words, ["lamp", "sofa"], caplog)
    assert message.startswith("100 % of the words")


def test_pieces_that_sentence_piece_does_not_know_are_unknown(tmp_path: Path) -> None:
    folder = write_tiny_sentence_piece(tmp_path, ["red shoe", "blue sock"])
    config = TextConfig(model=str(folder), max_length=12)
    ahead = build_text_encoder(config, texts=list, scratch_dir=tmp_path)
    assert unknown_share(ahead, ["red shoe"]) == 0.0
    assert unknown_share(ahead, ["灯", "鞋"]) == 1.0
    assert unread_share(ahead, ["red", "灯"]) == 0.5


@pytest.mark.parametrize("texts", [[], ["", ""]])
def test_a_catalogue_without_texts_is_a_warning(
    encoder: TextEncoder, caplog: pytest.LogCaptureFixture, texts: list[str]
) -> None:
    (message,) = warnings_of(encoder, texts, caplog)
    assert message.startswith("No item has a text")
    assert "data.item_columns.title" in message


def test_of_many_texts_a_sample_is_counted(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: set[int] = set()
    tokenize = encoder.numpy_tokenize

    def count(texts: Any) -> Any:
        counted.add(len(texts))
        return tokenize(texts[:3])

    monkeypatch.setattr(encoder, "numpy_tokenize", count)
    warn_of_unread_texts(encoder, [f"red {number}" for number in range(4_500)])
    assert counted == {1_500}  # Every third.
