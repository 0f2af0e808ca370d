"""The exact softmax of max-scored interests, against autodiff in one piece."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.chunked_softmax import chunked_softmax_loss
from tfrec.models.interest_softmax import chunked_interest_loss

NUM_POSITIONS, NUM_INTERESTS, NUM_ITEMS, DIM = 5, 3, 7, 4
SOURCES = ("queries", "candidates", "bias", "repeat_logits")
Problem = dict[str, tf.Tensor]


@pytest.fixture
def problem() -> Problem:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    # Two events of item 4 in the first row add up; -1 is no event.
    columns = [[4, 4, -1], [0, 2, 6], [-1, -1, -1], [1, -1, 3], [5, 5, 5]]
    return {
        "queries": normal(NUM_POSITIONS, NUM_INTERESTS, DIM),
        "candidates": normal(NUM_ITEMS, DIM),
        "bias": normal(NUM_ITEMS),
        "repeat_logits": normal(NUM_POSITIONS, 3),
        "repeat_columns": tf.constant(columns),
        "positives": tf.constant([4, 1, 6, 3, 0]),
        "weights": tf.constant([1.0, 0.5, 2.0, 0.0, 1.0]),
    }


def plain_loss(problem: Problem, *, smoothing: float = 0.0) -> tf.Tensor:
    """The full softmax in one piece; items of bias -inf are no class."""
    products = tf.einsum("pkd,nd->pkn", problem["queries"], problem["candidates"])
    logits = tf.reduce_max(products, axis=1) + problem["bias"]
    places = tf.one_hot(problem["repeat_columns"], NUM_ITEMS)  # -1 gives zeros.
    logits += tf.einsum("ps,psn->pn", problem["repeat_logits"], places)
    is_class = np.isfinite(problem["bias"].numpy()).astype(np.float32)
    label = (1 - smoothing) * tf.one_hot(problem["positives"], NUM_ITEMS)
    label += smoothing * is_class / is_class.sum()
    log_probability = tf.where(is_class > 0, tf.nn.log_softmax(logits), 0.0)
    of_row = tf.reduce_sum(label * log_probability, axis=1)
    return -tf.reduce_sum(problem["weights"] * of_row)


def chunked_loss(problem: Problem, **more: Any) -> tf.Tensor:
    return chunked_interest_loss(
        problem["queries"],
        problem["candidates"],
        problem["bias"],
        problem["positives"],
        problem["weights"],
        repeat_columns=problem["repeat_columns"],
        repeat_logits=problem["repeat_logits"],
        **more,
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("chunk_size", [1, 2, None])
def test_loss_and_gradients_are_those_of_the_plain_maximum(
    problem, chunk_size, smoothing
):
    sources = [problem[name] for name in SOURCES]

    @tf.function
    def chunked() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            # Three times the loss: the upstream gradient must be passed on.
            loss = 3.0 * chunked_loss(
                problem, chunk_size=chunk_size, label_smoothing=smoothing
            )
        return loss, tape.gradient(loss, sources)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        expected = 3.0 * plain_loss(problem, smoothing=smoothing)
    expected_gradients = tape.gradient(expected, sources)
    loss, gradients = chunked()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for name, found, wanted in zip(SOURCES, gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(
            found, tf.convert_to_tensor(wanted), atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_items_of_no_chance_are_no_class_and_get_no_gradient(problem, smoothing):
    bias = tf.tensor_scatter_nd_update(problem["bias"], [[2]], [-np.inf])
    problem = {**problem, "bias": bias}
    sources = [problem["queries"], problem["candidates"]]
    with tf.GradientTape() as tape:
        tape.watch(sources)
        loss = chunked_loss(problem, label_smoothing=smoothing)
    found = tape.gradient(loss, sources)
    gradients = [tf.convert_to_tensor(gradient).numpy() for gradient in found]
    np.testing.assert_allclose(loss, plain_loss(problem, smoothing=smoothing), 1e-5)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    np.testing.assert_array_equal(gradients[1][2], np.zeros(DIM))


def test_equal_vectors_have_the_loss_of_one_and_share_its_gradient(problem):
    one = problem["queries"][:, 0]
    rest = (problem["candidates"], problem["bias"], problem["positives"])
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(one)
        equal = tf.repeat(one[:, tf.newaxis], NUM_INTERESTS, axis=1)
        several = chunked_interest_loss(equal, *rest, problem["weights"])
        single = chunked_softmax_loss(one, *rest, problem["weights"])
    np.testing.assert_allclose(several, single, rtol=1e-5)
    np.testing.assert_allclose(
        tape.gradient(several, one), tape.gradient(single, one), atol=1e-5
    )


def test_no_position_has_no_loss_and_zero_gradients(problem):
    empty = {
        **problem,
        "queries": tf.zeros((0, NUM_INTERESTS, DIM)),
        "positives": tf.zeros(0, tf.int32),
        "weights": tf.zeros(0),
        "repeat_columns": tf.zeros((0, 3), tf.int32),
        "repeat_logits": tf.zeros((0, 3)),
    }

    @tf.function
    def run() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(empty["candidates"])
            loss = chunked_loss(empty)
        return loss, tape.gradient(loss, empty["candidates"])

    loss, gradient = run()
    assert float(loss) == 0.0
    np.testing.assert_array_equal(gradient, np.zeros((NUM_ITEMS, DIM)))


def test_an_empty_chunk_is_rejected(problem):
    with pytest.raises(ValueError, match="chunk_size=0"):
        chunked_loss(problem, chunk_size=0)
