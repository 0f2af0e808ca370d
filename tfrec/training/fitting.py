"""How either model is compiled, fitted and kept."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfrec.config import OptimizerConfig, StageConfig
from tfrec.models.trainable_model import TrainableModel
from tfrec.training.callbacks import BestEpoch, EpochCounter, ProgressBar, StopOnNan


class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly, then stays.

    Args:
        learning_rate: The rate after warm-up.
        warmup_steps: Steps until then; 0 for none.
    """

    def __init__(self, learning_rate: float, warmup_steps: int) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.warmup_steps = warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Returns the rate at a step."""
        share = (tf.cast(step, tf.float32) + 1.0) / max(self.warmup_steps, 1)
        return self.learning_rate * tf.minimum(share, 1.0)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "learning_rate": self.learning_rate,
            "warmup_steps": self.warmup_steps,
        }


def make_optimizer(config: OptimizerConfig) -> tf.keras.optimizers.Optimizer:
    """Builds Adam, or AdamW where there is weight decay."""
    rate = WarmUp(config.learning_rate, config.warmup_steps)
    clip = config.gradient_clip_norm
    if config.weight_decay:
        return tf.keras.optimizers.AdamW(
            rate, weight_decay=config.weight_decay, global_clipnorm=clip
        )
    return tf.keras.optimizers.Adam(rate, global_clipnorm=clip)


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
) -> dict[str, list[float]]:
    """Fits a compiled, built model and leaves it with the weights of the best epoch.

    A killed fit, called again with the same folder, goes on behind its last
    finished epoch.

    Returns:
        The history: `epoch`, `loss` and `validation_<metric>` by epoch.
    """
    best = BestEpoch(
        path,
        metric=metric,
        validate=validate,
        patience=stage.patience,
        save=lambda: save_weights(model, path / "best"),
    )
    backup = path / "backup"
    bar = ProgressBar(
        name, metric=metric, num_epochs=stage.max_epochs, steps=steps_per_epoch
    )
    callbacks = [
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
