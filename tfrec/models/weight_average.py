"""The moving average of a model's weights over training steps."""

import contextlib
from collections.abc import Iterator, Sequence

import tensorflow as tf


class WeightAverage(tf.train.Checkpoint):
    """An exponential moving average of weights, which can stand in for them.

        average = d_t average + (1 - d_t) weight,   d_t = min(decay, (1 + t) / (10 + t))

    with t the steps averaged so far: at first the average follows closely, so that
    the start is soon forgotten. It is a `tf.train.Checkpoint` for what is saved: part
    of every checkpoint of its model, and no weight of it.

    Args:
        weights: Trainable variables, kept by reference.
        decay: d after many steps, in (0, 1); 1 / (1 - decay) steps count.

    Attributes:
        steps: int64 variable, t.
        averages: Variables of the shapes and dtypes of the weights.

    References:
        - Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging",
          SIAM Journal on Control and Optimization 1992 (averages of iterates).
        - `tf.train.ExponentialMovingAverage` (the decay that starts low).
    """

    def __init__(self, weights: Sequence[tf.Variable], decay: float) -> None:
        super().__init__()
        self.decay = decay
        self._references = tuple(weight.ref() for weight in weights)
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA  # All hold the same.
        self.steps = tf.Variable(
            tf.constant(0, tf.int64), trainable=False, aggregation=first
        )
        self.averages = [
            tf.Variable(weight, trainable=False, aggregation=first)
            for weight in weights
        ]

    def update(self) -> None:
        """Takes the weights of a finished step in."""
        steps = tf.cast(self.steps, tf.float32)
        decay = tf.minimum(self.decay, (1.0 + steps) / (10.0 + steps))
        for average, weight in self._pairs():
            tf.keras.backend.moving_average_update(average, weight, decay)
        self.steps.assign_add(1)

    def restart(self) -> None:
        """Forgets what was averaged: the average is what the weights are now."""
        self.steps.assign(0)
        for average, weight in self._pairs():
            average.assign(weight)

    def swap(self) -> None:
        """Exchanges averages and weights; twice is nothing."""
        for average, weight in self._pairs():
            kept = weight.numpy()
            weight.assign(average)
            average.assign(kept)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Lets the averages stand where the weights are, within the block."""
        self.swap()
        try:
            yield
        finally:
            self.swap()

    def _pairs(self) -> list[tuple[tf.Variable, tf.Variable]]:
        weights = [reference.deref() for reference in self._references]
        return list(zip(self.averages, weights, strict=True))
