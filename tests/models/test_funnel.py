import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.funnel import and_then, funnel_labels, funnel_logits


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def test_probability_of_both_is_the_product():
    first, then = np.random.default_rng(0).normal(scale=3, size=(2, 50))
    both = and_then(tf.constant(first), tf.constant(then))
    np.testing.assert_allclose(sigmoid(both.numpy()), sigmoid(first) * sigmoid(then))


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        # Nearly certain: 1 - p = 2 exp(-40); nearly never: log p = -40 - 40.
        (40.0, 40.0, 40.0 - np.log(2)),
        (-40.0, -40.0, -80.0),
        (500.0, -3.0, -3.0),
        (-3.0, 500.0, -3.0),
        (1e4, 1e4, 1e4 - np.log(2)),
        (-1e4, -1e4, -2e4),
    ],
)
def test_extreme_probabilities_keep_their_digits(first, then, expected):
    a, b = tf.constant(first), tf.constant(then)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        both = and_then(a, b)
    np.testing.assert_allclose(both, expected, rtol=1e-5)
    for gradient in tape.gradient(both, [a, b]):
        assert np.isfinite(tf.convert_to_tensor(gradient))


def test_gradient_is_that_of_the_product():
    a, b = tf.constant(0.7, tf.float64), tf.constant(-1.3, tf.float64)
    with tf.GradientTape() as tape:
        tape.watch([a, b])
        both = and_then(a, b)
    found = [tf.convert_to_tensor(g) for g in tape.gradient(both, [a, b])]
    for i in range(2):
        step = np.eye(2)[i] * 1e-6

        def logit(x: np.ndarray) -> float:
            p = sigmoid(x[0]) * sigmoid(x[1])
            return float(np.log(p / (1 - p)))

        here = np.array([0.7, -1.3])
        slope = (logit(here + step) - logit(here - step)) / 2e-6
        np.testing.assert_allclose(found[i], slope, rtol=1e-6)


def test_probabilities_never_grow_along_the_funnel_and_others_stay():
    logits = np.random.default_rng(1).normal(scale=2, size=(3, 4, 4))
    found = funnel_logits(tf.constant(logits), [1, 2, 3]).numpy()
    np.testing.assert_array_equal(found[..., :2], logits[..., :2])
    p, conditional = sigmoid(found), sigmoid(logits)
    assert (np.diff(p[..., 1:], axis=-1) < 0).all()
    np.testing.assert_allclose(p[..., 3], conditional[..., 1:].prod(axis=-1))


def test_without_a_funnel_nothing_changes():
    logits = tf.constant([[[1.0, 2.0]]])
    np.testing.assert_array_equal(funnel_logits(logits, []), logits)


def test_what_reached_a_stage_reached_those_before():
    # Heads: view, click, cart, purchase; the funnel begins with the click.
    labels = tf.constant(
        [[0, 0, 1, 0], [-1, -1, 0, 1], [0, -1, 0, 0], [1, 0, -1, -1]], tf.int8
    )
    expected = [[0, 1, 1, 0], [-1, 1, 1, 1], [0, -1, 0, 0], [1, 0, -1, -1]]
    found = funnel_labels(labels, [1, 2, 3])
    assert found.dtype == tf.int8
    assert found.numpy().tolist() == expected
    assert funnel_labels(labels, []).numpy().tolist() == labels.numpy().tolist()
