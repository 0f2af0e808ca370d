"""How either model is compiled, fitted and kept."""

import contextlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrec.config import OptimizerConfig, StageConfig
from tfrec.models.trainable_model import TrainableModel
from tfrec.models.weight_average import WeightAverage
from tfrec.training.callbacks import (
    BestEpoch,
    EpochCounter,
    EpochHook,
    ProgressBar,
    StopOnNan,
)
from tfrec.training.lazy_adam import LazyAdam

FINETUNE_SHARE = 0.5  # Of the learning rate: what is known shall stay known.
LAST_SHARE = 0.02  # Of the learning rate, where it decays.
_ADAPTER_MATRICES = ("down", "up")  # Of `tfrec.text.adapters`.


class LearningRate(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, then stays or falls.

        rate(t) = start min((t + 1) / warmup_steps, 1) fall(t / num_steps)
        fall(x) = 1, or where it decays .02 + .98 (1 + cos(pi min(x, 1))) / 2

    Args:
        config: The rate after warm-up, the steps until then, and the decay.

    References:
        - Loshchilov, Hutter, "SGDR: Stochastic Gradient Descent with Warm
          Restarts", ICLR 2017 (the cosine, without restarts).
    """

    def __init__(self, config: OptimizerConfig) -> None:
        super().__init__()
        self.config = config
        # Variables: how long training takes is known only when its data are.
        self.start = tf.Variable(tf.constant(config.learning_rate), trainable=False)
        self.num_steps = tf.Variable(tf.constant(math.inf), trainable=False)

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate at a step, counted from 0."""
        step = tf.cast(step, tf.float32)
        rate = self.start * tf.minimum((step + 1.0) / self._warmup_steps, 1.0)
        if self.config.decay == "none":
            return rate
        done = tf.minimum(step / self.num_steps, 1.0)
        fall = (1.0 + tf.cos(math.pi * done)) / 2.0
        return rate * (LAST_SHARE + (1.0 - LAST_SHARE) * fall)

    @property
    def _warmup_steps(self) -> float:
        return float(max(self.config.warmup_steps, 1))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {"config": self.config}


def make_optimizer(
    config: OptimizerConfig, variables: Sequence[tf.Variable]
) -> tf.keras.optimizers.Optimizer:
    """Builds Adam for some variables, with decoupled weight decay if there is some.

    Only the matrices of layers decay. Biases, gains of normalisations and single
    numbers such as a temperature have nothing to gain from being small; a row of an
    embedding table would shrink in every step in which its item is not met.
    Its `schedule` is the `LearningRate`; `plan_steps` says how long it is.

    References:
        - Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
          https://arxiv.org/abs/1711.05101.
    """
    rate = LearningRate(config)
    optimizer: Any = LazyAdam(
        rate,
        weight_decay=config.weight_decay or None,
        global_clipnorm=config.gradient_clip_norm,
    )
    optimizer.schedule = rate
    if config.weight_decay:
        kept = [v for v in variables if not decays(v)]
        optimizer.exclude_from_weight_decay(var_list=kept)
    # Now, so that restored weights find the state of the optimizer, too.
    optimizer.build(variables)
    return optimizer


def decays(variable: tf.Variable) -> bool:
    """Whether weight decay is for it: a matrix that is multiplied with, by its name."""
    name = variable.name.rsplit("/", 1)[-1].split(":")[0]
    return name.endswith("kernel") or name in _ADAPTER_MATRICES


def plan_steps(model: TrainableModel, num_steps: int) -> None:
    """Says how many steps the learning rates of a compiled model are planned for."""
    for optimizer in _optimizers(model):
        optimizer.schedule.num_steps.assign(num_steps)


def restart_schedules(model: TrainableModel) -> None:
    """Sets the learning rates back to their first step, lower, for finetuning.

    Averages of weights begin anew, too: at the weights of the best epoch.
    """
    if model.weight_average is not None:
        model.weight_average.restart()
    for optimizer in _optimizers(model):
        schedule = optimizer.schedule
        schedule.start.assign(schedule.config.learning_rate * FINETUNE_SHARE)
        optimizer.iterations.assign(0)


def _optimizers(model: TrainableModel) -> list[Any]:
    """Returns those of `make_optimizer`: others plan for themselves."""
    both = (model.optimizer, model.second_optimizer)
    return [one for one in both if hasattr(one, "schedule")]


def average_weights(model: TrainableModel, decay: float | None) -> None:
    """Has a built model keep a moving average of its weights, if there is a decay.

    Within the scope of the model's strategy. `fit` then validates, keeps and leaves
    the averages in place of the weights.
    """
    if decay is not None:
        model.weight_average = WeightAverage(model.trainable_variables, decay)


def take_averages(model: TrainableModel) -> None:
    """Leaves a trained model with the averages of its weights, if it has any."""
    if model.weight_average is not None:
        model.weight_average.swap()


def averages_in_place(model: TrainableModel) -> contextlib.AbstractContextManager[None]:
    """Returns a block in which a model's weights are their averages, if it has any."""
    average = model.weight_average
    return contextlib.nullcontext() if average is None else average.in_place()


def weights_checkpoint(model: TrainableModel) -> tf.train.Checkpoint:
    """Returns the checkpoint of a model, with the state of its optimizer if any."""
    return tf.train.Checkpoint(model=model)


def save_weights(model: TrainableModel, path: Path) -> None:
    """Writes the weights into `path`; a kill leaves the old or the new ones whole."""
    manager = tf.train.CheckpointManager(
        weights_checkpoint(model), str(path), max_to_keep=1, checkpoint_name="weights"
    )
    latest = manager.latest_checkpoint
    # A name of its own: over the old file a kill could leave half of either.
    number = 1 if latest is None else int(latest.rsplit("-", 1)[1]) + 1
    manager.save(checkpoint_number=number)


def restore_weights(model: TrainableModel, path: Path) -> None:
    """Reads the weights that `save_weights` wrote; the model must be built.

    Raises:
        FileNotFoundError: If there are none.
    """
    latest = tf.train.latest_checkpoint(str(path))
    if latest is None:
        raise FileNotFoundError(
            f"No trained weights in '{path}'. Run `python -m tfrec.train` first."
        )
    status = weights_checkpoint(model).restore(latest)
    # The save counter of the manager is the one thing that is not the model's.
    status.assert_existing_objects_matched().expect_partial()


def fit(
    model: TrainableModel,
    dataset: Any,
    *,
    name: str,
    path: Path,
    stage: StageConfig,
    steps_per_epoch: int,
    metric: str,
    validate: Callable[[], Mapping[str, float]],
    after_epoch: EpochHook | None = None,
    more_callbacks: Sequence[tf.keras.callbacks.Callback] = (),
) -> dict[str, list[float]]:
    """Fits a compiled, built model and leaves it with the weights of the best epoch.

    A killed fit, called again with the same folder, goes on behind its last
    finished epoch. `after_epoch` is told the history then; what it raises ends the
    fit. `more_callbacks` see the restored model. Where the model has a
    `weight_average`, that is validated and kept.

    Returns:
        The history: `epoch`, `seconds`, `loss` and `validation_<metric>` by epoch.
    """

    def validate_average() -> Mapping[str, float]:
        with averages_in_place(model):
            return validate()

    def save_average() -> None:
        with averages_in_place(model):
            save_weights(model, path / "best")

    if model.weight_average is not None and not int(model.epochs_done.numpy()):
        model.weight_average.restart()  # From what the weights were set to since.
    best = BestEpoch(
        path,
        metric=metric,
        validate=validate_average,
        patience=stage.patience,
        save=save_average,
        after_epoch=after_epoch,
    )
    backup = path / "backup"
    bar = ProgressBar(
        name, metric=metric, num_epochs=stage.max_epochs, steps=steps_per_epoch
    )
    callbacks = [
        *more_callbacks,
        EpochCounter(),
        StopOnNan(name),
        best,
        # The backup comes last of those with state: it holds all they did. Keras
        # starts it first all the same, so the others see the restored model.
        bar,
        tf.keras.callbacks.TensorBoard(str(path / "tensorboard"), profile_batch=0),
        tf.keras.callbacks.BackupAndRestore(str(backup), delete_checkpoint=False),
    ]
    callbacks.insert(0, _RestoreFirst(callbacks[-1]))
    plan_steps(model, stage.max_epochs * steps_per_epoch)
    try:
        model.fit(
            dataset,
            epochs=stage.max_epochs,
            steps_per_epoch=steps_per_epoch,
            callbacks=callbacks,
            verbose=0,
        )
    finally:
        bar.bar.stop()
    # Keras 2 deletes this attribute after a backup, and the next `fit` reads it.
    model._training_state = None
    restore_weights(model, path / "best")
    shutil.rmtree(backup, ignore_errors=True)
    return best.history


class _RestoreFirst(tf.keras.callbacks.Callback):
    """Lets the backup restore before the other callbacks start.

    It has to save last (after the epoch was counted and validated), but
    callbacks run in one order for both.
    """

    def __init__(self, backup: tf.keras.callbacks.BackupAndRestore) -> None:
        super().__init__()
        self.backup = backup

    def on_train_begin(self, logs: Any = None) -> None:
        """Restores."""
        self.backup.set_model(self.model)
        self.backup.on_train_begin(logs)
