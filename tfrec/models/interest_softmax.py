"""The exact softmax of queries of several vectors, in chunks."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.models.chunked_softmax import chunk_rows
from tfrec.models.interest_scores import interest_scores


class _Labels(NamedTuple):
    """What the softmax of some positions is compared with."""

    positive_columns: tf.Tensor  # int32 [num_positions]
    weights: tf.Tensor  # float32 [num_positions]
    repeat_columns: tf.Tensor  # int32 [num_positions, num_repeats]
    repeat_logits: tf.Tensor  # float32, same shape


def chunked_interest_loss(
    queries: tf.Tensor,
    candidates: tf.Tensor,
    candidate_bias: tf.Tensor,
    positive_columns: tf.Tensor,
    weights: tf.Tensor,
    *,
    repeat_columns: tf.Tensor | None = None,
    repeat_logits: tf.Tensor | None = None,
    label_smoothing: float = 0.0,
    chunk_size: int | None = None,
) -> tf.Tensor:
    """Sums the exact softmax cross-entropy of max-scored interests, in chunks.

        logits[p, i] = max_j queries[p, j] . candidates[i] + candidate_bias[i]
                       + sum_s repeat_logits[p, s] [repeat_columns[p, s] = i]
        label[p, i]  = (1 - epsilon) [i = positive_columns[p]] + epsilon / K
        loss         = sum_p weights[p] (logsumexp_i logits[p, i]
                                         - sum_i label[p, i] logits[p, i])

    It is the softmax of the scores that are served. The maximum is hard: an item
    moves the one interest that scores it highest, the first of equal ones. ComiRec
    instead chooses the interest nearest to the positive and has it alone compared
    with the negatives; that costs a k-th, but nothing then keeps another interest
    from scoring them higher, and the probabilities are not those that are served.

    Never more than `chunk_size * (num_interests + 2)` rows of logits are held: the
    gradients are taken together with the loss of a chunk and only scaled on the way
    back. The matrix products are k times those of one vector.

    Args:
        queries: float32 `[num_positions, num_interests, dim]`, already divided by
            the temperature.
        candidates: float32 `[num_items, dim]`.
        candidate_bias: float32 `[num_items]`; items of -inf are no class, and
            K counts the others.
        positive_columns: int32 `[num_positions]`, in `[0, num_items)`.
        weights: float32 `[num_positions]`; 0 takes a position out.
        repeat_columns: int32 `[num_positions, num_repeats]` columns that get an
            extra logit; negative ones are ignored. None for no extra logits.
        repeat_logits: float32, same shape.
        label_smoothing: epsilon, in [0, 1).
        chunk_size: Positions whose logits exist at one time; None for a
            `num_interests`-th of what `chunk_rows` says.

    Returns:
        float32 scalar, the weighted sum over positions.

    Raises:
        ValueError: If `chunk_size` is less than 1.

    References:
        - Li et al., MIND, CIKM 2019, https://arxiv.org/abs/1904.08030.
        - Cen et al., ComiRec, KDD 2020, https://arxiv.org/abs/2005.09347.
    """
    if chunk_size is None:
        chunk_size = max(1, chunk_rows(candidates) // int(queries.shape[1] or 1))
    if chunk_size < 1:
        raise ValueError(
            f"`chunk_size` must be at least 1. Received: chunk_size={chunk_size}."
        )
    if repeat_columns is None or repeat_logits is None:
        repeat_columns = tf.zeros([tf.shape(queries)[0], 0], tf.int32)
        repeat_logits = tf.zeros([tf.shape(queries)[0], 0])
    columns = tf.stop_gradient(repeat_columns)
    # Under a strategy a variable itself would not pass for a tensor of the gradient.
    queries, candidates, candidate_bias = map(
        tf.convert_to_tensor, (queries, candidates, candidate_bias)
    )

    @tf.custom_gradient
    def loss_with_gradients(queries, candidates, candidate_bias, repeat_logits):
        loss, gradients = _over_chunks(
            queries,
            _Labels(positive_columns, weights, columns, repeat_logits),
            tf.concat([candidates, candidate_bias[:, tf.newaxis]], axis=1),
            label_smoothing=label_smoothing,
            chunk_size=chunk_size,
        )
        return loss, lambda upstream: tuple(upstream * g for g in gradients)

    loss: Any = loss_with_gradients(queries, candidates, candidate_bias, repeat_logits)
    return loss  # The stub keeps the signature of the undecorated function.


def _over_chunks(
    queries: tf.Tensor,
    labels: _Labels,
    with_bias: tf.Tensor,
    *,
    label_smoothing: float,
    chunk_size: int,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Loops over chunks of positions, adding up the loss and its gradients.

    The bias rides in the products as one more dimension that queries have at 1.
    """
    num_positions = tf.shape(queries)[0]
    with_one = tf.pad(queries, [[0, 0], [0, 0], [0, 1]], constant_values=1.0)
    # At least one, if empty: an empty list of parts has no shape to join.
    num_chunks = tf.maximum((num_positions + chunk_size - 1) // chunk_size, 1)
    parts = [tf.TensorArray(tf.float32, num_chunks, infer_shape=False) for _ in "qr"]
    smoothed = _even_label(with_bias[:, -1], label_smoothing)

    def body(i, loss, gradient, query_parts, repeat_parts):
        start, stop = i * chunk_size, tf.minimum((i + 1) * chunk_size, num_positions)
        chunk_loss, d_query, d_with_bias, d_repeat = _chunk(
            with_one[start:stop],
            _Labels(*(values[start:stop] for values in labels)),
            with_bias,
            smoothed,
        )
        return (
            i + 1,
            loss + chunk_loss,
            gradient + d_with_bias,
            query_parts.write(i, d_query),
            repeat_parts.write(i, d_repeat),
        )

    _, loss, gradient, d_queries, d_repeats = tf.while_loop(
        lambda i, *_: i < num_chunks,
        body,
        (0, 0.0, tf.zeros_like(with_bias), *parts),
        parallel_iterations=1,  # More would hold the logits of several chunks.
    )
    return loss, (
        tf.reshape(d_queries.concat(), tf.shape(with_one))[:, :, :-1],
        gradient[:, :-1],
        gradient[:, -1],
        tf.reshape(d_repeats.concat(), tf.shape(labels.repeat_logits)),
    )


def _even_label(candidate_bias: tf.Tensor, label_smoothing: float) -> tf.Tensor | None:
    """Returns float32 `[num_items]`, the label of every item; None without any."""
    if not label_smoothing:
        return None
    is_class = tf.cast(tf.math.is_finite(candidate_bias), tf.float32)
    return label_smoothing * is_class / tf.maximum(tf.reduce_sum(is_class), 1.0)


def _chunk(
    with_one: tf.Tensor,
    labels: _Labels,
    with_bias: tf.Tensor,
    smoothed: tf.Tensor | None,
) -> tuple[tf.Tensor, ...]:
    """Returns the loss of some positions and its gradients."""
    by_interest = interest_scores(with_one, with_bias)
    best = tf.reduce_max(by_interest, axis=1)
    cells, places = _repeated_cells(labels.repeat_columns)
    logits = best
    has_repeats = labels.repeat_columns.shape[1] != 0  # The scatter is one more pass.
    if has_repeats:
        extra = tf.gather_nd(labels.repeat_logits, places)
        logits = tf.tensor_scatter_nd_add(best, cells, extra)
    losses, gradient = _cross_entropy(logits, labels.positive_columns, smoothed)
    gradient *= labels.weights[:, tf.newaxis]
    d_repeat = tf.zeros_like(labels.repeat_logits)
    if has_repeats:
        d_repeat = tf.tensor_scatter_nd_update(
            d_repeat, places, tf.gather_nd(gradient, cells)
        )
    routed = tf.reshape(
        _to_winners(gradient, by_interest, best), [-1, tf.shape(with_bias)[0]]
    )
    d_query = tf.reshape(tf.matmul(routed, with_bias), tf.shape(with_one))
    flat = tf.reshape(with_one, [-1, with_one.shape[2]])
    d_with_bias = tf.matmul(routed, flat, transpose_a=True)
    return tf.reduce_sum(losses * labels.weights), d_query, d_with_bias, d_repeat


def _repeated_cells(repeat_columns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns cells of the logits with an extra, and where that extra stands."""
    places = tf.where(repeat_columns >= 0)  # [num_valid, 2]
    row = tf.cast(places[:, 0], tf.int32)
    return tf.stack([row, tf.gather_nd(repeat_columns, places)], 1), places


def _cross_entropy(
    logits: tf.Tensor, positive_columns: tf.Tensor, smoothed: tf.Tensor | None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns float32 `[num_positions]`, and the gradient by the logits."""
    rows = tf.range(tf.shape(logits)[0])
    cells = tf.stack([rows, positive_columns], axis=1)
    largest = tf.reduce_max(logits, axis=1, keepdims=True)
    exponentials = tf.exp(logits - largest)
    total = tf.reduce_sum(exponentials, axis=1, keepdims=True)
    of_positive = tf.gather_nd(logits, cells)
    gradient = exponentials / total
    if smoothed is None:
        label = tf.ones_like(of_positive)
        labelled = of_positive
    else:
        label = tf.fill(tf.shape(of_positive), 1.0 - tf.reduce_sum(smoothed))
        finite = tf.where(smoothed > 0.0, logits, 0.0)
        labelled = label * of_positive + tf.linalg.matvec(finite, smoothed)
        gradient -= smoothed
    losses = (tf.math.log(total) + largest)[:, 0] - labelled
    return losses, tf.tensor_scatter_nd_sub(gradient, cells, label)


def _to_winners(
    gradient: tf.Tensor, by_interest: tf.Tensor, best: tf.Tensor
) -> tf.Tensor:
    """Gives the gradient of every logit to the interest that it is of.

    Returns:
        float32 `[num_positions, num_interests, num_items]`.
    """
    parts, left = [], gradient
    for scores in tf.unstack(by_interest, axis=1):
        mine = tf.where(scores >= best, left, 0.0)
        parts.append(mine)
        left -= mine
    return tf.stack(parts, axis=1)
