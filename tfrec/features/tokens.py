"""What the sequence encoder reads: events behind a start token, in segments."""

from typing import NamedTuple

import tensorflow as tf

from tfrec.data.batches import TokenArrays
from tfrec.features.request import Leaf, Request


class Tokens(NamedTuple):
    """Rows of tokens; a row holds one or more histories ("segments").

    The first token of a segment is the start token (item index 0, position 0);
    the others are events. Token j of a history has read the events up to j and
    is the query for what comes next, at `next_timestamps`.

    Attributes:
        item_index: int32 `[num_rows, num_tokens]`; 0 at start tokens and padding.
        event_type_index: int32 `[num_rows, num_tokens]`.
        timestamps: int64 `[num_rows, num_tokens]`; 0 unknown.
        dwell_seconds: float32 `[num_rows, num_tokens]`; 0 unknown.
        next_timestamps: int64 `[num_rows, num_tokens]`, when the next event, or
            the request, happens; 0 unknown.
        positions: int32 `[num_rows, num_tokens]`, place within the segment.
        segment_ids: int32 `[num_rows, num_tokens]`, 1, 2, …; 0 is padding.
    """

    item_index: Leaf
    event_type_index: Leaf
    timestamps: Leaf
    dwell_seconds: Leaf
    next_timestamps: Leaf
    positions: Leaf
    segment_ids: Leaf

    def without_times(self) -> "Tokens":
        """Returns the tokens as a log without times would give them."""
        unknown = tf.zeros_like(self.timestamps)
        return self._replace(timestamps=unknown, next_timestamps=unknown)


def tokens_of(arrays: TokenArrays) -> Tokens:
    """Returns the tokens of a training batch, field by field; arrays stay arrays."""
    return Tokens(**arrays._asdict())


def request_tokens(request: Request) -> Tokens:
    """Turns requests into rows of one segment, `[batch_size, 1 + history_length]`."""
    mask = request.history_mask

    def behind_start(values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values, [[0, 0], [1, 0]])

    num_tokens = 1 + tf.shape(mask)[1]
    # Padding is on the right, so the next event's time stands one to the right;
    # behind the last event it is the request's.
    following = tf.pad(request.timestamps, [[0, 0], [0, 1]])
    length = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    is_last = tf.equal(tf.range(num_tokens)[tf.newaxis], length[:, tf.newaxis])
    next_timestamps = tf.where(
        is_last, request.request_timestamp[:, tf.newaxis], following
    )
    real = tf.sequence_mask(length + 1, num_tokens)
    positions = tf.where(real, tf.range(num_tokens)[tf.newaxis], 0)
    return Tokens(
        behind_start(request.item_index),
        behind_start(request.event_type_index),
        behind_start(request.timestamps),
        behind_start(request.dwell_seconds),
        next_timestamps,
        positions,
        tf.cast(real, tf.int32),
    )


class Occurrences(NamedTuple):
    """Where the item of a token stands elsewhere in its segment.

    Attributes:
        previous_count: int32 `[num_rows, num_tokens]`, how often the item stood
            earlier in the segment; 0 at start tokens and padding.
        next_place: int32 `[num_rows, num_tokens]`, column of its next
            occurrence in the row; `num_tokens` if there is none.
    """

    previous_count: tf.Tensor
    next_place: tf.Tensor


def find_occurrences(item_index: tf.Tensor, segment_ids: tf.Tensor) -> Occurrences:
    """Counts earlier and finds next occurrences of every token's item.

    Unknown items (index 1) are not taken for one another.
    """
    known = item_index > 1
    same = tf.equal(item_index[:, :, tf.newaxis], item_index[:, tf.newaxis, :])
    same &= tf.equal(segment_ids[:, :, tf.newaxis], segment_ids[:, tf.newaxis, :])
    same &= known[:, :, tf.newaxis]  # [num_rows, num_tokens, num_tokens]
    num_tokens = tf.shape(item_index)[1]
    place = tf.range(num_tokens)
    earlier = place[tf.newaxis, :] < place[:, tf.newaxis]
    previous_count = tf.reduce_sum(tf.cast(same & earlier, tf.int32), axis=2)
    later = tf.where(same & tf.transpose(earlier), place, num_tokens)
    # The column itself bounds the minimum, so an empty row cannot overflow.
    next_place = tf.minimum(tf.reduce_min(later, axis=2), num_tokens)
    return Occurrences(previous_count, next_place)
