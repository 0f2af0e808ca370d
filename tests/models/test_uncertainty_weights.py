import numpy as np
import tensorflow as tf

from tfrec.models.uncertainty_weights import UncertaintyWeights

ONES = tf.ones(2)


def test_loss_is_that_of_gaussians_with_learned_variance():
    layer = UncertaintyWeights(3)
    layer.log_variance.assign([0.05, -0.1, 0.9])  # A tenth of it.
    losses, present = tf.constant([2.0, 3.0, 5.0]), tf.constant([True, True, False])
    expected = np.exp(-0.5) * 2 + 0.25 + 0.5 * (np.exp(1.0) * 3 - 0.5)
    found = layer(losses, present, tf.constant([1.0, 0.5, 1.0]))
    np.testing.assert_allclose(found, expected / 2, rtol=1e-6)
    np.testing.assert_allclose(layer.task_weights(), np.exp([-0.5, 1.0, -9.0]), 1e-5)
    assert UncertaintyWeights.from_config(layer.get_config()).num_tasks == 3


def test_no_task_present_is_no_loss():
    found = UncertaintyWeights(2)(ONES, tf.constant([False, False]), ONES)
    assert float(found) == 0.0


def test_weights_are_learned_to_half_the_inverse_loss_and_stay_positive():
    layer = UncertaintyWeights(2)
    # The default rate of ranking, and as many steps as a small shop makes.
    optimizer = tf.keras.optimizers.Adam(1e-3)
    losses, present = tf.constant([4.0, 0.01]), tf.constant([True, True])
    for _ in range(500):
        with tf.GradientTape() as tape:
            loss = layer(losses, present, ONES)
        (gradient,) = tape.gradient(loss, layer.trainable_weights)
        optimizer.apply_gradients([(gradient, layer.log_variance)])
    # d/ds (exp(-s) L + s / 2) = 0 where exp(-s) = 1 / (2 L).
    np.testing.assert_allclose(layer.task_weights(), [1 / 8, 50.0], rtol=0.2)


def test_a_task_without_labels_is_left_alone():
    layer = UncertaintyWeights(2)
    with tf.GradientTape() as tape:
        loss = layer(ONES, tf.constant([True, False]), ONES)
    (gradient,) = tape.gradient(loss, layer.trainable_weights)
    first, second = tf.convert_to_tensor(gradient).numpy()
    assert first != 0.0
    assert second == 0.0
