import json
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from tfrec.config import OptimizerConfig
from tfrec.training.callbacks import (
    BestEpoch,
    ProgressBar,
    StopOnNan,
    TrainingDivergedError,
)
from tfrec.training.fitting import LearningRate


def make_model(epochs_done: int = 0) -> Any:
    """As much of a model as the callbacks look at."""
    return SimpleNamespace(
        epochs_done=tf.constant(epochs_done),
        stop_training=False,
        optimizer=tf.keras.optimizers.Adam(0.5),
        trainable_variables=[tf.Variable(tf.constant([1.0, 2.0]), name="table")],
    )


def run_epochs(path, values: list[float], *, patience: int, done: int = 0) -> tuple:
    saved: list[int] = []
    remaining = iter(values)
    best = BestEpoch(
        path,
        metric="NDCG@10",
        validate=lambda: {"NDCG@10": next(remaining)},
        patience=patience,
        save=lambda: saved.append(len(best.history["epoch"])),
    )
    best.set_model(make_model(done))
    best.on_train_begin()
    for epoch in range(done, done + len(values)):
        if best.model.stop_training:
            break
        best.on_epoch_begin(epoch)
        for loss in (3.0, 1.0):
            best.on_train_batch_end(0, {"loss": loss})
        best.on_epoch_end(epoch, {"loss": 1.0})
    return best, saved


def test_best_epoch_is_saved_and_patience_ends_training(tmp_path):
    best, saved = run_epochs(tmp_path, [0.1, 0.3, 0.2, 0.25, 0.4], patience=2)
    # Epochs 3 and 4 are no better than 2, so the fifth never comes.
    assert best.best_epoch == 2
    assert saved == [1, 2]
    assert best.history["epoch"] == [1, 2, 3, 4]
    assert best.history["loss"] == [2.0] * 4  # The mean over the steps of each.
    assert json.loads((tmp_path / "history.json").read_text()) == best.history


def test_equal_value_is_no_better_epoch(tmp_path):
    best, saved = run_epochs(tmp_path, [0.3, 0.3], patience=5)
    assert (best.best_epoch, saved) == (1, [1])


def test_continued_run_counts_on_from_its_last_whole_epoch(tmp_path):
    run_epochs(tmp_path, [0.3, 0.2, 0.1], patience=5)
    # Killed before the third epoch was backed up: it is trained again.
    best, saved = run_epochs(tmp_path, [0.25, 0.35], patience=5, done=2)
    assert best.history["validation_NDCG@10"] == [0.3, 0.2, 0.25, 0.35]
    assert saved == [4]


def test_continued_run_that_had_ended_stays_ended(tmp_path):
    run_epochs(tmp_path, [0.3, 0.2, 0.1], patience=2)
    best, _ = run_epochs(tmp_path, [0.9], patience=2, done=3)
    assert best.history["epoch"] == [1, 2, 3]


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_loss_that_is_no_number_names_the_learning_rate(loss):
    callback = StopOnNan("retrieval")
    callback.set_model(make_model())
    callback.on_epoch_end(0, {"loss": 1.0})
    with pytest.raises(TrainingDivergedError, match=r"learning_rate.*0\.5"):
        callback.on_epoch_end(0, {"loss": loss})


def test_weights_spoilt_by_the_last_step_of_an_epoch_are_noticed():
    callback = StopOnNan("ranking")
    model = make_model()
    callback.set_model(model)
    model.trainable_variables[0].assign([1.0, float("nan")])
    callback.on_train_batch_end(0, {"loss": 1.0})  # Too costly for every step.
    with pytest.raises(TrainingDivergedError, match=r"'table.*ranking.*learning_rate"):
        callback.on_epoch_end(0, {"loss": 1.0})


def test_warm_up_rises_linearly_then_stays():
    config = OptimizerConfig(learning_rate=0.4, warmup_steps=4)
    schedule = LearningRate(config)
    rates = [float(schedule(tf.constant(step))) for step in (0, 1, 3, 4, 99)]
    assert rates == pytest.approx([0.1, 0.2, 0.4, 0.4, 0.4])
    at_once = LearningRate(config.model_copy(update={"warmup_steps": 0}))
    assert float(at_once(tf.constant(0))) == pytest.approx(0.4)


def test_the_loss_of_a_step_is_not_fetched_from_the_device(tmp_path):
    class Watched(BestEpoch):
        kinds: list[type] = []

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.kinds.append(type(logs["loss"]))
            super().on_train_batch_end(batch, logs)

    model = tf.keras.Sequential([tf.keras.layers.Dense(1, input_shape=(2,))])
    model.epochs_done = tf.Variable(tf.constant(0), trainable=False)
    model.compile("sgd", "mse")
    best = Watched(
        tmp_path,
        metric="NDCG@10",
        validate=lambda: {"NDCG@10": 0.5},
        patience=1,
        save=lambda: None,
    )
    bar = ProgressBar("toy", metric="NDCG@10", num_epochs=1, steps=2)
    model.fit(
        tf.ones((8, 2)),
        tf.ones((8, 1)),
        batch_size=4,
        callbacks=[StopOnNan("toy"), best, bar],
        verbose=0,
    )
    assert best.kinds
    assert all(issubclass(kind, tf.Tensor) for kind in best.kinds)
    assert best.history["loss"][0] > 0.0
