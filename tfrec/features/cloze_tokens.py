"""Tokens of a request for an encoder that fills gaps: a mask behind the history."""

import tensorflow as tf

from tfrec.features.request import Searches
from tfrec.features.tokens import Tokens


def append_mask(tokens: Tokens) -> Tokens:
    """Replaces the start token of each row by a mask behind its last event.

        [start, e_1, ..., e_n]  ->  [e_1, ..., e_n, mask]

    The mask has no item, no event type, no dwell and no time of its own (all 0, what
    no event has); `next_timestamps` of it is when the request is made. Places count
    from 1. It stands where the last event stood, so that the place of the query is
    the same.

    Args:
        tokens: Of `request_tokens`: rows of one segment, padding on the right.

    Returns:
        Tokens of the same shapes and dtypes.
    """
    length = tf.reduce_sum(tokens.segment_ids, axis=1, keepdims=True) - 1
    place = tf.range(tf.shape(tokens.segment_ids)[1])[tf.newaxis]
    is_event = place < length

    def of_events(values: tf.Tensor) -> tf.Tensor:
        return tf.where(is_event, _to_the_left(values), tf.zeros([], values.dtype))

    asked = tf.where(
        tf.equal(place, length), tokens.next_timestamps, tf.constant(0, tf.int64)
    )
    return Tokens(
        item_index=of_events(tokens.item_index),
        event_type_index=of_events(tokens.event_type_index),
        timestamps=of_events(tokens.timestamps),
        dwell_seconds=of_events(tokens.dwell_seconds),
        next_timestamps=of_events(tokens.next_timestamps) + asked,
        positions=tf.where(place <= length, place + 1, 0),
        segment_ids=tokens.segment_ids,
    )


def without_start(searches: Searches | None) -> Searches | None:
    """Moves the searches of `request_searches` to where `append_mask` has events."""
    if searches is None:
        return None
    return searches._replace(rows=_to_the_left(searches.rows))


def _to_the_left(values: tf.Tensor) -> tf.Tensor:
    return tf.pad(values[:, 1:], [[0, 0], [0, 1]])
