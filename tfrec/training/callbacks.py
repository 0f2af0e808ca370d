"""Keras callbacks of both models: validation, best weights, history, progress."""

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import tensorflow as tf
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from tfrec.run_record import write_json

VALIDATION_PREFIX = "validation_"
# Takes `epoch`, `loss` and `validation_<metric>`, each by epoch.
EpochHook = Callable[[Mapping[str, list[float]]], None]


class _StepCallback(tf.keras.callbacks.Callback):
    """Is told of every step, and asks the device for its loss only when it wants to.

    Keras fetches the loss of each step before it tells of it, which has the device
    wait for Python, unless all callbacks with a hook for steps take tensors.
    """

    def __init__(self) -> None:
        super().__init__()
        self._supports_tf_logs = True


class TrainingDivergedError(RuntimeError):
    """The loss, or a weight, is no longer a number."""


class StopOnNan(_StepCallback):
    """Ends training with an explanation when loss or weights are NaN or infinite.

    Once a step went wrong the weights, and every loss after it, stay NaN, so it is
    enough to look every `interval` steps. At the end of an epoch the weights are
    looked at too: the last step may have spoilt them after its loss was taken, and
    they must not be kept as the best.
    """

    def __init__(self, what: str, interval: int = 20) -> None:
        super().__init__()
        self.what = what
        self.interval = interval

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Looks at the loss now and then."""
        if batch % self.interval == 0:
            self._check(logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at the loss and the weights."""
        self._check(logs)
        for weight in self.model.trainable_variables:
            if not bool(tf.reduce_all(tf.math.is_finite(weight))):
                self._stop(f"The weight '{weight.name}'", "no longer finite")

    def _check(self, logs: Mapping[str, Any] | None) -> None:
        loss = float((logs or {}).get("loss", 0.0))
        if not math.isfinite(loss):
            self._stop("The loss", str(loss))

    def _stop(self, subject: str, state: str) -> NoReturn:
        optimizer: Any = self.model.optimizer
        raise TrainingDivergedError(
            f"{subject} of the {self.what} model is {state}. Lower "
            f"`training.{self.what}.optimizer.learning_rate` (received: "
            f"{float(optimizer.learning_rate)}), set "
            "`gradient_clip_norm`, or look for values far out of range in "
            "numeric attributes. The best weights so far are kept."
        )


class EpochCounter(tf.keras.callbacks.Callback):
    """Counts finished epochs inside the model, so that checkpoints hold the number."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Counts."""
        model: Any = self.model  # A `TrainableModel`.
        model.epochs_done.assign(epoch + 1)


class BestEpoch(_StepCallback):
    """Validates after each epoch, keeps the best weights, stops when none come.

    The loss of an epoch is the mean over its steps, its seconds are those of training
    without validation. `history.json` in `path` is
    rewritten after each epoch and read at the start, so a continued run goes on
    counting where the killed one was.

    Args:
        path: Folder of the model in the run.
        metric: Name of the metric that decides; larger is better.
        validate: Returns all validation metrics of the model as it is now.
        patience: Epochs without a better one before training stops.
        save: Writes the best weights.
        after_epoch: Is told the history after each epoch; what it raises ends
            training.
    """

    def __init__(
        self,
        path: Path,
        *,
        metric: str,
        validate: Callable[[], Mapping[str, float]],
        patience: int,
        save: Callable[[], None],
        after_epoch: EpochHook | None = None,
    ) -> None:
        super().__init__()
        self.after_epoch = after_epoch
        self.path = path / "history.json"
        self.metric = VALIDATION_PREFIX + metric
        self.validate = validate
        self.patience = patience
        self.save = save
        self.history: dict[str, list[float]] = {}
        self._losses: list[tf.Tensor] = []  # Fetched once an epoch.
        self._started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the mean of the loss, and the clock."""
        self._losses = []
        self._started = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Keeps the loss of a step."""
        self._losses.append((logs or {})["loss"])

    def on_train_begin(self, logs: Any = None) -> None:
        """Reads what an earlier, killed process has left of this run."""
        done = int(self.model.epochs_done.numpy())
        if done and self.path.is_file():
            rows = json.loads(self.path.read_text())
            self.history = {name: values[:done] for name, values in rows.items()}
            self.model.stop_training = self._without_better() >= self.patience

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Validates and decides."""
        seconds = round(time.monotonic() - self._started, 3)
        metrics = {VALIDATION_PREFIX + k: float(v) for k, v in self.validate().items()}
        loss = sum(float(loss) for loss in self._losses) / len(self._losses)
        own = {"epoch": epoch + 1, "seconds": seconds, "loss": loss}
        for name, value in {**own, **metrics}.items():
            self.history.setdefault(name, []).append(value)
        if logs is not None:
            logs.update(metrics, loss=loss)  # For TensorBoard and the progress bar.
        if self._without_better() == 0:
            self.save()
        write_json(self.path, self.history)
        if self._without_better() >= self.patience:
            self.model.stop_training = True
        if self.after_epoch is not None:
            self.after_epoch(self.history)

    @property
    def best_epoch(self) -> int:
        """The number of the best epoch, from 1."""
        values = self.history[self.metric]
        return values.index(max(values)) + 1

    def _without_better(self) -> int:
        values = self.history.get(self.metric, [])
        return len(values) - self.best_epoch if values else 0


class ProgressBar(_StepCallback):
    """One bar over all epochs, with the loss and the last validation.

    Args:
        what: Name of the model.
        metric: The validation metric that is shown.
        num_epochs: Epochs at most.
        steps: Steps of an epoch.
        continues: Whether the epochs the model has behind it are some of these.
    """

    def __init__(
        self,
        what: str,
        *,
        metric: str,
        num_epochs: int,
        steps: int,
        continues: bool = True,
    ) -> None:
        super().__init__()
        self.continues = continues
        self.what = what
        self.metric = VALIDATION_PREFIX + metric
        self.steps = steps
        self.num_epochs = num_epochs
        self.last = ""
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[state]}"),
        )

    def on_train_begin(self, logs: Any = None) -> None:
        """Shows the bar."""
        done = int(self.model.epochs_done.numpy()) if self.continues else 0
        self.task = self.bar.add_task(
            f"Train {self.what}",
            total=self.num_epochs * self.steps,
            completed=done * self.steps,
            state="",
        )
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Moves it, seldom enough to cost nothing."""
        if (batch + 1) % 10 == 0:
            loss = float((logs or {})["loss"])
            state = f"loss {loss:.3f} {self.last}"
            self.bar.update(self.task, advance=10, state=state)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Tells the validation."""
        value = (logs or {}).get(self.metric)
        if value is not None:
            name = self.metric.removeprefix(VALIDATION_PREFIX)
            self.last = f"epoch {epoch + 1}, {name} {value:.4f}"
        self.bar.update(self.task, completed=(epoch + 1) * self.steps, state=self.last)

    def on_train_end(self, logs: Any = None) -> None:
        """Leaves the bar as it ended."""
        self.bar.stop()
