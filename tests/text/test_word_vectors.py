import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrec.text.registry import build_text_encoder
from tfrec.text.tokens import TextTokens
from tfrec.text.word_vector_file import read_word_vectors
from tfrec.text.word_vectors import WordVectorEncoder, word_weights
from tfrec.text_config import TextConfig

LINES = ["the 1 0 0", "red 0 2 0", "Shoe 0 0 4", "鞋 3 3 0", ". . . 1 1 1"]
VECTORS = {
    "the": [1.0, 0.0, 0.0],
    "red": [0.0, 2.0, 0.0],
    "shoe": [0.0, 0.0, 4.0],
    "鞋": [3.0, 3.0, 0.0],
}


def write(path: Path, lines: list[str], *, header: str | None = None) -> Path:
    text = "\n".join([*([header] if header else []), *lines]) + "\n"
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def build(path: Path, **changes: Any) -> WordVectorEncoder:
    config = TextConfig.model_validate(
        {
            "encoder": "word_vectors",
            "model": str(path),
            "word_weighting": "uniform",
            "normalize": False,
            **changes,
        }
    )
    encoder = build_text_encoder(config, texts=list, scratch_dir=Path("unused"))
    assert isinstance(encoder, WordVectorEncoder)
    return encoder


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
@pytest.mark.parametrize("header", [None, "5 3"])
def test_both_formats_are_read(tmp_path: Path, name: str, header: str | None) -> None:
    encoder = build(write(tmp_path / name, LINES, header=header))
    assert encoder.text_dim == 3
    for word, vector in VECTORS.items():
        np.testing.assert_allclose(encoder.encode(tf.constant([word])), [vector])


def test_byte_order_mark_and_blank_lines_are_no_words(tmp_path: Path) -> None:
    lines = ["\ufeff" + LINES[0], *LINES[1:], "", ""]
    encoder = build(write(tmp_path / "vectors.txt", lines))
    for word, vector in VECTORS.items():
        np.testing.assert_allclose(encoder.encode(tf.constant([word])), [vector])


def test_vectors_are_the_mean_of_the_known_words(tmp_path: Path) -> None:
    encoder = build(write(tmp_path / "v.txt", LINES))
    texts = ["The RED, unknown <b>shoe</b>!", "红red鞋", "unknown", "", "<br>"]
    expected = [[1 / 3, 2 / 3, 4 / 3], [1.5, 2.5, 0], [0] * 3, [0] * 3, [0] * 3]
    vectors = encoder.encode(tf.constant(texts))
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    unit = build(tmp_path / "v.txt", normalize=True).encode(tf.constant(texts))
    length = np.linalg.norm(expected[0])
    np.testing.assert_allclose(unit[0], np.array(expected[0]) / length, atol=1e-6)
    assert encoder.encode(tf.constant([], tf.string)).shape == (0, 3)


def test_frequent_words_count_less(tmp_path: Path) -> None:
    encoder = build(write(tmp_path / "v.txt", LINES), word_weighting="frequency")
    harmonic = sum(1 / rank for rank in range(1, 6))
    the, red = (1e-3 / (1e-3 + 1 / (rank * harmonic)) for rank in (1, 2))
    vector = encoder.encode(tf.constant(["the red"]))[0]
    np.testing.assert_allclose(vector, [the / 2, 2 * red / 2, 0], rtol=1e-5)
    assert the < red


def test_weights_grow_with_the_rank() -> None:
    weights = word_weights(50_000, "frequency")
    assert (np.diff(weights) >= 0).all()
    assert weights[0] < 0.02
    assert weights[-1] > 0.99


def test_of_words_alike_in_lower_case_the_first_counts(tmp_path: Path) -> None:
    encoder = build(write(tmp_path / "v.txt", ["Red 1 0", "red 5 5", "blue 0 1"]))
    vectors = encoder.encode(tf.constant(["RED", "blue"]))
    np.testing.assert_allclose(vectors, [[1, 0], [0, 1]])


def test_texts_are_cut_after_max_length_known_words(tmp_path: Path) -> None:
    encoder = build(write(tmp_path / "v.txt", LINES), max_length=3)
    vector = encoder.encode(tf.constant(["the x the the red red red"]))
    np.testing.assert_allclose(vector, [[1, 0, 0]])


@pytest.mark.parametrize(
    ("lines", "header", "match"),
    [
        (["a 1 2 3", "b 1 2"], None, r"(?s)Line 2 of .*3 numbers.*'b 1 2'"),
        (["a 1 2 3", "b 1 2 3"], "2 4", "Line 2 of .*4 numbers"),
        (["a 1 2 3", "b 1 x 3"], None, "Line 2"),
        (["a 1 2 3", "b 1 nan 3"], None, "Line 2"),
        (["a 1 2 3"], "2 3", "must hold 2 words.*Received: 1"),
        (["word"], None, "text format"),
        ([], "0 3", "must hold"),
        ([], "0", "text format"),
        (["", " "], None, "which is empty"),
        # A number too many is no part of the word.
        (["red 1 0", "lamp 1 2 3"], None, r"(?s)Line 2 of .*2 numbers.*of 3 values"),
        (["red 1 2 3", "lamp 1 0"], None, r"(?s)Line 2 of .*3 numbers.*of 2 values"),
        (["a 1 0", "b 0 1", "lamp 1 2 -3e-1"], None, "Line 3 of .*2 numbers"),
        (["red 1 0", "lamp 1 2 3"], "2 2", "Line 3 of .*2 numbers"),
        (["a 1 2 3", "b 1 2 3"], "2 2", "Line 2 of .*2 numbers.*first line wrong"),
    ],
)
def test_cut_off_and_broken_files_are_refused(
    tmp_path: Path, lines: list[str], header: str | None, match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        build(write(tmp_path / "v.txt", lines, header=header))


@pytest.mark.parametrize("header", [None, "4 3"])
def test_words_may_hold_spaces_in_the_first_line_too(
    tmp_path: Path, header: str | None
) -> None:
    lines = [". . . 1 1 1", "at name@domain.com 5 5 5", "1 0 2 0", "1.5 x 0 3 0"]
    words, vectors = read_word_vectors(write(tmp_path / "v", lines, header=header))
    assert words == [". . .", "at name@domain.com", "1", "1.5 x"]
    expected = [[1, 1, 1], [5, 5, 5], [0, 2, 0], [0, 3, 0]]
    np.testing.assert_array_equal(vectors, expected)


def test_spaces_around_a_word_are_no_part_of_it(tmp_path: Path) -> None:
    words, vectors = read_word_vectors(write(tmp_path / "v", ["red  1 0", " sock 0 2"]))
    assert words == ["red", "sock"]
    np.testing.assert_array_equal(vectors, [[1, 0], [0, 2]])


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "v.txt").touch()
    with pytest.raises(ValueError, match="word and its numbers.*which is empty"):
        build(tmp_path / "v.txt")


def test_cut_off_archives_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt.gz", LINES)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ValueError, match="whole archive"):
        build(path)


def test_folders_are_no_word_vectors(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="must be a file of word vectors"):
        build(tmp_path)


def test_cls_pooling_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="have no \\[CLS\\]"):
        build(write(tmp_path / "v.txt", LINES), pooling="cls")


def test_training_is_frozen_or_full(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", LINES)
    assert build(path).trainable_variables == []
    encoder = build(path, training="full")
    assert len(encoder.trainable_variables) == 1
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.encode(tf.constant(["red"])))
    gradient = tape.gradient(loss, encoder.trainable_variables)[0]
    np.testing.assert_allclose(tf.convert_to_tensor(gradient)[2], [1, 1, 1])
    with pytest.raises(ValueError, match="`frozen` or `full`.*'adapters'"):
        build(path, training="adapters")


def test_hash_is_of_words_vectors_and_weighting(tmp_path: Path) -> None:
    path = write(tmp_path / "v.txt", LINES)
    other_word = write(tmp_path / "w.txt", ["a 1 0 0", *LINES[1:]])
    other_value = write(tmp_path / "x.txt", ["the 1 0 1", *LINES[1:]])
    hashes = {
        build(path).encoder_hash,
        build(other_word).encoder_hash,
        build(other_value).encoder_hash,
        build(path, word_weighting="frequency").encoder_hash,
    }
    assert len(hashes) == 4
    assert build(path).encoder_hash in hashes


class SavedEncoder(tf.Module):
    def __init__(self, encoder: WordVectorEncoder) -> None:
        super().__init__()
        self.tracked = [*encoder.weights, *encoder.saved_resources]


def test_exported_graph_looks_words_up_through_the_session_loader(
    tmp_path: Path,
) -> None:
    encoder = build(write(tmp_path / "v.txt", LINES))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def serve(texts: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"vectors": encoder.encode(texts)}

    folder = str(tmp_path / "saved")
    tf.saved_model.save(SavedEncoder(encoder), folder, signatures={"serve": serve})
    texts = ["the red shoe", "", "鞋"]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        graph = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signature = graph.signature_def["serve"]
        found = session.run(
            signature.outputs["vectors"].name, {signature.inputs["texts"].name: texts}
        )
    np.testing.assert_allclose(found, encoder.encode(tf.constant(texts)), atol=1e-6)


def test_tokens_are_rows_of_the_file(tmp_path: Path) -> None:
    tokens = build(write(tmp_path / "v.txt", LINES)).tokenize(
        tf.constant(["red x the", "shoe"])
    )
    expected = TextTokens([[2, 1], [3, 0]], [[True, True], [True, False]])
    for found, values in zip(tokens, expected, strict=True):
        np.testing.assert_array_equal(found, values)
