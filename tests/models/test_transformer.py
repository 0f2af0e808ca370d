import numpy as np
import pytest
import tensorflow as tf

from tests.contracts import check_layer
from tfrec.models.transformer import (
    TransformerBlock,
    TransformerEncoder,
    causal_segment_mask,
)


def test_a_token_reads_its_own_segment_up_to_itself():
    mask = causal_segment_mask(tf.constant([[1, 1, 2, 0]]))[0]
    expected = [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(mask, np.array(expected, bool))


def test_segments_do_not_see_one_another():
    tf.keras.utils.set_random_seed(0)
    encoder = TransformerEncoder(2, 2, 8, dropout=0.0)
    x = tf.random.stateless_normal((1, 5, 4), (0, 0))
    packed = encoder(x, tf.constant([[1, 1, 2, 2, 2]]))
    np.testing.assert_allclose(
        packed[:, 2:], encoder(x[:, 2:], tf.ones((1, 3), tf.int32)), atol=1e-5
    )


def test_tokens_that_may_read_nothing_stay_finite():
    encoder = TransformerEncoder(1, 1, 4, dropout=0.0)
    assert np.isfinite(encoder(tf.ones((1, 2, 4)), tf.zeros((1, 2), tf.int32))).all()


def test_width_must_be_divisible_by_the_heads():
    with pytest.raises(ValueError, match="num_heads=3, dim=4"):
        TransformerBlock(3, 8, dropout=0.0)(
            tf.ones((1, 2, 4)), tf.ones((1, 2, 2), tf.bool)
        )


def test_block_and_encoder_keep_the_contract_of_layers():
    x = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    segments = np.array([[1, 1, 1], [1, 1, 0]], np.int32)
    check_layer(
        TransformerEncoder,
        {
            "num_layers": 2,
            "num_heads": 2,
            "feedforward_dim": 6,
            "dropout": 0.25,
            "attention_dropout": 0.5,
        },
        (x, segments),
    )


@pytest.mark.parametrize(
    ("dropout", "attention_dropout", "is_random"),
    [(0.0, None, False), (0.5, None, True), (0.0, 0.5, True), (0.5, 0.0, True)],
)
def test_attention_has_a_dropout_of_its_own(dropout, attention_dropout, is_random):
    block = TransformerBlock(1, 8, dropout=dropout, attention_dropout=attention_dropout)
    x = tf.random.stateless_normal((1, 6, 4), (0, 0))
    mask = causal_segment_mask(tf.ones((1, 6), tf.int32))
    plain = block(x, mask).numpy()
    in_training = block(x, mask, training=True).numpy()
    assert (np.abs(in_training - plain).max() > 1e-3) == is_random
    # A token that reads itself alone has one weight: without dropout it is 1.
    alone = block._attend(x[:, :1], mask[:, :1, :1], training=True).numpy()
    kept = block._attend(x[:, :1], mask[:, :1, :1], training=False).numpy()
    if attention_dropout == 0.0:
        np.testing.assert_allclose(alone, kept, atol=1e-6)
