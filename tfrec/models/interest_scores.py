"""Scores of queries of one vector, or of several of which the best one counts."""

import tensorflow as tf


def catalogue_scores(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Scores every query against the same items.

        score(query, i) = max_j query_j . item(i)

    With several vectors `num_queries * num_interests * num_items` products exist at
    one time; the items are read once.

    Args:
        queries: float `[num_queries, dim]`, or `[num_queries, num_interests, dim]`.
        items: float `[num_items, dim]`.

    Returns:
        float `[num_queries, num_items]`.

    References:
        - Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation
          at Tmall" (MIND), CIKM 2019, https://arxiv.org/abs/1904.08030 (the maximum
          over interests).
    """
    if queries.shape.rank == 2:
        return tf.matmul(queries, items, transpose_b=True)
    return tf.reduce_max(interest_scores(queries, items), axis=1)


def interest_scores(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns float `[num_queries, num_interests, num_items]`, see there.

    Args:
        queries: float `[num_queries, num_interests, dim]`.
        items: float `[num_items, dim]`.
    """
    num_interests, dim = queries.shape[1:]
    scores = tf.matmul(tf.reshape(queries, [-1, dim]), items, transpose_b=True)
    shape = [tf.shape(queries)[0], num_interests, tf.shape(items)[0]]
    return tf.reshape(scores, shape)


def paired_scores(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Scores every query against one item of its own, by its best vector.

    Args:
        queries: float `[num_queries, dim]`, or `[num_queries, num_interests, dim]`.
        items: float `[num_queries, dim]`.

    Returns:
        float `[num_queries]`.
    """
    if queries.shape.rank == 2:
        return tf.reduce_sum(queries * items, axis=-1)
    return tf.reduce_max(tf.linalg.matvec(queries, items), axis=1)


def own_scores(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Scores every query against several items of its own, by its best vector.

    Args:
        queries: float `[num_queries, dim]`, or `[num_queries, num_interests, dim]`.
        items: float `[num_queries, num_items, dim]`.

    Returns:
        float `[num_queries, num_items]`.
    """
    if queries.shape.rank == 2:
        return tf.linalg.matvec(items, queries)
    return tf.reduce_max(tf.matmul(items, queries, transpose_b=True), axis=2)


def matching_interests(queries: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """Returns, for every item, the vector of its query that scores it highest.

    Of equal ones it is the first. No gradient chooses between them.

    Args:
        queries: float `[num_queries, dim]`, or `[num_queries, num_interests, dim]`.
        items: float `[num_queries, num_items, dim]`.

    Returns:
        float `[num_queries, num_items, dim]`; the one vector there is, repeated,
        with queries `[num_queries, dim]`.
    """
    if queries.shape.rank == 2:
        return tf.broadcast_to(queries[:, tf.newaxis], tf.shape(items))
    best = tf.argmax(
        tf.matmul(items, queries, transpose_b=True), axis=2, output_type=tf.int32
    )
    return tf.gather(queries, best, batch_dims=1)


def mean_interest(queries: tf.Tensor) -> tf.Tensor:
    """Returns float `[num_queries, dim]`, one vector of each query.

    Args:
        queries: float `[num_queries, dim]`, or `[num_queries, num_interests, dim]`.
    """
    return queries if queries.shape.rank == 2 else tf.reduce_mean(queries, axis=1)
