"""Rules about a whole list: places that are promised, caps, and diversity."""

from typing import NamedTuple

import tensorflow as tf

_NOTHING = float("-inf")


class ListRules(NamedTuple):
    """What lists of a batch must look like.

    Attributes:
        num_places: int32 `[batch_size]`, the length each list is asked for.
        is_promised: bool `[batch_size, num_candidates]`, True for candidates that
            must have a place.
        cap_values: int32 `[batch_size, num_candidates, num_caps]`, which value of
            each capped attribute a candidate has; 0 is none, and is not counted.
        caps: int32 `[batch_size, num_caps]`, at most so many of one value; 0 or
            less is no cap.
        diversity: float32 `[batch_size]`, 0 is off, 1 is all.
        embeddings: float32 `[batch_size, num_candidates, embedding_dim]`,
            L2-normalised; the width may be 0 where no row wants diversity.
    """

    num_places: tf.Tensor
    is_promised: tf.Tensor
    cap_values: tf.Tensor
    caps: tf.Tensor
    diversity: tf.Tensor
    embeddings: tf.Tensor


class _State(NamedTuple):
    """What a step of the selection leaves to the next.

    Attributes:
        place: int32, how many places were dealt with.
        order: int32 `[num_columns, batch_size]` as an array of tensors.
        filled: bool, the same.
        is_free: bool `[batch_size, num_candidates]`, not chosen yet.
        counts: int32 `[batch_size, num_candidates, num_caps]`, how many items were
            chosen that have the value of this candidate.
        similarity: float32 `[batch_size, num_candidates]`, to the nearest chosen.
    """

    place: tf.Tensor
    order: tf.TensorArray
    filled: tf.TensorArray
    is_free: tf.Tensor
    counts: tf.Tensor
    similarity: tf.Tensor


def choose_by_rules(
    scores: tf.Tensor, num_columns: tf.Tensor, rules: ListRules
) -> tuple[tf.Tensor, tf.Tensor]:
    """Fills lists place by place with the best candidate that the rules allow.

        value(c)  = (1 - d) relevance(c) - d max over chosen s of cosine(c, s)
        relevance = (score - min score) / (max score - min score) of the list

    with d the diversity (maximal marginal relevance); where d is 0 the value is the
    score itself, and equal ones keep their order. A candidate whose value of a
    capped attribute was chosen as often as the cap allows is passed over; promised
    candidates never are, but they count. As soon as only as many places are left as
    there are promised candidates, they are filled with those. A place for which no
    candidate is allowed stays empty.

    Rows do not see one another. The cost is `num_columns` steps of
    `batch_size * num_candidates * (num_caps + embedding_dim)`.

    Args:
        scores: float32 `[batch_size, num_candidates]`; -inf is no candidate.
        num_columns: int32 scalar, places of the longest list.
        rules: What the lists must look like.

    Returns:
        int32 and bool `[batch_size, num_columns]`: the candidate of each place, and
        True where there is one.

    References:
        - Carbonell, Goldstein, "The Use of MMR, Diversity-Based Reranking for
          Reordering Documents and Producing Summaries", SIGIR 1998.
    """
    is_free = scores > _NOTHING
    relevance = _relevance(scores, is_free)
    strength = _clean_strength(rules.diversity)
    start = _State(
        tf.constant(0),
        tf.TensorArray(tf.int32, num_columns, element_shape=[None]),
        tf.TensorArray(tf.bool, num_columns, element_shape=[None]),
        is_free,
        tf.zeros_like(rules.cap_values),
        # Nothing was chosen: the same for all, so that it changes nothing.
        tf.fill(tf.shape(scores), -1.0),
    )

    def step(*values: tf.Tensor) -> _State:
        state = _State(*values)
        diverse = (1.0 - strength) * relevance - strength * state.similarity
        value = tf.where(strength > 0.0, diverse, scores)
        value = tf.where(_allowed(state, rules), value, _NOTHING)
        best = tf.argmax(value, axis=1, output_type=tf.int32)
        found = tf.reduce_max(value, axis=1) > _NOTHING
        return _after(state, rules, best, found)

    end = _State(*tf.while_loop(lambda place, *_: place < num_columns, step, start))
    return tf.transpose(end.order.stack()), tf.transpose(end.filled.stack())


def _relevance(scores: tf.Tensor, is_candidate: tf.Tensor) -> tf.Tensor:
    """Returns scores from 0 to 1 within each list; 0 if all are equal."""
    highest = tf.reduce_max(
        tf.where(is_candidate, scores, scores.dtype.min), axis=1, keepdims=True
    )
    lowest = tf.reduce_min(
        tf.where(is_candidate, scores, scores.dtype.max), axis=1, keepdims=True
    )
    # Halves, since the difference of two finite numbers may be infinite.
    spread = highest * 0.5 - lowest * 0.5
    above = tf.where(is_candidate, scores, lowest) * 0.5 - lowest * 0.5
    return tf.math.divide_no_nan(above, spread)


def _clean_strength(diversity: tf.Tensor) -> tf.Tensor:
    """Returns float32 `[batch_size, 1]` from 0 to 1; NaN is 0."""
    said = tf.where(tf.math.is_nan(diversity), 0.0, diversity)
    return tf.clip_by_value(said, 0.0, 1.0)[:, tf.newaxis]


def _allowed(state: _State, rules: ListRules) -> tf.Tensor:
    """Returns bool `[batch_size, num_candidates]`: who may take the next place."""
    caps = rules.caps[:, tf.newaxis]
    is_full = (caps > 0) & (rules.cap_values > 0) & (state.counts >= caps)
    is_capped = tf.reduce_any(is_full, axis=2)
    waiting = state.is_free & rules.is_promised
    num_waiting = tf.reduce_sum(tf.cast(waiting, tf.int32), axis=1)
    is_urgent = num_waiting >= rules.num_places - state.place
    free = state.is_free & (rules.is_promised | ~is_capped)
    return tf.where((is_urgent & (num_waiting > 0))[:, tf.newaxis], waiting, free)


def _after(
    state: _State, rules: ListRules, best: tf.Tensor, found: tf.Tensor
) -> _State:
    """Takes the chosen candidates out and counts them."""
    num_candidates = tf.shape(state.is_free)[1]
    chosen = tf.equal(tf.range(num_candidates), best[:, tf.newaxis])
    value = tf.gather(rules.cap_values, best, batch_dims=1)[:, tf.newaxis]
    same = (rules.cap_values == value) & found[:, tf.newaxis, tf.newaxis]
    vector = tf.gather(rules.embeddings, best, batch_dims=1)
    cosine = tf.linalg.matvec(rules.embeddings, vector)
    nearer = tf.maximum(state.similarity, cosine)
    return _State(
        state.place + 1,
        state.order.write(state.place, best),
        state.filled.write(state.place, found),
        state.is_free & tf.logical_not(chosen & found[:, tf.newaxis]),
        state.counts + tf.cast(same, tf.int32),
        tf.where(found[:, tf.newaxis], nearer, state.similarity),
    )
