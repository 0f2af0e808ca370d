"""Moving averages of weights."""

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.toys import toy_model
from tfrec.models.trainable_model import TrainableModel
from tfrec.models.weight_average import WeightAverage

ROOT = Path(__file__).parents[2]


class Line(TrainableModel):
    """One weight, whose loss is the weight itself: SGD(1) takes 1 off a step."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = self.add_weight(name="slope", shape=(2,), initializer="ones")

    def compute_loss(self, inputs, training=False):
        return tf.reduce_sum(self.slope) * tf.reduce_mean(inputs)


def test_average_follows_closely_at_first_and_forgets_slowly_then():
    weight = tf.Variable(tf.constant([1.0, 5.0]))
    average = WeightAverage([weight], 0.3)
    expected = weight.numpy()
    for step, decay in enumerate((0.1, 2 / 11, 3 / 12, 0.3, 0.3)):
        weight.assign(weight * 2.0 + step)
        average.update()
        expected = decay * expected + (1 - decay) * weight.numpy()
        np.testing.assert_allclose(average.averages[0], expected, rtol=1e-6)
    assert int(average.steps) == 5


def test_every_step_of_training_is_averaged():
    model = Line()
    model.compile(optimizer=tf.keras.optimizers.SGD(1.0))
    model.weight_average = WeightAverage(model.trainable_variables, 0.5)
    expected = weight = 1.0
    for decay in (0.1, 2 / 11, 0.25):
        model.train_step(tf.ones([1]))
        weight -= 1.0
        expected = decay * expected + (1 - decay) * weight
        (average,) = model.weight_average.averages
        np.testing.assert_allclose(average, [expected] * 2, rtol=1e-5)
        np.testing.assert_allclose(model.slope, [weight] * 2)


def test_averages_stand_in_for_the_weights_within_the_block_also_after_an_error():
    weight = tf.Variable(tf.constant([4.0]))
    average = WeightAverage([weight], 0.9)
    weight.assign([8.0])

    def fail_within() -> None:
        with average.in_place():
            assert weight.numpy().tolist() == [4.0]
            assert average.averages[0].numpy().tolist() == [8.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail_within()
    assert weight.numpy().tolist() == [8.0]
    assert average.averages[0].numpy().tolist() == [4.0]


def test_restarted_average_is_what_the_weights_are_now():
    weight = tf.Variable(tf.constant([4.0]))
    average = WeightAverage([weight], 0.9)
    average.update()
    weight.assign([7.0])
    average.restart()
    assert average.averages[0].numpy().tolist() == [7.0]
    assert int(average.steps) == 0


def test_averages_are_saved_with_the_model_and_are_no_weights_of_it(tmp_path):
    model, restored = Line(), Line()
    num_weights = len(model.weights)
    for one in (model, restored):
        one.weight_average = WeightAverage(one.trainable_variables, 0.9)
    assert len(model.weights) == num_weights
    assert len(model.trainable_variables) == 1
    model.slope.assign([3.0, 4.0])
    average = model.weight_average
    assert average is not None
    average.update()
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "checkpoint"))
    tf.train.Checkpoint(model=restored).read(path).assert_consumed()
    found = restored.weight_average
    assert found is not None
    # .1 of the start, 1, and .9 of 3 and 4.
    np.testing.assert_allclose(found.averages[0], [2.8, 3.7], rtol=1e-6)
    assert int(found.steps) == 1
    plain = Line()  # As `load_recommender` builds it.
    status = tf.train.Checkpoint(model=plain).read(path)
    status.assert_existing_objects_matched().expect_partial()
    assert plain.slope.numpy().tolist() == [3.0, 4.0]


def test_all_trainable_weights_of_the_retrieval_model_are_exchanged():
    model = toy_model()
    average = WeightAverage(model.trainable_variables, 0.9)
    before = [weight.numpy() for weight in model.trainable_variables]
    for weight in model.trainable_variables:
        weight.assign_add(tf.ones_like(weight))
    with average.in_place():
        for weight, old in zip(model.trainable_variables, before, strict=True):
            np.testing.assert_array_equal(weight, old)


TWO_REPLICAS = """
    import tfrec
    import tensorflow as tf
    from tests.models.test_weight_average import Line
    from tfrec.models.weight_average import WeightAverage

    cpu = tf.config.list_physical_devices("CPU")[0]
    logical = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(cpu, [logical, logical])
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    with strategy.scope():
        model = Line()
        model.compile(optimizer=tf.keras.optimizers.SGD(1.0))
        model.weight_average = WeightAverage(model.trainable_variables, 0.5)
    step = tf.function(lambda: strategy.run(model.train_step, (tf.ones([1]),)))
    step()
    step()
    average = model.weight_average
    found = [average.averages[0].numpy()[0]]
    with average.in_place():
        found += [float(x[0]) for x in strategy.experimental_local_results(model.slope)]
    found += [float(x[0]) for x in strategy.experimental_local_results(model.slope)]
    print(*found, int(average.steps.numpy()))
"""


def test_two_replicas_average_what_one_does():
    command = [sys.executable, "-c", textwrap.dedent(TWO_REPLICAS)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    first = 0.1 * 1.0 + 0.9 * 0.0
    second = 2 / 11 * first + 9 / 11 * -1.0
    *found, steps = (float(value) for value in done.stdout.split())
    expected = [second, second, second, -1.0, -1.0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert steps == 2
