"""Interests of a history, against the formula in numpy."""

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.models.interest_pooling import InterestPooling

DIM, NUM_INTERESTS = 4, 3
SEGMENTS = np.array([[1, 1, 1, 2, 2, 0]], np.int32)


@pytest.fixture(scope="module")
def layer() -> InterestPooling:
    tf.keras.utils.set_random_seed(0)
    layer = InterestPooling(NUM_INTERESTS)
    layer(states(), tf.constant(SEGMENTS))
    noise = tf.random.stateless_normal(tf.shape(layer.kernel), (1, 1))
    layer.kernel.assign_add(noise)
    return layer


def states(seed: int = 0) -> tf.Tensor:
    return tf.random.stateless_normal((1, SEGMENTS.shape[1], DIM), (0, seed))


def test_an_interest_is_the_state_and_an_attention_over_what_was_before(layer):
    found = layer(states(), tf.constant(SEGMENTS)).numpy()[0]
    values = states().numpy()[0]
    hidden, attention, kernel = (
        layer.hidden.kernel.numpy(),
        layer.attention.kernel.numpy(),
        layer.kernel.numpy(),
    )
    logits = np.tanh(values @ hidden) @ attention
    for place in range(5):
        read = [t for t in range(place + 1) if SEGMENTS[0, t] == SEGMENTS[0, place]]
        for j in range(NUM_INTERESTS):
            weights = np.exp(logits[read, j])
            pooled = (weights / weights.sum()) @ values[read]
            expected = values[place] + pooled @ kernel[j]
            np.testing.assert_allclose(found[place, j], expected, rtol=1e-4, atol=1e-5)


def test_interests_see_nothing_later_and_no_other_history(layer):
    before = layer(states(), tf.constant(SEGMENTS)).numpy()[0]
    changed = states().numpy()
    changed[0, 2] += 1.0  # The last token of the first history.
    after = layer(tf.constant(changed), tf.constant(SEGMENTS)).numpy()[0]
    np.testing.assert_array_equal(after[[0, 1, 3, 4]], before[[0, 1, 3, 4]])
    assert np.abs(after[2] - before[2]).max() > 0.1


def test_interests_are_told_apart_before_training():
    tf.keras.utils.set_random_seed(0)
    fresh = InterestPooling(2)(states(), tf.constant(SEGMENTS)).numpy()[0]
    assert np.abs(fresh[1, 0] - fresh[1, 1]).max() > 1e-3
    # The first token has nothing but itself to pool: they are one there.
    np.testing.assert_allclose(fresh[0, 0], fresh[0, 1], rtol=1e-6)


def test_contract_of_layers():
    check_layer(
        InterestPooling,
        {"num_interests": 3, "dropout": 0.25},
        [tf.repeat(states(), 2, axis=0), np.repeat(SEGMENTS, 2, axis=0)],
    )


def test_one_interest_needs_no_pooling():
    with pytest.raises(ValueError, match="num_interests=1"):
        InterestPooling(1)
