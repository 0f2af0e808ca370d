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


def built(pooling: SequencePooling) -> TextSequence:
    """A layer whose output is the pooled text itself (its newest part, joined)."""
    layer = TextSequence(pooling, num_event_types=2)
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


@pytest.mark.parametrize("pooling", POOLINGS)
def test_later_events_other_segments_and_padding_change_nothing(pooling):
    layer = built(pooling)
    tokens = make_tokens([[1, 1, 2, 2, 0]], [[0, 2, 0, 3, 0]])
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


@pytest.mark.parametrize("pooling", POOLINGS)
def test_gradients_reach_every_weight(pooling):
    layer = built(pooling)
    layer.output_layer.kernel.assign(tf.ones_like(layer.output_layer.kernel))
    tokens = TOKENS._replace(dwell_seconds=tf.constant([[0.0, 7.0, 1.0, 3.0]]))
    with tf.GradientTape() as tape:
        pooled = layer(STATES, TEXTS, tokens)
        loss = tf.reduce_sum(pooled * tf.random.stateless_normal((1, 4, 2), (5, 6)))
    gradients = tape.gradient(loss, layer.trainable_weights)
    for weight, gradient in zip(layer.trainable_weights, gradients, strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, weight.name


@pytest.mark.parametrize("pooling", POOLINGS)
def test_the_configuration_gives_the_same_layer(pooling):
    layer = TextSequence(pooling, num_event_types=3)
    again = TextSequence.from_config(layer.get_config())
    assert (again.pooling, again.num_event_types) == (pooling, 3)
