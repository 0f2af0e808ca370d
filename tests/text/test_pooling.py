import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.text.pooling import (
    AttentionPooling,
    build_pooling,
    first_token_pooling,
    mean_pooling,
)

STATES = np.random.default_rng(0).normal(size=(3, 4, 2)).astype(np.float32)
LENGTHS = [4, 2, 0]
MASK = np.arange(4) < np.array(LENGTHS)[:, None]


def test_mean_is_over_real_tokens() -> None:
    expected = [STATES[0].mean(axis=0), STATES[1, :2].mean(axis=0), [0, 0]]
    found = mean_pooling(tf.constant(STATES), tf.constant(MASK))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_first_token_is_zero_where_there_is_none() -> None:
    found = first_token_pooling(tf.constant(STATES), tf.constant(MASK))
    np.testing.assert_allclose(found, [STATES[0, 0], STATES[1, 0], [0, 0]])


@pytest.mark.parametrize("query", [[0.0, 0.0], [1.5, -2.0]])
def test_attention_is_the_weighted_mean_of_its_formula(query: list[float]) -> None:
    layer = AttentionPooling()
    layer.build(tf.TensorShape([None, None, 2]))
    np.testing.assert_array_equal(layer.weights[0], [0, 0])
    layer.weights[0].assign(query)
    found = layer(tf.constant(STATES), tf.constant(MASK)).numpy()
    for row, length in enumerate(LENGTHS):
        states = STATES[row, :length].astype(np.float64)
        if not length:
            np.testing.assert_array_equal(found[row], [0, 0])
            continue
        logits = states @ (np.array(query) + states.mean(axis=0)) / np.sqrt(2)
        weights = np.exp(logits) / np.exp(logits).sum()
        np.testing.assert_allclose(found[row], weights @ states, atol=1e-5)


def test_attention_keeps_the_contract_of_layers() -> None:
    # The last row has no token: its gradient is nothing, and not NaN.
    layer = AttentionPooling()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(tf.constant(STATES), tf.constant(MASK)) ** 2)
    gradient = tape.gradient(loss, layer.trainable_variables)[0]
    gradient = tf.convert_to_tensor(gradient).numpy()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 1e-3
    check_layer(AttentionPooling, {}, [STATES, MASK], save=False)


def test_unknown_poolings_are_named() -> None:
    with pytest.raises(ValueError, match="`mean`, `cls` or `attention`.*'max'"):
        build_pooling("max")
