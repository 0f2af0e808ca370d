import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import request
from tfrec.features.tokens import find_occurrences, request_tokens
from tfrec.models.query_tower import QueryTower

DIM = 4
PLACES = [2, 5]  # The last tokens of two histories of two events.


def run(tower: QueryTower, device: list[int], basket: list[float]) -> np.ndarray:
    return tower(*_inputs(), _context(device, basket)).numpy()


def _inputs() -> tuple:
    tokens = request_tokens(request([[2, 3], [4, 5]]))
    items = tf.random.stateless_normal((2, 3, DIM), (0, 0))
    occurrences = find_occurrences(tokens.item_index, tokens.segment_ids)
    return tokens, items, occurrences, tf.constant(PLACES)


def _context(device: list[int], basket: list[float]) -> dict[str, tf.Tensor]:
    return {"device": tf.constant(device), "basket": tf.constant(basket)}


@pytest.fixture(scope="module")
def tower() -> QueryTower:
    tf.keras.utils.set_random_seed(0)
    tower = QueryTower(
        DIM,
        num_event_types=2,
        max_history_length=4,
        num_layers=1,
        num_heads=2,
        feedforward_dim=4,
        dropout=0.0,
        use_request_time=True,
        context_sizes={"device": 3, "basket": 0},
    )
    run(tower, [0, 0], [0.0, 0.0])
    return tower


def test_context_changes_nothing_before_training(tower):
    np.testing.assert_array_equal(
        run(tower, [1, 2], [9.0, -3.0]), run(tower, [0, 0], [np.nan, np.nan])
    )


def test_query_is_the_normalised_sum_of_state_and_known_context(tower):
    device, basket = (tower.context_layers[name] for name in ("device", "basket"))
    before = [weight.numpy() for weight in (*device.weights, *basket.weights)]
    for i, weight in enumerate((*device.weights, *basket.weights)):
        weight.assign(tf.random.stateless_normal(tf.shape(weight), (1, i)))
    found = run(tower, [2, 0], [-9.0, np.nan])  # The second knows nothing.
    tokens, items, occurrences, _ = _inputs()
    states = tower.encoder(
        tower.event_encoder(tokens, items, occurrences), tokens.segment_ids
    )
    sums = states.numpy().reshape(-1, DIM)[PLACES]
    kernel, bias = basket.get_weights()
    sums[0] += device.get_weights()[0][2] - np.log(10.0) * kernel[0] + bias
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(found, sums / norms, rtol=1e-4, atol=1e-6)
    for weight, value in zip((*device.weights, *basket.weights), before, strict=True):
        weight.assign(value)


def test_dropout_acts_in_training_alone():
    tower = QueryTower(
        DIM,
        num_event_types=2,
        max_history_length=4,
        num_layers=1,
        num_heads=1,
        feedforward_dim=4,
        dropout=0.5,
        use_request_time=True,
        context_sizes={},
    )
    inputs = (*_inputs(), {})
    np.testing.assert_array_equal(tower(*inputs), tower(*inputs))
    trained = tower(*inputs, training=True)
    assert np.abs(trained - tower(*inputs)).max() > 1e-2
