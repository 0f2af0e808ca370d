import logging
from pathlib import Path
from typing import Any

import pytest

from tfrec.text.encoder import TextEncoder
from tfrec.text.encoder_checks import unknown_share, warn_of_unknown_tokens
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


@pytest.mark.parametrize(
    ("texts", "share"),
    [
        (["red shoe", "", "灯"], "33 %"),
        # Just 20 % is not over it.
        (["red shoe blue sock", "灯"], None),
        (KNOWN, None),
    ],
)
def test_a_large_share_of_unknown_tokens_is_a_warning(
    encoder: TextEncoder,
    caplog: pytest.LogCaptureFixture,
    texts: list[str],
    share: str | None,
) -> None:
    with caplog.at_level(logging.WARNING):
        warn_of_unknown_tokens(encoder, texts)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == (share is not None)
    for message in messages:
        assert message.startswith(f"{share} of the tokens of item texts are [UNK]")
        assert "`text.encoder=scratch`" in message


def test_of_many_texts_a_sample_is_counted(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    tokenize = encoder.numpy_tokenize

    def count(texts: Any) -> Any:
        counted.append(len(texts))
        return tokenize(texts[:3])

    monkeypatch.setattr(encoder, "numpy_tokenize", count)
    warn_of_unknown_tokens(encoder, [f"red {number}" for number in range(4_500)])
    assert counted == [1_500]  # Every third.
