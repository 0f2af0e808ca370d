"""What was searched for, in the place of an item."""

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request
from tests.synthetic import make_sequences
from tfrec.config import RetrievalConfig
from tfrec.data.batches import BatchBuilder
from tfrec.data.windows import find_targets
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Searches
from tfrec.models.event_searches import (
    project_searches,
    request_searches,
    searches_of_batch,
)
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.schema import Schema
from tfrec.training.input import batch_of

SCHEMA = Schema(("view", "search"), ("view",), search_event_type="search")
SEARCH_TEXTS = np.array([[0, 0, 0], [1, 2, 0], [0, 1, 3]], np.float32)


def test_searches_are_projected_into_the_place_of_items():
    rows = np.array([[0, 2, 0], [1, 2, 0]], np.int32)
    weights = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], np.float32)
    seen: list[int] = []

    def project(texts: tf.Tensor) -> tf.Tensor:
        seen.append(len(texts))
        return tf.matmul(texts, weights)

    items = np.full((2, 3, 2), 7.0, np.float32)
    searches = project_searches(Searches(rows, SEARCH_TEXTS), project)
    found = searches.in_place_of(tf.constant(items))
    expected = items.copy()
    for row, column in ((0, 1), (1, 0), (1, 1)):
        expected[row, column] = SEARCH_TEXTS[rows[row, column]] @ weights
    np.testing.assert_allclose(found, expected)
    assert seen == [3]


def test_of_a_large_table_only_what_a_batch_holds_is_projected():
    table = np.arange(60, dtype=np.float32).reshape(20, 3)
    rows = np.array([[7, 0, 9], [0, 7, 0]], np.int32)
    found = searches_of_batch(tf.constant(rows), tf.constant(table))
    assert found.vectors.shape == (3, 3)  # Rows 0, 7 and 9.
    assert ((found.rows.numpy() > 0) == (rows > 0)).all()
    np.testing.assert_array_equal(found.vectors.numpy()[found.rows], table[rows])


def test_a_request_without_searches_has_none():
    plain = request([[2, 3]])
    assert request_searches(plain) is None
    searches = Searches(tf.constant([[1, 0]]), tf.constant(SEARCH_TEXTS))
    found = request_searches(plain._replace(searches=searches))
    assert found is not None
    assert found.rows.numpy().tolist() == [[0, 1, 0]]  # The start token is first.


def model(**settings: object) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    config = RetrievalConfig.model_validate(
        {
            "embedding_dim": 8,
            "feedforward_dim": 8,
            "dropout": 0.0,
            "max_history_length": 4,
            "num_sampled_negatives": 4,
            **settings,
        }
    )
    text = np.zeros((6, 3), np.float32)
    text[2:] = np.random.default_rng(0).normal(size=(4, 3))
    counts = np.array([0, 0, 3, 3, 2, 2])
    return RetrievalModel(
        config,
        SCHEMA,
        ItemTable(counts, {}, {}, {}, {}, text=text),
        has_repeat_bias=False,
        context_sizes={},
        text_pooling="attention",
        search_texts=SEARCH_TEXTS,
    )


def batch(*, search: int) -> RetrievalBatch:
    """One user: a view, a search, and a view that follows from it."""
    sequences = make_sequences(
        [[0, -1, 1]], event_types=[[0, 1, 0]], splits=[[0, 0, 0]]
    )
    builder = BatchBuilder(
        sequences,
        find_targets(sequences, SCHEMA),
        max_length=5,
        batch_tokens=10,
        batching="bucketed",
        seed=0,
        past_search_rows=np.array([0, search, 0], np.int32),
    )
    (arrays,) = builder.epoch(0)
    assert np.asarray(arrays.past_searches).tolist() == [[0, 0, search]]
    assert arrays.target_items.tolist() == [2, 3]
    given = batch_of(arrays)
    return RetrievalBatch(*tf.nest.map_structure(tf.convert_to_tensor, given))


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_training_reads_the_search_and_learns_its_projection(loss):
    trained = model(loss=loss)
    tf.random.set_seed(0)
    losses = []
    for search in (1, 2):
        tf.random.set_seed(0)
        losses.append(float(trained(batch(search=search))))
    assert abs(losses[0] - losses[1]) > 1e-5
    kernel = trained.candidate_tower.text_projection.kernel
    with tf.GradientTape() as tape:
        value = trained(batch(search=1), training=True)
    gradient = tf.convert_to_tensor(tape.gradient(value, kernel))
    assert np.abs(gradient.numpy()).max() > 0.0


def test_a_request_is_encoded_as_the_training_reads_it():
    trained = model()
    given = batch(search=2)
    encoded = trained._encode_tokens(
        given.tokens,
        tf.gather(trained.item_vectors(), given.tokens.item_index),
        tf.gather(trained.item_texts(), given.tokens.item_index),
        tf.constant([2]),
        {},
        search=None,
        history=None,
        searches=Searches(given.past_searches, trained.search_texts),
        training=False,
    )
    tokens = given.tokens
    asked = request(
        [[2, 1]],
        timestamps=tokens.timestamps[:, 1:].numpy().tolist(),
        now=[int(tokens.next_timestamps[0, 2])],
    )._replace(
        event_type_index=tf.constant([[2, 3]]),
        searches=Searches(tf.constant([[0, 1]]), tf.constant(SEARCH_TEXTS[[0, 2]])),
    )
    vectors = trained.item_vectors(), trained.item_texts()
    served = trained.encode(asked, *vectors).embeddings
    np.testing.assert_allclose(served, encoded.embeddings, atol=1e-6)
    without = trained.encode(asked._replace(searches=()), *vectors).embeddings
    assert np.abs(served - without).max() > 1e-3
