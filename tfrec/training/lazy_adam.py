"""Adam that touches only the rows of a table that a step has looked up."""

from typing import Any

import tensorflow as tf


class LazyAdam(tf.keras.optimizers.Adam):
    """Adam whose sparse gradients update their own rows, moments included.

    Keras decays both moments of all rows and moves all of them in every step, also
    where the gradient is sparse: three passes over a table of a million items for a
    few thousand that were looked up. Here a row that a step does not touch stays as
    it is, with its moments. Dense gradients are those of `Adam`.

    That is not quite Adam: a row that is rarely met does not go on moving by old
    momentum, and its moments are older than those of others.

    References:
        - Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
          https://arxiv.org/abs/1412.6980.
        - `torch.optim.SparseAdam` and TensorFlow Addons' `LazyAdam` do the same.
    """

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Updates a variable, or the rows of it that have a gradient.

        Args:
            gradient: Dense, or `tf.IndexedSlices` whose rows are distinct: Keras
                adds up repeated ones before.
            variable: Float `[num_rows, ...]`.
        """
        if not isinstance(gradient, tf.IndexedSlices):
            super().update_step(gradient, variable)
            return
        place = self._index_dict[self._var_key(variable)]
        momentum, velocity = self._momentums[place], self._velocities[place]
        rows, values = gradient.indices, gradient.values
        m = self.beta_1 * tf.gather(momentum, rows) + (1.0 - self.beta_1) * values
        v = self.beta_2 * tf.gather(velocity, rows)
        v += (1.0 - self.beta_2) * tf.square(values)
        step = tf.cast(self.iterations + 1, variable.dtype)
        correction = tf.sqrt(1.0 - tf.pow(self.beta_2, step))
        correction /= 1.0 - tf.pow(self.beta_1, step)
        rate = tf.cast(self.learning_rate, variable.dtype) * correction
        momentum.scatter_update(tf.IndexedSlices(m, rows))
        velocity.scatter_update(tf.IndexedSlices(v, rows))
        change = rate * m / (tf.sqrt(v) + self.epsilon)
        variable.scatter_sub(tf.IndexedSlices(change, rows))
