"""What every sequence encoder of the registry must hold."""

from typing import get_args

import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.config import RetrievalConfig, SequenceEncoderName
from tfrec.models.sequence_encoders.registry import build_sequence_encoder

NAMES: tuple[SequenceEncoderName, ...] = get_args(SequenceEncoderName)
DIM, NUM_TOKENS = 4, 6
HOUR = 3_600

all_encoders = pytest.mark.parametrize("name", NAMES)
# It is asked at masked tokens alone, and reads what stands behind them, too.
causal_encoders = pytest.mark.parametrize("name", [n for n in NAMES if n != "bert4rec"])


def build(name: SequenceEncoderName, *, dropout: float = 0.0) -> tf.keras.layers.Layer:
    """An encoder of two layers with all weights away from their start."""
    tf.keras.utils.set_random_seed(0)
    encoder = build_sequence_encoder(
        name,
        num_layers=2,
        num_heads=2,
        feedforward_dim=5,
        dropout=dropout,
        max_tokens=6,
    )
    encoder(*inputs())
    for i, weight in enumerate(encoder.trainable_weights):
        weight.assign_add(
            tf.random.stateless_normal(tf.shape(weight), (1, i), stddev=0.3)
        )
    return encoder


def inputs(num_rows: int = 2) -> tuple[tf.Tensor, ...]:
    """Rows of one whole segment, with times."""
    rng = np.random.default_rng(0)
    shape = (num_rows, NUM_TOKENS)
    times = np.cumsum(rng.integers(1, 50 * HOUR, (num_rows, NUM_TOKENS + 1)), axis=1)
    return (
        tf.constant(rng.normal(size=(*shape, DIM)), tf.float32),
        tf.ones(shape, tf.int32),
        tf.constant(times[:, :-1], tf.int64),
        tf.constant(times[:, 1:], tf.int64),
    )


def test_configuration_and_registry_know_the_same_names():
    with pytest.raises(ValueError, match="name='lstm'") as error:
        build_sequence_encoder(
            "lstm",  # pyright: ignore[reportArgumentType]
            num_layers=1,
            num_heads=1,
            feedforward_dim=4,
            dropout=0.0,
            max_tokens=3,
        )
    for name in NAMES:
        assert f"'{name}'" in str(error.value)
        assert RetrievalConfig.model_validate({"encoder": name}).encoder == name


@causal_encoders
@pytest.mark.parametrize("place", range(1, NUM_TOKENS))
def test_a_later_event_never_changes_an_earlier_state(name, place):
    encoder = build(name)
    x, segments, happened, asked = inputs()
    before = encoder(x, segments, happened, asked).numpy()
    later = tf.range(NUM_TOKENS) >= place
    other = tf.where(later[:, tf.newaxis], x * -3.0 + 1.0, x)
    # The time of an event is when the state before it is asked for: it stays.
    happened = tf.where(later, happened + 7 * HOUR, happened)
    asked = tf.where(later, asked + 900 * HOUR, asked)
    after = encoder(other, segments, happened, asked).numpy()
    np.testing.assert_allclose(after[:, :place], before[:, :place], atol=1e-5)
    assert np.abs(after[:, place:] - before[:, place:]).max() > 1e-3


@all_encoders
def test_every_earlier_event_changes_a_later_state(name):
    encoder = build(name)
    x, *rest = inputs(1)
    last = encoder(x, *rest).numpy()[0, -1]
    for place in range(NUM_TOKENS):
        changed = x.numpy()
        changed[0, place] = -2.0 * changed[0, place]
        found = encoder(tf.constant(changed), *rest).numpy()[0, -1]
        assert np.abs(found - last).max() > 1e-4, place


def test_bert4rec_reads_every_other_event_of_its_segment_both_ways():
    encoder = build("bert4rec")
    x, _, *times = inputs(1)
    segments = tf.constant([[1, 1, 1, 2, 2, 0]])
    before = encoder(x, segments, *times).numpy()[0]
    for place, segment in enumerate(segments.numpy()[0]):
        changed = x.numpy()
        changed[0, place] = -2.0 * changed[0, place] + 1.0
        after = encoder(tf.constant(changed), segments, *times).numpy()[0]
        moved = np.abs(after - before).max(axis=-1) > 1e-4
        expected = (segments.numpy()[0] == segment) & (segment > 0)
        np.testing.assert_array_equal(moved[:5], expected[:5], err_msg=str(place))


@all_encoders
def test_packed_segments_are_what_they_are_alone(name):
    encoder = build(name)
    x, _, happened, asked = inputs(1)
    segments = tf.constant([[1, 1, 1, 2, 2, 3]])
    packed = encoder(x, segments, happened, asked)
    for start, stop in ((0, 3), (3, 5), (5, 6)):
        alone = encoder(
            x[:, start:stop],
            tf.ones((1, stop - start), tf.int32),
            happened[:, start:stop],
            asked[:, start:stop],
        )
        np.testing.assert_allclose(packed[:, start:stop], alone, atol=1e-5)


@all_encoders
def test_padding_and_other_rows_change_nothing(name):
    encoder = build(name)
    values = inputs(3)
    x, _, happened, asked = values
    mask = tf.sequence_mask([3, 6, 1], NUM_TOKENS)
    segments = tf.cast(mask, tf.int32)
    garbage = tf.where(mask[:, :, tf.newaxis], x, 1e3)
    together = encoder(garbage, segments, happened, asked)
    assert np.isfinite(together).all()
    for row, length in enumerate((3, 6, 1)):
        alone = encoder(*(value[row : row + 1, :length] for value in values))
        np.testing.assert_allclose(together[row, :length], alone[0], atol=1e-5)


@all_encoders
def test_layer_contract_holds_for_every_encoder(name):
    encoder = build(name)
    kinds = {
        "hstu": {"num_layers": 2, "num_heads": 2, "max_tokens": 5},
        "gru": {"num_layers": 2, "units": 5},
    }
    shared: dict[str, float] = {"num_layers": 2, "num_heads": 2, "feedforward_dim": 5}
    if name in ("transformer", "ligr", "bsarec", "bert4rec"):
        shared["attention_dropout"] = 0.5
    arguments = {**kinds.get(name, shared), "dropout": 0.25}
    x, _, happened, asked = inputs()
    segments = tf.constant([[1, 1, 1, 2, 2, 2], [1, 1, 1, 1, 1, 0]])
    # Only HSTU reads times; Keras does not save what a layer leaves aside.
    times = (happened, asked) if name == "hstu" else ()
    check_layer(type(encoder), arguments, (x, segments, *times))


@all_encoders
def test_rows_and_tokens_may_be_unknown_and_none(name):
    encoder = build(name)
    specs = [
        tf.TensorSpec([None, None, DIM]),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None, None], tf.int64),
        tf.TensorSpec([None, None], tf.int64),
    ]
    traced = tf.function(lambda *values: encoder(*values), input_signature=specs)
    for num_rows, num_tokens in ((2, 6), (1, 3), (0, 4)):
        values = [value[:num_rows, :num_tokens] for value in inputs()]
        found = traced(*values)
        assert found.shape == (num_rows, num_tokens, DIM)
        np.testing.assert_allclose(found, encoder(*values), atol=1e-5)


@all_encoders
def test_bfloat16_gives_nearly_the_states_of_float32(name):
    expected = build(name)
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        encoder = build(name)
        with tf.GradientTape() as tape:
            states = encoder(*inputs())
            total = tf.reduce_sum(tf.cast(states, tf.float32)[..., 0])
        gradients = tape.gradient(total, encoder.trainable_weights)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    assert states.dtype == tf.bfloat16
    wanted = expected(*inputs()).numpy()
    # 8 bits of precision: an error of a few hundredths of a state's size, 1.
    np.testing.assert_allclose(tf.cast(states, tf.float32), wanted, atol=0.15)
    for weight, gradient in zip(encoder.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.name
        assert gradient.dtype == tf.float32
        assert np.isfinite(tf.convert_to_tensor(gradient)).all(), weight.name


@all_encoders
def test_dropout_acts_in_training_alone(name):
    encoder = build(name, dropout=0.5)
    plain = encoder(*inputs()).numpy()
    np.testing.assert_allclose(plain, build(name)(*inputs()), atol=1e-6)
    assert np.abs(encoder(*inputs(), training=True) - plain).max() > 1e-2


@all_encoders
def test_states_have_mean_zero_and_unit_variance_at_the_start(name):
    """A search and the context are added to states: they must be of one size."""
    tf.keras.utils.set_random_seed(0)
    encoder = build_sequence_encoder(
        name, num_layers=1, num_heads=1, feedforward_dim=5, dropout=0.0, max_tokens=6
    )
    states = encoder(*inputs()).numpy()
    np.testing.assert_allclose(states.mean(axis=-1), np.zeros((2, 6)), atol=1e-4)
    np.testing.assert_allclose(states.std(axis=-1), np.ones((2, 6)), atol=2e-2)


@pytest.mark.parametrize("name", [n for n in NAMES if n != "gru"])
def test_width_must_be_divisible_by_the_heads(name):
    encoder = build_sequence_encoder(
        name, num_layers=1, num_heads=3, feedforward_dim=4, dropout=0.0, max_tokens=3
    )
    with pytest.raises(ValueError, match=r"num_(heads|groups)=3, dim=4"):
        encoder(tf.ones((1, 2, DIM)), tf.ones((1, 2), tf.int32))
