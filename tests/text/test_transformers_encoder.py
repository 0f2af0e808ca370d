import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.tensorflow
import tensorflow as tf
import transformers

from tests.text.helpers import (
    HIDDEN_DIM,
    VOCABULARY,
    tiny_config,
    write_tiny_bert,
    write_tiny_roberta,
    write_vocabulary,
)
from tfrec.text.cache import encode_cached
from tfrec.text.registry import build_text_encoder
from tfrec.text.tokens import TextTokens
from tfrec.text.transformers_encoder import TransformersEncoder
from tfrec.text_config import TextConfig

TEXTS = ["red shoe", "", "blue socks & cream, cream, cream", "鞋子 red", "<br>"]
EMPTY = [1, 4]


def build(folder: Path | str, **changes: Any) -> TransformersEncoder:
    def no_texts() -> list[str]:
        raise AssertionError("only `scratch` reads the shop's texts")

    config = TextConfig(model=str(folder), **{"max_length": 12, **changes})
    encoder = build_text_encoder(config, texts=no_texts, scratch_dir=Path("unused"))
    assert isinstance(encoder, TransformersEncoder)
    return encoder


def plain_states(folder: Path, text: str) -> np.ndarray:
    """The library's own states of one text, without padding."""
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    model = transformers.TFBertModel.from_pretrained(folder)
    return model(tokenizer(text, return_tensors="tf")).last_hidden_state[0].numpy()


def test_vectors_are_the_mean_states_of_the_library(tiny_bert: Path) -> None:
    vectors = build(tiny_bert, normalize=False).encode(tf.constant(TEXTS))
    assert vectors.dtype == tf.float32
    for row, text in enumerate(TEXTS):
        if row in EMPTY:
            continue
        expected = plain_states(tiny_bert, text).mean(axis=0)
        np.testing.assert_allclose(vectors[row], expected, atol=1e-5)


@pytest.mark.parametrize("family", ["distilbert", "electra"])
def test_relatives_of_bert_are_read_as_the_library_does(
    family: str, tmp_path: Path
) -> None:
    sizes: dict[str, Any] = {"vocab_size": len(VOCABULARY)}
    sizes |= {"max_position_embeddings": 16}
    if family == "distilbert":
        sizes |= {"dim": 8, "n_layers": 1, "n_heads": 2, "hidden_dim": 16}
    else:
        sizes |= {"embedding_size": 4, "hidden_size": 8, "num_hidden_layers": 1}
        sizes |= {"num_attention_heads": 2, "intermediate_size": 16}
    config = transformers.AutoConfig.for_model(family, **sizes)
    model = transformers.TFAutoModel.from_config(config)
    model(np.ones((1, 2), np.int32))
    write_vocabulary(tmp_path)
    model.save_pretrained(tmp_path)
    tokenizer = transformers.BertTokenizerFast(str(tmp_path / "vocab.txt"))
    tokenizer.save_pretrained(tmp_path)

    encoder = build(tmp_path, normalize=False)

    assert encoder.tokenizes_in_graph
    token_ids = tokenizer("red shoe", return_tensors="tf")["input_ids"]
    states = model(token_ids).last_hidden_state[0]
    vectors = encoder.encode(tf.constant(["red shoe", ""]))
    np.testing.assert_allclose(vectors[0], states.numpy().mean(axis=0), atol=1e-5)
    assert not vectors[1].numpy().any()


def test_cls_pooling_takes_the_first_state(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, normalize=False, pooling="cls")
    expected = plain_states(tiny_bert, TEXTS[0])[0]
    np.testing.assert_allclose(encoder.encode(tf.constant(TEXTS))[0], expected, 1e-4)


def test_normalised_vectors_have_length_one_and_the_same_direction(
    tiny_bert: Path,
) -> None:
    plain = build(tiny_bert, normalize=False).encode(tf.constant(TEXTS)).numpy()
    unit = build(tiny_bert).encode(tf.constant(TEXTS)).numpy()
    full = [row for row in range(len(TEXTS)) if row not in EMPTY]
    lengths = np.linalg.norm(plain[full], axis=1, keepdims=True)
    np.testing.assert_allclose(unit[full], plain[full] / lengths, atol=1e-5)


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_texts_without_words_are_zeros(tiny_bert: Path, pooling: str) -> None:
    encoder = build(tiny_bert, pooling=pooling)
    vectors = encoder.encode(tf.constant(TEXTS)).numpy()
    assert (vectors[EMPTY] == 0).all()
    assert (np.abs(vectors[[0, 2, 3]]).sum(axis=1) > 0.1).all()
    nothing = encoder.encode(tf.constant(["", " "])).numpy()
    np.testing.assert_array_equal(nothing, np.zeros((2, HIDDEN_DIM)))


def test_no_texts_give_no_vectors(tiny_bert: Path) -> None:
    encoder = build(tiny_bert)
    assert encoder.encode(tf.constant([], tf.string)).shape == (0, HIDDEN_DIM)


@pytest.mark.parametrize("pooling", ["mean", "cls", "attention"])
def test_padding_and_company_change_nothing(tiny_bert: Path, pooling: str) -> None:
    encoder = build(tiny_bert, pooling=pooling)
    together = encoder.encode(tf.constant(TEXTS)).numpy()
    for row, text in enumerate(TEXTS):
        alone = encoder.encode(tf.constant([text])).numpy()[0]
        np.testing.assert_allclose(together[row], alone, atol=1e-5)
    ids, mask = encoder.tokenize(tf.constant(TEXTS[:1]))
    padded = TextTokens(
        tf.pad(ids, [[0, 0], [0, 3]], constant_values=9), tf.pad(mask, [[0, 0], [0, 3]])
    )
    np.testing.assert_allclose(encoder(padded)[0], together[0], atol=1e-5)


def test_frozen_encoders_train_nothing_and_drop_nothing_out(tiny_bert: Path) -> None:
    encoder = build(tiny_bert)
    tokens = encoder.tokenize(tf.constant(TEXTS))
    assert encoder.trainable_variables == []
    np.testing.assert_array_equal(encoder(tokens, training=True), encoder(tokens))


def test_hash_is_of_what_changes_the_vectors(tiny_bert: Path, tmp_path: Path) -> None:
    base = build(tiny_bert).encoder_hash
    assert build(tiny_bert).encoder_hash == base
    assert len(base) == 32
    int(base, 16)
    changed = {
        build(tiny_bert, **change).encoder_hash
        for change in (
            {"pooling": "cls"},
            {"pooling": "attention"},
            {"max_length": 11},
            {"normalize": False},
        )
    }
    encoder = build(tiny_bert)
    encoder.weights[-1].assign_add(tf.ones_like(encoder.weights[-1]) * 1e-3)
    assert len(changed | {base, encoder.encoder_hash}) == 6


def test_hash_is_of_the_vocabulary(tiny_bert: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tf_model.h5"):
        shutil.copy(tiny_bert / name, tmp_path)
    lines = (tiny_bert / "vocab.txt").read_text("utf-8").split("\n")
    lines[5], lines[6] = lines[6], lines[5]
    (tmp_path / "vocab.txt").write_text("\n".join(lines), "utf-8")
    assert build(tmp_path).encoder_hash != build(tiny_bert).encoder_hash


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_safetensors_of_32_and_16_bits_are_read(tmp_path: Path, dtype: str) -> None:
    tensors = pytorch_tensors(dtype)
    write_vocabulary(tmp_path)
    tiny_config(torch_dtype=dtype, architectures=["BertModel"]).save_pretrained(
        tmp_path
    )
    safetensors.tensorflow.save_file(
        tensors, str(tmp_path / "model.safetensors"), {"format": "pt"}
    )
    encoder = build(tmp_path)
    assert {weight.dtype for weight in encoder.weights} == {tf.float32}
    embeddings = next(w for w in encoder.weights if "word_embeddings" in w.name)
    np.testing.assert_array_equal(
        embeddings, tf.cast(tensors["embeddings.word_embeddings.weight"], tf.float32)
    )
    vectors = encoder.encode(tf.constant(TEXTS)).numpy()
    assert np.isfinite(vectors).all()


def pytorch_tensors(dtype: str) -> dict[str, tf.Tensor]:
    """The weights of a tiny BERT under their names in PyTorch files."""
    rng = np.random.default_rng(0)
    config = tiny_config()
    width, inner = config.hidden_size, config.intermediate_size
    shapes = {
        "embeddings.word_embeddings.weight": (config.vocab_size, width),
        "embeddings.position_embeddings.weight": (16, width),
        "embeddings.token_type_embeddings.weight": (2, width),
        "embeddings.LayerNorm.weight": (width,),
        "embeddings.LayerNorm.bias": (width,),
    }
    for layer in range(config.num_hidden_layers):
        start = f"encoder.layer.{layer}."
        dense = {
            "attention.self.query": (width, width),
            "attention.self.key": (width, width),
            "attention.self.value": (width, width),
            "attention.output.dense": (width, width),
            "intermediate.dense": (inner, width),
            "output.dense": (width, inner),
        }
        for name, shape in dense.items():
            shapes[f"{start}{name}.weight"] = shape
            shapes[f"{start}{name}.bias"] = shape[:1]
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{start}{name}.weight"] = (width,)
            shapes[f"{start}{name}.bias"] = (width,)
    return {
        name: tf.cast(rng.normal(0, 0.2, shape), dtype)
        for name, shape in shapes.items()
    }


@pytest.mark.parametrize(
    ("model", "error", "match"),
    [
        ("package:no_such_package/model", ValueError, "pip install no-such-package"),
        ("package:transformers/no_such", FileNotFoundError, "'no_such'.*'models'"),
        ("./no/such/folder", FileNotFoundError, "no/such/folder"),
    ],
)
def test_missing_models_are_named(
    model: str, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        build(model)


def test_folder_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"(?s)`text.model` must be.*notes\.txt"):
        build(tmp_path)


def test_hub_that_cannot_be_reached_says_what_else_to_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_network(name: str) -> None:
        raise OSError(f"no connection for {name}")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", no_network)
    with pytest.raises(ValueError, match="no connection for a/b.*encoder: scratch"):
        build("a/b")


def test_folders_of_packages_are_found(
    tiny_bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "text_models_of_tests"
    package.mkdir()
    # Would raise if it were imported.
    (package / "__init__.py").write_text("raise RuntimeError")
    (package / "model").symlink_to(tiny_bert)
    monkeypatch.syspath_prepend(tmp_path)
    encoder = build("package:text_models_of_tests/model")
    assert encoder.encoder_hash == build(tiny_bert).encoder_hash


def test_more_tokens_than_positions_are_refused(tiny_bert: Path) -> None:
    with pytest.raises(ValueError, match="`text.max_length` must be at most 16.*17"):
        build(tiny_bert, max_length=17)


def test_positions_behind_the_padding_are_no_places(tmp_path: Path) -> None:
    folder = write_tiny_roberta(tmp_path, ["red shoe"])
    places = transformers.AutoConfig.from_pretrained(folder).max_position_embeddings
    places -= 2  # The padding has position 1, the first token 2.
    encoder = build(folder, max_length=places)
    vectors = encode_cached(encoder, ["red " * 99], folder=tmp_path, batch_tokens=99)
    assert np.isfinite(vectors).all()
    with pytest.raises(ValueError, match=f"must be at most {places}.*{places + 1}"):
        build(folder, max_length=places + 1)


def test_added_tokens_are_told(tmp_path: Path, caplog: Any) -> None:
    folder = write_tiny_bert(tmp_path, vocab_size=len(VOCABULARY) + 1)
    tokenizer = transformers.BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    build(folder)
    assert not caplog.records
    tokenizer.add_tokens(["usbstick"])
    tokenizer.save_pretrained(folder)
    build(folder)
    assert "has 1 added tokens, such as 'usbstick'" in caplog.text


class SavedWeights(tf.Module):
    """Tracks weights and tables, so that Keras does not save layer by layer."""

    def __init__(self, encoder: TransformersEncoder) -> None:
        super().__init__()
        self.tracked = [*encoder.weights, *encoder.saved_resources]


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_exported_graph_gives_the_same_through_the_session_loader(
    tiny_bert: Path, tmp_path: Path, pooling: str
) -> None:
    encoder = build(tiny_bert, pooling=pooling)
    module = SavedWeights(encoder)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        ids, mask = encoder.tokenize(texts)
        return {"ids": ids, "mask": mask, "vectors": encoder.encode(texts)}

    tf.saved_model.save(module, str(tmp_path), signatures={"serve": serve})
    batches = [TEXTS, ["red"], [], [""]]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], str(tmp_path))
        signature = graph.signature_def["serve"]
        outputs = {name: info.name for name, info in signature.outputs.items()}
        loaded = [
            session.run(outputs, {signature.inputs["texts"].name: batch})
            for batch in batches
        ]
    for batch, found in zip(batches, loaded, strict=True):
        ids, mask = encoder.tokenize(tf.constant(batch, tf.string, [len(batch)]))
        np.testing.assert_array_equal(found["ids"], ids)
        np.testing.assert_array_equal(found["mask"], mask)
        vectors = encoder(TextTokens(ids, mask))
        np.testing.assert_allclose(found["vectors"], vectors, atol=1e-6)


def test_graphs_that_encode_share_one_function(tiny_bert: Path) -> None:
    encoder = build(tiny_bert)
    spec = tf.TensorSpec([None], tf.string)
    graphs = [
        tf.function(lambda texts, sign=sign: sign * encoder.encode(texts))
        .get_concrete_function(spec)
        .graph.as_graph_def()
        for sign in (1.0, -1.0)
    ]
    one, two = (
        {f.signature.name: len(f.node_def) for f in graph.library.function}
        for graph in graphs
    )
    assert one == two
    # The graphs hold a call; the encoder, hundreds of nodes, is in what is shared.
    assert max(one.values()) > 200 > 60 > max(len(graph.node) for graph in graphs)


def test_exported_graph_holds_core_and_tensorflow_text_ops_only(
    tiny_bert: Path,
) -> None:
    encoder = build(tiny_bert)
    function = tf.function(encoder.encode).get_concrete_function(
        tf.TensorSpec([None], tf.string)
    )
    definition = function.graph.as_graph_def()
    nodes = [
        *definition.node,
        *(n for f in definition.library.function for n in f.node_def),
    ]
    functions = {f.signature.name for f in definition.library.function}
    beside_core = {
        node.op
        for node in nodes
        if node.op not in functions and not hasattr(tf.raw_ops, node.op)
    }
    assert beside_core == {"FastWordpieceTokenizeWithOffsets", "NormalizeUTF8"}
