"""A text of unknown words alone says nothing, wherever it is read."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import transformers

from tests.text.helpers import HIDDEN_DIM, write_tiny_sentence_piece
from tests.text.test_transformers_encoder import build
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import TextReader
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

# The tiny BERT knows no emoji, and of Chinese 鞋子红色 alone.
UNKNOWN = ["😀", "灯泡", "<b>👟</b> 灯", "x" * 101]
SAID = ["red 😀", "灯 鞋", "!"]
TEXTS = [*UNKNOWN, *SAID]
IS_SAID = [False] * len(UNKNOWN) + [True] * len(SAID)


def says(vectors: np.ndarray) -> list[bool]:
    return np.any(vectors != 0.0, axis=1).tolist()


@pytest.fixture(scope="module")
def encoder(tiny_bert: Path) -> TextEncoder:
    return build(tiny_bert)


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_its_vector_is_zeros_in_the_graph_and_ahead(
    tiny_bert: Path, tmp_path: Path, pooling: str
) -> None:
    encoder = build(tiny_bert, pooling=pooling)
    in_graph = tf.function(encoder.encode)(tf.constant(TEXTS)).numpy()
    eager = encoder.encode(tf.constant(TEXTS)).numpy()
    ahead = encode_cached(encoder, TEXTS, folder=tmp_path, batch_tokens=99)
    again = encode_cached(encoder, TEXTS, folder=tmp_path, batch_tokens=99)
    for vectors in (in_graph, eager, ahead, again):
        assert says(vectors) == IS_SAID
        np.testing.assert_allclose(vectors, eager, atol=1e-6)


def test_its_tokens_stay_those_of_the_library(
    encoder: TextEncoder, tiny_bert: Path
) -> None:
    reference = transformers.BertTokenizer.from_pretrained(tiny_bert)
    for text in ["😀", "灯泡", "red 😀"]:
        token_ids, mask = encoder.numpy_tokenize([text])
        assert token_ids[mask].tolist() == reference.encode(text)


def test_searches_of_now_and_of_the_past_say_nothing(encoder: TextEncoder) -> None:
    reader = TextReader(encoder, ["", "", *TEXTS])
    past = np.array([TEXTS], object)
    searches = reader.read_searches(tf.constant(TEXTS)).numpy()
    assert says(searches) == IS_SAID
    in_graph = tf.function(reader.read_past_searches)(tf.constant(past.tolist()))
    for found in (in_graph, reader.past_searches(past)):
        laid = np.asarray(found.vectors)[np.asarray(found.rows)[0]]
        assert says(laid) == IS_SAID


def test_words_that_sentence_piece_does_not_know_say_nothing(tmp_path: Path) -> None:
    folder = write_tiny_sentence_piece(tmp_path / "model", ["red shoe", "blue sock"])
    config = TextConfig(model=str(folder), max_length=12)
    encoder = build_text_encoder(config, texts=list, scratch_dir=tmp_path)
    texts = ["灯泡", "灯 泡", "red 灯", ""]
    vectors = encode_cached(encoder, texts, folder=tmp_path, batch_tokens=99)
    assert says(vectors) == [False, False, True, False]
    assert vectors.shape == (4, HIDDEN_DIM)
