"""The texts of a history as one vector: what the shopper has been reading."""

import math
from typing import Any, Literal

import tensorflow as tf

from tfrec.features.tokens import Tokens
from tfrec.models.transformer import causal_segment_mask

NUM_JOINED = 4  # Newest texts, or sessions, that `concat` lays side by side.
SMALLEST_SHARE = 1e-30  # Of an event in its session, so that it has a logarithm.

SequencePooling = Literal["mean", "concat", "attention"]


class TextSequence(tf.keras.layers.Layer):
    """Pools the texts of past events, each encoded alone ("multi-sequence").

    The weight of event j at token i, before normalisation:

        log w_ij = - a log(1 + steps from j to i) + b log(1 + dwell_j) + e[type_j]

    - `mean`: sum_j softmax_j(log w_ij) t_j
    - `attention`: sum_j softmax_j(log w_ij + q_i . K t_j / sqrt(dim)) t_j
    - `concat`: the newest `NUM_JOINED` texts, w_ij t_j, side by side

    t_j is the projected text of event j; then comes a dense layer that starts at
    0. Events without text, later events and other segments get no weight; where
    nothing is left the result is 0. a, b and e are learned; a starts at 1, so
    that recent events weigh more.

    With `session_seconds` a sub-sequence, the events of a session, is pooled before
    the history is: t_s = sum_j softmax_j(log w_ij) t_j over its events up to i takes
    the place of t_j above, and w_is that of w_ij, with a steepness c of its own:

        log w_is = - c log(1 + sessions from s to i)

    Args:
        pooling: See above.
        num_event_types: Event types of the schema.
        session_seconds: A longer pause starts a new session; None pools events
            without regard to sessions.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        states: float `[num_rows, num_tokens, dim]`, of the sequence encoder.
        texts: float `[num_rows, num_tokens, dim]`; zeros where there is none.
        tokens: `Tokens`.

    Returns:
        float `[num_rows, num_tokens, dim]`.

    References:
        - Hou et al., "Towards Universal Sequence Representation Learning for
          Recommender Systems", KDD 2022, https://arxiv.org/abs/2206.05941 (texts
          of events, encoded alone).
    """

    def __init__(
        self,
        pooling: SequencePooling,
        num_event_types: int,
        *,
        session_seconds: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pooling = pooling
        self.num_event_types = num_event_types
        self.session_seconds = session_seconds

    def build(self, input_shape: Any) -> None:
        dim = int(input_shape[-1])
        ones = tf.keras.initializers.Ones()
        self.recency = self.add_weight(name="recency", shape=(), initializer=ones)
        self.dwell = self.add_weight(name="dwell", shape=(), initializer="zeros")
        self.event_type = self.add_weight(
            name="event_type", shape=(self.num_event_types + 2,), initializer="zeros"
        )
        if self.session_seconds is not None:
            self.session_recency = self.add_weight(
                name="session_recency", shape=(), initializer=ones
            )
        if self.pooling == "attention":
            self.query = tf.keras.layers.Dense(dim, name="query")
            self.key = tf.keras.layers.Dense(dim, use_bias=False, name="key")
        self.output_layer = tf.keras.layers.Dense(dim, kernel_initializer="zeros")
        super().build(input_shape)

    def call(self, states: tf.Tensor, texts: tf.Tensor, tokens: Tokens) -> tf.Tensor:
        texts = tf.cast(texts, states.dtype)
        has_text = tf.reduce_any(tf.not_equal(texts, 0.0), axis=-1)
        readable = causal_segment_mask(tokens.segment_ids) & has_text[:, tf.newaxis]
        steps = _steps_back(tf.ones_like(tokens.item_index))
        log_weights = self._log_weights(tokens, steps)
        scores = self._scores(states, texts)
        if self.session_seconds is not None:
            starts = _session_starts(tokens.timestamps, self.session_seconds)
            steps = _steps_back(starts)
            log_weights, scores = self._by_session(log_weights, scores, readable, steps)
        if self.pooling == "concat":
            return self.output_layer(_joined(texts, log_weights, readable, steps))
        logits = tf.where(readable, log_weights + scores, log_weights.dtype.min)
        weights = tf.where(readable, tf.nn.softmax(logits), 0.0)
        return self.output_layer(tf.matmul(tf.cast(weights, texts.dtype), texts))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pooling": self.pooling,
            "num_event_types": self.num_event_types,
            "session_seconds": self.session_seconds,
        }

    def _log_weights(self, tokens: Tokens, steps: tf.Tensor) -> tf.Tensor:
        """Returns log w_ij, float32 `[num_rows, num_tokens, num_tokens]`."""
        recency = tf.cast(self.recency, tf.float32)
        dwell = tf.maximum(tf.cast(tokens.dwell_seconds, tf.float32), 0.0)
        of_event = tf.cast(self.dwell, tf.float32) * tf.math.log1p(dwell)
        types = tf.gather(self.event_type, tokens.event_type_index)
        of_event += tf.cast(types, tf.float32)
        return of_event[:, tf.newaxis] - recency * tf.math.log1p(steps)

    def _scores(self, states: tf.Tensor, texts: tf.Tensor) -> tf.Tensor:
        """Returns what attention says of every text; 0 for the other ways to pool."""
        if self.pooling != "attention":
            return tf.zeros((), tf.float32)
        query = self.query(states) / math.sqrt(self.query.units)
        scores = tf.matmul(query, self.key(texts), transpose_b=True)
        return tf.cast(scores, tf.float32)

    def _by_session(
        self,
        log_weights: tf.Tensor,
        scores: tf.Tensor,
        readable: tf.Tensor,
        sessions_back: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns log weights and scores of events that pool their sessions.

        An event's weight is its share of its session times the session's weight, and
        its score that of the session: q . K t_s is the mean of q . K t_j by share.
        """
        session = sessions_back[:, -1]  # Counted from the last token, so told apart.
        same = tf.equal(session[:, tf.newaxis], session[:, :, tf.newaxis])
        same = tf.cast(same, tf.float32)
        logits = tf.where(readable, log_weights, log_weights.dtype.min)
        weights = tf.exp(logits - tf.reduce_max(logits, axis=-1, keepdims=True))
        weights = tf.where(readable, weights, 0.0)
        shares = tf.math.divide_no_nan(weights, tf.matmul(weights, same))
        recency = tf.cast(self.session_recency, tf.float32)
        log_shares = tf.math.log(tf.maximum(shares, SMALLEST_SHARE))
        log_weights = log_shares - recency * tf.math.log1p(sessions_back)
        return log_weights, tf.matmul(shares * scores, same)


def _session_starts(timestamps: tf.Tensor, session_seconds: float) -> tf.Tensor:
    """Returns 1 at tokens that come after a longer pause, int32, else 0.

    The start token has no time, so the first event behind it starts a session.
    """
    pauses = timestamps[:, 1:] - timestamps[:, :-1]
    starts = tf.cast(tf.cast(pauses, tf.float32) > session_seconds, tf.int32)
    return tf.pad(starts, [[0, 0], [1, 0]])


def _steps_back(starts: tf.Tensor) -> tf.Tensor:
    """Returns how many `starts` lie from token j to i, float32, at least 0.

    Args:
        starts: int32 `[num_rows, num_tokens]`, 1 where a unit begins, else 0.

    Returns:
        `[num_rows, num_tokens, num_tokens]`, by i, then j.
    """
    place = tf.cumsum(starts, axis=1)
    steps = place[:, :, tf.newaxis] - place[:, tf.newaxis]
    return tf.cast(tf.maximum(steps, 0), tf.float32)


def _joined(
    texts: tf.Tensor, log_weights: tf.Tensor, readable: tf.Tensor, steps: tf.Tensor
) -> tf.Tensor:
    """Lays the texts of the newest events or sessions side by side, newest first."""
    weights = tf.where(readable, tf.exp(log_weights), 0.0)
    parts = []
    for back in range(NUM_JOINED):
        of_unit = tf.where(tf.equal(steps, float(back)), weights, 0.0)
        parts.append(tf.matmul(tf.cast(of_unit, texts.dtype), texts))
    return tf.concat(parts, axis=-1)
