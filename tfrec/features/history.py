"""From raw request values to what the models read, inside the graph."""

from collections.abc import Mapping

import tensorflow as tf

from tfrec.features.lookup import VocabularyLookup
from tfrec.features.request import Request
from tfrec.schema import (
    CONTEXT_PREFIX,
    HISTORY_DWELL_SECONDS,
    HISTORY_ITEM_IDS,
    HISTORY_TIMESTAMPS,
    OOV_INDEX,
    PADDING_INDEX,
    REQUEST_TIMESTAMP,
    AttributeKind,
    Schema,
)


def build_request(
    raw: Mapping[str, tf.Tensor],
    item_index: tf.Tensor,
    event_type_index: tf.Tensor,
    *,
    schema: Schema,
    context: Mapping[str, VocabularyLookup],
    max_history_length: int,
) -> Request:
    """Looks a batch of raw requests up and compacts its histories.

    An event is real where its item id is not empty. Padding may stand anywhere;
    it is removed, the newest `max_history_length` events are kept, and what is
    left is padded on the right to the longest history of the batch, at least
    to one event, so that models never meet a history of width 0.

    A real event without event type, or of an unknown one, is out of vocabulary.
    Dwell that is negative, infinite or NaN is unknown, 0. A `request_timestamp` of 0
    becomes the newest time of the history: nothing said means no gap. All times
    are 0 where the log that was learned from had none.

    Args:
        raw: Inputs of a signature by name, as `Schema.signature_inputs` says.
        item_index: int32 `[batch_size, history_length]`, the looked-up
            history item ids, of `items_of_events`; 0 is padding.
        event_type_index: int32 `[batch_size, history_length]`, the looked-up
            event types of the history.
        schema: Names and kinds of the inputs.
        context: Tables of the categorical and path attributes of `schema.context`.
        max_history_length: Events that the models read. At least 1.

    Returns:
        The request, `history_length` at most `max_history_length`.
    """
    dwell_seconds = raw[HISTORY_DWELL_SECONDS]
    is_dwell = (dwell_seconds > 0) & tf.math.is_finite(dwell_seconds)
    place = _Placement(item_index, max_history_length)
    timestamps, request_timestamp = _times(raw, place, schema.has_timestamps)
    search_text: tf.Tensor | tuple[()] = ()
    search_index = schema.search_event_type_index
    if search_index is not None:
        search = tf.equal(event_type_index, search_index)
        texts = tf.where(search, raw[HISTORY_ITEM_IDS], "")
        search_text = place.compact(texts)
    return Request(
        item_index=place.compact(item_index),
        event_type_index=place.compact(tf.maximum(event_type_index, OOV_INDEX)),
        timestamps=timestamps,
        dwell_seconds=place.compact(tf.where(is_dwell, dwell_seconds, 0.0)),
        request_timestamp=request_timestamp,
        context=_context(raw, schema, context),
        search_text=search_text,
    )


def without_searches(request: Request, search_type_index: int) -> Request:
    """Returns the request with the events of items alone, padded on the right.

    What compares candidates with past items must not take a search for one of them.

    Args:
        request: Histories `[batch_size, history_length]`.
        search_type_index: Event type of searches.
    """
    search = tf.equal(request.event_type_index, search_type_index)
    events = [
        tf.where(search, PADDING_INDEX, request.item_index),
        request.event_type_index,
        request.timestamps,
        request.dwell_seconds,
    ]

    def close_up() -> list[tf.Tensor]:
        place = _Placement(events[0], tf.maximum(tf.shape(search)[1], 1))
        return [place.compact(values) for values in events]

    # Most requests have no search behind them: they are left as they are.
    left = tf.cond(tf.reduce_any(search), close_up, lambda: events)
    for values in left:
        values.set_shape([None, None])
    item_index, event_type_index, timestamps, dwell_seconds = left
    return request._replace(
        item_index=item_index,
        event_type_index=event_type_index,
        timestamps=timestamps,
        dwell_seconds=dwell_seconds,
        search_text=(),
        searches=(),
    )


def items_of_events(
    item_index: tf.Tensor, event_type_index: tf.Tensor, schema: Schema
) -> tf.Tensor:
    """Returns the looked-up history item ids, those of searches out of vocabulary.

    A search carries what was searched for in the place of an item id, and that may
    be spelled like one.
    """
    search_index = schema.search_event_type_index
    if search_index is None:
        return item_index
    searched = tf.equal(event_type_index, search_index) & (item_index > PADDING_INDEX)
    return tf.where(searched, OOV_INDEX, item_index)


def _times(
    raw: Mapping[str, tf.Tensor], place: "_Placement", has_timestamps: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    timestamps = place.compact(raw[HISTORY_TIMESTAMPS])
    request_timestamp = raw[REQUEST_TIMESTAMP]
    if not has_timestamps:
        return tf.zeros_like(timestamps), tf.zeros_like(request_timestamp)
    newest = tf.reduce_max(timestamps, axis=1)
    said = tf.not_equal(request_timestamp, 0)
    return timestamps, tf.where(said, request_timestamp, newest)


def _context(
    raw: Mapping[str, tf.Tensor],
    schema: Schema,
    lookups: Mapping[str, VocabularyLookup],
) -> dict[str, tf.Tensor]:
    values = {}
    for attribute in schema.context:
        value = raw[CONTEXT_PREFIX + attribute.name]
        if attribute.kind != AttributeKind.NUMERIC:
            value = lookups[attribute.name].lookup(value)
        values[attribute.name] = value
    return values


class _Placement:
    """Where each raw event goes: real ones to the left, oldest first.

    Padding and events that are too old are scattered into one column behind
    the last one, which `compact` cuts off. A scatter, unlike a sort, works for
    histories of width 0 and leaves zeros for padding.
    """

    def __init__(
        self, item_index: tf.Tensor, max_history_length: int | tf.Tensor
    ) -> None:
        is_real = tf.not_equal(item_index, 0)
        position = tf.cumsum(tf.cast(is_real, tf.int32), axis=1)
        count = tf.reduce_max(position, axis=1, keepdims=True)  # [batch_size, 1]
        count = tf.maximum(count, 0)  # The maximum over a width of 0 is negative.
        self._width = tf.clip_by_value(tf.reduce_max(count), 1, max_history_length)
        column = position - 1 - tf.maximum(count - max_history_length, 0)
        is_kept = tf.logical_and(is_real, column >= 0)
        column = tf.where(is_kept, column, self._width)
        batch_size = tf.shape(item_index)[0]
        row = tf.broadcast_to(tf.range(batch_size)[:, tf.newaxis], tf.shape(column))
        self._target = tf.stack([row, column], axis=-1)
        self._shape = tf.stack([batch_size, self._width + 1])

    def compact(self, values: tf.Tensor) -> tf.Tensor:
        """Returns `[batch_size, width]` of `[batch_size, history_length]`.

        Of strings, too: padding, where several meet, is cut off.
        """
        return tf.scatter_nd(self._target, values, self._shape)[:, : self._width]
