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
from tfrec.models.repeat_bias import WEIGHT_SCALE
from tfrec.models.transition_mixture import TransitionMixture, Transitions

# Item 2 was followed 4 times by item 3 and once by item 4; item 5 once by item 2.
PAIRS = {(2, 3): 4.0, (2, 4): 1.0, (5, 2): 1.0}


def built_layer() -> TransitionMixture:
    layer = TransitionMixture(NUM_ITEMS)
    layer.build((None, 2))
    index = np.zeros((NUM_ITEMS + 2, NUM_FOLLOWERS), np.int32)
    count = np.zeros(index.shape, np.float32)
    for (item, follower), number in PAIRS.items():
        place = int((index[item] > 0).sum())
        index[item, place], count[item, place] = follower, number
    layer.set_followers(Followers(index, count, count.sum(axis=1)))
    return layer


def mixed(
    layer: TransitionMixture, items: list[int], target: int | None = None
) -> dict[int, float]:
    """Returns what each item gets, and under 0 what is left to the softmax."""
    tokens = request_tokens(request([items]))
    found = layer(
        tf.ones((1, 2)),
        tf.constant([len(items)]),  # Behind the start token.
        tokens,
        targets=None if target is None else tf.constant([target]),
    )
    totals: dict[int, float] = {}
    for item, mass in zip(found.item_index[0], found.probability[0], strict=True):
        if item:
            totals[int(item)] = totals.get(int(item), 0.0) + float(mass)
    rest = float(tf.exp(found.log_softmax_share[0]))
    assert rest + sum(totals.values()) == pytest.approx(1.0, rel=1e-5)
    return {**totals, 0: rest}


def weigh(layer: TransitionMixture, *logits: float) -> None:
    layer.step_weights.assign(np.array(logits) / WEIGHT_SCALE)


def test_what_followed_more_often_gets_more_and_rare_pairs_are_doubted():
    layer = built_layer()
    weigh(layer, 0.0, -1e4, -1e4)  # Half of it to the newest item.
    found = mixed(layer, [5, 2])
    assert found[3] == pytest.approx(0.5 * 4 / (5 + 5), rel=1e-5)
    assert found[4] == pytest.approx(0.5 * 1 / (5 + 5), rel=1e-5)


def test_an_untrained_layer_leaves_most_to_the_softmax():
    assert mixed(built_layer(), [2])[0] > 0.9


def test_events_further_back_have_weights_of_their_own():
    layer = built_layer()
    weigh(layer, -1e4, 0.0, -1e4)
    assert mixed(layer, [5, 2])[2] == pytest.approx(0.5 / 6, rel=1e-5)
    weigh(layer, -1e4, -1e4, 0.0)
    assert mixed(layer, [5, 2, 7])[2] == pytest.approx(0.5 / 6, rel=1e-5)
    assert mixed(layer, [5, 2, 7, 8]).keys() == {0, 3, 4}  # Four events back.


def test_an_item_leads_on_once_however_often_it_stands_there():
    layer = built_layer()
    once, thrice = mixed(layer, [2]), mixed(layer, [2, 2, 2])
    assert thrice[3] == pytest.approx(once[3], rel=1e-6)


def test_in_training_the_own_pair_does_not_count():
    layer = built_layer()
    weigh(layer, 0.0, 0.0, 0.0)
    assert mixed(layer, [2], target=4)[4] == 0.0
    assert mixed(layer, [2], target=3)[3] == pytest.approx(0.5 * 3 / (4 + 5), rel=1e-5)
    assert mixed(layer, [2], target=3)[4] == pytest.approx(0.5 * 1 / (4 + 5), rel=1e-5)
    # The pair of an earlier event is not this one.
    assert mixed(layer, [2, 5], target=4)[4] > 0.0


def in_training(
    layer: TransitionMixture, items: list[int], places: list[int], targets: list[int]
) -> np.ndarray:
    """Returns what each target gets, asked for behind so many events."""
    found = layer(
        tf.ones((len(places), 2)),
        tf.constant(places),
        request_tokens(request([items])),
        targets=tf.constant(targets),
    )
    return tf.exp(found.log_mass(tf.constant(targets))).numpy()


def test_of_a_basket_the_first_line_alone_was_counted_after_the_query():
    layer = built_layer()
    weigh(layer, 0.0, -1e4, -1e4)
    first, second = in_training(layer, [2], [1, 1], [3, 4])
    assert first == pytest.approx(0.5 * 3 / (4 + 5), rel=1e-5)
    assert second == pytest.approx(0.5 * 1 / (5 + 5), rel=1e-5)


def test_the_pair_is_that_of_the_newest_item_behind_what_is_unknown():
    layer = built_layer()
    weigh(layer, -1e4, 0.0, -1e4)
    (found,) = in_training(layer, [2, 1], [2], [3])
    assert found == pytest.approx(0.5 * 3 / (4 + 5), rel=1e-5)


def test_the_newest_item_again_is_no_pair():
    layer = built_layer()
    weigh(layer, 0.0, 0.0, 0.0)
    one, other = mixed(layer, [2]), mixed(layer, [2], target=2)
    assert other == pytest.approx(one)


def test_the_query_decides_how_much_it_counts():
    layer = built_layer()
    weigh(layer, 0.0, -1e4, -1e4)
    layer.query_weights.assign(np.array([[0.1, 0, 0], [0.2, 0, 0]]) * 10 / WEIGHT_SCALE)
    share = 1 / (1 + np.exp(-3.0))
    assert mixed(layer, [2])[3] == pytest.approx(share * 4 / 10, rel=1e-5)


def test_a_history_ends_where_its_segment_begins():
    layer = built_layer()
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
    assert none.probability.shape[0] == 0


def transitions(
    item_index: list[list[int]], probability: list[list[float]]
) -> Transitions:
    rest = 1.0 - np.sum(probability, axis=1)
    return Transitions(
        tf.constant(item_index, tf.int32),
        tf.constant(probability, tf.float32),
        tf.constant(np.log(rest), tf.float32),
    )


def test_a_mixture_is_a_distribution_and_adds_up_what_stands_there_twice():
    softmax = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]], np.float32)
    found = transitions(
        item_index=[[2, 4, 2], [0, 0, 3]],
        probability=[[0.1, 0.2, 0.3], [0.0, 0.0, 0.25]],
    )
    scores = found.mixed_with(tf.math.log(softmax))
    expected = [
        [0.4 * 0.5 + 0.4, 0.4 * 0.3, 0.4 * 0.2 + 0.2],
        [0.75 * 0.1, 0.75 * 0.2 + 0.25, 0.75 * 0.7],
    ]
    np.testing.assert_allclose(tf.exp(scores), expected, rtol=1e-5)
    mass = found.log_mass(tf.constant([2, 3]))
    np.testing.assert_allclose(tf.exp(mass), [0.4, 0.25], rtol=1e-5)
    assert np.isfinite(found.log_mass(tf.constant([3, 4]))).all()


def test_gradients_reach_an_item_once_however_often_it_stands_there():
    logits = tf.constant([[0.3, -0.2, 0.1]])
    found = transitions([[2, 4, 2]], [[0.1, 0.2, 0.3]])
    dense = tf.constant([[0.4, 0.0, 0.2]])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(logits)
        log_softmax = tf.nn.log_softmax(logits)
        mixed_in = tf.reduce_sum(found.mixed_with(log_softmax) * [[1.0, 2.0, 3.0]])
        expected = tf.math.log(0.4 * tf.exp(log_softmax) + dense)
        expected = tf.reduce_sum(expected * [[1.0, 2.0, 3.0]])
    found_gradient, plain_gradient = (
        tf.convert_to_tensor(tape.gradient(value, logits))
        for value in (mixed_in, expected)
    )
    np.testing.assert_allclose(found_gradient, plain_gradient, rtol=1e-5)


def test_some_items_may_be_left_out():
    found = transitions([[2, 3]], [[0.1, 0.2]])
    left = found.without(tf.constant([False, False, True, False]))
    np.testing.assert_allclose(left.probability, [[0.0, 0.2]])


def test_what_is_not_offered_is_not_mixed_in():
    found = transitions(item_index=[[2]], probability=[[0.5]])
    scores = found.mixed_with(tf.constant([[-np.inf, 0.0]]))
    np.testing.assert_allclose(scores, [[-np.inf, np.log(0.5)]], rtol=1e-6)


def test_a_model_scores_by_what_it_counted():
    model = toy_model(transitions=True)
    layer = model.transition_mixture
    assert layer is not None
    asked = request([[2, 3]])
    encoded = model.encode(asked, model.item_vectors())
    before = model.scores(encoded, model.candidate_keys()).numpy()
    counted = count_followers(toy_sequences(), SCHEMA, NUM_ITEMS)
    layer.set_followers(counted)
    weigh(layer, 0.0, -1e4, -1e4)
    encoded = model.encode(asked, model.item_vectors())
    after = model.scores(encoded, model.candidate_keys()).numpy()
    np.testing.assert_allclose(np.exp(after).sum(axis=1), 1.0, rtol=1e-5)
    risen = np.flatnonzero((after > before)[0]) + 2
    assert set(risen) == set(counted.item_index[3]) - {0}


def test_the_loss_is_that_of_the_scores():
    model = toy_model(transitions=True)
    layer = model.transition_mixture
    assert layer is not None
    layer.set_followers(count_followers(toy_sequences(), SCHEMA, NUM_ITEMS))
    weigh(layer, 1.0, 0.0, 0.5)
    batch = one_batch(toy_sequences(), max_length=4)
    encoded = model.encode_batch(
        batch,
        tf.gather(model.item_vectors(), batch.tokens.item_index),
        None,
        training=False,
    )
    scores = model.scores(encoded, model.candidate_keys())
    own = tf.gather(scores, batch.target_items - 2, batch_dims=1)
    expected = -np.average(own, weights=batch.target_weights)
    assert float(model(batch, training=False)) == pytest.approx(expected, rel=1e-4)


def test_weights_learn_and_counts_do_not():
    model = toy_model(transitions=True)
    layer = model.transition_mixture
    assert layer is not None
    layer.set_followers(count_followers(toy_sequences(), SCHEMA, NUM_ITEMS))
    batch = one_batch(toy_sequences(), max_length=4)
    with tf.GradientTape() as tape:
        loss = model(batch, training=True)
    learned = [layer.step_weights, layer.query_weights]
    for gradient in tape.gradient(loss, learned):
        assert np.abs(np.asarray(gradient)).max() > 0
    names = [w.name for w in model.trainable_variables]
    assert not any("followers" in name or "total" in name for name in names)


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "in_batch"},
        {"encoder": "bert4rec"},
        {"num_interests": 2},
        {"label_smoothing": 0.1},
    ],
)
def test_where_they_do_not_fit_they_are_refused(settings):
    with pytest.raises(ValueError, match="transitions=(true|false)"):
        RetrievalConfig(transitions=True, **settings)


def test_config_round_trip():
    layer = TransitionMixture.from_config(TransitionMixture(5).get_config())
    assert layer.num_items == 5
