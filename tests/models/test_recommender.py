import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import (
    NUM_ITEMS,
    SCHEMA,
    plain_item_table,
    request,
    toy_model,
)
from tfrec.config import RankingConfig
from tfrec.features.request import Request
from tfrec.models.ranking_model import RankingBatch, RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.recommender_interface import RankedCandidates


def make_ranking_model(**settings: Any) -> RankingModel:
    model = RankingModel(
        RankingConfig(hidden_dims=(4,), **settings),
        SCHEMA,
        plain_item_table(),
        embedding_dim=8,
        context_sizes={},
    )
    index = tf.constant([[2]])
    model(RankingInputs(request([[2]]), tf.zeros((1, 8)), index, tf.zeros((1, 1))))
    for i, weight in enumerate(model.trainable_variables):
        weight.assign_add(
            tf.random.stateless_normal(tf.shape(weight), (3, i), stddev=0.2)
        )
    return model


@pytest.fixture(scope="module")
def recommender() -> TrainedRecommender:
    return TrainedRecommender(toy_model(), make_ranking_model(), num_candidates=3)


def test_retrieval_scores_are_log_probabilities(recommender):
    scores = recommender.retrieval_scores(request([[2, 3], [0, 0]]))
    assert scores.shape == (2, NUM_ITEMS)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), [1, 1], rtol=1e-5)


def test_unknown_candidates_come_last_with_probability_zero(recommender):
    scores = tf.constant([[-1.0, -np.inf, 0.0]])
    ranked = recommender.rank(request([[2, 3]]), tf.constant([[4, 1, 0]]), scores)
    np.testing.assert_array_equal(np.isneginf(ranked.scores), [[False, True, True]])
    (probabilities,) = ranked.probabilities.values()
    assert list(ranked.probabilities) == list(SCHEMA.heads)
    assert 0 < probabilities[0, 0] < 1
    np.testing.assert_array_equal(probabilities[0, 1:], [0, 0])


def test_queries_do_not_depend_on_candidates(recommender):
    first = recommender.encode(request([[2, 3]])).embeddings
    recommender.rank(request([[2, 3]]), tf.constant([[5]]), tf.zeros((1, 1)))
    np.testing.assert_array_equal(
        recommender.encode(request([[2, 3]])).embeddings, first
    )


def test_without_ranking_the_order_is_that_of_retrieval():
    recommender = TrainedRecommender(toy_model(), None, num_candidates=3)
    scores = tf.constant([[-1.0, -2.0]])
    ranked = recommender.rank(request([[2]]), tf.constant([[4, 1]]), scores)
    np.testing.assert_array_equal(ranked.scores, [[-1.0, -np.inf]])
    assert ranked.probabilities == {}


def test_refresh_follows_further_training():
    model = toy_model()
    recommender = TrainedRecommender(model, None, num_candidates=3)
    before = recommender.candidate_embeddings().numpy()
    model.candidate_tower.id_table.assign_add(
        tf.random.stateless_normal(tf.shape(model.candidate_tower.id_table), (1, 2))
    )
    np.testing.assert_array_equal(recommender.candidate_embeddings(), before)
    recommender.refresh()
    assert np.abs(recommender.candidate_embeddings() - before).max() > 0.1


def test_requests_are_answered_alone_as_in_a_batch(recommender):
    together = request([[2, 3, 2], [7, 0, 0]], timestamps=[[5, 6, 7], [8, 0, 0]])
    alone = request([[7]], timestamps=[[8]])
    scores = recommender.retrieval_scores(together)
    np.testing.assert_allclose(
        scores[1:], recommender.retrieval_scores(alone), atol=1e-5
    )
    candidates = tf.constant([[4, 5], [6, 2]])
    of_candidates = tf.gather(scores, candidates - 2, batch_dims=1)
    ranked = recommender.rank(together, candidates, of_candidates)
    single = recommender.rank(alone, candidates[1:], of_candidates[1:])
    np.testing.assert_allclose(ranked.scores[1:], single.scores, atol=1e-5)


def test_order_of_candidates_does_not_change_their_scores(recommender):
    past, candidates = request([[2, 3]]), tf.constant([[4, 5, 6]])
    scores = tf.constant([[-1.0, -2.0, -3.0]])
    forward = recommender.rank(past, candidates, scores)
    backward = recommender.rank(past, candidates[:, ::-1], scores[:, ::-1])
    np.testing.assert_allclose(backward.scores[:, ::-1], forward.scores, atol=1e-6)


def test_forecast_sums_the_heads_over_the_retrieved_candidates(recommender):
    past = request([[2, 3], [0, 0]])
    scores = recommender.retrieval_scores(past).numpy()
    best = np.argsort(-scores, axis=1)[:, :3].astype(np.int32)
    top = np.take_along_axis(scores, best, axis=1)
    ranked = recommender.rank(past, tf.constant(best + 2), tf.constant(top))
    found = recommender.forecast(past)
    assert set(found.expected_items) == set(found.probabilities) == set(SCHEMA.heads)
    for head, each in ranked.probabilities.items():
        values = each.numpy().astype(np.float64)
        np.testing.assert_allclose(
            found.expected_items[head], values.sum(axis=1), rtol=1e-5
        )
        at_least_one = 1 - (1 - values).prod(axis=1)
        np.testing.assert_allclose(found.probabilities[head], at_least_one, rtol=1e-5)
        assert (at_least_one < values.sum(axis=1)).all()


def test_forecast_of_no_request_is_empty_and_it_can_be_traced(recommender):
    past = request([[2, 3]])
    traced = tf.function(recommender.forecast)
    expected = recommender.forecast(past).probabilities
    for head, value in traced(past).probabilities.items():
        np.testing.assert_allclose(value, expected[head], rtol=1e-5)
    none = tf.nest.map_structure(lambda values: values[:0], past)
    for value in recommender.forecast(none).expected_items.values():
        assert value.shape == (0,)


def test_a_probability_takes_candidates_for_independent_and_the_sum_does_not(
    recommender, monkeypatch
):
    """All or nothing: with probability p every candidate is bought, else none."""
    half = {SCHEMA.heads[0]: tf.fill([1, 3], 0.5)}
    ranked = RankedCandidates(tf.zeros((1, 3)), half)
    monkeypatch.setattr(recommender, "rank", lambda *_, **__: ranked)
    found = recommender.forecast(request([[2]]))
    # The truth is 0.5 x 3 items, and a purchase with 0.5: less than is said.
    np.testing.assert_allclose(found.expected_items[SCHEMA.heads[0]], [1.5])
    np.testing.assert_allclose(found.probabilities[SCHEMA.heads[0]], [0.875])


def test_forecast_without_heads_says_what_is_missing():
    recommender = TrainedRecommender(toy_model(), None, num_candidates=3)
    with pytest.raises(ValueError, match="needs a ranking model"):
        recommender.forecast(request([[2]]))


def priced_recommender() -> TrainedRecommender:
    """Items 4 to 6 are one item to retrieval; 4 is cheap, 5 and 6 cost the same."""
    retrieval = toy_model()
    for variable in (retrieval.candidate_tower.id_table, retrieval.bias_rows):
        rows = variable.numpy()
        rows[[4, 5, 6]] = rows[4]
        variable.assign(rows)
    price = np.array([0, 0, 0, 0, -1, 1, 1, 0, 0, 0], np.float32)
    table = dataclasses.replace(
        plain_item_table(),
        numbers={"price": price},
        known={"price": np.arange(NUM_ITEMS + 2) > 3},
    )
    ranking = RankingModel(
        RankingConfig(hidden_dims=(4,), fusion="weighted", dropout=0.0),
        SCHEMA,
        table,
        embedding_dim=8,
        context_sizes={},
    )
    one = tf.constant([[2]])
    ranking(RankingInputs(request([[2]]), tf.zeros((1, 8)), one, tf.zeros((1, 1))))
    return TrainedRecommender(retrieval, ranking, num_candidates=3)


def test_items_that_differ_in_price_alone_are_weighed_differently_once_it_counts():
    recommender, past = priced_recommender(), request([[2, 3]])
    candidates = tf.constant([[4, 5, 6, 1, 0]])
    scores = recommender.retrieval_scores(past).numpy()[0]
    np.testing.assert_allclose(scores[2:5], scores[[2, 2, 2]], rtol=1e-6)
    names, weights = recommender.field_weights(past, candidates)
    assert "item_price" in names
    np.testing.assert_allclose(weights[0, :3], 1 / len(names), rtol=1e-5)

    learn_that_the_dear_one_is_chosen(recommender, past)
    again, weights = recommender.field_weights(past, candidates)
    weights = weights.numpy()[0]
    assert again == names
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights.sum(axis=1), [1, 1, 1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(weights[1], weights[2], atol=1e-6)
    assert np.abs(weights[0] - weights[1]).max() > 0.01


def learn_that_the_dear_one_is_chosen(
    recommender: TrainedRecommender, past: Request
) -> None:
    model = recommender.ranking
    assert model is not None
    inputs = RankingInputs(
        past,
        recommender.encode(past).embeddings,
        tf.constant([[4, 5]]),
        tf.zeros((1, 2)),
    )
    optimizer = tf.keras.optimizers.Adam(0.05)
    for _ in range(20):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(
                RankingBatch(inputs, tf.constant([[[0], [1]]], tf.int8))
            )
        weights = model.trainable_variables
        optimizer.apply_gradients(
            zip(tape.gradient(loss, weights), weights, strict=True)
        )


def test_weights_of_fields_need_the_fusion_that_has_them(recommender):
    past, candidates = request([[2]]), tf.constant([[4]])
    with pytest.raises(ValueError, match=r"ranking\.fusion=cross"):
        recommender.field_weights(past, candidates)
    alone = TrainedRecommender(toy_model(), None, num_candidates=3)
    with pytest.raises(ValueError, match=r"`ranking\.fusion: weighted`"):
        alone.field_weights(past, candidates)


def test_dwell_is_predicted_in_seconds_where_the_model_was_trained_to(recommender):
    model = make_ranking_model(dwell_weight=1.0)
    model.set_mean_dwell(2.0)
    with_dwell = TrainedRecommender(toy_model(), model, num_candidates=3)
    past, candidates = request([[2, 3]]), tf.constant([[4, 1, 5]])
    scores = tf.constant([[-1.0, -2.0, -3.0]])
    ranked = with_dwell.rank(past, candidates, scores)
    assert list(ranked.probabilities) == list(SCHEMA.heads)
    encoded = with_dwell.encode(past)
    inputs = RankingInputs(past, encoded.embeddings, candidates, scores)
    predicted = np.expm1(model.forward(inputs).log_dwell)[0]
    assert ranked.dwell_seconds is not None
    found = ranked.dwell_seconds[0].numpy()
    np.testing.assert_allclose(found[[0, 2]], predicted[[0, 2]], rtol=1e-5)
    assert found[1] == 0.0  # An unknown item.
    assert recommender.rank(past, candidates, scores).dwell_seconds is None
