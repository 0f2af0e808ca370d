import multiprocessing
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrec.text import cache
from tfrec.text.cache import encode_cached
from tfrec.text.encoder import TextEncoder
from tfrec.text.tokens import TextTokens

TEXT_DIM = 3


class CountingEncoder(TextEncoder):
    """Encodes words by their lengths and notes every batch that it sees."""

    def __init__(self, version: str = "a", *, fail_after: int | None = None) -> None:
        super().__init__(text_dim=TEXT_DIM, max_length=64, normalize=False)
        self.version = version
        self.fail_after = fail_after
        self.shapes: list[tuple[int, int]] = []

    def hash_parts(self) -> Iterable[str]:
        return (self.version,)

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        words = tf.strings.split(texts)
        ids = tf.ragged.map_flat_values(tf.strings.length, words).to_tensor()
        mask = tf.sequence_mask(words.row_lengths(), tf.shape(ids)[1])
        return TextTokens(ids, mask)

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        tf.py_function(self._note, [tf.shape(token_ids)], [])
        states = tf.cast(token_ids, tf.float32)[:, :, tf.newaxis]
        return states * tf.constant([1.0, 2.0, 3.0])

    def _note(self, shape: tf.Tensor) -> None:
        if len(self.shapes) == self.fail_after:
            raise InterruptedError("killed")
        self.shapes.append((int(shape[0]), int(shape[1])))

    @property
    def num_texts(self) -> int:
        return sum(num_texts for num_texts, _ in self.shapes)


def expected(text: str) -> list[float]:
    lengths = [len(word) for word in text.split()]
    mean = sum(lengths) / max(len(lengths), 1)
    return [mean, 2 * mean, 3 * mean]


def distinct_texts(num_texts: int) -> list[str]:
    """Of 1 to 7 words; the first word makes them distinct."""
    return [" ".join(["n" * (i + 1), *["ww"] * (i * 5 % 7)]) for i in range(num_texts)]


def encode(encoder: TextEncoder, texts: list[str], folder: Path) -> np.ndarray:
    return encode_cached(encoder, texts, folder=folder, batch_tokens=16)


def shard_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.npz"))


def test_vectors_come_in_the_order_of_the_texts(tmp_path: Path) -> None:
    texts = ["a bb ccc dddd", "ee", "a bb", "fff gggg"]
    vectors = encode(CountingEncoder(), texts, tmp_path)
    np.testing.assert_allclose(vectors, [expected(text) for text in texts])
    assert vectors.dtype == np.float32


def test_known_texts_are_not_encoded_again(tmp_path: Path) -> None:
    first, second = CountingEncoder(), CountingEncoder()
    encode(first, ["a", "bb"], tmp_path)
    vectors = encode(second, ["bb", "ccc", "a"], tmp_path)
    assert (first.num_texts, second.num_texts) == (2, 1)
    np.testing.assert_allclose(vectors, [expected(t) for t in ("bb", "ccc", "a")])


def test_nothing_is_encoded_or_written_where_all_is_known(tmp_path: Path) -> None:
    encode(CountingEncoder(), ["a"], tmp_path)
    files = shard_files(tmp_path)
    again = CountingEncoder()
    encode(again, ["a", "a"], tmp_path)
    assert again.num_texts == 0
    assert shard_files(tmp_path) == files


def test_equal_texts_are_encoded_once(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    vectors = encode(encoder, ["a", "bb", "a", "a"], tmp_path)
    assert encoder.num_texts == 2
    np.testing.assert_allclose(vectors[[0, 2, 3]], [expected("a")] * 3)


def test_texts_without_words_are_zeros(tmp_path: Path) -> None:
    vectors = encode(CountingEncoder(), ["", "a", "  "], tmp_path)
    np.testing.assert_allclose(vectors, [[0] * 3, [1, 2, 3], [0] * 3])


def test_no_texts_give_no_vectors(tmp_path: Path) -> None:
    assert encode(CountingEncoder(), [], tmp_path).shape == (0, TEXT_DIM)


def test_batches_hold_texts_of_like_length_within_the_budget(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    texts = distinct_texts(40)
    encode(encoder, texts, tmp_path)
    assert encoder.num_texts == 40
    assert all(rows * width <= 16 for rows, width in encoder.shapes)
    num_words = sum(len(text.split()) for text in texts)
    assert sum(rows * width for rows, width in encoder.shapes) <= 1.15 * num_words


def test_a_text_longer_than_the_budget_is_a_batch_of_its_own(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    vectors = encode(encoder, ["a " * 40, "b"], tmp_path)
    assert encoder.shapes == [(1, 40), (1, 1)]
    np.testing.assert_allclose(vectors, [[1, 2, 3], [1, 2, 3]])


def test_a_few_batches_are_run_without_building_a_graph(tmp_path: Path) -> None:
    encoder = CountingEncoder()  # 64 tokens a text at most.
    texts = distinct_texts(12)
    for folder, budget, built in (("few", 3 * 64, False), ("many", 3 * 64 - 1, True)):
        vectors = encode_cached(
            encoder, texts, folder=tmp_path / folder, batch_tokens=budget
        )
        np.testing.assert_allclose(vectors, [expected(text) for text in texts])
        assert ("graph_call" in vars(encoder)) == built


def test_another_encoder_has_vectors_of_its_own(tmp_path: Path) -> None:
    encode(CountingEncoder("a"), ["x"], tmp_path)
    other = CountingEncoder("b")
    encode(other, ["x"], tmp_path)
    assert other.num_texts == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_run_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = distinct_texts(30)
    broken = CountingEncoder(fail_after=4)
    with pytest.raises(Exception, match="killed"):
        encode(broken, texts, tmp_path)
    assert 0 < broken.num_texts < 30
    second = CountingEncoder()
    vectors = encode(second, texts, tmp_path)
    assert second.num_texts == 30 - broken.num_texts
    np.testing.assert_allclose(vectors, [expected(text) for text in texts])


def test_a_killed_process_loses_only_what_came_after_the_last_flush(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = distinct_texts(30)
    monkeypatch.setattr(cache, "FLUSH_SECONDS", 0.0)
    written: list[int] = []

    def write_twice_then_die(folder: Path, vectors: dict) -> None:
        if len(written) == 2:
            raise SystemError("no power")
        written.append(len(vectors))
        write_shard(folder, vectors)

    write_shard = cache.write_shard
    monkeypatch.setattr(cache, "write_shard", write_twice_then_die)
    with pytest.raises(SystemError):
        encode(CountingEncoder(), texts, tmp_path)
    monkeypatch.setattr(cache, "write_shard", write_shard)
    second = CountingEncoder()
    encode(second, texts, tmp_path)
    assert len(written) == 2
    assert second.num_texts == 30 - sum(written)


@pytest.mark.parametrize("damage", ["cut", "byte", "empty", "garbage"])
def test_a_broken_shard_is_encoded_again(tmp_path: Path, damage: str) -> None:
    texts = distinct_texts(20)
    encode(CountingEncoder(), texts[:10], tmp_path)
    encode(CountingEncoder(), texts[10:], tmp_path)
    first = shard_files(tmp_path)[0]
    content = bytearray(first.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0xFF
    damaged = {
        "cut": content[:middle],
        "byte": content,
        "empty": b"",
        "garbage": b"PK\x03\x04 no archive",
    }
    first.write_bytes(damaged[damage])
    encoder = CountingEncoder()
    vectors = encode(encoder, texts, tmp_path)
    assert encoder.num_texts == 10
    np.testing.assert_allclose(vectors, [expected(text) for text in texts])


def test_half_written_files_are_no_shards(tmp_path: Path) -> None:
    encoder = CountingEncoder()
    folder = tmp_path / encoder.encoder_hash
    folder.mkdir()
    (folder / ".unfinished-1").write_bytes(b"half")
    vectors = encode(encoder, ["a"], tmp_path)
    np.testing.assert_allclose(vectors, [expected("a")])
    assert [path.name for path in folder.glob("vectors-*")] == ["vectors-000000.npz"]


def _write_many(folder: Path, process: int) -> None:
    from tfrec.text.shards import write_shard

    for turn in range(20):
        key = bytes([process, turn]) + bytes(30)
        write_shard(folder, {key: np.full(TEXT_DIM, process, np.float32)})


def test_two_processes_at_once_keep_both_their_vectors(tmp_path: Path) -> None:
    from tfrec.text.shards import read_shards

    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=_write_many, args=(tmp_path, process))
        for process in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    vectors = read_shards(tmp_path, TEXT_DIM)
    assert len(vectors) == 40
    assert {key[0] for key in vectors} == {0, 1}
    assert all((vector == key[0]).all() for key, vector in vectors.items())
    assert len(list(tmp_path.iterdir())) == 40
