from pathlib import Path

import numpy as np

from tests.synthetic import cycle, make_sequences, write_prepared
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.item_table import (
    attribute_indices,
    build_item_table,
    standardise,
)
from tfrec.schema import AttributeKind, AttributeSpec, Schema


def test_catalogue_is_encoded_behind_two_empty_rows(tmp_path: Path):
    schema = Schema(
        event_types=("event",),
        target_event_types=("event",),
        item_attributes=(
            AttributeSpec("category", AttributeKind.PATH),
            AttributeSpec("price", AttributeKind.NUMERIC),
        ),
    )
    dataset = write_prepared(
        tmp_path / "prepared",
        cycle(3),
        num_items=3,
        schema=schema,
        attributes={"category": ["a/b", "a", None], "price": [1.0, float("nan"), 9.0]},
    )
    table = build_item_table(dataset)
    vocabulary = dataset.attribute_vocabularies["category"]
    a, b = vocabulary.lookup(["a", "a/b"])
    np.testing.assert_array_equal(
        table.indices["category"], [[0, 0], [0, 0], [a, b], [a, 0], [0, 0]]
    )
    assert table.vocabulary_sizes == {"category": 4}
    np.testing.assert_array_equal(table.known["price"], [0, 0, 1, 0, 1])
    np.testing.assert_allclose(table.numbers["price"], [0, 0, -1, 0, 1], atol=1e-6)
    assert table.num_items == 3


def test_attributes_that_are_not_learned_stay_out(tmp_path: Path):
    number, word = AttributeKind.NUMERIC, AttributeKind.CATEGORICAL
    schema = Schema(
        event_types=("event",),
        target_event_types=("event",),
        item_attributes=(
            AttributeSpec("price", number),
            AttributeSpec("bid", number, learned=False),
            AttributeSpec("campaign", word, learned=False),
        ),
    )
    attributes = {"price": [1.0, 2.0], "bid": [3.0, 4.0], "campaign": ["a", "b"]}
    dataset = write_prepared(
        tmp_path / "prepared",
        cycle(2),
        num_items=2,
        schema=schema,
        attributes=attributes,
    )
    table = build_item_table(dataset)
    assert list(table.numbers) == list(table.known) == list(table.scales) == ["price"]
    assert table.indices == table.vocabulary_sizes == {}


def test_numbers_of_one_value_or_none_stay_finite():
    for raw in ([3.0, 3.0], [np.nan, np.nan]):
        values, known = standardise(np.array(raw))
        np.testing.assert_array_equal(values, np.zeros(4))
        assert known.sum() == np.isfinite(raw).sum()


def test_paths_give_their_prefixes_tags_themselves_and_categories_one_value():
    tokens = ["a", "a/b", "a/b/c"]
    values = ["a/b/c", "a/b/x", None, "", "b", "a/b/c"]
    path = AttributeSpec("p", AttributeKind.PATH, separator="/")
    found = attribute_indices(values, path, Vocabulary(tokens))
    # Indices from 2; 1 is a prefix that the vocabulary does not know.
    expected = [[2, 3, 4], [2, 3, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0], [2, 3, 4]]
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, expected)
    tags = AttributeSpec("t", AttributeKind.TAGS, separator="/")
    found = attribute_indices(values, tags, Vocabulary(["c", "b", "a"]))
    expected = [[4, 3, 2], [4, 3, 1], [0, 0, 0], [0, 0, 0], [3, 0, 0], [4, 3, 2]]
    np.testing.assert_array_equal(found, expected)
    one = AttributeSpec("c", AttributeKind.CATEGORICAL)
    found = attribute_indices(values, one, Vocabulary(["b", "a/b/c"]))
    np.testing.assert_array_equal(found, [[3], [1], [0], [0], [2], [3]])


def test_values_that_are_all_missing_have_one_empty_level():
    for values in ([None, ""], []):
        found = attribute_indices(
            values, AttributeSpec("p", AttributeKind.PATH), Vocabulary([])
        )
        np.testing.assert_array_equal(found, np.zeros((len(values), 1)))


def test_numbers_are_standardised_on_a_logarithmic_scale_with_their_sign():
    raw = np.array([-np.e + 1, 0.0, np.nan, np.e - 1, np.inf])
    values, known = standardise(raw)
    # sign(x) log(1 + |x|) = -1, 0 and 1: mean 0, deviation sqrt(2/3).
    one = np.sqrt(3 / 2)
    np.testing.assert_allclose(values, [0, 0, -one, 0, 0, one, 0], atol=1e-6)
    np.testing.assert_array_equal(known, [0, 0, 1, 1, 0, 1, 0])
    assert values.dtype == np.float32


def test_training_counts_stand_behind_two_empty_rows(tmp_path: Path):
    # Leave-one-out: of three events only the first is for training.
    sequences = make_sequences([[0, 1, 2], [2, 0, 1], [2, 2]])
    table = build_item_table(
        write_prepared(tmp_path / "prepared", sequences, num_items=4)
    )
    np.testing.assert_array_equal(table.train_count, [0, 0, 1, 0, 3, 0])
    assert table.train_count.dtype == np.int64
    assert (table.indices, table.numbers, table.known) == ({}, {}, {})
