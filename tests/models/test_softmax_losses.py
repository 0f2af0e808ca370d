from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_loss
from tfrec.models.chunked_softmax import chunked_softmax_loss
from tfrec.models.contrastive_losses import Contrast, contrastive_loss
from tfrec.models.interest_softmax import chunked_interest_loss
from tfrec.models.sampled_softmax import correct_logits, sampled_softmax_loss

NUM_POSITIONS, NUM_ITEMS, DIM = 5, 7, 3


def test_logq_correction_subtracts_log_probability():
    corrected = correct_logits(tf.zeros((1, 2)), tf.constant([1.0, 0.5]))
    np.testing.assert_allclose(corrected, [[0.0, 0.693147]], atol=1e-5)


def test_logq_correction_rejects_zero_floor():
    with pytest.raises(ValueError, match=r"min_probability=0\.0"):
        correct_logits(tf.zeros((1, 2)), tf.ones(2), min_probability=0.0)


@pytest.fixture
def problem() -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> tf.Tensor:
        return tf.constant(rng.normal(size=shape), tf.float32)

    # Two events of item 4 in the first row add up; -1 is no event.
    columns = [[4, 4, -1], [0, 2, 6], [-1, -1, -1], [1, -1, 3], [5, 5, 5]]
    return {
        "queries": normal(NUM_POSITIONS, DIM),
        "candidates": normal(NUM_ITEMS, DIM),
        "bias": normal(NUM_ITEMS),
        "repeat_logits": normal(NUM_POSITIONS, 3),
        "repeat_columns": tf.constant(columns),
        "positives": tf.constant([4, 1, 6, 3, 0]),
        "weights": tf.constant([1.0, 0.5, 2.0, 0.0, 1.0]),
    }


def plain_loss(problem: dict[str, tf.Tensor]) -> tf.Tensor:
    """The full softmax in one piece, with a one-hot matrix for repeats."""
    logits = problem["queries"] @ tf.transpose(problem["candidates"]) + problem["bias"]
    places = tf.one_hot(problem["repeat_columns"], NUM_ITEMS)  # -1 gives zeros.
    logits += tf.einsum("ps,psn->pn", problem["repeat_logits"], places)
    log_probability = tf.nn.log_softmax(logits)
    chosen = tf.gather(log_probability, problem["positives"], batch_dims=1)
    if "log_softmax_share" in problem:
        of_softmax = problem["log_softmax_share"] + chosen
        parts = tf.stack([of_softmax, problem["log_other_mass"]])
        chosen = tf.reduce_logsumexp(parts, axis=0)
    return -tf.reduce_sum(problem["weights"] * chosen)


@pytest.mark.parametrize("is_mixture", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 64])
def test_chunked_softmax_has_value_and_gradients_of_the_full_one(
    problem, chunk_size, is_mixture
):
    mixture = {
        "log_softmax_share": tf.math.log([0.9, 0.5, 0.7, 0.2, 0.999]),
        "log_other_mass": tf.math.log([0.05, 0.3, 1e-30, 0.1, 0.0005]),
    }
    if not is_mixture:
        mixture = {}
    problem = {**problem, **mixture}
    names = ("queries", "candidates", "bias", "repeat_logits", *mixture)
    sources = [problem[name] for name in names]

    @tf.function
    def chunked() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(sources)
            # Three times the loss: the upstream gradient must be passed on.
            loss = 3.0 * chunked_softmax_loss(
                problem["queries"],
                problem["candidates"],
                problem["bias"],
                problem["positives"],
                problem["weights"],
                repeat_columns=problem["repeat_columns"],
                repeat_logits=problem["repeat_logits"],
                chunk_size=chunk_size,
                **mixture,
            )
        return loss, tape.gradient(loss, sources)

    with tf.GradientTape() as tape:
        tape.watch(sources)
        expected = 3.0 * plain_loss(problem)
    expected_gradients = tape.gradient(expected, sources)
    loss, gradients = chunked()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    for name, found, wanted in zip(names, gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(
            found, tf.convert_to_tensor(wanted), atol=1e-5, err_msg=name
        )


def test_chunked_softmax_without_repeats_is_the_plain_cross_entropy(problem):
    loss = chunked_softmax_loss(
        problem["queries"],
        problem["candidates"],
        problem["bias"],
        problem["positives"],
        problem["weights"],
    )
    no_repeats = {**problem, "repeat_logits": tf.zeros((NUM_POSITIONS, 3))}
    np.testing.assert_allclose(loss, plain_loss(no_repeats), rtol=1e-5)


def test_chunked_softmax_stays_finite_at_extreme_logits():
    loss = chunked_softmax_loss(
        tf.constant([[1e4]]),
        tf.constant([[1.0], [-1.0]]),
        tf.zeros(2),
        tf.constant([1]),
        tf.ones(1),
    )
    np.testing.assert_allclose(loss, 2e4, rtol=1e-5)


def test_chunked_softmax_of_no_position_is_zero_with_zero_gradients(problem):
    candidates = problem["candidates"]

    @tf.function
    def empty() -> Any:
        with tf.GradientTape() as tape:
            tape.watch(candidates)
            loss = chunked_softmax_loss(
                tf.zeros((0, DIM)),
                candidates,
                problem["bias"],
                tf.zeros(0, tf.int32),
                tf.zeros(0),
                repeat_columns=tf.zeros((0, 3), tf.int32),
                repeat_logits=tf.zeros((0, 3)),
            )
        return loss, tape.gradient(loss, candidates)

    loss, gradient = empty()
    assert float(loss) == 0.0
    np.testing.assert_array_equal(gradient, np.zeros((NUM_ITEMS, DIM)))


def test_chunked_softmax_rejects_half_a_mixture(problem):
    names = ("queries", "candidates", "bias", "positives", "weights")
    with pytest.raises(ValueError, match="log_other_mass"):
        chunked_softmax_loss(
            *(problem[name] for name in names),
            log_softmax_share=tf.zeros(NUM_POSITIONS),
        )


def test_chunked_softmax_rejects_an_empty_chunk(problem):
    with pytest.raises(ValueError, match="chunk_size=0"):
        chunked_softmax_loss(
            problem["queries"],
            problem["candidates"],
            problem["bias"],
            problem["positives"],
            problem["weights"],
            chunk_size=0,
        )


def sampled(negatives: list[int], problem: dict[str, tf.Tensor], q: float) -> tf.Tensor:
    index = tf.constant(negatives)
    return sampled_softmax_loss(
        problem["queries"],
        tf.gather(problem["candidates"], problem["positives"]),
        tf.gather(problem["candidates"], index),
        positive_item_index=problem["positives"],
        negative_item_index=index,
        positive_probability=tf.fill([NUM_POSITIONS], q),
        negative_probability=tf.fill([len(negatives)], q),
        weights=problem["weights"],
    )


def test_sampled_softmax_over_all_items_is_the_full_softmax(problem):
    # The positive among the negatives is an accidental hit and must not count twice.
    loss = sampled(list(range(NUM_ITEMS)), problem, 1.0)
    plain = {
        **problem,
        "bias": tf.zeros(NUM_ITEMS),
        "repeat_logits": tf.zeros((NUM_POSITIONS, 3)),
    }
    np.testing.assert_allclose(loss, plain_loss(plain), rtol=1e-5)


def test_equal_sampling_probabilities_change_nothing(problem):
    np.testing.assert_allclose(
        sampled([0, 2, 5], problem, 1.0), sampled([0, 2, 5], problem, 0.1), rtol=1e-5
    )


def test_rarely_drawn_negatives_count_for_more(problem):
    # One negative of probability 1/2 stands for two like it: doubling its exp.
    query, positive, negative = tf.ones((1, 1)), tf.ones((1, 1)), tf.zeros((1, 1))
    loss = sampled_softmax_loss(
        query,
        positive,
        negative,
        positive_item_index=tf.constant([2]),
        negative_item_index=tf.constant([3]),
        positive_probability=tf.ones(1),
        negative_probability=tf.constant([0.5]),
        weights=tf.ones(1),
    )
    np.testing.assert_allclose(loss, np.log(np.e + 2.0) - 1.0, rtol=1e-5)


# Two queries over three candidates, the last of which the second query may not see.
LOGITS = np.array([[1.0, 0.0, -1.0], [0.5, 1.5, 3.0]])
LABELS = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
SEEN = np.array([[1, 1, 1], [1, 1, 0]], bool)
# log(1 + 1/e + 1/e^2) + log(1 + 1/e)
OF_LOGITS = np.log(1 + np.exp(-1) + np.exp(-2)) + np.log(1 + np.exp(-1))


def as_exact_softmax(
    logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor, *, num_interests: int
) -> tf.Tensor:
    """Unit vectors as queries read the logits off the candidates."""
    num_queries = tf.shape(logits)[0]
    queries = tf.eye(num_queries)
    loss = chunked_softmax_loss
    if num_interests > 1:
        queries = tf.tile(queries[:, tf.newaxis], [1, num_interests, 1])
        loss = chunked_interest_loss
    return loss(
        queries,
        tf.transpose(tf.where(mask, logits, -1e9)),
        tf.zeros([tf.shape(logits)[1]]),
        tf.argmax(labels, axis=1, output_type=tf.int32),
        tf.cast(tf.reduce_any(mask, axis=1), tf.float32),
        chunk_size=1,
    )


@pytest.mark.parametrize("num_interests", [1, 2])
def test_exact_softmax_keeps_the_contract_of_losses(num_interests):
    check_loss(
        lambda *given: as_exact_softmax(*given, num_interests=num_interests),
        logits=LOGITS,
        labels=LABELS,
        mask=SEEN,
        expected=OF_LOGITS,
    )


def as_sampled_softmax(
    logits: tf.Tensor, labels: tf.Tensor, mask: tf.Tensor
) -> tf.Tensor:
    """One call a query; what it may not see has the id of its positive: a hit."""
    total = tf.constant(0.0)
    for row, label, seen in zip(*map(tf.unstack, (logits, labels, mask)), strict=True):
        positive = tf.argmax(label, output_type=tf.int32)
        index = tf.range(tf.size(row))
        total += sampled_softmax_loss(
            tf.ones((1, 1)),
            tf.reshape(row[positive], (1, 1)),
            row[:, tf.newaxis],
            positive_item_index=positive[tf.newaxis],
            negative_item_index=tf.where(seen, index, positive),
            positive_probability=tf.ones(1),
            negative_probability=tf.ones(tf.size(row)),
            weights=tf.cast(tf.reduce_any(seen), tf.float32)[tf.newaxis],
        )
    return total


def test_sampled_softmax_keeps_the_contract_of_losses():
    check_loss(
        as_sampled_softmax,
        logits=LOGITS,
        labels=LABELS,
        mask=SEEN,
        expected=OF_LOGITS,
    )


def gradients_of(name: str, queries: tf.Tensor, candidates: tf.Tensor) -> Any:
    """Gradients of a loss that is computed in chunks of 8 queries."""
    num_queries, num_items = len(queries), len(candidates)
    columns = tf.zeros(num_queries, tf.int32)
    weights = tf.ones(num_queries)
    with tf.GradientTape() as tape:
        tape.watch((queries, candidates))
        if name == "contrastive":
            mask = tf.ones(num_items, tf.bool)
            contrast = Contrast(candidates, tf.range(num_items), mask)
            loss = contrastive_loss(
                queries,
                contrast,
                positive_columns=columns,
                query_groups=tf.fill([num_queries], -1),
                weights=weights,
                num_rows=8,
            )
        else:
            bias = tf.zeros(num_items)
            interests = tf.tile(queries[:, tf.newaxis], [1, 2, 1])
            loss = (
                chunked_interest_loss(
                    interests, candidates, bias, columns, weights, chunk_size=2
                )
                if name == "interests"
                else chunked_softmax_loss(
                    queries, candidates, bias, columns, weights, chunk_size=8
                )
            )
    return tape.gradient(loss, (queries, candidates))


@pytest.mark.parametrize("name", ["softmax", "interests", "contrastive"])
def test_chunked_losses_never_hold_the_logits_of_more_than_a_chunk(name):
    num_queries, num_items, num_rows = 50, 400, 8
    spec = [tf.TensorSpec((num_queries, DIM)), tf.TensorSpec((num_items, DIM))]
    function: Any = tf.function(
        lambda *given: gradients_of(name, *given), input_signature=spec
    )
    traced = function.get_concrete_function()
    functions = [traced.graph, *(f.graph for f in traced.graph._functions.values())]
    shapes = [
        t.shape for g in functions for op in g.get_operations() for t in op.outputs
    ]
    wide = [s for s in shapes if s.rank and s.rank >= 2 and s[-1] == num_items]
    assert wide, "The logits of a chunk are looked for in the wrong place."
    for shape in wide:
        rows = [size for size in shape[:-1] if size is not None]
        assert np.prod(rows) <= num_rows, shape


def test_items_of_minus_infinity_are_no_class(problem):
    hidden = tf.constant([0.0, 0.0, -np.inf, 0.0, 0.0, -np.inf, 0.0])
    shown = np.flatnonzero(np.isfinite(hidden))
    columns = [int(np.flatnonzero(shown == p)[0]) for p in (4, 1, 6, 3, 0)]

    def loss(candidates: tf.Tensor, bias: tf.Tensor, columns: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(candidates)
            value = chunked_softmax_loss(
                problem["queries"],
                candidates,
                bias,
                columns,
                problem["weights"],
            )
        return value, tf.convert_to_tensor(tape.gradient(value, candidates))

    value, gradient = loss(problem["candidates"], hidden, problem["positives"])
    fewer = tf.gather(problem["candidates"], shown)
    expected, other = loss(fewer, tf.zeros(len(shown)), tf.constant(columns))
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(tf.gather(gradient, shown), other, atol=1e-5)
    np.testing.assert_array_equal(tf.gather(gradient, [2, 5]), np.zeros((2, DIM)))
