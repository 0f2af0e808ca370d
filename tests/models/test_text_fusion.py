import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import SCHEMA, one_batch, request, toy_sequences
from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.models.text_fusion import TextGate, TextProjection

NUM_ITEMS = 8
TEXT = np.zeros((NUM_ITEMS + 2, 3), np.float32)
TEXT[2:9] = np.random.default_rng(0).normal(size=(7, 3))  # Item index 9 has no text.
COUNTS = np.array([0, 0, 9, 7, 5, 3, 2, 1, 1, 0], np.int64)  # Item index 9 is cold.


def test_projection_takes_off_the_mean_of_texts_that_say_something():
    layer = TextProjection(2, TEXT)
    projected = layer(tf.constant(TEXT)).numpy()
    expected = (TEXT[2:9] - TEXT[2:9].mean(axis=0)) @ layer.kernel.numpy()
    np.testing.assert_allclose(projected[2:9], expected, rtol=1e-5, atol=1e-6)
    assert not projected[[0, 1, 9]].any()  # No words: zero, not minus the mean.


def test_the_mean_stays_that_of_training_and_is_not_learned():
    layer = TextProjection(2, TEXT)
    layer(tf.constant(TEXT))
    assert [w is layer.kernel for w in layer.trainable_weights] == [True]
    assert len(layer.weights) == 2  # So the mean is part of a checkpoint.


def test_gate_starts_as_the_sum_of_id_and_text():
    layer = TextGate(COUNTS)
    ids, text = tf.constant([[1.0, 2.0]]), tf.constant([[10.0, 20.0]])
    np.testing.assert_allclose(layer(ids, text, tf.constant([4])), [[11.0, 22.0]])


def test_gate_leans_on_the_id_the_more_often_an_item_was_met():
    layer = TextGate(COUNTS)
    ids, text = tf.ones((3, 1)), 10.0 * tf.ones((3, 1))
    layer(ids, text, tf.constant([2, 5, 1]))
    layer.slope.assign(2.0)
    layer.offset.assign(0.5)
    logs = np.log1p(COUNTS[[2, 5]]) / np.log1p(COUNTS[2:9]).mean() - 1.0
    gate = 1.0 / (1.0 + np.exp(-(2.0 * np.array([*logs, -1.0]) + 0.5)))
    expected = 2.0 * gate + 2.0 * (1.0 - gate) * 10.0
    found = layer(ids, text, tf.constant([2, 5, 1]))[:, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert expected[0] < expected[1] < expected[2]


def test_an_item_without_text_is_its_id_whatever_the_gate_learned():
    layer = TextGate(COUNTS)
    layer(tf.ones((1, 2)), tf.ones((1, 2)), tf.constant([2]))
    layer.offset.assign(-3.0)
    found = layer(tf.constant([[1.0, 2.0]]), tf.zeros((1, 2)), tf.constant([2]))
    np.testing.assert_allclose(found, [[1.0, 2.0]], rtol=1e-6)


def text_model(**settings: object) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    defaults = {"embedding_dim": 8, "feedforward_dim": 8, "dropout": 0.0}
    config = RetrievalConfig.model_validate({**defaults, **settings})
    searches = np.random.default_rng(1).normal(size=(3, 3)).astype(np.float32)
    searches[0] = 0.0
    model = RetrievalModel(
        config,
        SCHEMA,
        ItemTable(COUNTS, {}, {}, {}, {}, TEXT),
        has_repeat_bias=False,
        context_sizes={},
        text_pooling="mean",
        search_texts=searches,
    )
    model(searching_batch())
    return model


def searching_batch(rows: tuple[int, ...] = (0, 1, 2)):
    batch = one_batch(toy_sequences(), max_length=6)
    number = int(batch.target_items.shape[0])
    searches = np.resize(rows, number).astype(np.int32)
    return batch._replace(target_search=tf.constant(searches))


def test_a_search_turns_the_query_towards_items_with_its_words():
    model = text_model()
    assert model.query_tower.search is not None
    model.query_tower.search.length.assign(1e3)  # Nothing but the search counts.
    asked = request([[2, 3]])._replace(query_text=tf.constant(TEXT[[5]]))
    encoded = model.encode(asked, model.item_vectors(), model.item_texts())
    of_text = model.text_embeddings(tf.constant(TEXT[[5]]))
    np.testing.assert_allclose(encoded.embeddings, of_text, atol=5e-2)


def test_a_search_without_words_changes_nothing():
    model = text_model()
    items = model.item_vectors(), model.item_texts()
    silent = request([[2, 3]])
    nothing = silent._replace(query_text=tf.zeros((1, 3)))
    without = model.encode(silent, *items).embeddings
    np.testing.assert_allclose(model.encode(nothing, *items).embeddings, without)


def test_training_learns_from_searches_but_for_those_it_hides():
    kept, hidden = text_model(query_text_dropout=0.0), text_model()
    hidden.search_dropout = 1.0
    for model, learns in ((kept, True), (hidden, False)):
        with tf.GradientTape() as tape:
            loss = model(searching_batch(), training=True)
        assert model.query_tower.search is not None
        (gradient,) = tape.gradient(loss, [model.query_tower.search.kernel])
        assert bool(tf.reduce_any(gradient != 0.0)) is learns


def test_items_that_training_never_saw_are_left_out_where_texts_tell_them_apart():
    for model in (text_model(), text_model(id_dropout=0.5)):
        assert np.isneginf(model.never_shown).tolist() == [False] * 7 + [True]


def test_loss_is_finite_and_gradients_reach_text_gate_and_ids():
    for settings in ({"id_dropout": 0.5}, {"loss": "sampled_softmax"}):
        model = text_model(**settings)
        with tf.GradientTape() as tape:
            loss = model(searching_batch(), training=True)
        assert np.isfinite(loss)
        tower, texts = model.candidate_tower, model.query_tower.text_sequence
        assert texts is not None
        wanted = [
            tower.id_table,
            tower.text_projection.kernel,
            tower.text_gate.slope,
            tower.text_gate.offset,
            texts.output_layer.kernel,
        ]
        for gradient in tape.gradient(loss, wanted):
            assert np.abs(tf.convert_to_tensor(gradient)).max() > 0


def test_hidden_ids_leave_text_and_the_bias_of_unknown_items():
    model = text_model(id_dropout=0.999999)
    tower = model.candidate_tower
    index = tf.constant([2, 3])
    vectors = tower(index, tower.id_rows(index, training=True))
    texts = np.array(tower.item_texts(index))
    expected = tower.id_table.numpy()[1] + texts
    np.testing.assert_allclose(vectors, expected, rtol=1e-5)
    model.bias_rows.assign(np.arange(10.0))
    # Item index 9 was never seen: it has the bias of the unknown row.
    assert model.item_bias().numpy().tolist() == [2, 3, 4, 5, 6, 7, 8, 1]


@pytest.mark.parametrize("loss", ["softmax", "sampled_softmax"])
def test_mixed_precision_learns_from_texts_and_searches(loss):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = text_model(loss=loss, id_dropout=0.2)
        assert model.candidate_tower.text_projection.compute_dtype == "bfloat16"
        model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
        batch = searching_batch()
        first = float(model(batch))
        for _ in range(10):
            model.train_step(batch)
        assert float(model(batch)) < first - 0.05
        asked = request([[2, 3]])._replace(query_text=tf.constant(TEXT[[5]]))
        encoded = model.encode(asked, model.item_vectors(), model.item_texts())
        assert encoded.embeddings.dtype == tf.float32
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
