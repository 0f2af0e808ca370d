"""Tests of tfrec.training.lazy_adam."""

import numpy as np
import tensorflow as tf

from tfrec.training.lazy_adam import LazyAdam


def _table() -> tf.Variable:
    rows = tf.reshape(tf.cast(tf.range(8), tf.float32), [4, 2])
    return tf.Variable(rows, name="table")


def _sparse(rows: list[int], values: list[list[float]]) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), tf.constant([4, 2]))


def test_rows_without_a_gradient_stay_and_keep_their_moments():
    table, optimizer = _table(), LazyAdam(0.1)
    optimizer.apply_gradients([(_sparse([1], [[1.0, -1.0]]), table)])
    after_first = table.numpy().copy()
    moment = optimizer.variables[1].numpy().copy()
    optimizer.apply_gradients([(_sparse([3], [[1.0, 1.0]]), table)])
    np.testing.assert_array_equal(table.numpy()[:3], after_first[:3])
    np.testing.assert_array_equal(optimizer.variables[1].numpy()[:3], moment[:3])
    assert np.all(table.numpy()[3] < after_first[3])


def test_a_row_met_in_every_step_moves_as_with_adam():
    lazy, dense = _table(), _table()
    optimizers = LazyAdam(0.1), tf.keras.optimizers.Adam(0.1)
    for values in ([[1.0, 2.0]], [[-3.0, 0.5]], [[0.1, 0.1]]):
        optimizers[0].apply_gradients([(_sparse([2], values), lazy)])
        full = np.zeros((4, 2), np.float32)
        full[2] = values[0]
        optimizers[1].apply_gradients([(tf.constant(full), dense)])
    np.testing.assert_allclose(lazy.numpy(), dense.numpy(), rtol=1e-6)


def test_gradients_of_a_repeated_row_add_up():
    twice, once = _table(), _table()
    both = _sparse([2, 2], [[1.0, 1.0], [2.0, 0.0]])
    LazyAdam(0.1).apply_gradients([(both, twice)])
    LazyAdam(0.1).apply_gradients([(_sparse([2], [[3.0, 1.0]]), once)])
    np.testing.assert_allclose(twice.numpy(), once.numpy(), rtol=1e-6)


def test_dense_gradients_are_those_of_adam():
    lazy, dense = _table(), _table()
    gradient = tf.constant(np.linspace(-1, 1, 8, dtype=np.float32).reshape(4, 2))
    LazyAdam(0.1).apply_gradients([(gradient, lazy)])
    tf.keras.optimizers.Adam(0.1).apply_gradients([(gradient, dense)])
    np.testing.assert_array_equal(lazy.numpy(), dense.numpy())
