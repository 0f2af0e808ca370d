import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tfrec.models.trainable_model import TrainableModel

ROOT = Path(__file__).parents[2]


class Lookup(TrainableModel):
    """Pulls the rows it is given to 0; the lookup makes the gradient sparse."""

    def __init__(self, **settings: bool) -> None:
        super().__init__(**settings)
        self.table = self.add_weight(name="table", shape=(3, 1), initializer="ones")
        self.unused = self.add_weight(name="unused", shape=(), initializer="ones")

    def compute_loss(self, inputs, training=False):
        return tf.reduce_mean(tf.gather(self.table, inputs) ** 2)


class Recorder(tf.keras.optimizers.SGD):
    """Keeps the gradients of the last step."""

    def apply_gradients(self, grads_and_vars, **kwargs):
        self.pairs = list(grads_and_vars)
        return super().apply_gradients(self.pairs, **kwargs)


@pytest.mark.parametrize("dense", [True, False])
def test_gradients_of_lookups_are_dense_where_asked(dense):
    model = Lookup(dense_gradients=dense)
    optimizer = Recorder(0.25)
    model.compile(optimizer=optimizer)
    result = model.train_step(tf.constant([1, 1]))
    assert float(result["loss"]) == 1.0  # Before the step.
    ((gradient, weight),) = optimizer.pairs  # The unused weight has none.
    assert weight is model.table
    assert isinstance(gradient, tf.Tensor) == dense
    # d/dw of w^2 is 2 w = 2; 1 - 0.25 * 2 = 0.5. Other rows are untouched.
    assert model.table.numpy().ravel().tolist() == [1.0, 0.5, 1.0]
    assert float(model.unused) == 1.0


def test_losses_stay_in_float32_under_any_policy():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = Lookup()
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    assert model.compute_dtype == "float32"


def test_finished_epochs_are_saved_with_the_weights(tmp_path):
    model, restored = Lookup(), Lookup()
    model.epochs_done.assign(7)
    model.table.assign_add(tf.ones_like(model.table))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=restored).read(path).assert_consumed()
    assert int(restored.epochs_done) == 7
    np.testing.assert_array_equal(restored.table, model.table)


TWO_REPLICAS = """
    import tfrec
    import tensorflow as tf
    from tests.models.test_trainable_model import Lookup

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = Lookup()
        model.compile(optimizer=tf.keras.optimizers.SGD(0.25))
    halves = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant([[0, 0], [0, 1]])[
            context.replica_id_in_sync_group
        ]
    )
    tf.function(lambda: strategy.run(model.train_step, (halves,)))()
    print(*model.table.numpy().ravel().tolist())
"""


def test_two_replicas_take_the_step_of_one_with_the_whole_batch():
    command = [sys.executable, "-c", textwrap.dedent(TWO_REPLICAS)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    alone = Lookup()
    alone.compile(optimizer=tf.keras.optimizers.SGD(0.25))
    alone.train_step(tf.constant([0, 0, 0, 1]))
    found = [float(value) for value in done.stdout.split()]
    np.testing.assert_allclose(found, alone.table.numpy().ravel(), rtol=1e-6)
