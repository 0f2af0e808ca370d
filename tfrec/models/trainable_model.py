"""What both models share in training under Keras `fit`."""

from typing import TYPE_CHECKING, Any, Self

import tensorflow as tf
import tensorflow_recommenders as tfrs

from tfrec.models.weight_average import WeightAverage


class TrainableModel(tfrs.Model):
    """A `tfrs.Model` whose loss is the mean over all replicas.

    Gradients of lookups are made dense before the optimizer: nearly every row
    of a table is touched in a step of the exact softmax, and the dense update of
    all rows is the faster one then. `dense_gradients` turns it off for large tables,
    whose steps touch few (`LazyAdam`).

    The model itself computes in float32 whatever the global policy of Keras:
    losses, scores and times need it. Its towers and dense layers follow the policy.

    Attributes:
        epochs_done: int64 variable, finished epochs; it is part of every
            checkpoint, so that a continued run reads the right batches.
        dense_gradients: Whether sparse gradients are made dense.
        second_optimizer: Of `second_variables`; None where one does for all.
        weight_average: Moving average of all trainable variables; None keeps none.
    """

    if TYPE_CHECKING:
        # The stub of Keras lets `Model(...)` return a plain model.
        def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...

    def __init__(self, *, dense_gradients: bool = True, **kwargs: Any) -> None:
        super().__init__(dtype=tf.float32, **kwargs)
        self.dense_gradients = dense_gradients
        self.second_optimizer: Any = None
        self.weight_average: WeightAverage | None = None
        self.epochs_done = tf.Variable(
            tf.constant(0, tf.int64), trainable=False, name="epochs_done"
        )

    @property
    def second_variables(self) -> list[tf.Variable]:
        """Trainable variables that have a learning rate of their own."""
        return []

    @property
    def first_variables(self) -> list[tf.Variable]:
        """Trainable variables of the optimizer of `compile`."""
        apart = {variable.ref() for variable in self.second_variables}
        return [v for v in self.trainable_variables if v.ref() not in apart]

    # Nothing here needs AutoGraph, which took a third of the time of tracing.
    @tf.autograph.experimental.do_not_convert
    def train_step(self, inputs: Any) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            loss = self.compute_loss(inputs, training=True)
            # Keras sums the gradients of the replicas.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            share = loss / replicas
        first = self.first_variables
        variables = [*first, *self.second_variables]
        gradients = tape.gradient(share, variables)
        if self.dense_gradients:
            gradients = [
                None if g is None else tf.convert_to_tensor(g) for g in gradients
            ]
        pairs = list(zip(gradients, variables, strict=True))
        optimizer: Any = self.optimizer  # None only before `compile`.
        for chosen, part in (
            (optimizer, pairs[: len(first)]),
            (self.second_optimizer, pairs[len(first) :]),
        ):
            if part:
                chosen.apply_gradients([(g, v) for g, v in part if g is not None])
        if self.weight_average is not None:
            self.weight_average.update()
        return {"loss": loss}
