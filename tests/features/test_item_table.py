from pathlib import Path

import numpy as np

from tests.synthetic import cycle, write_prepared
from tfrec.features.item_table import build_item_table, standardise
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


def test_numbers_of_one_value_or_none_stay_finite():
    for raw in ([3.0, 3.0], [np.nan, np.nan]):
        values, known = standardise(np.array(raw))
        np.testing.assert_array_equal(values, np.zeros(4))
        assert known.sum() == np.isfinite(raw).sum()
