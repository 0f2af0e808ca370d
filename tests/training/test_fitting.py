import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tfrec.config import OptimizerConfig, StageConfig
from tfrec.models.trainable_model import TrainableModel
from tfrec.training.fitting import (
    average_weights,
    fit,
    make_optimizer,
    plan_steps,
    restart_schedules,
    restore_weights,
    save_weights,
    take_averages,
)


class Slope(TrainableModel):
    """Learns w towards 3 from `(w - 3)^2`."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = self.add_weight(name="slope", shape=(), initializer="zeros")

    def compute_loss(self, inputs: Any, training: bool = False) -> tf.Tensor:
        return tf.reduce_mean(inputs) * (self.slope - 3.0) ** 2


class Killed(Exception):
    """Stands for the end of the process."""


def fit_slope(
    path: Path,
    scores: list[float],
    *,
    patience: int = 9,
    average_decay: float | None = None,
) -> tuple[Slope, dict[str, list[float]], list[float]]:
    """Fits with given validation values; a NaN among them is the kill."""
    model = Slope()
    average_weights(model, average_decay)
    model.compile(optimizer=tf.keras.optimizers.Adam(0.1))
    model.slope.assign(-1.0)  # As `start_ids`: set when all is built.
    weights: list[float] = []

    def validate() -> dict[str, float]:
        weights.append(float(model.slope.numpy()))
        score = scores[int(model.epochs_done.numpy()) - 1]
        if math.isnan(score):
            raise Killed
        return {"NDCG@5": score}

    history = fit(
        model,
        tf.data.Dataset.from_tensors(tf.ones([1])).repeat(),
        name="retrieval",
        path=path,
        stage=StageConfig(max_epochs=len(scores), patience=patience),
        steps_per_epoch=2,
        metric="NDCG@5",
        validate=validate,
    )
    return model, history, weights


def test_fit_leaves_the_weights_of_the_best_epoch(tmp_path):
    model, history, weights = fit_slope(tmp_path, [0.1, 0.5, 0.2, 0.3])
    assert history["validation_NDCG@5"] == [0.1, 0.5, 0.2, 0.3]
    assert len(set(weights)) == 4
    assert float(model.slope.numpy()) == weights[1]
    assert not (tmp_path / "backup").exists()


def test_fit_ends_when_no_better_epoch_comes(tmp_path):
    _, history, _ = fit_slope(tmp_path, [0.5, 0.4, 0.3, 0.9], patience=2)
    assert history["epoch"] == [1, 2, 3]


def test_history_is_told_after_each_epoch_and_an_error_ends_the_fit(tmp_path):
    told: list[list[float]] = []

    def after_epoch(history: Mapping[str, list[float]]) -> None:
        told.append(list(history["validation_NDCG@5"]))
        if len(told) == 2:
            raise Killed

    model = Slope()
    model.compile(optimizer=tf.keras.optimizers.Adam(0.1))
    with pytest.raises(Killed):
        fit(
            model,
            tf.data.Dataset.from_tensors(tf.ones([1])).repeat(),
            name="retrieval",
            path=tmp_path,
            stage=StageConfig(max_epochs=4, patience=4),
            steps_per_epoch=1,
            metric="NDCG@5",
            validate=lambda: {"NDCG@5": 0.1 * (len(told) + 1)},
            after_epoch=after_epoch,
        )
    assert told == [[0.1], [0.1, 0.2]]


def test_continued_fit_equals_one_that_was_never_killed(tmp_path):
    values = [0.1, 0.5, 0.2, 0.6, 0.4]
    whole, history, weights = fit_slope(tmp_path / "whole", values)
    killed_at_four = [*values[:3], float("nan"), 0.0]
    with pytest.raises(Killed):
        fit_slope(tmp_path / "killed", killed_at_four)
    continued, later_history, later_weights = fit_slope(tmp_path / "killed", values)
    # Only epochs 4 and 5 are trained, from the weights and moments that epoch 3 left.
    assert later_weights == pytest.approx(weights[3:], abs=1e-6)
    assert later_history["epoch"] == history["epoch"] == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(later_history["loss"], history["loss"], atol=1e-6)
    assert float(continued.slope.numpy()) == pytest.approx(float(whole.slope.numpy()))


def averages_of_slope(num_steps: int, decay: float) -> list[float]:
    """The averages after each epoch of two steps of `fit_slope`."""
    slope = tf.Variable(tf.constant(-1.0))
    optimizer: Any = tf.keras.optimizers.Adam(0.1)
    average, found = -1.0, []
    for step in range(num_steps):
        optimizer.apply_gradients([(2.0 * (slope - 3.0), slope)])
        share = min(decay, (1 + step) / (10 + step))
        average = share * average + (1 - share) * float(slope.numpy())
        found.append(average)
    return found[1::2]


def test_averages_of_weights_are_validated_and_kept_while_the_weights_are_trained(
    tmp_path,
):
    model, _, validated = fit_slope(tmp_path, [0.1, 0.5, 0.2], average_decay=0.25)
    expected = averages_of_slope(6, 0.25)
    assert validated == pytest.approx(expected, rel=1e-5)
    assert float(model.slope.numpy()) == pytest.approx(expected[1], rel=1e-5)
    plain = Slope()  # As evaluation and export build it.
    restore_weights(plain, tmp_path / "best")
    assert float(plain.slope.numpy()) == pytest.approx(expected[1], rel=1e-5)


def test_continued_fit_goes_on_with_the_averages_it_had(tmp_path):
    values = [0.1, 0.5, 0.2, 0.6, 0.4]
    killed_at_four = [*values[:3], float("nan"), 0.0]
    with pytest.raises(Killed):
        fit_slope(tmp_path, killed_at_four, average_decay=0.25)
    model, _, validated = fit_slope(tmp_path, values, average_decay=0.25)
    expected = averages_of_slope(10, 0.25)
    assert validated == pytest.approx(expected[3:], rel=1e-5)
    assert float(model.slope.numpy()) == pytest.approx(expected[3], rel=1e-5)


def test_finetuning_averages_anew_from_the_weights_it_begins_with():
    model = Slope()
    average_weights(model, 0.9)
    model.compile(optimizer=tf.keras.optimizers.SGD(0.25))
    average = model.weight_average
    assert average is not None
    average.steps.assign(1_000)
    model.slope.assign(2.0)
    restart_schedules(model)
    model.train_step(tf.ones([1]))
    # 2 + .25 * 2 (3 - 2) = 2.5; then .1 of 2 and .9 of it.
    assert float(model.slope.numpy()) == pytest.approx(2.5)
    take_averages(model)
    assert float(model.slope.numpy()) == pytest.approx(2.45)


def test_saved_weights_come_back_and_only_the_newest_are_kept(tmp_path):
    model = Slope()
    for value in (1.0, 2.0):
        model.slope.assign(value)
        save_weights(model, tmp_path)
    assert len(list(tmp_path.glob("*.index"))) == 1
    other = Slope()
    restore_weights(other, tmp_path)
    assert float(other.slope.numpy()) == 2.0


def test_weights_saved_by_a_later_process_replace_those_of_the_earlier(tmp_path):
    for value in (1.0, 2.0):
        model = Slope()  # As a continued run: it has saved nothing yet.
        model.slope.assign(value)
        save_weights(model, tmp_path)
    restore_weights(model := Slope(), tmp_path)
    assert float(model.slope.numpy()) == 2.0


def test_missing_weights_say_what_to_run(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No trained weights.*tfrec\.train"):
        restore_weights(Slope(), tmp_path)


def test_weight_decay_shrinks_weights_without_a_gradient():
    weight = tf.Variable(tf.constant([[2.0]]), name="dense/kernel")
    settings = {"learning_rate": 0.5, "warmup_steps": 0}
    config = OptimizerConfig(weight_decay=0.1, **settings)
    make_optimizer(config, [weight]).apply_gradients([(tf.constant([[0.0]]), weight)])
    # Decoupled: w - rate * decay * w = 2 - .5 * .1 * 2.
    assert weight.numpy() == pytest.approx(np.array([[1.9]]))
    plain = make_optimizer(OptimizerConfig(**settings), [weight])
    plain.apply_gradients([(tf.constant([[0.0]]), weight)])
    assert weight.numpy() == pytest.approx(np.array([[1.9]]))


@pytest.mark.parametrize(
    ("name", "decays"),
    [
        ("block/dense/kernel", True),
        ("gru_cell/recurrent_kernel", True),
        ("query/down", True),
        ("block/dense/bias", False),
        ("layer_normalization/gamma", False),
        ("candidate_tower/id_table", False),
        ("event_type/embeddings", False),
        ("log_temperature", False),
    ],
)
def test_only_matrices_of_layers_decay(name: str, decays: bool):
    weight = tf.Variable(tf.ones([1, 1]), name=name)
    config = OptimizerConfig(weight_decay=0.1, learning_rate=0.5, warmup_steps=0)
    make_optimizer(config, [weight]).apply_gradients([(tf.zeros([1, 1]), weight)])
    assert float(weight[0, 0]) == pytest.approx(0.95 if decays else 1.0)


def test_warm_up_takes_small_first_steps():
    weight = tf.Variable(tf.constant([0.0]))
    optimizer: Any = make_optimizer(
        OptimizerConfig(learning_rate=0.8, warmup_steps=4), [weight]
    )
    optimizer.apply_gradients([(tf.constant([1.0]), weight)])
    # The first step of Adam is the rate itself: a quarter of .8.
    assert weight.numpy() == pytest.approx([-0.2], rel=1e-3)


def test_cosine_falls_to_its_half_in_the_middle_and_nearly_to_zero_at_the_end():
    config = OptimizerConfig(learning_rate=0.8, warmup_steps=0, decay="cosine")
    optimizer: Any = make_optimizer(config, [])
    optimizer.schedule.num_steps.assign(100)
    rates = [float(optimizer.schedule(tf.constant(t))) for t in (0, 50, 100, 200)]
    # .8 (.02 + .98 / 2) in the middle; behind the end it stays.
    assert rates == pytest.approx([0.8, 0.408, 0.016, 0.016])


def test_finetuning_starts_the_schedule_again_at_half_the_rate():
    config = OptimizerConfig(learning_rate=0.8, warmup_steps=0, decay="cosine")
    model = Slope()
    model.compile(optimizer=make_optimizer(config, model.trainable_variables))
    optimizer: Any = model.optimizer
    plan_steps(model, 10)
    optimizer.iterations.assign(10)
    assert float(optimizer.schedule(optimizer.iterations)) == pytest.approx(0.016)
    restart_schedules(model)
    assert float(optimizer.schedule(optimizer.iterations)) == pytest.approx(0.4)


def test_gradients_are_clipped_together():
    weights = [tf.Variable(tf.constant([0.0])), tf.Variable(tf.constant([0.0]))]
    settings = OptimizerConfig(
        learning_rate=0.1, warmup_steps=0, gradient_clip_norm=1.0
    )
    optimizer: Any = make_optimizer(settings, weights)
    optimizer.apply_gradients(
        [(tf.constant([30.0]), weights[0]), (tf.constant([40.0]), weights[1])]
    )
    # Norm 50 becomes 1: 0.6 and 0.8; Adam's first moment holds a tenth of them.
    moments = [
        float(v.numpy()[0]) for v in optimizer.variables if v.name.startswith("m/")
    ]
    assert moments == pytest.approx([0.06, 0.08], rel=1e-3)
