from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_preprocessor
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.lookup import VocabularyLookup

ODD_TOKENS = [
    "plain",
    "tab\there",
    'quo"te',
    " leading",
    "trailing ",
    "灯",
    "a,b",
    "plain ",
]


@pytest.fixture
def lookup(tmp_path: Path) -> VocabularyLookup:
    return VocabularyLookup(Vocabulary(ODD_TOKENS), tmp_path / "odd.txt")


def test_odd_tokens_are_looked_up_as_the_vocabulary_does(lookup: VocabularyLookup):
    values = [*ODD_TOKENS, "", "unheard of", "leading"]
    expected = [2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 1]
    index = lookup.lookup(tf.constant([values]))
    assert index.dtype == tf.int32
    assert index.numpy().tolist() == [expected]


def test_tokens_inverts_lookup_and_leaves_special_indices_empty(
    lookup: VocabularyLookup,
):
    tokens = lookup.tokens(tf.constant([0, 1, *range(2, 2 + len(ODD_TOKENS))]))
    expected = ["", "", *ODD_TOKENS]
    assert [token.decode() for token in tokens.numpy()] == expected


def test_empty_vocabulary_knows_nothing(tmp_path: Path):
    lookup = VocabularyLookup(Vocabulary([]), tmp_path / "none.txt")
    assert lookup.lookup(tf.constant(["a", ""])).numpy().tolist() == [1, 0]


def test_spellings_mean_their_token_and_never_replace_one(tmp_path: Path):
    spellings = {"pv": "view", "buy": "purchase", "view": "purchase", "": "view"}
    spellings["lost"] = "of another log"
    vocabulary = Vocabulary(["view", "purchase"])
    lookup = VocabularyLookup(vocabulary, tmp_path / "type.txt", spellings=spellings)
    values = ["view", "purchase", "pv", "buy", "lost", "?", ""]
    index = lookup.lookup(tf.constant(values)).numpy()
    assert index.tolist() == [2, 3, 2, 3, 1, 1, 0]
    names = [name.decode() for name in lookup.tokens(index).numpy()]
    assert names == ["view", "purchase", "view", "purchase", "", "", ""]


@pytest.mark.parametrize("token", ["two\nlines", "carriage\r"])
def test_line_break_in_a_token_is_refused(token: str, tmp_path: Path):
    with pytest.raises(ValueError, match=r"without line breaks.*token="):
        VocabularyLookup(Vocabulary(["good", token]), tmp_path / "bad.txt")


def test_lookup_survives_the_file_it_was_made_from(tmp_path: Path):
    asset = tmp_path / "brand.txt"
    lookup = VocabularyLookup(Vocabulary(["Acme", "Bolt"]), asset)
    function = tf.function(lookup.lookup)
    signature = function.get_concrete_function(
        tf.TensorSpec([None], tf.string, "value")
    )
    tf.saved_model.save(lookup, str(tmp_path / "model"), signatures=signature)
    asset.unlink()
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    answer = loaded.signatures["serving_default"](value=tf.constant(["Bolt", "?"]))
    assert answer["output_0"].numpy().tolist() == [3, 1]


def test_items_are_looked_up_the_same_everywhere(lookup: VocabularyLookup):
    values = np.array([["a", ""], ["?", "b"], ["", ""]], object)
    check_preprocessor(lookup.lookup, [values], resources=lookup)
    check_preprocessor(lookup.tokens, [np.array([0, 1, 2, 3])], resources=lookup)
