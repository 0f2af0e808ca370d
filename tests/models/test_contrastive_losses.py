"""InfoNCE in chunks, against plain loops."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_loss
from tfrec.models.contrastive_losses import Contrast, contrastive_loss

POSITIVES = [3, 0, 5, 2, 1]
QUERY_GROUPS = [7, 8, 7, 9, 4]
GROUPS = [8, 8, 7, 7, 5, 9]
MASK = [True, False, True, True, True, True]
WEIGHTS = [1.0, 0.5, 2.0, 0.0, 1.0]


def vectors() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(5, 3)), rng.normal(size=(6, 3))


def plain_loss(queries: np.ndarray, candidates: np.ndarray) -> float:
    total = 0.0
    for i, positive in enumerate(POSITIVES):
        kept = [
            j
            for j in range(6)
            if j == positive or (MASK[j] and GROUPS[j] != QUERY_GROUPS[i])
        ]
        logits = candidates[kept] @ queries[i]
        own = candidates[positive] @ queries[i]
        total += WEIGHTS[i] * (np.log(np.exp(logits).sum()) - own)
    return total


def slope(of: int, where: tuple[int, int]) -> float:
    """The derivative by one number of the queries (0) or the candidates (1)."""
    ends = []
    for step in (1e-5, -1e-5):
        pair = vectors()
        pair[of][where] += step
        ends.append(plain_loss(*pair))
    return (ends[0] - ends[1]) / 2e-5


def loss_of(
    queries: tf.Tensor, candidates: tf.Tensor, num_rows: int | None
) -> tf.Tensor:
    contrast = Contrast(candidates, tf.constant(GROUPS), tf.constant(MASK))
    return contrastive_loss(
        queries,
        contrast,
        positive_columns=tf.constant(POSITIVES),
        query_groups=tf.constant(QUERY_GROUPS),
        weights=tf.constant(WEIGHTS),
        num_rows=num_rows,
    )


@pytest.mark.parametrize("num_rows", [1, 2, 5, None])
def test_chunks_have_value_and_gradients_of_the_plain_loss(num_rows):
    queries, candidates = (tf.constant(v, tf.float32) for v in vectors())

    @tf.function
    def graph() -> tuple:
        with tf.GradientTape() as tape:
            tape.watch([queries, candidates])
            # Three times the loss: the upstream gradient must be passed on.
            loss = 3.0 * loss_of(queries, candidates, num_rows)
        return loss, tape.gradient(loss, [queries, candidates])

    loss, gradients = graph()
    np.testing.assert_allclose(loss, 3.0 * plain_loss(*vectors()), rtol=1e-5)
    for of, gradient in enumerate(gradients):
        expected = [[slope(of, (i, k)) for k in range(3)] for i in range(5 + of)]
        np.testing.assert_allclose(gradient, 3.0 * np.array(expected), atol=1e-4)


def test_extreme_logits_stay_finite():
    contrast = Contrast(
        tf.constant([[1.0], [-1.0]]), tf.constant([1, 2]), tf.constant([True, True])
    )
    queries = tf.constant([[1e4]])
    with tf.GradientTape() as tape:
        tape.watch(queries)
        loss = contrastive_loss(
            queries,
            contrast,
            positive_columns=tf.constant([1]),
            query_groups=tf.constant([2]),
            weights=tf.ones(1),
        )
    np.testing.assert_allclose(loss, 2e4, rtol=1e-5)
    gradient: Any = tape.gradient(loss, queries)
    np.testing.assert_allclose(gradient, [[2.0]])


def test_no_query_has_no_loss_and_no_gradient():
    candidates = tf.ones((2, 3))

    @tf.function
    def graph() -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(candidates)
            loss = contrastive_loss(
                tf.zeros((0, 3)),
                Contrast(candidates, tf.constant([1, 2]), tf.constant([True, True])),
                positive_columns=tf.zeros(0, tf.int32),
                query_groups=tf.zeros(0, tf.int32),
                weights=tf.zeros(0),
            )
        return loss, tape.gradient(loss, candidates)

    loss, gradient = graph()
    assert float(loss) == 0.0
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_a_chunk_without_rows_is_refused():
    with pytest.raises(ValueError, match="num_rows=0"):
        loss_of(*(tf.constant(v, tf.float32) for v in vectors()), 0)


def as_contrast(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One query, whose candidates are the unit vectors: its numbers are its logits."""
    size = tf.size(logits)
    return contrastive_loss(
        logits,
        Contrast(tf.eye(size), tf.range(size), mask[0]),
        positive_columns=tf.argmax(labels, axis=1, output_type=tf.int32),
        query_groups=tf.constant([-1]),
        weights=tf.cast(tf.reduce_any(mask, axis=1), tf.float32),
        num_rows=1,
    )


def test_contrastive_loss_keeps_the_contract_of_losses():
    check_loss(
        as_contrast,
        logits=np.array([[1.0, -0.5, 2.0, 0.0]]),
        labels=np.array([[0, 1, 0, 0]]),
        mask=np.array([[True, True, False, True]]),
        expected=np.log(np.exp(1.0) + np.exp(-0.5) + 1.0) + 0.5,
    )
