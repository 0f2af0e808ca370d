"""The ranking model with every way to make its inputs."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_ranking_model import inputs, make_model, shuffled
from tests.models.toys import SCHEMA, request, toy_model
from tfrec.config import RankingConfig
from tfrec.models.fusion.registry import FUSIONS
from tfrec.models.ranking_model import RankingBatch, RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender

every_fusion = pytest.mark.parametrize("fusion", list(FUSIONS))


@every_fusion
def test_training_starts_from_the_order_of_retrieval(fusion: str):
    logits = make_model(fusion=fusion)(inputs([[2, 3]], [[4, 5, 6]]))
    np.testing.assert_allclose(logits[0, :, 0], [-1, -2, -3], rtol=1e-6)
    # The other head follows that of the target.
    np.testing.assert_allclose(logits[0, :, 1], [-0.5, -1, -1.5], rtol=1e-6)


@every_fusion
def test_gradients_of_the_loss_reach_every_weight(fusion: str):
    model = shuffled(
        make_model(
            fusion=fusion,
            time_decay=True,
            attention_heads=2,
            context_sizes={"device": 3, "basket": 0},
        )
    )
    lists = inputs([[2, 3]], [[4, 5]], device=[2], basket=[3.0])
    dated = lists.request._replace(
        event_type_index=tf.constant([[2, 3]]),
        timestamps=tf.constant([[100, 40_000]], tf.int64),
        request_timestamp=tf.constant([90_000], tf.int64),
    )
    lists = lists._replace(request=dated)
    batch = RankingBatch(lists, tf.constant([[[1, 0], [0, 1]]], tf.int8))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch)
    gradients = tape.gradient(loss, model.trainable_variables)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@every_fusion
def test_candidates_are_scored_alone_as_among_others(fusion: str):
    model = shuffled(make_model(fusion=fusion))
    together = model(inputs([[2, 3], [6, 0]], [[4, 5, 7], [2, 3, 0]]))
    alone = model(inputs([[6]], [[2]]))
    np.testing.assert_allclose(together[1, 0], alone[0, 0], atol=1e-5)


def test_attributes_are_fields_of_their_own_with_every_fusion_but_concat():
    assert RankingConfig().reads_attributes
    assert not RankingConfig(attribute_fields=False).reads_attributes
    assert not RankingConfig(fusion="concat").reads_attributes
    assert RankingConfig(fusion="concat", attribute_fields=True).reads_attributes
    model = make_model(fusion="weighted")
    names, weights = model.field_weights(inputs([[2, 3]], [[4, 5, 6]]))
    assert {"item_category", "item_price", "candidate", "attended"} <= set(names)
    assert weights.shape == (1, 3, len(names))
    np.testing.assert_allclose(weights, np.full((1, 3, len(names)), 1 / len(names)))


def test_attribute_fields_are_means_of_levels_and_known_numbers():
    model = shuffled(make_model(fusion="weighted"))
    fields, _ = model.fields(inputs([[2]], [[4, 5, 7]]))
    attributes = model.fields.attributes
    assert attributes is not None
    table = attributes.tables["category"].embeddings.numpy()
    expected = [(table[2] + table[3]) / 2, (table[2] + table[4]) / 2, 0 * table[2]]
    np.testing.assert_allclose(fields["item_category"][0], expected, atol=1e-6)
    kernel = attributes.projections["price"].kernel.numpy()
    # Prices 1 and -1; that of item 7 is not known.
    np.testing.assert_allclose(
        fields["item_price"][0],
        [kernel[0] + kernel[1], -kernel[0] + kernel[1], 0 * kernel[0]],
        atol=1e-6,
    )


def test_other_fusions_have_no_field_weights():
    with pytest.raises(ValueError, match=r"ranking\.fusion=cross"):
        make_model().field_weights(inputs([[2]], [[4]]))


@pytest.mark.parametrize("search", ["request", "candidate"])
def test_search_changes_nothing_where_the_history_is_short(search: str):
    lists = inputs([[2, 3, 5], [6, 0, 0]], [[4, 5], [2, 3]])
    plain = shuffled(make_model())(lists)
    model = shuffled(make_model(attention_length=3, history_search=search))
    np.testing.assert_allclose(model(lists), plain, atol=1e-5)


@pytest.mark.parametrize("search", ["request", "candidate"])
def test_far_events_of_a_long_history_are_not_attended_to(search: str):
    model = shuffled(make_model(attention_length=1, history_search=search))
    vectors = np.zeros(model.items.shape, np.float32)
    # Query and candidate 4 point to (1, 1, 1, 1): item 2 does too, 3 and 5 do not.
    vectors[[2, 4]], vectors[3], vectors[5] = 1.0, [1, -1, 0, 0], [1, 0, -1, 0]
    model.items.assign(vectors)

    def attended(history: list[int]) -> np.ndarray:
        return model.fields(inputs([history], [[4]]))[0]["attended"].numpy()

    np.testing.assert_allclose(attended([2, 3]), attended([2, 5]), atol=1e-6)
    np.testing.assert_allclose(attended([2, 3]), attended([2]), atol=1e-6)
    plain = shuffled(make_model())
    plain.items.assign(vectors)
    both = plain.fields(inputs([[2, 3]], [[4]]))[0]["attended"].numpy()
    assert np.abs(both - attended([2, 3])).max() > 1e-2


def long_recommender(**settings: object) -> TrainedRecommender:
    """Retrieval reads 2 events, ranking as many as its settings say."""
    retrieval = toy_model(max_history_length=2)
    ranking = RankingModel(
        RankingConfig.model_validate({"hidden_dims": [4], **settings}),
        SCHEMA,
        retrieval.candidate_tower.attributes.item_table,
        embedding_dim=8,
        context_sizes={},
    )
    one = tf.constant([[2]])
    ranking(RankingInputs(request([[2]]), tf.zeros((1, 8)), one, tf.zeros((1, 1))))
    shuffled_items = tf.random.stateless_normal(tf.shape(ranking.items), (2, 2))
    ranking.items.assign(shuffled_items)
    for i, weight in enumerate(ranking.trainable_variables):
        noise = tf.random.stateless_normal(tf.shape(weight), (1, i), stddev=0.2)
        weight.assign_add(noise)
    return TrainedRecommender(retrieval, ranking, num_candidates=3)


def test_ranking_reads_more_of_the_past_than_retrieval():
    recommender = long_recommender(max_history_length=4)
    assert recommender.max_history_length == 4
    assert long_recommender().max_history_length == 2
    # Retrieval reads the newest two alone: both are the same to it.
    first, second = request([[2, 3, 4, 5]]), request([[6, 7, 4, 5]])
    one, other = (recommender.encode(past).embeddings for past in (first, second))
    np.testing.assert_allclose(one, other, atol=1e-6)
    candidates, scores = tf.constant([[8, 9]]), tf.zeros((1, 2))
    ranked = [recommender.rank(p, candidates, scores).scores for p in (first, second)]
    assert np.abs(ranked[0] - ranked[1]).max() > 1e-4


def test_events_fade_by_hours_where_time_decay_is_asked_for():
    def attended(hours: int, **settings: Any) -> np.ndarray:
        model = shuffled(make_model(**settings))
        # What else tells times and types apart is silenced.
        for table in (model.fields.type_table, model.fields.event_gap_table):
            table.embeddings.assign(tf.zeros_like(table.embeddings))
        asked = inputs([[2, 3]], [[4, 5]])
        past = asked.request._replace(
            event_type_index=tf.constant([[2, 3]]),
            timestamps=tf.constant([[1, 1 + 3_600 * hours]], tf.int64),
            request_timestamp=tf.constant([1 + 3_600 * hours], tf.int64),
        )
        model.fields.items.assign(np.eye(8, 4, -2, dtype=np.float32))
        fields, _ = model.fields(asked._replace(request=past))
        pooled = fields["attended"].numpy()[0, 0]  # [weight of item 2, of item 3, ..]
        if settings:
            rates = model.fields.attention.decay_rate.numpy()[:, 0]
            spent[hours] = np.log1p(np.exp(rates[2])) * np.log1p(hours)
        return np.log(pooled[1] / pooled[0])

    spent: dict[int, float] = {}
    new, old = attended(0, time_decay=True), attended(30, time_decay=True)
    assert old - new == pytest.approx(spent[30] - spent[0], rel=1e-3)
    assert spent[30] > spent[0] == 0.0
    assert attended(0) == pytest.approx(attended(30))
