from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from export.filters import ItemFilter
from tfrec.schema import AttributeKind, AttributeSpec

TAGS = AttributeSpec("tags", AttributeKind.TAGS, separator="|")


def passing(
    values: list[str | None],
    attribute: AttributeSpec,
    asked: list[list[str]],
    path: Path,
) -> list[list[bool]]:
    item_filter = ItemFilter(values, attribute, asset_path=path / "values.txt")
    scores = tf.ones((len(asked), len(values)))
    allowed = tf.constant(np.array(asked, object).reshape(len(asked), -1), tf.string)
    return np.isfinite(item_filter.mask(scores, allowed)).tolist()


def test_any_tag_lets_an_item_pass(tmp_path: Path):
    values = ["red|warm", None, "warm", "red | red", "", "blue"]
    asked = [["red", ""], ["", ""], ["blue", "warm"]]
    assert passing(values, TAGS, asked, tmp_path) == [
        [True, False, False, True, False, False],
        [True] * 6,
        [True, False, True, False, False, True],
    ]


def test_attribute_that_no_item_has_lets_nothing_pass(tmp_path: Path):
    assert passing([None, None], TAGS, [["red"], [""]], tmp_path) == [
        [False, False],
        [True, True],
    ]


@pytest.mark.parametrize("num_rows", [1, 3])
def test_filter_of_width_zero_says_nothing(num_rows: int, tmp_path: Path):
    asked: list[list[str]] = [[]] * num_rows
    assert passing(["red", None], TAGS, asked, tmp_path) == [[True, True]] * num_rows


def test_numeric_attribute_is_refused(tmp_path: Path):
    price = AttributeSpec("price", AttributeKind.NUMERIC)
    with pytest.raises(ValueError, match="'price', which is numeric"):
        ItemFilter(["1"], price, asset_path=tmp_path / "price.txt")
