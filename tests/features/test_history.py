from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrec.data.vocabulary import Vocabulary
from tfrec.features.history import build_request
from tfrec.features.lookup import VocabularyLookup
from tfrec.features.request import Request
from tfrec.schema import AttributeKind, AttributeSpec, Schema

SCHEMA = Schema(
    event_types=("view", "cart"),
    target_event_types=("cart",),
    context=(
        AttributeSpec("country", AttributeKind.CATEGORICAL),
        AttributeSpec("basket_value", AttributeKind.NUMERIC),
    ),
)
NO_TIMES = Schema(("view", "cart"), ("cart",), has_timestamps=False)
# Items a, b, c have the indices 2, 3, 4; view and cart 2, 3; GB and DE 2, 3.


@pytest.fixture
def build(tmp_path: Path):
    def table(*tokens: str) -> VocabularyLookup:
        return VocabularyLookup(Vocabulary(tokens), tmp_path / f"{tokens[0]}.txt")

    items = table("a", "b", "c")
    types = table("view", "cart")
    context = {"country": table("GB", "DE")}

    def call(
        item_ids: list[list[str]],
        *,
        schema: Schema = SCHEMA,
        limit: int = 4,
        **given: Any,
    ) -> Request:
        size, width = np.shape(item_ids)
        raw = {
            "history_event_types": np.full((size, width), "view", object),
            "history_timestamps": np.zeros((size, width), np.int64),
            "history_dwell_seconds": np.zeros((size, width), np.float32),
            "request_timestamp": np.zeros(size, np.int64),
            "context_country": np.full(size, "", object),
            "context_basket_value": np.zeros(size, np.float32),
        } | given
        tensors = {
            name: tf.constant(
                value, tf.string if value.dtype == object else value.dtype
            )
            for name, value in ((n, np.asarray(v)) for n, v in raw.items())
        }
        ids = tf.constant(np.array(item_ids, object).reshape(size, width), tf.string)
        return build_request(
            tensors,
            items.lookup(ids),
            types.lookup(tensors["history_event_types"]),
            schema=schema,
            context=context,
            max_history_length=limit,
        )

    return call


def strings(rows: list[list[str]]) -> np.ndarray:
    return np.array(rows, object)


@pytest.mark.parametrize(
    "columns", [[0, 1, 2], [2, 3, 4], [0, 2, 4], [1, 2, 4]], ids=str
)
def test_padding_may_stand_anywhere(build: Any, columns: list[int]):
    ids, types = strings([[""] * 5]), strings([["cart"] * 5])
    times, dwell = np.full((1, 5), 77), np.full((1, 5), 5.0, np.float32)
    ids[0, columns] = ["c", "a", "?"]
    types[0, columns] = ["view", "cart", "view"]
    times[0, columns] = [10, 20, 30]
    dwell[0, columns] = [1, 2, 3]
    request = build(
        ids.tolist(),
        history_event_types=types,
        history_timestamps=times,
        history_dwell_seconds=dwell,
    )
    assert request.item_index.numpy().tolist() == [[4, 2, 1]]
    assert request.event_type_index.numpy().tolist() == [[2, 3, 2]]
    assert request.timestamps.numpy().tolist() == [[10, 20, 30]]
    assert request.dwell_seconds.numpy().tolist() == [[1, 2, 3]]


def test_newest_events_are_kept(build: Any):
    request = build(
        [["a", "b", "", "c", "a", "b"], ["", "", "", "", "", "c"]],
        limit=3,
        history_timestamps=np.array([[1, 2, 0, 3, 4, 5], [0, 0, 0, 0, 0, 9]]),
    )
    assert request.item_index.numpy().tolist() == [[4, 2, 3], [4, 0, 0]]
    assert request.timestamps.numpy().tolist() == [[3, 4, 5], [9, 0, 0]]
    mask = request.history_mask.numpy().tolist()
    assert mask == [[True, True, True], [True, False, False]]


@pytest.mark.parametrize("width", [0, 3])
def test_empty_history_is_one_column_of_padding(build: Any, width: int):
    request = build([[""] * width] * 2, request_timestamp=np.array([0, 50]))
    assert request.item_index.numpy().tolist() == [[0], [0]]
    assert request.event_type_index.numpy().tolist() == [[0], [0]]
    assert request.request_timestamp.numpy().tolist() == [0, 50]


def test_missing_and_unknown_event_types_are_out_of_vocabulary(build: Any):
    request = build(
        [["a", "b", "c"]], history_event_types=strings([["", "cart", "hover"]])
    )
    assert request.event_type_index.numpy().tolist() == [[1, 3, 1]]


def test_unsaid_request_time_is_the_newest_of_the_history(build: Any):
    times = np.array([[5, 30, 20], [5, 30, 20]])
    request = build(
        [["a", "b", ""], ["a", "b", ""]],
        history_timestamps=times,
        request_timestamp=np.array([0, 99]),
    )
    assert request.request_timestamp.numpy().tolist() == [30, 99]


def test_times_are_dropped_where_the_log_had_none(build: Any):
    request = build(
        [["a", "b"]],
        schema=NO_TIMES,
        history_timestamps=np.array([[7, 8]]),
        request_timestamp=np.array([9]),
    )
    assert request.timestamps.numpy().tolist() == [[0, 0]]
    assert request.request_timestamp.numpy().tolist() == [0]


def test_dwell_that_cannot_be_is_unknown(build: Any):
    dwell = np.array([[-3.0, np.nan, 4.0, np.inf]], np.float32)
    request = build([["a", "b", "c", "a"]], history_dwell_seconds=dwell)
    assert request.dwell_seconds.numpy().tolist() == [[0, 0, 4, 0]]


def test_context_is_looked_up_and_numbers_pass(build: Any):
    request = build(
        [["a"], ["b"], ["c"]],
        context_country=np.array(["DE", "", "XX"], object),
        context_basket_value=np.array([1.5, np.nan, 0.0], np.float32),
    )
    assert request.context["country"].numpy().tolist() == [3, 0, 1]
    np.testing.assert_array_equal(
        request.context["basket_value"], np.array([1.5, np.nan, 0.0], np.float32)
    )
