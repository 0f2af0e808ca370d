"""Each sequence encoder against its formula, computed in numpy token by token."""

from typing import TypeVar

import numpy as np
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.models.sequence_encoders.bsarec import BsarecBlock
from tfrec.models.sequence_encoders.gru import GruEncoder
from tfrec.models.sequence_encoders.hstu import HstuEncoder, RelativeBias
from tfrec.models.sequence_encoders.ligr import LigrBlock
from tfrec.models.sequence_encoders.mean import MeanEncoder
from tfrec.models.sequence_encoders.recency_mean import RecencyMean
from tfrec.models.transformer import TransformerBlock, causal_segment_mask

LayerT = TypeVar("LayerT", bound=tf.keras.layers.Layer)

DIM, NUM_TOKENS = 4, 5
X = np.random.default_rng(3).normal(size=(1, NUM_TOKENS, DIM)).astype(np.float32)
SEGMENTS = tf.constant([[1, 1, 1, 1, 1]])
MASK = causal_segment_mask(SEGMENTS)


def shaken(layer: LayerT, *inputs: object) -> LayerT:
    """The layer, built, all its weights away from their start."""
    tf.keras.utils.set_random_seed(0)
    layer(*inputs)
    for i, weight in enumerate(layer.trainable_weights):
        noise = tf.random.stateless_normal(tf.shape(weight), (2, i), stddev=0.4)
        weight.assign_add(noise)
    return layer


def norm(x: np.ndarray, layer: tf.keras.layers.Layer) -> np.ndarray:
    scale, shift = layer.get_weights()
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(x.var(axis=-1, keepdims=True) + 1e-6) * scale + shift


def dense(x: np.ndarray, layer: tf.keras.layers.Layer) -> np.ndarray:
    kernel, bias = layer.get_weights()
    return x @ kernel + bias


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def attention(block: TransformerBlock, y: np.ndarray, num_heads: int) -> np.ndarray:
    query, key, value = np.split(dense(y, block.projection), 3, axis=-1)
    size = DIM // num_heads
    result = np.zeros_like(y)
    for h in range(num_heads):
        of = slice(h * size, (h + 1) * size)
        for i in range(NUM_TOKENS):
            logits = key[0, : i + 1, of] @ query[0, i, of] / np.sqrt(size)
            weights = np.exp(logits) / np.exp(logits).sum()
            result[0, i, of] = weights @ value[0, : i + 1, of]
    return dense(result, block.output_projection)


def gelu(x: np.ndarray) -> np.ndarray:
    return tf.nn.gelu(x).numpy()


def test_ligr_gates_attention_and_net_by_their_input():
    block = shaken(LigrBlock(2, 3, dropout=0.0), X, MASK)
    x = X + sigmoid(dense(X, block.attention_gate)) * attention(
        block, norm(X, block.attention_norm), 2
    )
    both = dense(norm(x, block.feedforward_norm), block.expand.projection)
    net = dense(silu(both[..., :3]) * both[..., 3:], block.contract)
    x = x + sigmoid(dense(x, block.feedforward_gate)) * net
    np.testing.assert_allclose(block(X, MASK), x, atol=1e-5)


def recency_mean(y: np.ndarray, half_lives: np.ndarray) -> np.ndarray:
    size = DIM // len(half_lives)
    result = np.zeros_like(y)
    for group, half_life in enumerate(half_lives):
        of = slice(group * size, (group + 1) * size)
        for i in range(NUM_TOKENS):
            weights = 0.5 ** ((i - np.arange(i + 1)) / half_life)
            result[0, i, of] = weights @ y[0, : i + 1, of] / weights.sum()
    return result


def test_recency_mean_keeps_the_contract_of_layers():
    check_layer(RecencyMean, {"num_groups": 2}, (X, MASK))


def test_recency_mean_halves_the_weight_with_every_half_life():
    layer = RecencyMean(2)
    np.testing.assert_allclose(
        layer(X, MASK), recency_mean(X, np.array([1.0, 16.0])), atol=1e-6
    )
    layer.log_half_life.assign(np.log([0.5, 3.0]))
    np.testing.assert_allclose(
        layer(X, MASK), recency_mean(X, np.array([0.5, 3.0])), atol=1e-6
    )


def test_recency_mean_of_nothing_is_zero():
    nothing = tf.zeros((1, NUM_TOKENS, NUM_TOKENS), tf.bool)
    np.testing.assert_array_equal(RecencyMean(2)(X, nothing), np.zeros_like(X))


def test_recency_mean_stays_finite_over_long_histories_and_short_half_lives():
    layer = RecencyMean(1)
    x = np.ones((1, 300, 2), np.float32)
    mask = causal_segment_mask(tf.ones((1, 300), tf.int32))
    layer(x, mask)
    layer.log_half_life.assign([-4.0])
    with tf.GradientTape() as tape:
        mean = layer(x, mask)
    np.testing.assert_allclose(mean, x, atol=1e-6)
    gradient = tf.convert_to_tensor(tape.gradient(mean, layer.log_half_life))
    assert np.isfinite(gradient).all()


def test_mean_encoder_is_a_net_over_the_recency_mean():
    encoder = shaken(MeanEncoder(1, 2, 3, dropout=0.0), X, SEGMENTS)
    (block,) = encoder.blocks
    pooled = recency_mean(X, np.exp(encoder.mean.get_weights()[0]))
    hidden = gelu(dense(norm(pooled, block.norm), block.expand))
    expected = norm(pooled + dense(hidden, block.contract), encoder.norm)
    np.testing.assert_allclose(encoder(X, SEGMENTS), expected, atol=1e-5)


def test_bsarec_mixes_filter_and_attention():
    block = shaken(BsarecBlock(2, 3, dropout=0.0), X, MASK)
    y = norm(X, block.attention_norm)
    low = recency_mean(y, np.exp(block.low_pass.get_weights()[0]))
    filtered = low + block.beta.numpy() ** 2 * (y - low)
    share = sigmoid(block.filter_logit.numpy())
    x = X + share * filtered + (1 - share) * attention(block, y, 2)
    hidden = gelu(dense(norm(x, block.feedforward_norm), block.expand))
    x = x + dense(hidden, block.contract)
    np.testing.assert_allclose(block(X, MASK), x, atol=1e-5)


def test_bsarec_starts_with_the_share_of_the_paper():
    block = BsarecBlock(2, 3, dropout=0.0)
    block(X, MASK)
    np.testing.assert_allclose(sigmoid(block.filter_logit.numpy()), 0.7, rtol=1e-5)


def test_gru_of_one_segment_is_that_of_keras():
    encoder = shaken(GruEncoder(1, 3, dropout=0.0), X, SEGMENTS)
    reference = tf.keras.layers.GRU(3, return_sequences=True)
    reference(X)
    kernel, recurrent, bias = encoder.recurrent_layers[0].get_weights()
    reference.set_weights([kernel, recurrent, bias])
    expected = norm(
        dense(reference(X).numpy(), encoder.output_projection), encoder.norm
    )
    np.testing.assert_allclose(encoder(X, SEGMENTS), expected, atol=1e-5)


def hstu_state(
    encoder: HstuEncoder, happened: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """The encoder's states with one head, and known times but for the first."""
    (block,) = encoder.blocks
    position, time = (w[0] for w in block.bias.get_weights())
    gate, value, query, key = np.split(
        silu(dense(norm(X, block.input_norm), block.projection)), 4, axis=-1
    )
    mixed = np.zeros_like(X)
    for i in range(NUM_TOKENS):
        for j in range(i + 1):
            logit = query[0, i] @ key[0, j] / np.sqrt(DIM)
            logit += position[min(i - j, 2)]
            if happened[j] > 0:  # A bucket doubles: below 1 s, 1 to 2, 3 to 6, ...
                logit += time[int(np.log2(1 + asked[i] - happened[j]))]
            mixed[0, i] += silu(logit) / (i + 1) * value[0, j]
    output = dense(norm(mixed, block.attention_norm) * gate, block.output_projection)
    return norm(X + output, encoder.norm)


def test_hstu_weighs_by_content_place_and_time_of_the_request():
    happened = np.array([0, 100, 105, 500, 90_000])
    asked = np.array([100, 105, 500, 90_000, 90_700])
    inputs = (X, SEGMENTS, tf.constant([happened]), tf.constant([asked]))
    encoder = shaken(HstuEncoder(1, 1, 3, dropout=0.0), *inputs)
    expected = hstu_state(encoder, happened, asked)
    np.testing.assert_allclose(encoder(*inputs), expected, atol=1e-5)


def test_hstu_without_times_knows_positions_alone():
    times = tf.constant([[5, 6, 7, 8, 900]], tf.int64)
    encoder = shaken(HstuEncoder(1, 2, 5, dropout=0.0), X, SEGMENTS, times, times + 9)
    unknown = tf.zeros_like(times)
    without = encoder(X, SEGMENTS)
    np.testing.assert_allclose(encoder(X, SEGMENTS, unknown, unknown), without)
    assert np.abs(encoder(X, SEGMENTS, times, times + 9) - without).max() > 1e-3


def test_bias_of_far_tokens_is_that_of_the_farthest_known():
    bias = RelativeBias(1, 2)
    bias.position_bias.assign([[1.0, 7.0]])
    found = bias(None, tf.constant(4))[0, 0].numpy()
    np.testing.assert_array_equal(found[3], [7.0, 7.0, 7.0, 1.0])
