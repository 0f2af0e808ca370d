"""The texts of a shop, on a small encoder that tells texts apart by their letters."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf

from tests.synthetic import make_sequences
from tfrec.data.store import PreparedDataset
from tfrec.schema import AttributeKind, AttributeSpec, Schema
from tfrec.text import shop_texts
from tfrec.text.encoder import TextEncoder
from tfrec.text.reader import MAX_JOINED, TextReader
from tfrec.text.shop_texts import TextTable, history_texts, item_texts
from tfrec.text.tokens import TextTokens

SCHEMA = Schema(
    event_types=("view", "purchase"),
    target_event_types=("purchase",),
    item_attributes=(
        AttributeSpec("brand", AttributeKind.CATEGORICAL),
        AttributeSpec("category", AttributeKind.PATH),
        AttributeSpec("price", AttributeKind.NUMERIC),
    ),
)


class Letters(TextEncoder):
    """Counts of bytes; `encoded` collects what was really read."""

    def __init__(self) -> None:
        super().__init__(text_dim=256, max_length=512, normalize=False)
        self.encoded: list[str] = []

    def hash_parts(self) -> list[str]:
        return []

    def tokenize(self, texts: tf.Tensor) -> TextTokens:
        codes = tf.strings.unicode_decode(texts, "UTF-8")
        mask = tf.sequence_mask(codes.row_lengths())
        return TextTokens(tf.cast(codes.to_tensor(0), tf.int32) % 256, mask)

    def token_states(
        self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
    ) -> tf.Tensor:
        return tf.one_hot(token_ids, 256)


def dataset() -> PreparedDataset:
    items = pa.table(
        {
            "item_id": ["a", "b", "c"],
            "title": ["Desk lamp", None, "Oak chair"],
            "brand": ["Lux", "Bolt", None],
            "category": ["home/lamps", None, "home"],
        }
    )
    return cast(PreparedDataset, SimpleNamespace(items=items, schema=SCHEMA))


def test_text_of_an_item_joins_the_fields_that_it_has():
    fields = ("title", "brand", "category")
    expected = ["Desk lamp. Lux. home lamps", "Bolt", "Oak chair. home"]
    assert item_texts(dataset(), fields) == expected
    assert item_texts(dataset(), ("title",)) == ["Desk lamp", "", "Oak chair"]


@pytest.mark.parametrize("name", ["price", "colour"])
def test_a_field_without_words_is_refused(name):
    with pytest.raises(ValueError, match=f"text.fields.*Received: '{name}'"):
        item_texts(dataset(), ("title", name))


def test_rows_of_a_table_are_found_by_text():
    table = TextTable(("lamp", "oak chair"), np.zeros((3, 2), np.float32))
    rows = table.rows(np.array(["oak chair", "", "lamp", "unheard of"], object))
    assert rows.tolist() == [2, 0, 1, 0]


def reader(**options: Any) -> TextReader:
    texts = ["", "", "Desk lamp", "Oak chair", ""]
    return TextReader(Letters(), texts, **options)


def test_joined_text_has_the_newest_item_first_and_no_empty_ones():
    assert reader().join(np.array([[2, 4, 3, 0], [0, 0, 0, 0]])) == [
        "Oak chair. Desk lamp. ",
        "",
    ]


def test_texts_without_words_leave_no_separator_behind():
    texts = ["", "", "<br>", " Oak <b>chair</b> ", "&amp;lt; lamp", " &nbsp; "]
    histories = TextReader(Letters(), texts, reads_histories=True)
    index = np.array([[2, 3, 1, 4, 1, 5], [2, 5, 1, 1, 0, 0]], np.int32)
    searched = np.array([[""] * 2 + [" "] + [""] + ["<p> oak"] + [""], [""] * 6])
    joined = histories.join(index, searched.astype(object))
    # What is decoded or is markup among words is left to the encoder, which does it
    # once.
    assert joined == ["<p> oak. &amp;lt; lamp. Oak <b>chair</b>. ", ""]
    in_graph = tf.function(histories.read_histories)
    found = in_graph(tf.constant(index), tf.constant(searched.tolist()))
    np.testing.assert_allclose(found, histories.vectors(joined))
    assert not found.numpy()[1].any()


def test_the_graph_joins_and_reads_as_numpy_does():
    histories = reader(reads_histories=True)
    index = np.array([[2, 4, 3, 0], [0, 0, 0, 0], [3, 3, 2, 2]], np.int32)
    in_graph = tf.function(histories.read_histories)(tf.constant(index))
    on_host = histories.vectors(histories.join(index))
    np.testing.assert_allclose(in_graph, on_host)
    assert not on_host[1].any()
    long = np.full((1, MAX_JOINED + 5), 2, np.int32)
    (text,) = histories.join(long)
    assert text.count("Desk lamp") == MAX_JOINED
    np.testing.assert_allclose(
        histories.read_histories(tf.constant(long)), histories.vectors([text])
    )


def test_nothing_is_read_where_nobody_searches():
    class Loud(Letters):
        def token_states(
            self, token_ids: tf.Tensor, padding_mask: tf.Tensor, training: bool
        ) -> tf.Tensor:
            tf.print("read", output_stream=f"file://{log}")
            return super().token_states(token_ids, padding_mask, training)

    log = str(Path(tf.io.gfile.join(tf.compat.v1.test.get_temp_dir(), "reads.txt")))
    Path(log).unlink(missing_ok=True)
    search = tf.function(TextReader(Loud(), ["", ""]).read_searches)
    assert not search(tf.constant(["", "  "])).numpy().any()
    assert not Path(log).exists()
    assert search(tf.constant(["", "ab"])).numpy()[1, ord("a")] == 0.5
    assert Path(log).read_text() == "read\n"


def test_vectors_are_worked_out_once():
    texts = reader()
    texts.learn(["lamp"], np.ones((1, 256), np.float32))
    vectors = texts.vectors(["lamp", "oak", "lamp"])
    assert vectors[0].sum() == 256.0
    assert vectors.shape == (3, 256)
    assert texts.vectors([]).shape == (0, 256)


def test_histories_are_read_before_the_last_target_of_training_and_validation():
    sequences = make_sequences(
        [[0, 1, 0, 1, 0], [1]],
        event_types=[[0, 1, 1, 1, 1], [1]],
        splits=[[0, 0, 0, 1, 2], [0]],
    )
    texts = history_texts(reader(), sequences, SCHEMA)
    assert texts.tolist() == [
        "",
        "",
        "Oak chair. Desk lamp. ",  # Before the last target of the training.
        "Desk lamp. Oak chair. Desk lamp. ",  # Before that of the validation.
        "",
        "",  # Nothing was seen before.
    ]


def test_where_a_log_has_no_searches_words_of_titles_stand_in():
    table = TextTable(("lamp", "oak"), np.zeros((3, 2), np.float32))
    pseudo = np.array(["", "", "lamp", "oak", ""], object)
    texts = shop_texts.ShopTexts(reader(), np.zeros((5, 2)), table, None, pseudo)
    sequences = make_sequences([[0, 1, 2]])
    rows = texts.search_rows(sequences)
    assert rows is not None
    assert rows.tolist() == [1, 2, 0]
