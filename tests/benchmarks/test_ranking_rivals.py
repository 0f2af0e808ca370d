"""Rivals of the ranking model: what they read, and what they can learn."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.ranking_rivals import (
    Examples,
    HandMadeFeatures,
    fit_logistic,
    fit_rival,
    make_examples,
)
from tests.models.test_ranking_model import SCHEMA, inputs, make_model, shuffled
from tests.models.toys import request
from tests.synthetic import make_sequences
from tfrec.features.item_statistics import NUM_NEIGHBOURS, ItemStatistics, Neighbours
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.training.ranking_lists import RankingLists


def known_model() -> RankingModel:
    """A model whose statistics say something of every item."""
    model = shuffled(make_model())
    rng = np.random.default_rng(0)
    item_index = np.zeros((8, NUM_NEIGHBOURS), np.int32)
    strength = np.zeros((8, NUM_NEIGHBOURS), np.float32)
    item_index[2:, 0], strength[2:, 0] = [3, 4, 5, 6, 7, 2], rng.random(6)
    neighbours = Neighbours(item_index, strength)
    demand = rng.normal(size=(8, 2)).astype(np.float32)
    model.set_frozen(model.items, ItemStatistics(neighbours, neighbours, demand))
    return model


@pytest.mark.parametrize("has_search", [False, True])
def test_rivals_read_exactly_the_numbers_of_the_model(has_search: bool):
    model, read = known_model(), []
    wide = model.wide_layer.call
    spy: Any = lambda number: read.append(number) or wide(number)  # noqa: E731
    model.wide_layer.call = spy
    asked = inputs([[2, 3], [6, 2]], [[4, 5, 7], [2, 3, 4]])
    if has_search:  # The last event of the first history, of the type behind all.
        model.search_type_index = len(SCHEMA.event_types) + NUM_SPECIAL_INDICES
        types = asked.request.event_type_index.numpy()
        types[0, -1] = model.search_type_index
        past = asked.request._replace(event_type_index=tf.constant(types))
        asked = asked._replace(request=past)
    model.forward(asked)
    features = HandMadeFeatures(model)(asked).numpy()
    numbers = features[..., :-2]
    # Behind them the model reads the same numbers in bins.
    np.testing.assert_array_equal(numbers, read[0][..., : numbers.shape[-1]].numpy())
    assert (features[..., :-2].std(axis=(0, 1)) > 0).sum() > 10  # Not all are 0.


def test_rivals_read_how_often_a_candidate_was_met_and_whether_lately():
    past = request([[2, 3, 2]], timestamps=[[10, 20, 30]])
    asked = RankingInputs(
        past._replace(request_timestamp=tf.constant([40], tf.int64)),
        tf.ones((1, 4)),
        tf.constant([[2, 3, 4]]),
        tf.zeros((1, 3)),
    )
    met = HandMadeFeatures(known_model())(asked).numpy()[0, :, -2:]
    assert met[:, 0].tolist() == [2.0, 1.0, 0.0]
    assert met[2, 1] == 0.0
    assert met[1, 1] >= met[0, 1] > 0.0  # 20 seconds ago, and 10.


def lists_of(candidates: list[list[int]], relevant: list[list[int]]) -> RankingLists:
    num_lists, width = np.shape(candidates)
    return RankingLists(
        user_rows=np.zeros(num_lists, np.int32),
        history_ends=np.arange(num_lists) + 1,
        request_timestamps=np.full(num_lists, 10**9),
        context={},
        candidate_index=np.array(candidates, np.int32),
        labels=np.zeros((num_lists, width, 2), np.int8),
        query_embeddings=np.ones((num_lists, 4), np.float32),
        retrieval_scores=-np.ones((num_lists, width), np.float32),
        relevant=np.array(relevant, bool),
        num_relevant=np.ones(num_lists, np.int32),
    )


def test_examples_are_the_real_candidates_list_by_list():
    lists = lists_of([[2, 3, 4], [5, 6, 0]], [[0, 1, 0], [1, 0, 0]])
    sequences = make_sequences([[0, 1, 2, 3, 4, 5]])
    found = make_examples(
        HandMadeFeatures(known_model()), sequences, lists, max_history_length=3, seed=0
    )
    assert found.sizes.tolist() == [3, 2]
    assert found.relevant.tolist() == [False, True, False, True, False]
    assert found.features.shape[0] == 5
    # Each candidate has its own demand, the same that is set in the model.
    alone = lists.take(np.array([1]))
    again = make_examples(
        HandMadeFeatures(known_model()), sequences, alone, max_history_length=3, seed=0
    )
    np.testing.assert_allclose(again.features, found.features[3:], rtol=1e-6)


def made_lists(num_lists: int, *, seed: int, width: int = 10) -> Examples:
    """The candidate of the greatest |first feature| is relevant; the rest is noise."""
    values = np.random.default_rng(seed).normal(size=(num_lists, width, 3))
    relevant = np.zeros((num_lists, width), bool)
    relevant[np.arange(num_lists), np.abs(values[..., 0]).argmax(axis=1)] = True
    features = values.reshape(-1, 3).astype(np.float32)
    return Examples(features, relevant.ravel(), np.full(num_lists, width))


def share_found(predict: Any, lists: Examples) -> float:
    """Of lists whose first candidate is the relevant one; chance is 1 in 10."""
    scores = predict(lists.features).reshape(-1, 10)
    relevant = lists.relevant.reshape(-1, 10)
    return float(relevant[np.arange(len(scores)), scores.argmax(axis=1)].mean())


def test_lambdamart_learns_a_rule_that_no_line_can_draw():
    pytest.importorskip("lightgbm")
    train, holdout, test = (made_lists(n, seed=n) for n in (300, 100, 200))
    predict, chosen = fit_rival("lightgbm", train, holdout, k=5, seed=0)
    assert share_found(predict, test) > 0.8
    assert chosen["holdout_ndcg"] > 0.8
    assert chosen["num_trees"] >= 1
    line, _ = fit_logistic(train)
    assert share_found(line, test) < 0.4


def test_logistic_regression_learns_a_line():
    train, test = made_lists(300, seed=1), made_lists(200, seed=2)
    first = train.features[:, 1].reshape(-1, 10)
    relevant = first == first.max(axis=1, keepdims=True)
    predict, _ = fit_logistic(train._replace(relevant=relevant.ravel()))
    first = test.features[:, 1].reshape(-1, 10)
    best = first == first.max(axis=1, keepdims=True)
    assert share_found(predict, test._replace(relevant=best.ravel())) > 0.9
