import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import (
    NUM_ITEMS,
    SCHEMA,
    one_batch,
    request,
    toy_model,
    toy_sequences,
)
from tfrec.config import RetrievalConfig
from tfrec.features.followers import NUM_FOLLOWERS, Followers, count_followers
from tfrec.features.tokens import Tokens, request_tokens
from tfrec.models.transition_bias import TransitionBias

# Item 2 was followed 4 times by item 3 and once by item 4; item 5 once by item 2.
PAIRS = {(2, 3): 4.0, (2, 4): 1.0, (5, 2): 1.0}


def built_layer() -> TransitionBias:
    layer = TransitionBias(NUM_ITEMS)
    layer.build((None, 2))
    index = np.zeros((NUM_ITEMS + 2, NUM_FOLLOWERS), np.int32)
    count = np.zeros(index.shape, np.float32)
    for (item, follower), number in PAIRS.items():
        place = int((index[item] > 0).sum())
        index[item, place], count[item, place] = follower, number
    layer.set_followers(Followers(index, count, count.sum(axis=1)))
    return layer


def weight_of(count: float, total: float) -> float:
    return float(np.log1p(100.0 * count / (total + 5.0)) / 5.0)


def logits(
    layer: TransitionBias, items: list[int], target: int | None = None
) -> dict[int, float]:
    tokens = request_tokens(request([items]))
    found = layer(
        tf.ones((1, 2)),
        tf.constant([len(items)]),  # Behind the start token.
        tokens,
        None if target is None else tf.constant([target]),
    )
    totals: dict[int, float] = {}
    for item, logit in zip(found.item_index[0], found.logits[0], strict=True):
        if item:
            totals[int(item)] = totals.get(int(item), 0.0) + float(logit)
    return totals


def test_an_untrained_layer_adds_nothing():
    assert logits(built_layer(), [2]) == {3: 0.0, 4: 0.0}


def test_what_followed_more_often_gets_more():
    layer = built_layer()
    layer.step_weights.assign([0.5, 0.0, 0.0])
    found = logits(layer, [5, 2])
    # The layer's weights count tenfold.
    assert found[3] == pytest.approx(5.0 * weight_of(4, 5), rel=1e-5)
    assert found[4] == pytest.approx(5.0 * weight_of(1, 5), rel=1e-5)
    assert found[2] == 0.0  # Of the event before: its weight is 0.


def test_events_further_back_have_weights_of_their_own():
    layer = built_layer()
    layer.step_weights.assign([0.0, 0.2, 0.0])
    assert logits(layer, [5, 2])[2] == pytest.approx(2.0 * weight_of(1, 1), rel=1e-5)
    layer.step_weights.assign([0.0, 0.0, 0.2])
    assert logits(layer, [5, 2, 7])[2] == pytest.approx(2 * weight_of(1, 1), rel=1e-5)
    assert logits(layer, [5, 2, 7, 8]).keys() == {3, 4}  # Four events back.


def test_an_item_leads_on_once_however_often_it_stands_there():
    layer = built_layer()
    layer.step_weights.assign([0.1, 0.1, 0.1])
    once, thrice = logits(layer, [2]), logits(layer, [2, 2, 2])
    assert thrice[3] == pytest.approx(once[3], rel=1e-6)


def test_in_training_the_own_pair_does_not_count():
    layer = built_layer()
    layer.step_weights.assign([0.1, 0.1, 0.1])
    assert logits(layer, [2], target=4)[4] == 0.0
    assert logits(layer, [2], target=3)[3] == pytest.approx(weight_of(3, 5), rel=1e-5)
    assert logits(layer, [2], target=3)[4] == pytest.approx(weight_of(1, 5), rel=1e-5)
    # The pair of an earlier event is not this one.
    assert logits(layer, [2, 5], target=4)[4] > 0.0


def test_the_query_decides_how_much_it_counts():
    layer = built_layer()
    layer.query_weights.assign([0.1, 0.2])
    found = logits(layer, [2])
    assert found[3] == pytest.approx(3.0 * weight_of(4, 5), rel=1e-5)


def test_a_history_ends_where_its_segment_begins():
    layer = built_layer()
    layer.step_weights.assign([0.1, 0.1, 0.1])
    first, second = (request_tokens(request([[item]])) for item in (2, 5))
    packed = Tokens(*(tf.concat(pair, 1) for pair in zip(first, second, strict=True)))
    packed = packed._replace(segment_ids=tf.constant([[1, 1, 2, 2]]))
    found = layer(tf.ones((2, 2)), tf.constant([1, 3]), packed)
    assert set(found.item_index.numpy()[0].tolist()) == {0, 3, 4}
    assert set(found.item_index.numpy()[1].tolist()) == {0, 2}


def test_no_history_and_no_query_are_no_error():
    layer = built_layer()
    tokens = request_tokens(request([[0, 0]]))
    found = layer(tf.ones((1, 2)), tf.constant([0]), tokens)
    assert not found.item_index.numpy().any()
    none = layer(tf.ones((0, 2)), tf.zeros([0], tf.int32), tokens)
    assert none.logits.shape[0] == 0


def test_a_model_scores_by_what_it_counted():
    model = toy_model(transitions=True)
    assert model.transition_bias is not None
    asked = request([[2, 3]])
    encoded = model.encode(asked, model.item_vectors())
    before = model.scores(encoded, model.candidate_keys()).numpy()
    counted = count_followers(toy_sequences(), SCHEMA, NUM_ITEMS)
    model.transition_bias.set_followers(counted)
    model.transition_bias.step_weights.assign([0.3, 0.0, 0.0])
    model.transition_bias.query_weights.assign(tf.zeros([8]))
    encoded = model.encode(asked, model.item_vectors())
    after = model.scores(encoded, model.candidate_keys()).numpy()
    changed = np.flatnonzero(np.abs(after - before)[0] > 1e-6) + 2
    assert set(changed) == set(counted.item_index[3]) - {0}


def test_weights_learn_and_counts_do_not():
    model = toy_model(transitions=True)
    bias = model.transition_bias
    assert bias is not None
    bias.set_followers(count_followers(toy_sequences(), SCHEMA, NUM_ITEMS))
    batch = one_batch(toy_sequences(), max_length=4)
    with tf.GradientTape() as tape:
        loss = model(batch, training=True)
    learned = [bias.step_weights, bias.query_weights]
    for gradient in tape.gradient(loss, learned):
        assert np.abs(np.asarray(gradient)).max() > 0
    names = [w.name for w in model.trainable_variables]
    assert not any("followers" in name or "total" in name for name in names)


@pytest.mark.parametrize("settings", [{"loss": "in_batch"}, {"encoder": "bert4rec"}])
def test_where_they_do_not_fit_they_are_refused(settings):
    with pytest.raises(ValueError, match="transitions=true"):
        RetrievalConfig(transitions=True, **settings)


def test_config_round_trip():
    config = TransitionBias(5).get_config()
    assert TransitionBias.from_config(config).num_items == 5
