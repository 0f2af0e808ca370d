"""How often, how lately and by which events a candidate was met."""

from typing import NamedTuple

import tensorflow as tf

from tfrec.features.request import Request
from tfrec.features.time_buckets import gap_bucket
from tfrec.models.history_slots import HistorySlots, found_values
from tfrec.schema import NUM_SPECIAL_INDICES

RECENT_DECAY = 0.8  # Weight of an event against the one after it.
VISIT_GAP_SECONDS = 1_800  # A longer pause begins a new visit.


class Meetings(NamedTuple):
    """What the history holds of each candidate itself.

    Attributes:
        times_met: int32 `[batch_size, num_candidates]`, events of the candidate.
        last_met_bucket: int32 `[batch_size, num_candidates]`, `gap_bucket` of the
            time since the last of them; 0 where there is none or no time.
        numbers: float32 `[batch_size, num_candidates, 2 num_event_types + 2]`.
    """

    times_met: tf.Tensor
    last_met_bucket: tf.Tensor
    numbers: tf.Tensor


def find_meetings(
    request: Request, candidate_index: tf.Tensor, *, num_event_types: int
) -> Meetings:
    """Finds the candidates among the events of their history.

    The numbers are, per event type, h(time since the last such event of the candidate)
    and 0.8^(events since then); then log(1 + its events in the visit under way), and
    h(time since the newest event), the same for all candidates. h(t) = log(1 + hours)
    / 2 - 1, and 0 where there is no such event or no time. So what was bought last
    month differs from what was looked at then, and a return to the shop from the next
    click.

    Args:
        request: Histories `[batch_size, history_length]`.
        candidate_index: int32 `[batch_size, num_candidates]`.
        num_event_types: Event types of the schema.
    """
    slots = HistorySlots(request.item_index)
    place, met = slots.find(candidate_index)
    met &= candidate_index >= NUM_SPECIAL_INDICES
    then, now = request.timestamps, request.request_timestamp[:, tf.newaxis, tf.newaxis]
    is_type = tf.cast(_is_type(request, num_event_types), tf.int64)
    order = tf.range(1, tf.shape(then, tf.int64)[1] + 1)[:, tf.newaxis]  # 1: oldest.
    times = then[..., tf.newaxis]
    last = slots.maxima(tf.concat([is_type * times, is_type * order, times], axis=2))
    last_time, last_order, last_met = tf.split(
        found_values(last, place, met), [num_event_types, num_event_types, 1], axis=2
    )
    length = tf.reduce_sum(tf.cast(request.history_mask, tf.int64), axis=1)
    steps = tf.cast(length[:, tf.newaxis, tf.newaxis] - last_order, tf.float32)
    recency = tf.where(last_order > 0, tf.pow(RECENT_DECAY, steps), 0.0)
    ones = tf.ones_like(request.item_index)
    counts = tf.stack([ones, tf.cast(in_visit(request), tf.int32)], axis=-1)
    count, here = tf.split(found_values(slots.sums(counts), place, met), 2, axis=2)
    newest = tf.reduce_max(then, axis=1)[:, tf.newaxis, tf.newaxis]
    numbers = [
        _log_hours(now, last_time),
        recency,
        tf.math.log1p(tf.cast(here, tf.float32)),
        _log_hours(now, newest) + tf.zeros_like(here, tf.float32),
    ]
    bucket = gap_bucket(now - last_met, (last_met > 0) & (now > 0))
    return Meetings(
        tf.squeeze(count, 2), tf.squeeze(bucket, 2), tf.concat(numbers, axis=2)
    )


def type_pools(request: Request, num_event_types: int) -> tf.Tensor:
    """Returns weights of events that sum to 1, or are all 0 where there is none.

    Returns:
        float32 `[batch_size, num_event_types + 1, history_length]`: the events of each
        type, newest heaviest (0.8 a step), then those of the visit under way, alike.
    """
    is_type = tf.transpose(_is_type(request, num_event_types), [0, 2, 1])
    weights = tf.cast(is_type, tf.float32)
    steps = tf.cumsum(weights, axis=2, reverse=True) - 1.0  # 0 for the newest.
    weights *= tf.pow(RECENT_DECAY, steps)
    visit = tf.cast(in_visit(request), tf.float32)[:, tf.newaxis]
    weights = tf.concat([weights, visit], axis=1)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, 2, keepdims=True))


def in_visit(request: Request) -> tf.Tensor:
    """Returns bool `[batch_size, history_length]`: of the visit under way?

    Its events have no pause of half an hour behind them, up to the request. A time
    that is not known counts as a pause.
    """
    then, mask = request.timestamps, request.history_mask
    is_newest = mask & tf.logical_not(tf.pad(mask[:, 1:], [[0, 0], [0, 1]]))
    following = tf.pad(then[:, 1:], [[0, 0], [0, 1]])
    following = tf.where(is_newest, request.request_timestamp[:, tf.newaxis], following)
    known = (then > 0) & (following > 0)
    goes_on = known & (following - then <= VISIT_GAP_SECONDS)
    pauses = mask & tf.logical_not(goes_on)
    pauses_left = tf.cumsum(tf.cast(pauses, tf.int32), axis=1, reverse=True)
    return mask & tf.equal(pauses_left, 0)


def _is_type(request: Request, num_event_types: int) -> tf.Tensor:
    """Returns bool `[batch_size, history_length, num_event_types]`."""
    types = tf.range(num_event_types) + NUM_SPECIAL_INDICES
    is_type = tf.equal(request.event_type_index[..., tf.newaxis], types)
    return is_type & tf.expand_dims(request.history_mask, -1)


def _log_hours(now: tf.Tensor, then: tf.Tensor) -> tf.Tensor:
    known = (then > 0) & (now > 0)
    seconds = tf.cast(tf.maximum(now - then, 0), tf.float32)
    hours = tf.where(known, seconds, 0.0) / 3_600.0
    return tf.where(known, tf.math.log1p(hours) / 2.0 - 1.0, 0.0)
