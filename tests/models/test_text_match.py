import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import SCHEMA, one_batch, request, toy_sequences
from tfrec.config import RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Searches
from tfrec.features.tokens import request_tokens
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.models.text_match import TextMatch, whitening

NUM_ITEMS, MATCH_DIM = 8, 2
TEXT = np.zeros((NUM_ITEMS + 2, 3), np.float32)
TEXT[2:9] = np.random.default_rng(0).normal(size=(7, 3))  # Item index 9 has no text.
COUNTS = np.array([0, 0, 9, 7, 5, 3, 2, 1, 1, 0], np.int64)  # Item index 9 is cold.
TABLE = ItemTable(COUNTS, {}, {}, {}, {}, TEXT)


def matcher() -> TextMatch:
    layer = TextMatch(MATCH_DIM, TABLE, num_event_types=1)
    layer.build(None)
    return layer


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_whitened_texts_have_no_mean_one_spread_and_no_correlation():
    mean, kernel = whitening(TEXT, 3)
    white = (TEXT[2:9] - mean) @ kernel
    np.testing.assert_allclose(white.mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(white.T @ white / 7, np.eye(3), atol=1e-4)


def test_whitening_keeps_the_directions_in_which_texts_differ_most():
    texts = np.array([[9, 1, 0], [-9, 1, 0], [9, -1, 0], [-9, -1, 0]], np.float32)
    _, kernel = whitening(texts, 1)
    np.testing.assert_allclose(np.abs(kernel), [[1 / 9], [0], [0]], atol=1e-6)


def test_directions_without_any_difference_give_zeros_not_noise():
    texts = np.array([[1, 5, 0], [3, 5, 0]], np.float32)  # They differ in one.
    mean, kernel = whitening(texts, 3)
    np.testing.assert_allclose(mean, [2, 5, 0])
    np.testing.assert_allclose(np.abs(kernel), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("texts", [np.zeros((3, 2)), np.ones((1, 2))])
def test_texts_that_do_not_differ_match_nothing(texts):
    assert not whitening(texts.astype(np.float32), 2)[1].any()


def test_vectors_have_length_one_and_those_of_nothing_are_zero():
    layer = matcher()
    found = layer.embed(tf.constant(TEXT)).numpy()
    mean, kernel = whitening(TEXT, MATCH_DIM)
    np.testing.assert_allclose(
        found[2:9], unit((TEXT[2:9] - mean) @ kernel), rtol=1e-4, atol=1e-5
    )
    assert not found[[0, 1, 9]].any()


def test_what_was_read_counts_half_after_a_half_life_and_the_search_as_learned():
    layer = matcher()
    layer.log_half_life.assign(np.log(2.0))
    layer.event_type.assign([0.0, 0.0, np.log(3.0)])  # Type index 2: three times.
    layer.search.assign(0.5)
    past = request([[4, 2]])
    tokens = request_tokens(past._replace(event_type_index=tf.constant([[2, 1]])))
    texts = layer.embed(tf.constant(TEXT))
    asked = layer(
        tf.gather(texts, tokens.item_index),
        tokens,
        tf.constant([2, 1]),  # After both events, and after the first.
        tf.constant(TEXT[[5, 0]]),
    )
    c = texts.numpy()
    both = 3.0 * 2 ** (-1 / 2) * c[4] + c[2] + 0.5 * c[5]
    np.testing.assert_allclose(asked, [both, 3.0 * c[4]], rtol=1e-4, atol=1e-5)


def test_rare_items_lean_on_their_text_where_that_was_learned():
    layer = matcher()
    layer.is_fitted.assign(1.0)
    layer.gain.assign(0.3)
    layer.slope.assign(-0.7)
    c = tf.constant([[1.0, 0.0]] * 3)
    found = layer.weighted(c, tf.constant([2, 7, 1]))[:, 0]
    logs = np.log1p(COUNTS)
    z = np.array([*(logs[[2, 7]] / logs[2:9].mean() - 1.0), -1.0])
    expected = np.log1p(np.exp(0.3 - 0.7 * z))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert expected[0] < expected[1] < expected[2]


def test_without_texts_there_is_nothing_to_compare():
    with pytest.raises(ValueError, match=r"text.match_dim"):
        TextMatch(2, ItemTable(COUNTS, {}, {}, {}, {}), num_event_types=1)


def model_with(match_dim: int, **settings: object) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    defaults = {"embedding_dim": 8, "feedforward_dim": 8, "dropout": 0.0}
    config = RetrievalConfig.model_validate({**defaults, **settings})
    model = RetrievalModel(
        config,
        SCHEMA,
        TABLE,
        has_repeat_bias=False,
        context_sizes={},
        text_match_dim=match_dim,
        search_texts=np.zeros((1, 3), np.float32),
    )
    model(searching_batch())
    return model


def searching_batch():
    batch = one_batch(toy_sequences(), max_length=6)
    searches = np.zeros(int(batch.target_items.shape[0]), np.int32)
    return batch._replace(target_search=tf.constant(searches))


def scores_of(model: RetrievalModel) -> np.ndarray:
    recommender = TrainedRecommender(model, None, num_candidates=3)
    return recommender.scores_of(recommender.encode(request([[4, 2]]))).numpy()[0]


@pytest.mark.parametrize("num_interests", [1, 2])
def test_scores_are_those_of_the_towers_and_of_the_match(num_interests):
    plain = model_with(0, num_interests=num_interests)
    model = model_with(MATCH_DIM, num_interests=num_interests)
    layer = model.text_match
    assert layer is not None
    own = {id(w) for w in layer.weights}
    others = [w for w in model.weights if id(w) not in own]
    for old, new in zip(others, plain.weights, strict=True):
        new.assign(old)
    c = layer.embed(tf.constant(TEXT)).numpy()
    asked = 2 ** (-1 / 3) * c[4] + c[2]
    layer.is_fitted.assign(1.0)
    logits = scores_of(plain) + np.log(2.0) * (c[2:] @ asked)  # softplus(0) = log 2.
    expected = logits - np.log(np.exp(logits).sum())
    np.testing.assert_allclose(scores_of(model), expected, rtol=1e-4, atol=1e-5)


def test_embeddings_that_are_served_stay_those_of_the_towers():
    model = model_with(MATCH_DIM)
    recommender = TrainedRecommender(model, None, num_candidates=3)
    found = recommender.candidate_embeddings()
    np.testing.assert_allclose(found, model.candidate_embeddings(), rtol=1e-6)
    encoded = recommender.encode(request([[2, 3]]))
    assert recommender.query_embeddings(encoded).shape == (1, 8)


def test_before_it_is_fitted_texts_change_no_score_and_nothing_trains_them():
    model = model_with(MATCH_DIM)
    layer = model.text_match
    assert layer is not None
    layer.is_fitted.assign(0.0)
    unmatched = scores_of(model)
    layer.gain.assign(5.0)
    np.testing.assert_allclose(scores_of(model), unmatched, rtol=1e-6)
    assert not layer.trainable_weights


def test_a_past_search_is_read_by_its_text():
    model = model_with(MATCH_DIM)
    searched = request([[2, 1]])._replace(
        searches=Searches(tf.constant([[0, 1]]), tf.constant(TEXT[[0, 5]]))
    )
    layer = model.text_match
    assert layer is not None
    encoded = model.encode(
        searched, model.item_vectors(), match_texts=model.match_texts()
    )
    c = layer.embed(tf.constant(TEXT)).numpy()
    assert encoded.match is not None
    np.testing.assert_allclose(
        encoded.match[0], 2 ** (-1 / 3) * c[2] + c[5], rtol=1e-4, atol=1e-5
    )
