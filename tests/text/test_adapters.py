from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.text.helpers import HIDDEN_DIM, write_tiny_bert
from tfrec.text.adapters import LowRankDense
from tfrec.text.encoder import TextEncoder
from tfrec.text.registry import build_text_encoder
from tfrec.text_config import TextConfig

TEXTS = ["red shoe", "blue socks and cream", "鞋子"]


def build(folder: Path, training: str, **changes: Any) -> TextEncoder:
    config = TextConfig.model_validate(
        {
            "model": str(folder),
            "max_length": 8,
            "training": training,
            "num_trained_layers": 1,
            "adapter_rank": 2,
            **changes,
        }
    )
    return build_text_encoder(config, texts=list, scratch_dir=Path("unused"))


def gradients(encoder: TextEncoder) -> dict[str, np.ndarray]:
    """Per trained weight its gradient; all must have one."""
    tokens = encoder.tokenize(tf.constant(TEXTS))
    target = tf.random.stateless_normal([len(TEXTS), HIDDEN_DIM], seed=(1, 2))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(tokens) * target)
    variables = encoder.trainable_variables
    found = tape.gradient(loss, variables)
    assert all(gradient is not None for gradient in found)
    return {
        variable.name: tf.convert_to_tensor(gradient).numpy()
        for variable, gradient in zip(variables, found, strict=True)
    }


def step(encoder: TextEncoder) -> list[str]:
    """Makes one step and returns the names of the weights that moved."""
    before = [weight.numpy() for weight in encoder.weights]
    tokens = encoder.tokenize(tf.constant(TEXTS))
    target = tf.random.stateless_normal([len(TEXTS), HIDDEN_DIM], seed=(1, 2))
    optimizer = tf.keras.optimizers.SGD(0.1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(tokens) * target)
    optimizer.minimize(loss, encoder.trainable_variables, tape=tape)
    return [
        weight.name
        for weight, old in zip(encoder.weights, before, strict=True)
        if not np.array_equal(weight.numpy(), old)
    ]


def test_full_training_reaches_every_weight(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, "full")
    assert len(encoder.trainable_variables) == len(encoder.weights)
    assert len(gradients(encoder)) == len(encoder.weights)
    moved = step(encoder)
    # A shift of all keys of a text changes no attention: its gradient is 0.
    still = {w.name for w in encoder.weights} - set(moved)
    assert all("key/bias" in name for name in still)


def test_last_layers_train_the_last_blocks_alone(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, "last_layers")
    names = set(gradients(encoder))
    assert names == {w.name for w in encoder.weights if "layer_._1" in w.name}
    assert len(names) == 16  # Six dense layers and two norms, two weights each.
    assert set(step(encoder)) <= names


def test_more_last_layers_than_there_are_is_refused(tiny_bert: Path) -> None:
    with pytest.raises(ValueError, match="`text.num_trained_layers` must be at most 2"):
        build(tiny_bert, "last_layers", num_trained_layers=3)


def test_learned_pooling_trains_with_the_encoder(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, "last_layers", pooling="attention")
    name = next(
        name for name in gradients(encoder) if "query:0" in name and "self" not in name
    )
    assert name in step(encoder)
    frozen = build(tiny_bert, "frozen", pooling="attention")
    assert frozen.trainable_variables == []


def test_adapters_start_as_the_model_was(tiny_bert: Path) -> None:
    texts = tf.constant(TEXTS)
    plain = build(tiny_bert, "frozen").encode(texts)
    adapted = build(tiny_bert, "adapters").encode(texts)
    np.testing.assert_allclose(adapted, plain, atol=1e-6)


def test_adapters_alone_are_trained_and_all_of_them(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, "adapters")
    # Two blocks, query and value, two matrices each.
    assert len(gradients(encoder)) == 2 * 2 * 2
    assert {v.shape for v in encoder.trainable_variables} == {
        (HIDDEN_DIM, 2),
        (2, HIDDEN_DIM),
    }
    first = step(encoder)
    # While the second matrix is zero the first one has no gradient.
    assert len(first) == 4
    assert all("/up:" in name for name in first)
    assert len(step(encoder)) == 8
    plain = build(tiny_bert, "frozen").encode(tf.constant(TEXTS))
    assert np.abs(encoder.encode(tf.constant(TEXTS)) - plain).max() > 1e-4


def test_adapters_of_one_seed_start_alike(tiny_bert: Path) -> None:
    first, second = (build(tiny_bert, "adapters") for _ in range(2))
    assert first.encoder_hash == second.encoder_hash
    down = [v.numpy() for v in first.trainable_variables if "/down:" in v.name]
    assert not np.array_equal(down[0], down[1])


def test_trained_adapters_change_the_hash(tiny_bert: Path) -> None:
    encoder = build(tiny_bert, "adapters")
    before = encoder.encoder_hash
    step(encoder)
    assert encoder.encoder_hash != before


def test_trained_weights_come_back_from_a_checkpoint(
    tiny_bert: Path, tmp_path: Path
) -> None:
    trained = build(tiny_bert, "adapters")
    step(trained)
    step(trained)
    path = tf.train.Checkpoint(encoder=trained).write(str(tmp_path / "weights"))
    fresh = build(tiny_bert, "adapters")
    tf.train.Checkpoint(encoder=fresh).read(path).assert_existing_objects_matched()
    texts = tf.constant(TEXTS)
    np.testing.assert_allclose(fresh.encode(texts), trained.encode(texts), atol=1e-6)


def test_dropout_acts_in_training_alone(tmp_path: Path) -> None:
    folder = write_tiny_bert(tmp_path, hidden_dropout_prob=0.5)
    encoder = build(folder, "full")
    tokens = encoder.tokenize(tf.constant(TEXTS))
    np.testing.assert_array_equal(encoder(tokens), encoder(tokens))
    assert np.abs(encoder(tokens, training=True) - encoder(tokens)).max() > 1e-3


def test_low_rank_dense_is_the_layer_plus_two_thin_matrices() -> None:
    dense = tf.keras.layers.Dense(3)
    inputs = tf.random.stateless_normal([2, 5, 4], seed=(1, 2))
    dense(inputs)
    layer = LowRankDense(dense, rank=2)
    down, up = np.ones((4, 2), np.float32), np.full((2, 3), 0.5, np.float32)
    layer._down.assign(down)
    layer._up.assign(up)
    # (x A) B with A = 1 and B = 1/2 over rank 2: the sum of x; times 2.
    sums = tf.reduce_sum(inputs, axis=-1, keepdims=True)
    expected = dense(inputs) + 2 * sums
    np.testing.assert_allclose(layer(inputs), expected, atol=1e-5)
