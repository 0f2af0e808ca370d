import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.examination import ExaminationTower, inverse_propensity
from tfrec.models.ranking_losses import pointwise_loss


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def test_untrained_tower_expects_a_place_k_to_be_seen_once_in_k():
    tower = ExaminationTower(4)
    np.testing.assert_allclose(
        tower.seen_probabilities(), [1, 1 / 2, 1 / 3, 1 / 4], rtol=1e-6
    )
    logits = np.random.default_rng(0).normal(size=(1, 6, 2)).astype(np.float32)
    positions = tf.constant([[1, 2, 3, 4, 9, 0]])
    observed = tower(tf.constant(logits), positions)
    # Behind the last place, and where the place is unknown.
    seen = np.array([1, 1 / 2, 1 / 3, 1 / 4, 1 / 4, 1])[:, None]
    np.testing.assert_allclose(
        sigmoid(observed[0].numpy()), seen * sigmoid(logits[0]), 1e-5
    )


def test_gradient_reaches_the_table_and_the_configuration_is_kept():
    tower = ExaminationTower(3)
    assert ExaminationTower.from_config(tower.get_config()).num_positions == 3
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tower(tf.zeros((1, 3, 1)), tf.constant([[1, 2, 3]])))
    (gradient,) = tape.gradient(loss, tower.trainable_weights)
    assert (np.abs(tf.convert_to_tensor(gradient)) > 0).all()
    with pytest.raises(ValueError, match="num_positions=1"):
        ExaminationTower(1)


def test_propensities_divide_and_unknown_ones_do_not_count():
    found = inverse_propensity(
        tf.constant([0.5, 1.0, 0.01, np.nan, 0.0]), min_propensity=0.2
    )
    np.testing.assert_allclose(found, [2, 1, 5, 1, 1])


SEEN = np.array([1.0, 0.6, 0.25, 0.1])


def biased_clicks() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items, places and clicks of lists in which the better item is shown last."""
    rng = np.random.default_rng(0)
    liked = np.array([0.15, 0.3, 0.45, 0.6])  # Item 3 is the best ...
    lists = 8_000
    keys = rng.random((lists, 4)) + 0.5 * np.arange(4)  # ... and mostly stands last.
    items = np.argsort(keys, axis=1)
    clicks = rng.random((lists, 4)) < SEEN * liked[items]
    return items, np.tile(np.arange(1, 5), (lists, 1)), clicks.astype(np.float32)


def learn(position_bias: str) -> tuple[np.ndarray, np.ndarray]:
    """Fits one logit per item; returns their probabilities and those of places."""
    items, positions, clicks = (tf.constant(a) for a in biased_clicks())
    logits, tower = tf.Variable(tf.zeros(4)), ExaminationTower(4)
    variables = [logits, *tower.trainable_weights]
    optimizer = tf.keras.optimizers.Adam(0.05)
    optimizer.build(variables)
    propensities = tf.gather(tf.constant(SEEN, tf.float32), positions - 1)
    weights = inverse_propensity(propensities, min_propensity=0.01)
    weights = tf.expand_dims(weights, -1)

    @tf.function
    def step() -> None:
        with tf.GradientTape() as tape:
            chosen = tf.expand_dims(tf.gather(logits, items), -1)
            if position_bias == "examination":
                chosen = tower(chosen, tf.cast(positions, tf.int32))
            loss = pointwise_loss(
                tf.expand_dims(clicks, -1),
                chosen,
                tf.ones_like(chosen, tf.bool),
                weights=weights if position_bias == "propensity" else None,
            ).mean()
        gradients = tape.gradient(loss, variables)
        pairs = zip(gradients, variables, strict=True)
        optimizer.apply_gradients([(g, v) for g, v in pairs if g is not None])

    for _ in range(200):
        step()
    return sigmoid(logits.numpy()), tower.seen_probabilities().numpy()


def test_clicks_at_biased_places_hide_the_order_of_what_is_liked():
    items, _, clicks = biased_clicks()
    rates = [clicks[items == item].mean() for item in range(4)]
    assert np.argmax(rates) != 3, "the bias is too weak; the test tests nothing"
    learned, _ = learn("none")
    np.testing.assert_allclose(learned, rates, atol=0.01)


def test_examination_tower_recovers_the_unbiased_order_and_the_places():
    learned, seen = learn("examination")
    np.testing.assert_allclose(learned, [0.15, 0.3, 0.45, 0.6], atol=0.05)
    np.testing.assert_allclose(seen, SEEN, atol=0.05)


def test_inverse_propensities_recover_the_unbiased_order():
    learned, _ = learn("propensity")
    items, positions, clicks = biased_clicks()
    weighted, missed = clicks / SEEN[positions - 1], 1.0 - clicks
    sums = [(weighted[items == i].sum(), missed[items == i].sum()) for i in range(4)]
    np.testing.assert_allclose(learned, [a / (a + b) for a, b in sums], atol=0.01)
    assert (np.diff(learned) > 0.02).all()
