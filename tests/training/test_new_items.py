from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request
from tests.synthetic import make_sequences
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import build_queries
from tfrec.features.followers import count_followers
from tfrec.features.item_table import ItemTable
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.training.new_items import (
    Places,
    WithoutNewItems,
    _choose_new,
    fit_new_item_logit,
)

NUM_ITEMS, NUM_NEW = 40, 10
COUNTS = np.concatenate([[0, 0], np.full(NUM_ITEMS, 5), np.zeros(NUM_NEW)])


def with_budget(
    config: ExperimentConfig, budget: float | None, *, per_ten: int = 10
) -> ExperimentConfig:
    changes = {"new_item_budget": budget, "new_items_per_ten": per_ten}
    retrieval = config.retrieval.model_copy(update=changes)
    return config.model_copy(update={"retrieval": retrieval})


@pytest.fixture
def config(tmp_path) -> ExperimentConfig:
    return with_budget(make_config(tmp_path), 0.05)


def build_model(
    config: ExperimentConfig, counts: np.ndarray = COUNTS, *, has_text: bool = True
) -> RetrievalModel:
    tf.keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    text = rng.normal(size=(len(counts), 4)).astype(np.float32) if has_text else None
    model = RetrievalModel(
        config.retrieval,
        config.experiment_schema,
        ItemTable(counts.astype(np.int64), {}, {}, {}, {}, text),
        has_repeat_bias=False,
        context_sizes={},
    )
    model.candidate_tower.build(None)
    return model


def shoppers(num_users: int = 1_000) -> EventSequences:
    rng = np.random.default_rng(1)
    return make_sequences(list(rng.integers(0, NUM_ITEMS, (num_users, 6))))


def test_new_items_get_what_room_the_budget_buys(config):
    logits, costs = [], []
    for budget in (0.01, 0.05, 0.2):
        model = build_model(config)
        about = fit_new_item_logit(with_budget(config, budget), shoppers(), model, None)
        logits.append(about["logit"])
        costs.append(1.0 - about["ndcg_with"] / about["ndcg_without"])
        assert costs[-1] <= budget + 1e-9
    assert logits == sorted(logits)
    assert logits[0] < logits[-1]
    assert costs[-1] > 0.1  # It is spent, too.


@pytest.mark.parametrize("per_ten", [1, 2, 10])
@pytest.mark.parametrize("transitions", [False, True])
def test_the_cost_is_that_of_the_scores_the_model_gives(config, transitions, per_ten):
    """Counted again, from the scores of all items."""
    changes = {"transitions": transitions}
    retrieval = config.retrieval.model_copy(update=changes)
    config = config.model_copy(update={"retrieval": retrieval})
    model = build_model(config)
    sequences = shoppers()
    if model.transition_mixture is not None:
        model.encode(request([[2]]), model.item_vectors())  # Builds it.
        model.transition_mixture.set_followers(
            count_followers(sequences, config.experiment_schema, model.num_items)
        )
    config = with_budget(config, 0.2, per_ten=per_ten)
    model.settings = config.retrieval
    about = fit_new_item_logit(config, sequences, model, None)
    if per_ten > 1:  # With one, the items met before fill the places above its.
        assert about["ndcg_with"] < about["ndcg_without"]
    queries = build_queries(
        sequences, config.experiment_schema, split="validation", targets="next"
    )
    scorer = RetrievalScorer(TrainedRecommender(model, None, num_candidates=1))
    rows = np.arange(queries.num_queries)
    scores = scorer.score(sequences, queries, rows)
    targets = queries.positive_items[queries.positive_offsets[:-1]] - 2
    gains = []
    for row, target in zip(rows, targets, strict=True):
        values = scores[row].copy()
        start = sequences.offsets[queries.user_rows[row]]
        seen = sequences.item_index[start : queries.history_ends[row]] - 2
        if config.evaluation.exclude_seen:
            values[[s for s in seen if s != target]] = -np.inf
        rank = int((values >= values[target]).sum()) - 1
        gains.append(1.0 / np.log2(rank + 2.0) if rank < 10 else 0.0)
    assert np.mean(gains) == pytest.approx(about["ndcg_with"], abs=2e-3)


def test_only_the_logit_of_new_items_moves(config):
    model = build_model(config)
    fit_new_item_logit(config, shoppers(), model, None)  # Creates the other weights.
    before = [w.numpy() for w in model.weights]
    about = fit_new_item_logit(config, shoppers(), model, None)
    for weight, value in zip(model.weights, before, strict=True):
        expected = value
        if weight is model.new_item_logit:
            expected = about["logit"]
        if weight is model.new_item_lift:
            expected = about["lift"]
        np.testing.assert_allclose(weight, expected, rtol=1e-6)


def test_known_items_stand_in_where_the_catalogue_has_no_new_ones(config):
    counts = np.concatenate([[0, 0], np.full(NUM_ITEMS, 5)])
    model = build_model(config, counts)
    before = model.item_bias().numpy()
    chosen, neighbours = _choose_new(model, seed=0)
    assert neighbours is not None
    np.testing.assert_array_equal(np.flatnonzero(chosen), np.sort(neighbours.new))
    assert chosen.sum() == 2  # A twentieth of 40.
    assert not chosen[:2].any()
    about = fit_new_item_logit(config, shoppers(), model, None)
    assert about["ndcg_with"] <= about["ndcg_without"]
    # They were taken for new to measure; they are not.
    assert model.neighbours is None
    np.testing.assert_array_equal(model.item_bias(), before)


def test_new_items_are_enough_where_there_are_many(config):
    chosen, _ = _choose_new(build_model(config), seed=0)
    np.testing.assert_array_equal(np.flatnonzero(chosen), np.arange(NUM_NEW) + 42)


def test_nothing_is_done_without_a_budget_or_without_content(config):
    model = build_model(config)
    assert fit_new_item_logit(with_budget(config, None), shoppers(), model, None) == {}
    by_id = build_model(config, has_text=False)
    assert fit_new_item_logit(config, shoppers(), by_id, None) == {}


def test_targets_that_are_new_are_not_asked_for(config):
    sequences = shoppers()
    items = np.where(sequences.split == 1, NUM_ITEMS + 3, sequences.item_index)
    only_new = replace(sequences, item_index=items.astype(np.int32))
    assert fit_new_item_logit(config, only_new, build_model(config), None) == {}


def test_ndcg_counts_new_items_that_the_boost_takes_past_the_target():
    places = Places(
        np.array([0, 1, 10]),
        np.array([0, 1, 10]),
        np.array([[1.0, 2.0], [0.5, np.inf], [0.0, 0.0]]),
    )
    ndcg = 1.0 / np.log2(np.arange(2.0, 12.0))
    assert places.ndcg(-np.inf) == pytest.approx((ndcg[0] + ndcg[1]) / 3)
    assert places.ndcg(1.0) == pytest.approx((ndcg[1] + ndcg[2]) / 3)
    assert places.ndcg(3.0) == pytest.approx((ndcg[2] + ndcg[2]) / 3)


def test_ndcg_of_the_first_places_is_not_touched_by_a_limit():
    places = Places(
        np.array([7, 8, 8]), np.array([7, 8, 6]), np.array([[0.0, 0.0, 0.0]] * 3)
    )
    ndcg = 1.0 / np.log2(np.arange(2.0, 13.0))
    ndcg[10:] = 0.0
    # Two at most get ahead of the second; the third has met two that are ahead.
    expected = (ndcg[7] + ndcg[10] + ndcg[8]) / 3
    assert places.ndcg(1.0, per_ten=2) == pytest.approx(expected)
    assert places.ndcg(1.0) == pytest.approx((ndcg[10] * 3) / 3)


def test_a_limit_lets_new_items_be_pulled_ahead_a_little(config):
    """Even where they would come in by themselves, the limit bounds what it costs."""
    about = {
        per_ten: fit_new_item_logit(
            with_budget(config, 0.99, per_ten=per_ten),
            shoppers(),
            build_model(config),
            None,
        )
        for per_ten in (1, 2, 10)
    }
    assert about[1]["lift"] == about[2]["lift"] == 1.0
    assert about[10]["lift"] == 0.0
    assert {a["logit"] for a in about.values()} == {0.0}  # That of searches.
    cost = {n: 1.0 - a["ndcg_with"] / a["ndcg_without"] for n, a in about.items()}
    assert 0.0 <= cost[1] < cost[2] < cost[10]


def test_items_without_a_text_cannot_stand_in(config):
    counts = np.concatenate([[0, 0], np.full(NUM_ITEMS, 5)])
    model = build_model(config, counts)
    texts = np.array(model.candidate_tower.text_rows)
    texts[2:] = 0.0
    model.candidate_tower.text_rows = tf.constant(texts)
    chosen, neighbours = _choose_new(model, seed=0)
    assert neighbours is None
    assert not chosen.any()


def test_new_items_that_stay_behind_by_themselves_are_not_pulled_ahead(config):
    model = build_model(config)
    bias = model.bias_rows.numpy()
    bias[1] = -50.0
    model.bias_rows.assign(bias)
    about = fit_new_item_logit(config, shoppers(), model, None)
    assert about["logit"] == 0.0
    assert about["ndcg_with"] == about["ndcg_without"]


def test_too_few_hits_say_nothing_about_the_cost(config):
    assert fit_new_item_logit(config, shoppers(60), build_model(config), None) == {}


def test_a_scorer_without_new_items_lists_the_known_ones_alone(config):
    model, sequences = build_model(config), shoppers(5)
    scorer = RetrievalScorer(TrainedRecommender(model, None, num_candidates=1))
    queries = build_queries(
        sequences, config.experiment_schema, split="validation", targets="next"
    )
    rows = np.arange(queries.num_queries)
    plain = scorer.score(sequences, queries, rows)
    found = WithoutNewItems(scorer, model).score(sequences, queries, rows)
    np.testing.assert_array_equal(found[:, :NUM_ITEMS], plain[:, :NUM_ITEMS])
    assert np.isneginf(found[:, NUM_ITEMS:]).all()
