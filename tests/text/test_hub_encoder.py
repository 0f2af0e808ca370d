from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_text as tf_text

from tests.text.helpers import VOCABULARY
from tfrec.text.hub_encoder import HubEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

TEXT_DIM = 4
SEQUENCE_LENGTH = 10
CLS_ID, SEP_ID = VOCABULARY.index("[CLS]"), VOCABULARY.index("[SEP]")


class Preprocessor(tf.Module):
    """A preprocessor as on TF-Hub: fixed width, [CLS] and [SEP] around the words."""

    def __init__(self, vocabulary_file: Path) -> None:
        super().__init__()
        self._tokenizer = tf_text.BertTokenizer(
            tf.lookup.StaticVocabularyTable(
                tf.lookup.TextFileInitializer(
                    str(vocabulary_file),
                    tf.string,
                    tf.lookup.TextFileIndex.WHOLE_LINE,
                    tf.int64,
                    tf.lookup.TextFileIndex.LINE_NUMBER,
                ),
                num_oov_buckets=1,
            ),
            lower_case=True,
            token_out_type=tf.int32,
        )

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        pieces: Any = self._tokenizer.tokenize(texts)
        ids = pieces.merge_dims(1, 2)[:, : SEQUENCE_LENGTH - 2]
        ones = tf.ones([ids.nrows(), 1], tf.int32)
        ids = tf.concat([ones * CLS_ID, ids, ones * SEP_ID], axis=1)
        mask = tf.sequence_mask(ids.row_lengths(), SEQUENCE_LENGTH, tf.int32)
        return {
            "input_word_ids": ids.to_tensor(shape=[None, SEQUENCE_LENGTH]),
            "input_mask": mask,
            "input_type_ids": tf.zeros_like(mask),
        }


TABLE = np.random.default_rng(0).normal(size=(len(VOCABULARY), TEXT_DIM))
TENSORS = ("input_word_ids", "input_mask", "input_type_ids")


def encoder_model() -> tf.train.Checkpoint:
    """An encoder as on TF-Hub: states are rows of a table, pooled ones their sum."""
    table = tf.Variable(tf.constant(TABLE, tf.float32))

    def encode(inputs: dict[str, tf.Tensor], training: bool) -> dict[str, tf.Tensor]:
        states = tf.gather(table, inputs["input_word_ids"])
        mask = tf.cast(inputs["input_mask"], tf.float32)[:, :, tf.newaxis]
        # Who passes other type ids than 0 sees it.
        states += (
            100.0 * tf.cast(inputs["input_type_ids"], tf.float32)[:, :, tf.newaxis]
        )
        pooled = 10.0 * tf.reduce_sum(states * mask, axis=1)
        return {"sequence_output": states, "pooled_output": pooled}

    function = tf.function(encode)
    specs = {name: tf.TensorSpec([None, None], tf.int32) for name in TENSORS}
    for training in (False, True):
        function.get_concrete_function(specs, training)
    model = tf.train.Checkpoint(table=table)
    model.__call__ = function
    model.variables = model.trainable_variables = [table]
    return model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("hub")
    vocabulary_file = folder / "vocab.txt"
    vocabulary_file.write_text("\n".join(VOCABULARY), "utf-8")
    tf.saved_model.save(Preprocessor(vocabulary_file), str(folder / "preprocess"))
    tf.saved_model.save(encoder_model(), str(folder / "encoder"))
    return {
        "model": str(folder / "encoder"),
        "preprocessor": str(folder / "preprocess"),
    }


def build(models: dict[str, str], **changes: Any) -> HubEncoder:
    config = TextConfig.model_validate(
        {"encoder": "tf_hub", "normalize": False, "max_length": 5, **models, **changes}
    )
    encoder = build_text_encoder(config, texts=list, scratch_dir=Path("unused"))
    assert isinstance(encoder, HubEncoder)
    return encoder


def ids(*words: str) -> list[int]:
    return [CLS_ID, *(VOCABULARY.index(word) for word in words), SEP_ID]


TEXTS = ["red <b>shoe</b>", "", "red blue shoe sock cream red", "<br>", "鞋"]
WORDS = {0: ids("red", "shoe"), 2: ids("red", "blue", "shoe"), 4: ids("鞋")}


def test_texts_become_tokens_as_wide_as_the_longest(models: dict[str, str]) -> None:
    tokens = build(models).tokenize(tf.constant(TEXTS))
    assert tokens.token_ids.shape == (5, 5)
    for row in range(len(TEXTS)):
        real = tokens.token_ids.numpy()[row][tokens.padding_mask.numpy()[row]]
        assert real.tolist() == WORDS.get(row, [])
    short = build(models).tokenize(tf.constant(["red"]))
    assert short.token_ids.shape == (1, 3)


def test_more_tokens_than_the_preprocessor_gives_are_refused(
    models: dict[str, str],
) -> None:
    build(models, max_length=SEQUENCE_LENGTH)
    with pytest.raises(ValueError, match="`text.max_length` must be at most 10.*11"):
        build(models, max_length=SEQUENCE_LENGTH + 1)


def test_mean_pooling_is_over_the_states_of_real_tokens(models: dict[str, str]) -> None:
    vectors = build(models).encode(tf.constant(TEXTS)).numpy()
    for row in range(len(TEXTS)):
        expected = TABLE[WORDS[row]].mean(axis=0) if row in WORDS else np.zeros(4)
        np.testing.assert_allclose(vectors[row], expected, atol=1e-5)


def test_cls_pooling_is_the_pooled_output(models: dict[str, str]) -> None:
    vectors = build(models, pooling="cls").encode(tf.constant(TEXTS)).numpy()
    for row in range(len(TEXTS)):
        expected = 10 * TABLE[WORDS[row]].sum(axis=0) if row in WORDS else np.zeros(4)
        np.testing.assert_allclose(vectors[row], expected, atol=1e-4)


def test_no_texts_give_no_vectors(models: dict[str, str]) -> None:
    assert build(models).encode(tf.constant([], tf.string)).shape == (0, TEXT_DIM)


def test_training_is_frozen_or_full(models: dict[str, str]) -> None:
    assert build(models).trainable_variables == []
    encoder = build(models, training="full")
    assert len(encoder.trainable_variables) == 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.encode(tf.constant(["red"])))
    gradient = tape.gradient(loss, encoder.trainable_variables)[0]
    # [CLS], the word and [SEP] are a third of the mean each.
    red = tf.convert_to_tensor(gradient)[VOCABULARY.index("red")]
    np.testing.assert_allclose(red, [1 / 3] * TEXT_DIM, atol=1e-6)
    with pytest.raises(ValueError, match="`frozen` or `full`.*'last_layers'"):
        build(models, training="last_layers")


def test_hash_is_of_both_models(models: dict[str, str], tmp_path: Path) -> None:
    first = build(models)
    assert build(models).encoder_hash == first.encoder_hash
    first.weights[0].assign_add(tf.ones_like(first.weights[0]))
    assert first.encoder_hash != build(models).encoder_hash
    vocabulary_file = tmp_path / "vocab.txt"
    vocabulary_file.write_text("\n".join([*VOCABULARY, "more"]), "utf-8")
    tf.saved_model.save(Preprocessor(vocabulary_file), str(tmp_path / "other"))
    other = build(models, preprocessor=str(tmp_path / "other"))
    assert other.encoder_hash != build(models).encoder_hash


class SavedEncoder(tf.Module):
    def __init__(self, encoder: HubEncoder) -> None:
        super().__init__()
        self.tracked = [*encoder.weights, *encoder.saved_resources]


def test_exported_graph_gives_the_same_through_the_session_loader(
    models: dict[str, str], tmp_path: Path
) -> None:
    encoder = build(models)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"vectors": encoder.encode(texts)}

    tf.saved_model.save(
        SavedEncoder(encoder), str(tmp_path), signatures={"serve": serve}
    )
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = graph.signature_def["serve"]
        found = session.run(
            signature.outputs["vectors"].name, {signature.inputs["texts"].name: TEXTS}
        )
    np.testing.assert_allclose(found, encoder.encode(tf.constant(TEXTS)), atol=1e-5)


def test_missing_preprocessor_and_model_are_named(
    models: dict[str, str], tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="`text.preprocessor` must be set"):
        build({"model": models["model"]})
    with pytest.raises(ValueError, match="`text.model` must be the handle"):
        build({**models, "model": str(tmp_path)})
