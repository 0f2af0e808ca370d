from pathlib import Path

import numpy as np
import pytest

from tfrec.data.vocabulary import Vocabulary


def test_tokens_are_numbered_behind_padding_and_unknown():
    vocabulary = Vocabulary(["b", "a"])
    index = vocabulary.lookup(["a", "b", "c", "", None, "A"])
    assert index.dtype == np.int32
    np.testing.assert_array_equal(index, [3, 2, 1, 0, 0, 1])
    assert len(vocabulary) == 4


def test_nothing_is_looked_up_in_an_empty_vocabulary():
    vocabulary = Vocabulary([])
    np.testing.assert_array_equal(vocabulary.lookup(["a", ""]), [1, 0])
    assert vocabulary.lookup([]).shape == (0,)
    assert len(vocabulary) == 2


def test_counts_are_zero_unless_given():
    np.testing.assert_array_equal(Vocabulary(["a", "b"]).counts, [0, 0])


def test_saved_vocabulary_is_the_one_that_is_loaded(tmp_path: Path):
    tokens = ["灯", 'quo"te', "tab\there", "two\nlines", " space "]
    Vocabulary(tokens, np.array([5, 4, 3, 2, 1])).save(tmp_path / "v.parquet")
    loaded = Vocabulary.load(tmp_path / "v.parquet")
    assert loaded.tokens == tokens
    np.testing.assert_array_equal(loaded.counts, [5, 4, 3, 2, 1])
    np.testing.assert_array_equal(loaded.lookup(tokens), [2, 3, 4, 5, 6])


def test_empty_vocabulary_survives_the_file(tmp_path: Path):
    Vocabulary([]).save(tmp_path / "v.parquet")
    assert Vocabulary.load(tmp_path / "v.parquet").tokens == []


@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (["a", "b", "a"], r"distinct.*3 tokens, 2 distinct"),
        (["a", ""], r"not empty.*2 tokens"),
    ],
    ids=["repeated", "empty"],
)
def test_tokens_that_could_not_be_told_apart_are_refused(
    tokens: list[str], message: str
):
    with pytest.raises(ValueError, match=message):
        Vocabulary(tokens)


def test_counts_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"`counts`.*shape=\(1,\), 2 tokens"):
        Vocabulary(["a", "b"], np.array([1]))
