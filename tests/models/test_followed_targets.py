import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.followed_targets import FollowedTargets


def test_heads_that_follow_add_half_of_the_target_and_others_stay():
    layer = FollowedTargets([True, False, False], [False, True, False])
    logits = tf.constant([[[2.0, 1.0, 5.0], [-4.0, 1.0, 5.0]]])
    np.testing.assert_allclose(
        layer(logits), [[[2.0, 2.0, 5.0], [-4.0, -1.0, 5.0]]], rtol=1e-6
    )


def test_several_targets_are_followed_together():
    layer = FollowedTargets([False, True, True], [True, False, False])
    found = layer(tf.constant([[1.0, 4.0, -2.0]]))  # 1 + (4 - 2) / 4.
    np.testing.assert_allclose(found, [[1.5, 4.0, -2.0]], rtol=1e-6)


def test_targets_learn_nothing_from_heads_that_follow_them():
    layer = FollowedTargets([True, False], [False, True])
    logits = tf.Variable(tf.constant([[2.0, 1.0]]))
    with tf.GradientTape() as tape:
        loss = layer(logits)[0, 1]
    own, weight = map(np.asarray, tape.gradient(loss, [logits, layer.weight]))
    np.testing.assert_allclose(own, [[0.0, 1.0]])
    np.testing.assert_allclose(weight, [[0.0, 2.0]])  # The target's logit.


def test_without_a_head_that_follows_there_is_nothing_to_learn():
    layer = FollowedTargets([True, True], [False, False])
    logits = tf.constant([[2.0, 1.0]])
    np.testing.assert_allclose(layer(logits), logits)
    assert not layer.weights


def test_a_head_needs_a_target_to_follow():
    with pytest.raises(ValueError, match="is_target"):
        FollowedTargets([False, False], [True, False])
