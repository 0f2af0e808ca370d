"""What ranking knows of a candidate against a history, beside embeddings."""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tfrec.features.item_statistics import NUM_NEIGHBOURS
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request
from tfrec.models.history_slots import HistorySlots, found_values
from tfrec.models.meeting_features import RECENT_DECAY, find_meetings, type_pools

NUM_NEIGHBOUR_EVENTS = 50  # Newest events whose neighbours are looked at.


class NeighbourWeights(NamedTuple):
    """`Neighbours` as weights of a model, not trained."""

    item_index: tf.Variable
    strength: tf.Variable


class CrossFeatures(NamedTuple):
    """Comparisons of candidates with the history they are ranked for.

    Attributes:
        numbers: float32 `[batch_size, num_candidates, num_numbers]`, about -3 to 3.
        times_met: int32 `[batch_size, num_candidates]`, events of the candidate.
        last_met_bucket: int32 `[batch_size, num_candidates]`, `gap_bucket` of the
            time since the last of them; 0 where there is none or no time.
    """

    numbers: tf.Tensor
    times_met: tf.Tensor
    last_met_bucket: tf.Tensor


def recency_weights(mask: tf.Tensor) -> tf.Tensor:
    """Returns float32 weights of events that sum to 1 per row, newest heaviest.

    Args:
        mask: bool `[batch_size, history_length]`, True for real events, padding
            on the right. A row without events gets zeros.
    """
    real = tf.cast(mask, tf.float32)
    age = tf.cumsum(real, axis=1, reverse=True) - 1.0  # 0 for the newest event.
    weights = real * tf.pow(RECENT_DECAY, age)
    return tf.math.divide_no_nan(weights, tf.reduce_sum(weights, 1, keepdims=True))


def cross_features(
    request: Request,
    candidate_index: tf.Tensor,
    item_table: ItemTable,
    *,
    num_event_types: int,
) -> CrossFeatures:
    """Compares candidates with the history, attribute by attribute.

    First the log of the training count. Per categorical, path or tags attribute: how
    much of the candidate's values the history shares (rare values count more): the
    recency-weighted mean, the newest event, the plain mean over all events, and those
    of `type_pools`. Per number: the candidate's value, its difference from the weighted
    mean of the history and from the newest event. Then the numbers of `find_meetings`.

    Args:
        request: Histories `[batch_size, history_length]`.
        candidate_index: int32 `[batch_size, num_candidates]`.
        item_table: The catalogue.
        num_event_types: Event types of the schema.
    """
    mask = request.history_mask
    weights = recency_weights(mask)  # [batch_size, history_length]
    length = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    newest = tf.one_hot(length - 1, tf.shape(mask)[1])  # All zeros without events.
    pools = tf.stack([weights, newest], axis=1)  # [batch_size, 2, history_length]
    real = tf.cast(mask, tf.float32)
    even = tf.math.divide_no_nan(real, tf.reduce_sum(real, axis=1, keepdims=True))
    by_type = type_pools(request, num_event_types)
    all_pools = tf.concat([pools, even[:, tf.newaxis], by_type], axis=1)
    numbers = [tf.expand_dims(_log_count(item_table, candidate_index), -1)]
    for name in item_table.indices:
        numbers.append(
            _shared_values(
                item_table, name, candidate_index, request.item_index, all_pools
            )
        )
    for name in item_table.numbers:
        values = tf.constant(item_table.numbers[name])
        known = tf.constant(item_table.known[name])
        numbers.append(
            _differences(values, known, candidate_index, request.item_index, pools)
        )
    met = find_meetings(request, candidate_index, num_event_types=num_event_types)
    numbers.append(met.numbers)
    return CrossFeatures(tf.concat(numbers, axis=2), met.times_met, met.last_met_bucket)


def meetings(request: Request, candidate_index: tf.Tensor) -> tf.Tensor:
    """Returns bool `[batch_size, num_candidates, history_length]`: is it this event?

    Padding and unknown items (index 0 and 1) were never met.
    """
    met = tf.equal(candidate_index[:, :, tf.newaxis], request.item_index[:, tf.newaxis])
    return met & (candidate_index > 1)[:, :, tf.newaxis]


def _log_count(item_table: ItemTable, candidate_index: tf.Tensor) -> tf.Tensor:
    logs = tf.math.log1p(tf.constant(item_table.train_count, tf.float32))
    seen = tf.math.log1p(tf.constant(item_table.reference.train_count, tf.float32))
    scale = tf.maximum(tf.math.reduce_std(seen), 1e-3)
    return tf.gather((logs - tf.reduce_mean(seen)) / scale, candidate_index)


def _shared_values(
    item_table: ItemTable,
    name: str,
    candidates: tf.Tensor,
    history: tf.Tensor,
    pools: tf.Tensor,
) -> tf.Tensor:
    """Returns float32 `[batch_size, num_candidates, num_pools]` in 0 to 1.

        share(c, e) = sum of idf(v) over values v that c and e share
                      / sum of idf(v) over the values of c

    idf(v) = log(1 + num_items / items with v), so that a rare word, or a deep level
    of a path, counts more than one that is everywhere. The share of a pool is the
    sum of those of its events, each with its weight: worked out as the sum over the
    values of c of idf(v) times the weight of all events that have v.

    Args:
        item_table: The catalogue.
        name: The attribute.
        candidates: int32 `[batch_size, num_candidates]`.
        history: int32 `[batch_size, history_length]`.
        pools: float32 `[batch_size, num_pools, history_length]`, weights of events.
    """
    values, reference = item_table.indices[name], item_table.reference
    spread = np.bincount(
        reference.indices[name].ravel(), minlength=item_table.vocabulary_sizes[name]
    )
    idf = np.log1p(reference.num_items / np.maximum(spread, 1)).astype(np.float32)
    idf[0] = 0.0  # Padding.
    num_values, num_pools = values.shape[1], pools.shape[1]
    of_history = tf.gather(tf.constant(_distinct(values)), history)
    of_candidates = tf.gather(tf.constant(values), candidates)
    weight = tf.gather(tf.constant(idf), of_candidates)  # [..., num_candidates, values]
    rows, columns = tf.unstack(tf.shape(candidates))
    slots = HistorySlots(
        tf.reshape(of_history, [rows, tf.shape(history)[1] * num_values])
    )
    weights = tf.repeat(tf.transpose(pools, [0, 2, 1]), num_values, axis=1)
    place, hit = slots.find(tf.reshape(of_candidates, [rows, columns * num_values]))
    pooled = tf.reshape(
        found_values(slots.sums(weights), place, hit),
        [rows, columns, num_values, num_pools],
    )
    shared = tf.reduce_sum(pooled * weight[..., tf.newaxis], axis=2)
    return tf.math.divide_no_nan(shared, tf.reduce_sum(weight, axis=2, keepdims=True))


def _distinct(values: np.ndarray) -> np.ndarray:
    """Returns a copy in which a row holds a value once; its other places are 0."""
    kept = values.copy()
    for place in range(1, values.shape[1]):
        earlier = (values[:, :place] == values[:, place, np.newaxis]).any(axis=1)
        kept[earlier, place] = 0
    return kept


def _differences(
    values: tf.Tensor,
    known: tf.Tensor,
    candidates: tf.Tensor,
    history: tf.Tensor,
    pools: tf.Tensor,
) -> tf.Tensor:
    """Returns float32 `[batch_size, num_candidates, 3]`; 0 where unknown."""
    mine, is_known = tf.gather(values, candidates), tf.gather(known, candidates)
    weight = pools * tf.cast(tf.gather(known, history), tf.float32)[:, tf.newaxis]
    total = tf.einsum("bpl,bl->bp", weight, tf.gather(values, history))
    norm = tf.reduce_sum(weight, axis=2)
    mean = tf.math.divide_no_nan(total, norm)[:, tf.newaxis]
    both = is_known[..., tf.newaxis] & (norm > 0.0)[:, tf.newaxis]
    difference = tf.where(both, tf.abs(mine[..., tf.newaxis] - mean), 0.0)
    return tf.concat([mine[..., tf.newaxis], difference], axis=2)


def neighbour_features(
    request: Request, candidate_index: tf.Tensor, weights: NeighbourWeights
) -> tf.Tensor:
    """Says how strongly candidates follow from the newest events.

        of an event e: s_e(c) = log(1 + 100 strength(item of e, c)) / 5, 0 if c is
        none of its neighbours

    Args:
        request: Histories `[batch_size, history_length]`.
        candidate_index: int32 `[batch_size, num_candidates]`.
        weights: Neighbours of every item, each once; padding and the unknown item
            have none.

    Returns:
        float32 `[batch_size, num_candidates, 4]`: s of the newest event, then over
        the newest `NUM_NEIGHBOUR_EVENTS` the recency-weighted mean, the maximum,
        and log(1 + sum).
    """
    mask = request.history_mask
    length = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1, keepdims=True)
    num_events = tf.minimum(tf.shape(mask)[1], NUM_NEIGHBOUR_EVENTS)
    back = tf.range(num_events)[tf.newaxis]  # 0 is the newest event.
    real = back < length
    place = tf.maximum(length - 1 - back, 0)
    events = tf.gather(request.item_index, place, batch_dims=1)
    events = tf.where(real, events, 0)  # [batch_size, num_events]
    weight = tf.cast(real, tf.float32) * tf.pow(RECENT_DECAY, tf.cast(back, tf.float32))
    weight = tf.math.divide_no_nan(weight, tf.reduce_sum(weight, 1, keepdims=True))
    is_newest = tf.cast(tf.equal(back, 0), tf.float32)
    strength = tf.math.log1p(100.0 * tf.gather(weights.strength, events)) / 5.0
    pooled = tf.stack(
        [
            strength * tf.expand_dims(is_newest, -1),
            strength * tf.expand_dims(weight, -1),
            strength,
        ],
        axis=-1,
    )  # [batch_size, num_events, num_neighbours, 3]
    flat = [tf.shape(events)[0], num_events * NUM_NEIGHBOURS]
    slots = HistorySlots(tf.reshape(tf.gather(weights.item_index, events), flat))
    sums = slots.sums(tf.reshape(pooled, [*flat, 3]))
    # The neighbours of an item are distinct: a maximum over them is one over events.
    greatest = slots.maxima(tf.reshape(strength, [*flat, 1]))
    place, hit = slots.find(candidate_index)
    hit &= candidate_index > 1
    newest, mean, total = tf.unstack(found_values(sums, place, hit), axis=-1)
    maximum = tf.squeeze(found_values(greatest, place, hit), -1)
    return tf.stack([newest, mean, maximum, tf.math.log1p(total)], axis=2)
