"""Searches in the histories of requests."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request
from tfrec.data.vocabulary import Vocabulary
from tfrec.features.history import build_request, without_searches
from tfrec.features.lookup import VocabularyLookup
from tfrec.features.request import Request
from tfrec.schema import Schema

SCHEMA = Schema(("view", "search"), ("view",), search_event_type="search")


@pytest.fixture
def build(tmp_path: Path):
    types = VocabularyLookup(Vocabulary(SCHEMA.event_types), tmp_path / "types.txt")

    def call(ids: list[list[str]], types_of: list[list[str]]) -> Request:
        size, width = len(ids), len(ids[0]) if ids else 0
        texts = tf.constant(np.array(ids, object).reshape(size, width), tf.string)
        kinds = np.array(types_of, object).reshape(size, width)
        return build_request(
            {
                "history_item_ids": texts,
                "history_timestamps": tf.zeros((size, width), tf.int64),
                "history_dwell_seconds": tf.zeros((size, width)),
                "request_timestamp": tf.zeros(size, tf.int64),
            },
            tf.cast(texts != "", tf.int32),
            types.lookup(tf.constant(kinds, tf.string)),
            schema=SCHEMA,
            context={},
            max_history_length=3,
        )

    return call


def test_texts_of_searches_move_with_their_events(build):
    built = build(
        [["old", "", "a", "red lamp", "b"], ["", "", "灯", "", ""]],
        [["search", "search", "view", "search", "view"], ["search"] * 5],
    )
    texts = [[t.decode() for t in row] for row in built.search_text.numpy()]
    assert texts == [["", "red lamp", ""], ["灯", "", ""]]
    assert built.event_type_index.numpy().tolist() == [[2, 3, 2], [3, 0, 0]]


def test_no_requests_have_no_searches(build):
    built = build([], [])
    assert built.search_text.shape == (0, 1)


def test_events_without_searches_close_up():
    given = request(
        [[2, 1, 3, 1], [1, 0, 0, 0], [1, 4, 0, 0]],
        timestamps=[[1, 2, 3, 4], [5, 0, 0, 0], [6, 7, 0, 0]],
        dwell=[[0.5, 0.0, 1.5, 0.0], [0.0] * 4, [0.0, 2.5, 0.0, 0.0]],
    )
    # The last row's first event is one of an unknown item.
    types = tf.constant([[2, 3, 2, 3], [3, 0, 0, 0], [2, 2, 0, 0]])
    left = without_searches(given._replace(event_type_index=types), 3)
    assert left.item_index.numpy().tolist() == [[2, 3], [0, 0], [1, 4]]
    assert left.event_type_index.numpy().tolist() == [[2, 2], [0, 0], [2, 2]]
    assert left.timestamps.numpy().tolist() == [[1, 3], [0, 0], [6, 7]]
    assert left.dwell_seconds.numpy().tolist() == [[0.5, 1.5], [0, 0], [0, 2.5]]
