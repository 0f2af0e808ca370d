from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import SCHEMA, request
from tfrec.config import RankingConfig, RetrievalConfig
from tfrec.features.item_table import ItemTable
from tfrec.models import new_items
from tfrec.models.new_items import find_text_neighbours
from tfrec.models.ranking_inputs import RankingInputs
from tfrec.models.ranking_model import RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel

# Items 2 to 5 are known; 6 says nearly what 3 says, 7 says nothing.
TEXTS = np.array(
    [[0, 0], [0, 0], [1, 0], [0, 2], [-1, 0], [0, -1], [0.1, 1], [0, 0]], np.float32
)
COUNTS = np.array([0, 0, 5, 4, 3, 2, 0, 0], np.int64)
IS_NEW = COUNTS == 0


def test_likeness_decides_who_stands_near(monkeypatch):
    monkeypatch.setattr(new_items, "NUM_NEIGHBOURS", 2)
    found = find_text_neighbours(TEXTS, COUNTS, is_new=IS_NEW)
    assert found is not None
    assert found.new.tolist() == [6]
    order = np.argsort(-found.weights[0])
    assert found.near[0, order].tolist() == [3, 2]
    # cos is 1 / 1.005 with item 3 and .1 / 1.005 with item 2.
    ratio = np.exp((1.0 - 0.1) / np.hypot(1.0, 0.1) / 0.1)
    weights = found.weights[0, order]
    assert weights[0] / weights[1] == pytest.approx(ratio, rel=1e-4)
    assert weights.sum() == pytest.approx(1.0)


def test_new_items_are_lent_the_mean_and_others_stay():
    found = find_text_neighbours(TEXTS, COUNTS, is_new=IS_NEW)
    assert found is not None
    values, lent = tf.random.normal([2, 8, 3], seed=0)
    together = found.lend(values, lent).numpy()
    expected = values.numpy()[6] + found.weights[0] @ lent.numpy()[found.near[0]]
    np.testing.assert_allclose(together[6], expected, rtol=1e-5)
    np.testing.assert_array_equal(np.delete(together, 6, 0), np.delete(values, 6, 0))


def test_what_is_lent_keeps_the_dtype_of_the_rows():
    found = find_text_neighbours(TEXTS, COUNTS, is_new=IS_NEW)
    assert found is not None
    values = tf.random.normal([8, 3], seed=0)
    half = found.lend(tf.cast(values, tf.bfloat16), tf.cast(values, tf.bfloat16))
    assert half.dtype == tf.bfloat16
    np.testing.assert_allclose(
        tf.cast(half, tf.float32), found.lend(values, values), atol=0.05
    )


def test_the_most_met_stand_for_a_large_catalogue(monkeypatch):
    monkeypatch.setattr(new_items, "_MAX_KNOWN", 2)
    found = find_text_neighbours(TEXTS, COUNTS, is_new=IS_NEW)
    assert found is not None
    assert sorted(found.near[0].tolist()) == [2, 3]


def test_chunks_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    texts = rng.normal(size=(60, 4)).astype(np.float32)
    counts = np.where(np.arange(60) < 40, 1, 0)
    whole = find_text_neighbours(texts, counts, is_new=counts == 0)
    monkeypatch.setattr(new_items, "_CHUNK", 7)
    parts = find_text_neighbours(texts, counts, is_new=counts == 0)
    assert whole is not None
    assert parts is not None
    np.testing.assert_array_equal(whole.new, parts.new)
    # The order of neighbours is free.
    values = tf.random.normal([60, 3], seed=1)
    np.testing.assert_allclose(
        whole.lend(values, values), parts.lend(values, values), rtol=1e-5
    )


@pytest.mark.parametrize("is_new", [np.zeros(8, bool), np.ones(8, bool)])
def test_nobody_is_near_where_all_are_known_or_none(is_new):
    assert find_text_neighbours(TEXTS, COUNTS, is_new=is_new) is None


def build_model(
    text: np.ndarray | None, *, match_dim: int = 0, **settings: Any
) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    model = RetrievalModel(
        RetrievalConfig(embedding_dim=8, num_heads=2, **settings),
        SCHEMA,
        ItemTable(COUNTS, {}, {}, {}, {}, text),
        has_repeat_bias=False,
        context_sizes={},
        text_match_dim=match_dim,
    )
    model.candidate_tower.build(None)
    model.update_neighbours()
    return model


def test_a_new_item_of_a_model_is_lent_what_its_like_have_learned():
    model = build_model(TEXTS)
    model.bias_rows.assign(tf.range(8, dtype=tf.float32))
    vectors = model.item_vectors().numpy()
    own = model.candidate_tower(model.all_items).numpy()
    near = model.neighbours
    assert near is not None
    expected = own[6] + near.weights[0] @ own[near.near[0]]
    np.testing.assert_allclose(vectors[6], expected, rtol=1e-5)
    np.testing.assert_array_equal(vectors[2:6], own[2:6])
    # Biases of known items are 2 to 5, 3.5 in the mean; that of the unknown is 1.
    bias = model.item_bias().numpy()
    assert bias[:4].tolist() == [2.0, 3.0, 4.0, 5.0]
    expected = near.weights[0] @ near.near[0] - 3.5 + 1.0
    assert bias[4] == pytest.approx(expected, rel=1e-5)
    assert bias[5] == 1.0  # It says nothing.


def test_without_texts_new_items_are_the_unknown_one():
    model = build_model(None)
    assert model.neighbours is None
    own = model.candidate_tower(model.all_items)
    np.testing.assert_array_equal(model.item_vectors(), own)


def test_a_recommender_scores_with_what_was_borrowed():
    model = build_model(TEXTS)
    model.bias_rows.assign(tf.range(8, dtype=tf.float32))
    recommender = TrainedRecommender(model, None, num_candidates=1)
    asked = request([[2, 3]])
    encoded = model.encode(asked, model.item_vectors())
    logits = model.scores(encoded, model.candidate_keys())
    found = recommender.retrieval_scores(asked)
    np.testing.assert_allclose(found, tf.nn.log_softmax(logits), rtol=1e-5)


def test_known_items_can_be_taken_for_new_ones():
    model = build_model(TEXTS)
    model.bias_rows.assign(tf.range(8, dtype=tf.float32))
    is_new = np.array([0, 0, 0, 1, 0, 0, 1, 1], bool)
    near = model.find_neighbours(is_new)
    assert near is not None
    assert near.new.tolist() == [3, 6]
    assert 3 not in near.near
    vectors = model.item_vectors(near).numpy()
    rows = np.array([0, 1, 2, 1, 4, 5, 1, 1], np.int32)
    own = model.candidate_tower(model.all_items, rows).numpy()
    expected = own[3] + near.weights[0] @ own[near.near[0]]
    np.testing.assert_allclose(vectors[3], expected, rtol=1e-5)
    bias = model.item_bias(near).numpy()
    expected_bias = 1.0 + near.weights[0] @ near.near[0] - 3.5
    assert bias[1] == pytest.approx(expected_bias, rel=1e-5)


def build_ranking() -> RankingModel:
    ranking = RankingModel(
        RankingConfig(),
        SCHEMA,
        ItemTable(COUNTS, {}, {}, {}, {}, TEXTS),
        embedding_dim=8,
        context_sizes={},
    )
    index, one = tf.constant([[2]]), tf.zeros([1, 1])
    ranking(RankingInputs(request([[2]]), tf.zeros([1, 8]), index, one))
    # Against the order of retrieval.
    ranking.retrieval_weight.assign(-tf.ones_like(ranking.retrieval_weight))
    return ranking


def ranked(recommender: TrainedRecommender, items: list[int]) -> list[int]:
    """Item indices in the final order; retrieval has them in the order given."""
    scores = tf.constant([[-1.0 - place for place in range(len(items))]])
    found = recommender.rank(request([[2, 3]]), tf.constant([items]), scores).scores
    return [items[place] for place in np.argsort(-found.numpy()[0], kind="stable")]


def test_ranking_leaves_new_items_where_retrieval_put_them():
    recommender = TrainedRecommender(
        build_model(TEXTS), build_ranking(), num_candidates=4
    )
    assert ranked(recommender, [2, 3, 4, 5]) == [5, 4, 3, 2]
    assert ranked(recommender, [6, 2, 3, 4]) == [6, 4, 3, 2]
    assert ranked(recommender, [2, 3, 6, 4]) == [4, 3, 6, 2]


def test_ranking_orders_all_without_a_budget():
    model = build_model(TEXTS, new_item_budget=None)
    recommender = TrainedRecommender(model, build_ranking(), num_candidates=4)
    assert ranked(recommender, [6, 2, 3, 4]) == [4, 3, 2, 6]


def test_an_item_that_turned_up_later_is_ranked_like_others():
    ranking = build_ranking()
    met = np.zeros_like(ranking.near.item_index.numpy())
    met[6, 0] = 3
    ranking.near.item_index.assign(met)
    recommender = TrainedRecommender(build_model(TEXTS), ranking, num_candidates=4)
    assert ranked(recommender, [6, 2, 3, 4]) == [4, 3, 2, 6]


def test_texts_are_compared_as_the_model_compares_them():
    """Whitened: by the second direction alone where the first is the same for all."""
    texts = TEXTS + np.where(np.any(TEXTS != 0, axis=1, keepdims=True), [9.0, 0.0], 0.0)
    plain = build_model(texts.astype(np.float32)).neighbours
    matched = build_model(texts.astype(np.float32), match_dim=2)
    near = matched.neighbours
    assert plain is not None
    assert near is not None
    assert matched.text_match is not None
    vectors = matched.text_match.embed(tf.constant(texts, tf.float32)).numpy()
    expected = find_text_neighbours(vectors, COUNTS, is_new=IS_NEW)
    assert expected is not None
    np.testing.assert_allclose(near.weights, expected.weights, rtol=1e-5)
    assert abs(near.weights - plain.weights).max() > 0.1


def test_matched_texts_of_items_taken_for_new_weigh_as_those_of_unseen_ones():
    model = build_model(TEXTS, match_dim=2)
    assert model.text_match is not None
    model.text_match.is_fitted.assign(1.0)
    model.text_match.slope.assign(2.0)
    near = model.find_neighbours(np.array([0, 0, 0, 1, 0, 0, 1, 1], bool))
    lengths = [
        np.linalg.norm(model.candidate_keys(by)[1, 8:]) for by in (None, near)
    ]  # Of item 3, known and taken for new.
    assert lengths[1] < 0.5 * lengths[0]


def test_the_logit_of_new_items_is_theirs_alone():
    model = build_model(TEXTS)
    before = model.item_bias().numpy()
    model.new_item_logit.assign(1.5)
    np.testing.assert_allclose(model.item_bias() - before, [0, 0, 0, 0, 1.5, 1.5])


def test_a_trained_recommender_takes_over_what_changed():
    model = build_model(TEXTS)
    recommender = TrainedRecommender(model, None, num_candidates=1)
    model.new_item_logit.assign(3.0)
    asked = request([[2, 3]])
    before = recommender.retrieval_scores(asked).numpy()
    recommender.refresh()
    after = recommender.retrieval_scores(asked).numpy()
    assert (after - before)[0, 4] > (after - before)[0, 0] + 2.9


def test_ranking_of_a_model_by_ids_alone_orders_all():
    recommender = TrainedRecommender(
        build_model(None), build_ranking(), num_candidates=4
    )
    assert ranked(recommender, [6, 2, 3, 4]) == [4, 3, 2, 6]
