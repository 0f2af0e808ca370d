"""Models whose tokenizer is no WordPiece: texts ahead, no searches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers

from tests.text.helpers import write_tiny_roberta, write_tiny_sentence_piece
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

TEXTS = ["red shoe", "", "blue &amp; red socks", "<br>", "鞋 👟"]


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_roberta(tmp_path_factory.mktemp("tiny_roberta"), TEXTS)


def build(folder: Path, **changes: Any) -> TextEncoder:
    config = TextConfig(model=str(folder), **{"max_length": 12, **changes})
    return build_text_encoder(config, texts=list, scratch_dir=Path("unused"))


@pytest.mark.parametrize("write", [write_tiny_roberta, write_tiny_sentence_piece])
def test_texts_are_encoded_ahead_as_the_library_does(
    write: Callable[[Path, list[str]], Path], tmp_path: Path
) -> None:
    folder = write(tmp_path / "model", TEXTS)
    encoder = build(folder, normalize=False)
    assert not encoder.tokenizes_in_graph
    vectors = encode_cached(encoder, TEXTS, folder=tmp_path, batch_tokens=20)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.TFRobertaModel.from_pretrained(folder)
    for row, clean in enumerate(["red shoe", "", "blue & red socks", "", "鞋 👟"]):
        tokens = tokenizer(clean, return_tensors="tf", truncation=True, max_length=12)
        states = model(tokens["input_ids"]).last_hidden_state[0].numpy()
        expected = states.mean(axis=0) if clean else np.zeros(8)
        np.testing.assert_allclose(vectors[row], expected, atol=1e-5)


def test_texts_are_cut_and_no_texts_are_none(tiny_roberta: Path) -> None:
    encoder = build(tiny_roberta, max_length=4)
    tokens = encoder.numpy_tokenize(["red shoe blue red shoe blue", ""])
    assert tokens.token_ids.shape == (2, 4)
    assert tokens.padding_mask.tolist() == [[True] * 4, [False] * 4]
    assert encoder.numpy_tokenize([]).token_ids.shape == (0, 0)


def test_the_graph_says_what_to_do_instead(tiny_roberta: Path) -> None:
    encoder = build(tiny_roberta)
    with pytest.raises(ValueError, match="`encode_cached`.*WordPiece model"):
        encoder.encode(tf.constant(["red"]))


@pytest.mark.parametrize("training", ["last_layers", "adapters"])
def test_relatives_of_bert_are_trained_in_part(
    tiny_roberta: Path, training: str
) -> None:
    encoder = build(tiny_roberta, training=training, num_trained_layers=1)
    expected = {"last_layers": 16, "adapters": 8}
    assert len(encoder.trainable_variables) == expected[training]
