"""Loss weights of tasks that are learned from their noise."""

from typing import Any

import tensorflow as tf

from tfrec.models.examination import LEARNING_SCALE


class UncertaintyWeights(tf.keras.layers.Layer):
    """Weighs the losses of tasks by their learned uncertainty.

        loss = mean over present tasks of a_t (exp(-s_t) L_t + s_t / 2)

    s_t = log sigma_t^2 = 10 w_t starts at 0. A noisy task gets a greater s and counts
    less; s / 2 is the price of it: s is at rest at log(2 L_t). Tasks without a label in
    the batch are left alone.

    The scale is for Adam, which moves a weight by its learning rate a step: losses of
    rare events lie at s = -4, which w reaches in the steps of a run and s would not.

    Args:
        num_tasks: Tasks.
        **kwargs: Passed to `tf.keras.layers.Layer`.

    Call arguments:
        losses: float `[num_tasks]`.
        present: bool `[num_tasks]`, True where the batch has a label of the task.
        weights: float `[num_tasks]`, the fixed a_t.

    Returns:
        float32 scalar; may be negative.

    References:
        - Kendall, Gal, Cipolla, "Multi-Task Learning Using Uncertainty to Weigh Losses
          for Scene Geometry and Semantics", CVPR 2018.
    """

    def __init__(self, num_tasks: int, **kwargs: Any) -> None:
        super().__init__(**{"dtype": tf.float32, **kwargs})
        self.num_tasks = num_tasks
        # w, a tenth of s; named as in the checkpoints of runs before the scale.
        self.log_variance = self.add_weight(
            name="log_variance", shape=(num_tasks,), initializer="zeros"
        )

    def call(
        self, losses: tf.Tensor, present: tf.Tensor, weights: tf.Tensor
    ) -> tf.Tensor:
        s = LEARNING_SCALE * self.log_variance
        terms = tf.exp(-s) * losses + s / 2.0
        terms = tf.where(present, weights * terms, 0.0)
        count = tf.reduce_sum(tf.cast(present, terms.dtype))
        return tf.math.divide_no_nan(tf.reduce_sum(terms), count)

    def task_weights(self) -> tf.Tensor:
        """Returns exp(-s), float32 `[num_tasks]`, all above 0."""
        return tf.exp(-LEARNING_SCALE * self.log_variance)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "num_tasks": self.num_tasks}
