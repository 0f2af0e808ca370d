"""The first of two stages of attention: which past events are looked at at all."""

import tensorflow as tf

from tfrec.features.request import Request
from tfrec.models.interest_scores import own_scores


def newest_events(request: Request, length: int) -> Request:
    """Keeps the newest `length` events of every history.

    Args:
        request: Histories `[batch_size, history_length]`, padding on the right.
        length: Events to keep. At least 1.

    Returns:
        The request with histories `[batch_size, min(length, history_length)]`.
    """
    place = tf.range(tf.shape(request.item_index)[1])
    return keep_events(request, tf.cast(place, tf.float32)[tf.newaxis], length)


def relevant_events(
    request: Request, items: tf.Tensor, queries: tf.Tensor, *, length: int
) -> Request:
    """Keeps the `length` events whose items lie nearest to the request's query.

        relevance(e) = query . item(e) / |item(e)|

    It is one search a request, whatever the number of candidates, and does not look
    at them: a candidate's score stays its own. Candidates come from near the query
    themselves.

    Args:
        request: Histories `[batch_size, history_length]`, padding on the right.
        items: float `[batch_size, history_length, dim]`, the events' items.
        queries: float `[batch_size, dim]`, of the retrieval model; with several
            interests `[batch_size, num_interests, dim]`, the nearest of which counts.
        length: Events to keep. At least 1.

    Returns:
        The request with histories `[batch_size, min(length, history_length)]`, in
        the order of time.

    References:
        - Pi et al., "Search-based User Interest Modeling with Lifelong Sequential
          Behavior Data for Click-Through Rate Prediction" (SIM), CIKM 2020,
          https://arxiv.org/abs/2006.05639 (there one search a candidate).
    """
    relevance = own_scores(queries, tf.math.l2_normalize(items, axis=-1))
    return keep_events(request, relevance, length)


def keep_events(request: Request, relevance: tf.Tensor, length: int) -> Request:
    """Keeps the `length` most relevant events of every history, in order of time.

    Of equally relevant events the older are kept. Padding is kept last.

    Args:
        request: Histories `[batch_size, history_length]`, padding on the right.
        relevance: float `[batch_size or 1, history_length]`, finite.
        length: Events to keep. At least 1.
    """
    relevance = tf.where(request.history_mask, relevance, relevance.dtype.min)
    kept = tf.minimum(length, tf.shape(relevance)[1])
    _, place = tf.math.top_k(relevance, kept)
    place = tf.sort(place, axis=1)  # Padding stands right of all events, and stays.

    def keep(values: tf.Tensor) -> tf.Tensor:
        return tf.gather(values, place, batch_dims=1)

    texts, searches = request.search_text, request.searches
    if searches:
        searches = searches._replace(rows=keep(searches.rows))
    return request._replace(
        item_index=keep(request.item_index),
        event_type_index=keep(request.event_type_index),
        timestamps=keep(request.timestamps),
        dwell_seconds=keep(request.dwell_seconds),
        search_text=texts if isinstance(texts, tuple) else keep(texts),
        searches=searches,
    )


def nearest_events(
    candidates: tf.Tensor, items: tf.Tensor, history_mask: tf.Tensor, *, length: int
) -> tf.Tensor:
    """Finds, for every candidate, the `length` events of the nearest items.

        relevance(c, e) = item(c) . item(e) / |item(e)|

    Args:
        candidates: float `[batch_size, num_candidates, dim]`.
        items: float `[batch_size, history_length, dim]`, the events' items.
        history_mask: bool `[batch_size, history_length]`, True for real events.
        length: Events to keep. At least 1.

    Returns:
        bool `[batch_size, num_candidates, history_length]`, True for events to look
        at. As many as the last of them count too; padding never does.

    References:
        - Pi et al., SIM, CIKM 2020, https://arxiv.org/abs/2006.05639 (soft search).
    """
    nearness = tf.matmul(
        candidates, tf.math.l2_normalize(items, axis=-1), transpose_b=True
    )
    mask = history_mask[:, tf.newaxis]
    nearness = tf.where(mask, nearness, nearness.dtype.min)
    kept = tf.minimum(length, tf.shape(nearness)[2])
    last = tf.math.top_k(nearness, kept, sorted=False).values
    return mask & (nearness >= tf.reduce_min(last, axis=2, keepdims=True))
