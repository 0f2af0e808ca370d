"""Contrastive losses: a softmax in chunks that knows false negatives."""

from typing import Any, NamedTuple

import tensorflow as tf

from tfrec.models.chunked_softmax import CHUNK_LOGITS

LEAST_ROWS = 64  # Below them a matrix product no longer reaches its speed.


class Contrast(NamedTuple):
    """What each query is compared with.

    Attributes:
        candidates: float32 `[num_candidates, dim]`.
        groups: int32 `[num_candidates]`; a query takes no candidate of its own group
            for a negative.
        mask: bool `[num_candidates]`, True where it may be a negative.
    """

    candidates: tf.Tensor
    groups: tf.Tensor
    mask: tf.Tensor


def contrastive_loss(
    queries: tf.Tensor,
    contrast: Contrast,
    *,
    positive_columns: tf.Tensor,
    query_groups: tf.Tensor,
    weights: tf.Tensor,
    num_rows: int | None = None,
) -> tf.Tensor:
    """Sums InfoNCE over queries, in chunks.

        l[i, j] = queries[i] . candidates[j]
        loss    = sum_i weights[i] (log sum_j in {p_i} + N_i exp l[i, j] - l[i, p_i])
        N_i     = {j: mask[j], groups[j] != query_groups[i]}

    p_i is `positive_columns[i]`. Candidates of the query's own group are false
    negatives: they, and the query itself if it is one of them, take no part. Only
    `num_rows` rows of logits are held at a time: the gradients are taken together
    with the loss of a chunk and scaled on the way back.

    Args:
        queries: float32 `[num_queries, dim]`, already divided by the temperature.
        contrast: The candidates.
        positive_columns: int32 `[num_queries]`, in `[0, num_candidates)`; a positive
            counts also where its `mask` is False or its group that of the query.
        query_groups: int32 `[num_queries]`.
        weights: float32 `[num_queries]`; 0 takes a query out.
        num_rows: Rows of logits that exist at a time; None for as many as a
            processor's cache holds, at least 64.

    Returns:
        float32 scalar, the weighted sum over queries.

    Raises:
        ValueError: If `num_rows` is less than 1.

    Example:
        >>> two = Contrast(tf.eye(2), tf.constant([7, 8]), tf.constant([True, True]))
        >>> loss = contrastive_loss(
        ...     tf.constant([[1.0, 0.0]]),
        ...     two,
        ...     positive_columns=tf.constant([0]),
        ...     query_groups=tf.constant([7]),
        ...     weights=tf.ones(1),
        ... )
        >>> print(round(float(loss), 4))  # log(1 + 1/e)
        0.3133

    References:
        - van den Oord et al., "Representation Learning with Contrastive Predictive
          Coding", 2018, https://arxiv.org/abs/1807.03748 (InfoNCE).
    """
    if num_rows is not None and num_rows < 1:
        raise ValueError(
            f"`num_rows` must be at least 1. Received: num_rows={num_rows}."
        )

    @tf.custom_gradient
    def loss_with_gradients(queries: tf.Tensor, candidates: tf.Tensor) -> Any:
        rows = (queries, positive_columns, query_groups, weights)
        compared = contrast._replace(candidates=candidates)
        loss, d_queries, d_candidates = _over_chunks(rows, compared, num_rows)
        return loss, lambda upstream: (upstream * d_queries, upstream * d_candidates)

    loss: Any = loss_with_gradients(
        tf.convert_to_tensor(queries), tf.convert_to_tensor(contrast.candidates)
    )
    return loss  # The stub keeps the signature of the undecorated function.


def _over_chunks(
    rows: tuple[tf.Tensor, ...], contrast: Contrast, num_rows: int | None
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Adds up the loss and its gradients, chunk by chunk."""
    num_queries, dim = tf.unstack(tf.shape(rows[0]))
    num_candidates = tf.shape(contrast.candidates)[0]
    size = num_rows or tf.maximum(
        CHUNK_LOGITS // tf.maximum(num_candidates, 1), LEAST_ROWS
    )
    # At least one, if empty: an empty list of parts has no shape to join.
    num_chunks = tf.maximum((num_queries + size - 1) // size, 1)

    def body(i: Any, loss: Any, d_candidates: Any, parts: Any) -> tuple[Any, ...]:
        start, stop = i * size, tf.minimum((i + 1) * size, num_queries)
        part = _chunk(*(values[start:stop] for values in rows), contrast)
        return i + 1, loss + part[0], d_candidates + part[2], parts.write(i, part[1])

    _, loss, d_candidates, parts = tf.while_loop(
        lambda i, *_: i < num_chunks,
        body,
        (
            0,
            0.0,
            tf.zeros_like(contrast.candidates),
            tf.TensorArray(tf.float32, num_chunks, infer_shape=False),
        ),
        parallel_iterations=1,  # More would hold the logits of several chunks.
    )
    return loss, tf.reshape(parts.concat(), [num_queries, dim]), d_candidates


def _chunk(
    queries: tf.Tensor,
    positive_columns: tf.Tensor,
    groups: tf.Tensor,
    weights: tf.Tensor,
    contrast: Contrast,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns the loss of some queries, its gradient, and that of the candidates."""
    logits = tf.matmul(queries, contrast.candidates, transpose_b=True)
    columns = tf.range(tf.shape(logits)[1])
    is_positive = tf.equal(columns, positive_columns[:, tf.newaxis])
    is_negative = tf.not_equal(contrast.groups, groups[:, tf.newaxis]) & contrast.mask
    logits = tf.where(is_positive | is_negative, logits, logits.dtype.min)
    log_probability = tf.nn.log_softmax(logits)
    chosen = tf.gather(log_probability, positive_columns, batch_dims=1)
    d_logits = tf.exp(log_probability) - tf.cast(is_positive, tf.float32)
    d_logits *= weights[:, tf.newaxis]
    return (
        -tf.reduce_sum(weights * chosen),
        tf.matmul(d_logits, contrast.candidates),
        tf.matmul(d_logits, queries, transpose_a=True),
    )
