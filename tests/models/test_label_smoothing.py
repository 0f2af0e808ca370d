from typing import Any

import numpy as np
import tensorflow as tf

from tests.contracts import check_loss
from tfrec.models.chunked_softmax import chunked_softmax_loss
from tfrec.models.label_smoothing import label_smoothing_term

NUM_POSITIONS, NUM_ITEMS, DIM, SMOOTHING = 4, 6, 3, 0.2
POSITIVES = [4, 1, 5, 0]
WEIGHTS = [1.0, 0.5, 2.0, 0.0]
# Two events of item 4 in the first row add up; -1 is no event.
REPEATS = [[4, 4, -1], [0, 2, 3], [-1, -1, -1], [1, -1, 3]]
NEVER_SHOWN = 2  # An item that is no class.


def problem() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)
    bias = rng.normal(size=NUM_ITEMS)
    bias[NEVER_SHOWN] = -np.inf
    arrays = {
        "queries": rng.normal(size=(NUM_POSITIONS, DIM)),
        "candidates": rng.normal(size=(NUM_ITEMS, DIM)),
        "bias": bias,
        "repeat_logits": rng.normal(size=(NUM_POSITIONS, 3)),
    }
    return {name: tf.constant(value, tf.float32) for name, value in arrays.items()}


def smoothed_cross_entropy(values: dict[str, tf.Tensor], *, repeats: bool) -> tf.Tensor:
    """The definition: all labels against all log probabilities, class by class."""
    logits = values["queries"] @ tf.transpose(values["candidates"]) + values["bias"]
    if repeats:
        places = tf.one_hot(REPEATS, NUM_ITEMS)  # -1 gives zeros.
        logits += tf.einsum("ps,psn->pn", values["repeat_logits"], places)
    is_class = np.arange(NUM_ITEMS) != NEVER_SHOWN
    labels = (1 - SMOOTHING) * np.eye(NUM_ITEMS)[POSITIVES]
    labels += SMOOTHING / is_class.sum() * is_class
    kept = tf.boolean_mask(logits, is_class, axis=1)
    log_probability = tf.nn.log_softmax(kept)
    loss = -tf.reduce_sum(labels[:, is_class] * log_probability, axis=1)
    return tf.reduce_sum(WEIGHTS * loss)


def fast(values: dict[str, tf.Tensor], *, repeats: bool) -> tf.Tensor:
    compared = (
        values["queries"],
        values["candidates"],
        values["bias"],
        tf.constant(POSITIVES),
        tf.constant(WEIGHTS),
    )
    known: dict[str, Any] = {}
    if repeats:
        known["repeat_columns"] = tf.constant(REPEATS)
        known["repeat_logits"] = values["repeat_logits"]
    term = label_smoothing_term(*compared, **known)
    return chunked_softmax_loss(*compared, **known) + SMOOTHING * term


def with_gradients(function: Any, *, repeats: bool) -> tuple[float, list[np.ndarray]]:
    values = problem()
    if not repeats:
        del values["repeat_logits"]
    with tf.GradientTape() as tape:
        tape.watch(values)
        loss = function(values, repeats=repeats)
    gradients = tape.gradient(loss, list(values.values()))
    return float(loss), [tf.convert_to_tensor(g).numpy() for g in gradients]


def check(*, repeats: bool) -> None:
    loss, gradients = with_gradients(fast, repeats=repeats)
    expected, wanted = with_gradients(smoothed_cross_entropy, repeats=repeats)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for name, found, gradient in zip(problem(), gradients, wanted, strict=False):
        np.testing.assert_allclose(found, gradient, atol=1e-5, err_msg=name)


def test_softmax_with_the_term_is_the_cross_entropy_of_smoothed_labels():
    check(repeats=False)


def test_extra_logits_of_known_items_are_smoothed_too():
    check(repeats=True)


def test_no_position_gives_zero():
    values = problem()
    empty = tf.zeros((0, DIM)), values["candidates"], values["bias"]
    term = label_smoothing_term(*empty, tf.zeros(0, tf.int32), tf.zeros(0))
    assert float(term) == 0.0


def as_smoothing(logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
    """One position, whose items are the unit vectors: its numbers are its logits."""
    return label_smoothing_term(
        logits,
        tf.eye(tf.size(logits)),
        tf.where(mask[0], 0.0, -np.inf),
        tf.argmax(labels, axis=1, output_type=tf.int32),
        tf.cast(tf.reduce_any(mask, axis=1), tf.float32),
    )


def test_smoothing_keeps_the_contract_of_losses():
    check_loss(
        as_smoothing,
        logits=np.array([[1.0, -0.5, 2.0, 0.0]]),
        labels=np.array([[0, 1, 0, 0]]),
        mask=np.array([[True, True, False, True]]),
        expected=-0.5 - (1.0 - 0.5 + 0.0) / 3,  # The mean of what is a class.
    )
