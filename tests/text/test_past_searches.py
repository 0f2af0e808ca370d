"""Searches of the past are read once each, and not at all where there are none."""

import numpy as np
import tensorflow as tf

from tests.synthetic import make_sequences
from tests.text.test_shop_texts import Letters
from tfrec.schema import Schema
from tfrec.text.reader import TextReader
from tfrec.text.shop_texts import ShopTexts, TextTable, history_texts

SCHEMA = Schema(("view", "search"), ("view",), search_event_type="search")
ITEM_TEXTS = ["", "", "Desk lamp", "Oak chair"]
PAST = np.array([["ab", "", "c"], ["c", "ab", ""]], object)


class Counting(Letters):
    """Keeps how many texts each run of the encoder reads."""

    def __init__(self) -> None:
        super().__init__()
        self.runs = tf.Variable(tf.zeros((), tf.int32))
        self.texts = tf.Variable(tf.zeros((), tf.int32))

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        self.runs.assign_add(1)
        self.texts.assign_add(tf.shape(token_ids)[0])
        return super().token_states(token_ids, padding_mask, training)


def test_the_graph_reads_each_distinct_search_once_and_as_numpy_does():
    encoder = Counting()
    reader = TextReader(encoder, ITEM_TEXTS)
    read = tf.function(reader.read_past_searches)
    in_graph = read(tf.constant(PAST.tolist()))
    assert int(encoder.runs) == 1
    assert int(encoder.texts) == 3  # "", "ab" and "c".
    on_host = reader.past_searches(PAST)
    for found in (in_graph, on_host):
        rows, vectors = np.asarray(found.rows), np.asarray(found.vectors)
        assert ((rows > 0) == (PAST != "")).all()
        assert not vectors[0].any()
        laid = vectors[rows]
        assert laid[0, 0, [ord("a"), ord("b"), ord("c")]].tolist() == [0.5, 0.5, 0.0]
        assert laid[1, 0, ord("c")] == 1.0


def test_the_encoder_is_not_run_where_nobody_has_searched():
    encoder = Counting()
    reader = TextReader(encoder, ITEM_TEXTS)
    found = tf.function(reader.read_past_searches)(tf.constant([["", ""], ["", ""]]))
    assert int(encoder.runs) == 0
    assert not found.rows.numpy().any()
    assert found.vectors.shape == (1, 256)
    none = reader.past_searches(np.zeros((0, 3), object))
    assert (none.rows.shape, none.vectors.shape) == ((0, 3), (1, 256))


def test_searches_stand_among_the_joined_titles_in_the_order_of_time():
    reader = TextReader(Letters(), ITEM_TEXTS, reads_histories=True)
    index = np.array([[2, 1, 3, 1, 0]], np.int32)
    texts = np.array([["", "lamp", "", "oak", ""]], object)
    joined = reader.join(index, texts)
    assert joined == ["oak. Oak chair. lamp. Desk lamp. "]
    in_graph = reader.read_histories(tf.constant(index), tf.constant(texts.tolist()))
    np.testing.assert_allclose(in_graph, reader.vectors(joined))


def searching_sequences():
    sequences = make_sequences(
        [[0, -1, 1]], event_types=[[0, 1, 0]], splits=[[0, 0, 0]]
    )
    sequences.query_text[:] = ["oak", "lamp", "lamp"]
    return sequences


def test_training_joins_searches_with_titles():
    reader = TextReader(Letters(), ITEM_TEXTS, reads_histories=True)
    texts = history_texts(reader, searching_sequences(), SCHEMA)
    assert texts.tolist() == ["", "", "lamp. Desk lamp. "]


def test_events_know_the_search_that_led_to_them_or_that_they_are():
    table = TextTable(("lamp", "oak"), np.zeros((3, 2), np.float32))
    texts = ShopTexts(TextReader(Letters(), ITEM_TEXTS), np.zeros((4, 2)), table, None)
    sequences = searching_sequences()
    assert np.asarray(texts.search_rows(sequences)).tolist() == [2, 1, 1]
    past = texts.past_search_rows(sequences, SCHEMA)
    assert np.asarray(past).tolist() == [0, 1, 0]
    plain = Schema(("view", "search"), ("view",))
    assert texts.past_search_rows(sequences, plain) is None


def test_what_a_learning_encoder_read_before_is_forgotten():
    reader = TextReader(Letters(), ITEM_TEXTS)
    reader.learn(["ab"], np.ones((1, 256), np.float32))
    assert reader.vectors(["ab"]).sum() == 256.0
    reader.forget()
    assert reader.vectors(["ab"]).sum() == 1.0
