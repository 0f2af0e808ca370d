import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request, rich_item_table
from tfrec.config import RankingConfig
from tfrec.features.item_statistics import NUM_NEIGHBOURS, ItemStatistics, Neighbours
from tfrec.models.ranking_model import (
    RankingBatch,
    RankingInputs,
    RankingModel,
)
from tfrec.schema import Schema

SCHEMA = Schema(
    event_types=("event", "cart"),
    target_event_types=("event",),
    head_event_types=("event", "cart"),
)
DIM = 4


def make_model(
    *, context_sizes: dict[str, int] | None = None, **settings: object
) -> RankingModel:
    tf.keras.utils.set_random_seed(0)
    config = RankingConfig.model_validate(
        {"hidden_dims": [8], "attribute_dim": 2, "attention_dim": 2, **settings}
    )
    model = RankingModel(
        config,
        SCHEMA,
        rich_item_table(),
        embedding_dim=DIM,
        context_sizes=context_sizes or {},
    )
    model(inputs([[2, 3]], [[2, 3, 4]], device=[1], basket=[1.0]))
    return model


def inputs(
    histories: list[list[int]], candidates: list[list[int]], **context: list
) -> RankingInputs:
    """Lists in the order of retrieval; models without context read none."""
    index = tf.constant(candidates)
    scores = -tf.constant([float(i + 1) for i in range(len(candidates[0]))])
    past = request(histories, timestamps=[[9] * len(h) for h in histories])
    return RankingInputs(
        past._replace(context={k: tf.constant(v) for k, v in context.items()}),
        tf.ones((index.shape[0], DIM)),
        index,
        tf.broadcast_to(scores, index.shape),
    )


def test_training_starts_from_the_order_of_retrieval():
    model = make_model()
    logits = model(inputs([[2, 3]], [[4, 5, 6]]))
    np.testing.assert_allclose(logits[0, :, 0], [-1, -2, -3], rtol=1e-6)
    # The other head follows that of the target.
    np.testing.assert_allclose(logits[0, :, 1], [-0.5, -1, -1.5], rtol=1e-6)
    assert tf.argsort(
        model.scores(logits), direction="DESCENDING"
    ).numpy().tolist() == [[0, 1, 2]]


def test_no_head_follows_a_target_that_is_a_later_stage():
    model = make_model(funnel=("cart", "event"))
    # The target's logit is one of those that were carted: nobody can follow it.
    np.testing.assert_allclose(model.retrieval_weight, [0.0, 1.0])
    assert not model.followed.weights
    logits = model(inputs([[2, 3]], [[4, 5, 6]]))
    np.testing.assert_allclose(logits[0, :, 1], [-1, -2, -3], rtol=1e-6)


def test_final_score_counts_target_heads_unless_weights_say_otherwise():
    logits = tf.constant([[[0.0, 2.0], [1.0, -2.0]]])
    # Only the first head is of a target type.
    expected = 1 / (1 + np.exp(-np.array([[0.0, 1.0]])))
    np.testing.assert_allclose(make_model().scores(logits), expected, rtol=1e-6)
    weighted = make_model(head_weights={"event": 0.0, "cart": 2.0}).scores(logits)
    expected = 2 / (1 + np.exp(-np.array([[2.0, -2.0]])))
    np.testing.assert_allclose(weighted, expected, rtol=1e-6)


def shuffled(model: RankingModel) -> RankingModel:
    for i, weight in enumerate(model.trainable_variables):
        weight.assign_add(
            tf.random.stateless_normal(tf.shape(weight), (1, i), stddev=0.2)
        )
    model.items.assign(tf.random.stateless_normal(tf.shape(model.items), (2, 2)))
    return model


def test_padding_of_history_and_candidates_changes_nothing():
    model = shuffled(make_model())
    short = model(inputs([[2, 3]], [[4, 5]]))
    long = model(inputs([[2, 3, 0, 0]], [[4, 5, 0]]))
    np.testing.assert_allclose(long[:, :2], short, atol=1e-5)


def test_a_candidate_is_scored_alone_as_among_others():
    model = shuffled(make_model())
    together = model(inputs([[2, 3], [6, 0]], [[4, 5, 7], [2, 3, 4]]))
    alone = model(inputs([[6]], [[2]]))
    np.testing.assert_allclose(together[1, 0], alone[0, 0], atol=1e-5)


def test_an_empty_history_gives_finite_scores():
    logits = shuffled(make_model())(inputs([[0, 0]], [[4, 5, 1]]))
    assert np.isfinite(logits).all()


def test_candidate_that_follows_the_last_event_can_be_told_apart():
    model = shuffled(make_model())
    before = model(inputs([[2, 3]], [[4, 5]]))
    item_index = np.zeros((8, NUM_NEIGHBOURS), np.int32)
    strength = np.zeros((8, NUM_NEIGHBOURS), np.float32)
    item_index[3, 0], strength[3, 0] = 5, 0.8  # 5 often comes after 3.
    nothing = Neighbours(np.zeros_like(item_index), np.zeros_like(strength))
    demand = np.zeros((8, 2), np.float32)
    statistics = ItemStatistics(Neighbours(item_index, strength), nothing, demand)
    model.set_frozen(model.items, statistics)
    after = model(inputs([[2, 3]], [[4, 5]]))
    np.testing.assert_allclose(after[0, 0], before[0, 0], atol=1e-6)
    assert np.abs(after[0, 1] - before[0, 1]).max() > 1e-3


def test_a_planted_preference_is_learned_over_the_retrieval_order():
    """Relevant is the candidate of the history's category, whatever its place."""
    model = make_model(dropout=0.0)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.03))
    rng = np.random.default_rng(0)

    def batch(size: int) -> RankingBatch:
        first = rng.random(size) < 0.5
        histories = np.where(first[:, None], [[2, 3]], [[5, 6]])
        candidates = np.array([rng.permutation([4, 5 + k % 2]) for k in range(size)])
        relevant = (candidates == 4) == first[:, None]
        labels = np.repeat(relevant[..., None], 2, axis=2).astype(np.int8)
        lists = inputs(histories.tolist(), candidates.tolist())
        return RankingBatch(lists, tf.constant(labels))

    def accuracy(lists: RankingBatch) -> float:
        best = tf.argmax(model(lists.inputs)[..., 0], axis=1, output_type=tf.int32)
        return float(
            tf.reduce_mean(tf.gather(lists.labels[..., 0], best, batch_dims=1))
        )

    test = batch(64)
    assert accuracy(test) < 75 / 100
    step = tf.function(model.train_step)
    for _ in range(60):
        step(batch(32))
    shares = tf.cast(test.labels[..., 0], tf.float32)
    best = tf.argmax(model(test.inputs)[..., 0], axis=1)
    assert float(tf.reduce_mean(tf.gather(shares, best, batch_dims=1))) > 0.95


@pytest.mark.parametrize("label", [-1, 0])
def test_undefined_labels_and_padding_are_not_learned_from(label):
    model = make_model(dropout=0.0)
    lists = inputs([[2, 3]], [[4, 5, 0]])
    labels = np.zeros((1, 3, 2), np.int8)
    labels[0, 0] = 1
    labels[0, 1] = label
    changed = labels.copy()
    changed[0, 2] = 1  # Of padding.
    first = model.compute_loss(RankingBatch(lists, tf.constant(labels)))
    second = model.compute_loss(RankingBatch(lists, tf.constant(changed)))
    np.testing.assert_allclose(first, second)
    if label == -1:
        # Log-sigmoid of one defined logit of each head, -1 of the target and half of
        # it; lists of one have no listwise loss.
        expected = np.log1p(np.exp([1.0, 0.5])).mean()
        np.testing.assert_allclose(first, expected, rtol=1e-5)


def test_weights_of_the_losses_are_those_of_the_configuration():
    lists = inputs([[2, 3]], [[4, 5]])
    batch = RankingBatch(lists, tf.constant([[[1, 0], [0, 0]]], tf.int8))

    def loss(pointwise: float, listwise: float) -> float:
        model = make_model(pointwise_weight=pointwise, listwise_weight=listwise)
        return float(model.compute_loss(batch))

    together = 2.0 * loss(1.0, 0.0) + 3.0 * loss(0.0, 1.0)
    assert loss(1.0, 0.0) != pytest.approx(loss(0.0, 1.0))
    assert loss(2.0, 3.0) == pytest.approx(together, rel=1e-5)


def test_novel_loss_takes_what_was_met_out_of_the_list():
    # Of the candidates 2, 4 and 5 the history holds 2.
    lists = inputs([[2, 3]], [[2, 4, 5]])
    labels = tf.constant([[[1, 0], [1, 0], [0, 0]]], tf.int8)
    model = shuffled(
        make_model(pointwise_weight=0.0, listwise_weight=0.0, novel_weight=2.0)
    )
    logits = model(lists).numpy()[0, :, 0]
    # One list has a positive: candidate 4 among 4 and 5. The other head has none.
    expected = np.log(np.exp(logits[1]) + np.exp(logits[2])) - logits[1]
    loss = model.compute_loss(RankingBatch(lists, labels))
    assert float(loss) == pytest.approx(2.0 * expected, rel=1e-4)


def test_gradients_reach_every_weight():
    model = shuffled(make_model(context_sizes={"device": 3, "basket": 0}))
    lists = inputs([[2, 3]], [[4, 5]], device=[2], basket=[3.0])
    batch = RankingBatch(lists, tf.constant([[[1, 0], [0, 1]]], tf.int8))
    with tf.GradientTape() as tape:
        loss = model.compute_loss(batch, training=True)
    gradients = tape.gradient(loss, model.trainable_variables)
    for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, weight.name
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name
    frozen = [model.items, model.demand, *model.next_item, *model.near]
    trained = {id(weight) for weight in model.trainable_variables}
    assert not any(id(weight) in trained for weight in frozen)


def test_context_is_read_and_an_unknown_number_counts_as_zero():
    model = shuffled(make_model(context_sizes={"device": 3, "basket": 0}))

    def logits(device: int, basket: float) -> np.ndarray:
        lists = inputs([[2, 3]], [[4, 5]], device=[device], basket=[basket])
        return model(lists).numpy()

    base = logits(0, 0.0)
    assert np.abs(logits(2, 0.0) - base).max() > 1e-3
    assert np.abs(logits(0, 50.0) - base).max() > 1e-3
    np.testing.assert_array_equal(logits(0, np.nan), base)


def test_mixed_precision_gives_the_scores_of_float32():
    lists = inputs([[2, 3]], [[4, 5, 6]])
    expected = shuffled(make_model(dropout=0.0))(lists)
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = shuffled(make_model(dropout=0.0))
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    assert model.tasks.compute_dtype == "bfloat16"
    found = model(lists)
    assert found.dtype == tf.float32
    np.testing.assert_allclose(found, expected, atol=0.06)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.01))
    labels = tf.constant([[[0, 0], [0, 0], [1, 1]]], tf.int8)
    losses = [model.train_step(RankingBatch(lists, labels))["loss"] for _ in range(10)]
    assert losses[-1] < losses[0]


def test_searches_of_the_history_are_passed_over():
    model = shuffled(make_model())
    asked = inputs([[2, 3, 4]], [[4, 5, 6]])
    without = model(inputs([[2, 3]], [[4, 5, 6]]))
    np.testing.assert_raises(
        AssertionError, np.testing.assert_allclose, model(asked), without, atol=1e-4
    )
    model.search_type_index = len(SCHEMA.event_types) + 2
    types = tf.constant([[2, 2, model.search_type_index]])
    searched = asked.request._replace(event_type_index=types)
    plain = inputs([[2, 3]], [[4, 5, 6]])
    past = plain.request._replace(event_type_index=tf.constant([[2, 2]]))
    np.testing.assert_allclose(
        model(asked._replace(request=searched)),
        model(plain._replace(request=past)),
        atol=1e-5,
    )


def test_a_dwell_is_a_day_at_most():
    model = make_model(dwell_weight=1.0)
    outputs = model.forward(inputs([[2, 3]], [[4, 5, 6]]))
    huge = outputs._replace(log_dwell=tf.constant([[500.0, -3.0, np.log(11.0)]]))
    found = model.dwell_seconds(huge)
    assert found is not None
    np.testing.assert_allclose(found[0], [86_400.0, 0.0, 10.0], rtol=1e-4)
