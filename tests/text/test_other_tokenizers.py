"""Models whose tokenizer is no WordPiece: texts ahead, no searches."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import transformers
from tokenizers.implementations import ByteLevelBPETokenizer

from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

TEXTS = ["red shoe", "", "blue &amp; red socks", "<br>", "鞋 👟"]


@pytest.fixture(scope="module")
def tiny_roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny_roberta")
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    trained.train_from_iterator(
        iter(TEXTS), vocab_size=300, special_tokens=[*special], show_progress=False
    )
    trained.save_model(str(folder))
    transformers.RobertaTokenizerFast.from_pretrained(folder).save_pretrained(folder)
    config = transformers.RobertaConfig(
        vocab_size=trained.get_vocab_size(),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        initializer_range=0.2,
    )
    tf.keras.utils.set_random_seed(0)
    model = transformers.TFRobertaModel(config)
    model(np.ones((1, 2), np.int32))
    model.save_pretrained(folder)
    return folder


def build(folder: Path, **changes: Any) -> TextEncoder:
    config = TextConfig(model=str(folder), **{"max_length": 12, **changes})
    return build_text_encoder(config, texts=list, scratch_dir=Path("unused"))


def test_texts_are_encoded_ahead_as_the_library_does(
    tiny_roberta: Path, tmp_path: Path
) -> None:
    encoder = build(tiny_roberta, normalize=False)
    assert not encoder.tokenizes_in_graph
    vectors = encode_cached(encoder, TEXTS, folder=tmp_path, batch_tokens=20)
    tokenizer = transformers.RobertaTokenizerFast.from_pretrained(tiny_roberta)
    model = transformers.TFRobertaModel.from_pretrained(tiny_roberta)
    for row, clean in enumerate(["red shoe", "", "blue & red socks", "", "鞋 👟"]):
        tokens = tokenizer(clean, return_tensors="tf", truncation=True, max_length=12)
        expected = model(tokens).last_hidden_state[0].numpy().mean(axis=0)
        expected = expected if clean else np.zeros(8)
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
