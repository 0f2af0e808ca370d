import numpy as np
import pytest
import tensorflow as tf

from tfrec.features.tokens import Tokens
from tfrec.models.text_sequence import NUM_JOINED, SequencePooling, TextSequence

POOLINGS: list[SequencePooling] = ["mean", "concat", "attention"]


def make_tokens(segments: list[list[int]], types: list[list[int]]) -> Tokens:
    shape = np.array(segments).shape
    zeros, longs = np.zeros(shape, np.int32), np.zeros(shape, np.int64)
    dwell = np.zeros(shape, np.float32)
    fields = (zeros, np.array(types, np.int32), longs, dwell, longs, zeros)
    return Tokens(*map(tf.constant, fields), tf.constant(segments, tf.int32))


def built(
    pooling: SequencePooling, session_seconds: float | None = None
) -> TextSequence:
    """A layer whose output is the pooled text itself (its newest part, joined)."""
    layer = TextSequence(pooling, num_event_types=2, session_seconds=session_seconds)
    layer(tf.zeros((1, 1, 2)), tf.zeros((1, 1, 2)), make_tokens([[1]], [[2]]))
    kernel = np.zeros(layer.output_layer.kernel.shape, np.float32)
    kernel[:2] = np.eye(2)
    layer.output_layer.kernel.assign(kernel)
    return layer


TEXTS = tf.constant([[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [3.0, 5.0]]])
STATES = tf.random.stateless_normal((1, 4, 2), (1, 2))
TOKENS = make_tokens([[1, 1, 1, 1]], [[0, 2, 3, 2]])


def test_mean_weighs_by_recency_dwell_and_event_type():
    layer = built("mean")
    layer.dwell.assign(0.5)
    layer.event_type.assign([0.0, 0.0, 0.3, -0.2])
    tokens = TOKENS._replace(dwell_seconds=tf.constant([[0.0, 7.0, 0.0, 0.0]]))
    pooled = layer(STATES, TEXTS, tokens)[0, 2]
    # Of token 2: event 1 one step back, type 2, 7 s; event 2 itself, type 3.
    weights = np.array([0.5 * 8.0**0.5 * np.exp(0.3), np.exp(-0.2)])
    np.testing.assert_allclose(pooled, weights / weights.sum(), rtol=1e-5)


def test_attention_without_a_learned_query_is_the_mean():
    attention, mean = built("attention"), built("mean")
    attention.query.kernel.assign(tf.zeros_like(attention.query.kernel))
    np.testing.assert_allclose(
        attention(STATES, TEXTS, TOKENS), mean(STATES, TEXTS, TOKENS), rtol=1e-5
    )
    attention.query.kernel.assign(tf.ones_like(attention.query.kernel))
    assert not np.allclose(
        attention(STATES, TEXTS, TOKENS), mean(STATES, TEXTS, TOKENS), atol=1e-4
    )


def test_concat_lays_the_newest_texts_side_by_side():
    layer = TextSequence("concat", num_event_types=2)
    layer(STATES, TEXTS, TOKENS)
    kernel = np.zeros((2 * NUM_JOINED, 2), np.float32)
    kernel[2:4] = np.eye(2)  # The text one step back.
    layer.output_layer.kernel.assign(kernel)
    pooled = layer(STATES, TEXTS, TOKENS)[0].numpy()
    # Recency starts at 1: one step back weighs 1 / (1 + 1).
    np.testing.assert_allclose(pooled, [[0, 0], [0, 0], [0.5, 0], [0, 0.5]], atol=1e-6)


# Two sessions: two events at noon, and one an hour later.
VISITS = TOKENS._replace(
    timestamps=tf.constant([[0, 43_200, 43_260, 46_860]], tf.int64)
)
VISITED = tf.constant([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0], [3.0, 5.0]]])


def test_sessions_are_pooled_before_the_history_is():
    layer = built("mean", session_seconds=1800.0)
    pooled = layer(STATES, VISITED, VISITS)[0].numpy()
    # The first session, read at its end: the newer event counts twice the older.
    first = np.array([4 / 3, 8 / 3])
    np.testing.assert_allclose(pooled[2], first, rtol=1e-5)
    # One event later its own are two and one steps back: 1/3 and 1/2.
    first = np.array([4 * 2 / 5, 4 * 3 / 5])
    expected = (1.0 * np.array([3.0, 5.0]) + 0.5 * first) / 1.5
    np.testing.assert_allclose(pooled[3], expected, rtol=1e-5)


def test_attention_over_sessions_compares_with_their_means():
    layer = built("attention", session_seconds=1800.0)
    layer.query.kernel.assign(tf.eye(2))
    layer.key.kernel.assign(tf.eye(2))
    layer.session_recency.assign(0.0)
    layer.recency.assign(0.0)  # A session is the plain mean of its events.
    pooled = layer(STATES, VISITED, VISITS)[0, 3].numpy()
    sessions = np.array([[2.0, 2.0], [3.0, 5.0]])
    scores = sessions @ STATES[0, 3].numpy() / np.sqrt(2)
    weights = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(pooled, weights @ sessions, rtol=1e-5)


def test_concat_lays_the_newest_sessions_side_by_side():
    layer = built("concat", session_seconds=1800.0)
    layer.recency.assign(0.0)
    kernel = np.zeros((2 * NUM_JOINED, 2), np.float32)
    kernel[2:4] = np.eye(2)  # The session before.
    layer.output_layer.kernel.assign(kernel)
    pooled = layer(STATES, VISITED, VISITS)[0].numpy()
    np.testing.assert_allclose(pooled, [[0, 0], [0, 0], [0, 0], [1, 1]], atol=1e-6)


def test_where_every_event_is_a_session_none_is_pooled_before():
    apart = TOKENS._replace(
        timestamps=tf.constant([[0, 10_000, 20_000, 30_000]], tf.int64)
    )
    np.testing.assert_allclose(
        built("mean", session_seconds=1800.0)(STATES, VISITED, apart),
        built("mean")(STATES, VISITED, apart),
        rtol=1e-5,
    )


@pytest.mark.parametrize("session_seconds", [None, 1800.0])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_later_events_other_segments_and_padding_change_nothing(
    pooling, session_seconds
):
    layer = built(pooling, session_seconds)
    tokens = make_tokens([[1, 1, 2, 2, 0]], [[0, 2, 0, 3, 0]])
    times = tf.constant([[0, 40_000, 0, 40_010, 0]], tf.int64)
    tokens = tokens._replace(timestamps=times)
    texts = tf.constant([[[0.0, 0], [1, 2], [0, 0], [3, 4], [0, 0]]])
    states = tf.random.stateless_normal((1, 5, 2), (3, 4))
    before = layer(states, texts, tokens).numpy()
    assert np.abs(before[0, 1]).max() > 0.1
    assert not before[0, [0, 2, 4]].any()  # Nothing read yet, and padding.
    changed = tf.constant([[[0.0, 0], [1, 2], [0, 0], [9, 9], [7, 7]]])
    after = layer(states, changed, tokens).numpy()
    np.testing.assert_array_equal(after[0, :3], before[0, :3])
    assert np.abs(after[0, 3] - before[0, 3]).max() > 0.1


def test_it_starts_at_zero_so_that_it_only_adds():
    layer = TextSequence("attention", num_event_types=2)
    assert not layer(STATES, TEXTS, TOKENS).numpy().any()


@pytest.mark.parametrize("session_seconds", [None, 1800.0])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_every_weight(pooling, session_seconds):
    layer = built(pooling, session_seconds)
    layer.output_layer.kernel.assign(tf.ones_like(layer.output_layer.kernel))
    tokens = VISITS._replace(dwell_seconds=tf.constant([[0.0, 7.0, 1.0, 3.0]]))
    with tf.GradientTape() as tape:
        pooled = layer(STATES, TEXTS, tokens)
        loss = tf.reduce_sum(pooled * tf.random.stateless_normal((1, 4, 2), (5, 6)))
    gradients = tape.gradient(loss, layer.trainable_weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_configuration_gives_the_same_layer(pooling):
    layer = TextSequence(pooling, num_event_types=3, session_seconds=60.0)
    again = TextSequence.from_config(layer.get_config())
    assert (again.pooling, again.num_event_types) == (pooling, 3)
    assert again.session_seconds == 60.0
