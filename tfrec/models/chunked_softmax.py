"""Exact softmax over a whole catalogue, in chunks."""

from typing import Any

import numpy as np
import tensorflow as tf

CHUNK_LOGITS = 5_000_000  # 20 MB: twice that no longer stays in a cache.
_LEAST_PROBABILITY = float(np.finfo(np.float32).tiny)


def chunked_softmax_loss(
    queries: tf.Tensor,
    candidates: tf.Tensor,
    candidate_bias: tf.Tensor,
    positive_columns: tf.Tensor,
    weights: tf.Tensor,
    *,
    repeat_columns: tf.Tensor | None = None,
    repeat_logits: tf.Tensor | None = None,
    log_softmax_share: tf.Tensor | None = None,
    log_other_mass: tf.Tensor | None = None,
    chunk_size: int | None = None,
) -> tf.Tensor:
    """Sums the exact softmax cross-entropy over a whole catalogue, in chunks.

        logits[p, j] = queries[p] . candidates[j] + candidate_bias[j]
                       + sum_s repeat_logits[p, s] [repeat_columns[p, s] = j]
        log P[p]     = logits[p, positive_columns[p]] - logsumexp_j logits[p, j]
        loss         = - sum_p weights[p] log P[p]

    Where the softmax is but one part of a mixture, in place of log P[p] stands

        log(exp(log_softmax_share[p]) P[p] + exp(log_other_mass[p]))

    Never more than `chunk_size` rows of logits are held: the gradients are
    taken together with the loss of a chunk and only scaled on the way back.

    Args:
        queries: float32 `[num_positions, dim]`, already divided by the temperature.
        candidates: float32 `[num_items, dim]`.
        candidate_bias: float32 `[num_items]`.
        positive_columns: int32 `[num_positions]`, in `[0, num_items)`.
        weights: float32 `[num_positions]`; 0 takes a position out.
        repeat_columns: int32 `[num_positions, num_repeats]` columns that get an
            extra logit; negative ones are ignored. None for no extra logits.
        repeat_logits: float32, same shape.
        log_softmax_share: float32 `[num_positions]`, finite, at most 0: log of the
            share of the softmax in a mixture. None: the softmax is all there is.
        log_other_mass: float32 `[num_positions]`, finite: log of what the other parts
            of the mixture give to the positive, shares included. None as above.
        chunk_size: Positions whose logits exist at one time, at most, for all chunks
            are of one size; None for as many as `CHUNK_LOGITS` holds, see `chunk_rows`.

    Returns:
        float32 scalar, the weighted sum over positions.

    Raises:
        ValueError: If `chunk_size` is less than 1, or half a mixture is given.

    References:
        - Klenitskiy, Vasilev, "Turning Dross Into Gold Loss: is BERT4Rec really
          better than SASRec?", RecSys 2023, https://arxiv.org/abs/2309.07602
          (full softmax for sequential recommendation).
        - Hsu et al., "Liger Kernel", 2024, https://arxiv.org/abs/2410.10989
          (cross-entropy fused with its gradients, chunk by chunk).
    """
    if chunk_size is None:
        chunk_size = chunk_rows(candidates)
    if chunk_size < 1:
        raise ValueError(
            f"`chunk_size` must be at least 1. Received: chunk_size={chunk_size}."
        )
    if repeat_columns is None or repeat_logits is None:
        repeat_columns = tf.zeros([tf.shape(queries)[0], 0], tf.int32)
        repeat_logits = tf.zeros([tf.shape(queries)[0], 0])
    if (log_softmax_share is None) != (log_other_mass is None):
        raise ValueError(
            "`log_softmax_share` and `log_other_mass` describe one mixture: give both "
            "or none. Received: one of them."
        )
    if log_softmax_share is None or log_other_mass is None:
        # No columns: the softmax is all there is.
        mixture = tf.zeros([tf.shape(queries)[0], 0])
    else:
        mixture = tf.stack([log_softmax_share, log_other_mass], axis=1)
    columns = tf.stop_gradient(repeat_columns)
    # Under a strategy a variable itself would not pass for a tensor of the gradient.
    queries, candidates, candidate_bias = map(
        tf.convert_to_tensor, (queries, candidates, candidate_bias)
    )

    @tf.custom_gradient
    def loss_with_gradients(
        queries, candidates, candidate_bias, repeat_logits, mixture
    ):
        loss, gradients = _softmax_over_chunks(
            (queries, positive_columns, weights, columns, repeat_logits, mixture),
            candidates,
            candidate_bias,
            chunk_size,
        )
        return loss, lambda upstream: tuple(upstream * g for g in gradients)

    loss: Any = loss_with_gradients(
        queries, candidates, candidate_bias, repeat_logits, mixture
    )
    return loss  # The stub keeps the signature of the undecorated function.


def chunk_rows(candidates: tf.Tensor) -> int:
    """Returns how many rows of logits fit into `CHUNK_LOGITS`, at least 64.

    Below 64 rows a matrix product no longer reaches its speed.

    Args:
        candidates: float32 `[num_items, dim]`; 1024 rows where `num_items` is unknown.
    """
    num_items = candidates.shape[0]
    return 1024 if num_items is None else max(64, CHUNK_LOGITS // max(num_items, 1))


def _softmax_over_chunks(
    rows: tuple[tf.Tensor, ...],
    candidates: tf.Tensor,
    candidate_bias: tf.Tensor,
    chunk_size: int,
) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
    """Loops over chunks of positions, adding up the loss and its gradients.

    Every pass over the logits, and over the catalogue, costs about as much as a
    matrix product, so there are few: the bias rides in the products as one more
    dimension, and the positives, a single cell per row, are taken off the gradient
    of the catalogue once, behind the loop.
    """
    queries, positive_columns, _, _, repeat_logits, mixture = rows
    num_positions = tf.shape(queries)[0]
    with_one = tf.pad(queries, [[0, 0], [0, 1]], constant_values=1.0)
    with_bias = tf.concat([candidates, candidate_bias[:, tf.newaxis]], axis=1)
    # At least one, if empty: an empty list of parts has no shape to join.
    num_chunks = tf.maximum(-(-num_positions // chunk_size), 1)
    even_size = -(-num_positions // num_chunks)  # A short last chunk would be slow.
    per_row = [
        tf.TensorArray(tf.float32, num_chunks, infer_shape=False) for _ in range(4)
    ]

    def body(i, loss, gradient, *parts):
        start, stop = i * even_size, tf.minimum((i + 1) * even_size, num_positions)
        part = [values[start:stop] for values in (with_one, *rows[1:])]
        chunk_loss, d_columns, *of_rows = _softmax_chunk(*part, with_bias)
        written = [p.write(i, value) for p, value in zip(parts, of_rows, strict=True)]
        return i + 1, loss + chunk_loss, gradient + d_columns, *written

    _, loss, gradient, *of_rows = tf.while_loop(
        lambda i, *_: i < num_chunks,
        body,
        (0, 0.0, tf.zeros_like(tf.transpose(with_bias)), *per_row),
        parallel_iterations=1,  # More would hold the logits of several chunks.
    )
    d_queries, d_repeats, d_mixture, shares = of_rows
    gradient = tf.tensor_scatter_nd_sub(
        tf.transpose(gradient),
        positive_columns[:, tf.newaxis],
        with_one * tf.reshape(shares.concat(), [num_positions, 1]),
    )
    gradients = (
        tf.reshape(d_queries.concat(), tf.shape(with_one))[:, :-1],
        gradient[:, :-1],
        gradient[:, -1],
        tf.reshape(d_repeats.concat(), [num_positions, tf.shape(repeat_logits)[1]]),
        tf.reshape(d_mixture.concat(), [num_positions, tf.shape(mixture)[1]]),
    )
    return loss, gradients


def _softmax_chunk(
    with_one: tf.Tensor,
    positive_columns: tf.Tensor,
    weights: tf.Tensor,
    repeat_columns: tf.Tensor,
    repeat_logits: tf.Tensor,
    mixture: tf.Tensor,
    with_bias: tf.Tensor,
) -> tuple[tf.Tensor, ...]:
    """Returns the loss of some positions and its gradients.

    That of the catalogue is transposed and still lacks the positives. One fused
    softmax costs half of what a maximum, exponentials and their sum cost one by one.
    """
    logits = tf.matmul(with_one, with_bias, transpose_b=True)
    places = tf.where(repeat_columns >= 0)  # [num_valid, 2]
    cells = tf.stack(
        [tf.cast(places[:, 0], tf.int32), tf.gather_nd(repeat_columns, places)], 1
    )
    has_repeats = repeat_columns.shape[1] != 0  # The scatter is one more pass.
    if has_repeats:
        extra = tf.gather_nd(repeat_logits, places)
        logits = tf.tensor_scatter_nd_add(logits, cells, extra)
    probabilities = tf.nn.softmax(logits)
    of_positives = tf.gather(probabilities, positive_columns, batch_dims=1)
    # One pass more where a probability is too small for float32.
    losses = tf.cond(
        tf.reduce_min(of_positives) < _LEAST_PROBABILITY,
        lambda: (
            tf.reduce_logsumexp(logits, axis=1)
            - tf.gather(logits, positive_columns, batch_dims=1)
        ),
        lambda: -tf.math.log(of_positives),
    )
    losses, share, d_mixture = _mixed(losses, mixture)
    total = tf.reduce_sum(losses * weights)
    d_mixture *= weights[:, tf.newaxis]
    weights *= share
    weighted = weights[:, tf.newaxis]
    d_repeat = tf.zeros_like(repeat_logits)
    if has_repeats:
        row = cells[:, 0]
        is_positive = tf.equal(cells[:, 1], tf.gather(positive_columns, row))
        d_extra = tf.gather_nd(probabilities, cells) - tf.cast(is_positive, tf.float32)
        d_extra *= tf.gather(weights, row)
        d_repeat = tf.tensor_scatter_nd_update(d_repeat, places, d_extra)
    d_query = tf.matmul(probabilities, with_bias)
    d_query = (d_query - tf.gather(with_bias, positive_columns)) * weighted
    # The product of a wide result is faster than that of a tall one.
    d_columns = tf.matmul(with_one * weighted, probabilities, transpose_a=True)
    return total, d_columns, d_query, d_repeat, d_mixture, weights


def _mixed(losses: tf.Tensor, mixture: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Returns the losses of a mixture, how much each moves the softmax, and gradients.

    Those are by the two columns of `mixture`, the logs of the softmax's share and of
    the other mass. Without columns the softmax is all there is. A target that the
    other parts explain moves the softmax that much less.
    """
    if mixture.shape[1] == 0:
        return losses, tf.ones_like(losses), tf.zeros_like(mixture)
    of_softmax = mixture[:, 0] - losses
    mixed = -tf.reduce_logsumexp(tf.stack([of_softmax, mixture[:, 1]]), axis=0)
    share = tf.exp(of_softmax + mixed)
    return mixed, share, tf.stack([-share, share - 1.0], axis=1)
