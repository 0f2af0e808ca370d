"""A worker: takes trials of a study and trains them until the budget is used up."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import optuna
import tensorflow as tf
from optuna.trial import TrialState

from tfrec.config import ExperimentConfig
from tfrec.config_messages import ConfigError
from tfrec.data.store import PreparedDataset
from tfrec.training.callbacks import VALIDATION_PREFIX, TrainingDivergedError
from tfrec.training.strategies import make_strategy
from tfrec.tuning.dataset import DatasetWithoutTest
from tfrec.tuning.results import describe_trial
from tfrec.tuning.study import NOTE, Claim, TuningStudy, metric_of
from tfrec.tuning.trial import remove_weights, train_trial

# A trial that cannot be trained as its values want says something about the values.
_BAD_VALUES = (ConfigError, TrainingDivergedError, tf.errors.ResourceExhaustedError)


def limit_threads(num_threads: int) -> None:
    """Leaves other workers their cores; to be called before TensorFlow computes."""
    tf.config.threading.set_intra_op_parallelism_threads(num_threads)
    tf.config.threading.set_inter_op_parallelism_threads(num_threads)


def work(
    config: ExperimentConfig,
    folder: Path,
    *,
    deadline: float | None,
    say: Callable[[str], None],
) -> None:
    """Trains trials of a study, one after the other.

    Args:
        config: The experiment, prepared.
        folder: Of the study.
        deadline: Seconds since 1970 after which no trial is started.
        say: Takes a line for each trial that ends.

    Raises:
        ValueError: If the data cannot be trained on, whatever is tried.
        KeyboardInterrupt: The trial that was under way is given out again later.
    """
    study = TuningStudy(config, folder)
    strategy = make_strategy(config.training)
    dataset = DatasetWithoutTest(config.prepared_path)
    with contextlib.ExitStack() as stack:
        with study.lock():
            sign = stack.enter_context(study.worker_sign())
        while deadline is None or time.time() < deadline:
            claim = study.claim(sign)
            if claim is None:
                return
            _run(study, claim, dataset, strategy)
            (done,) = (t for t in study.trials() if t.number == claim.trial.number)
            say(describe_trial(done, metric=metric_of(config)))


def _run(
    study: TuningStudy,
    claim: Claim,
    dataset: PreparedDataset,
    strategy: tf.distribute.Strategy,
) -> None:
    """Trains one trial and tells the study how it ended."""
    started = time.monotonic()
    tell = study.optuna_study.tell
    try:
        history = train_trial(study, claim, dataset, strategy)
    except optuna.TrialPruned as pruned:
        claim.trial.set_user_attr(NOTE, str(pruned))
        _note_seconds(claim, started)
        tell(claim.trial, state=TrialState.PRUNED)
    except _BAD_VALUES as error:
        # Pruned, not failed: the search is to keep away from such values.
        claim.trial.set_user_attr(NOTE, f"{type(error).__name__}: {error}")
        _note_seconds(claim, started)
        tell(claim.trial, state=TrialState.PRUNED)
    except Exception as error:
        claim.trial.set_user_attr(NOTE, f"{type(error).__name__}: {error}")
        tell(claim.trial, state=TrialState.FAIL)
        raise
    else:
        values = history[VALIDATION_PREFIX + metric_of(study.config)]
        _note_result(claim, history, values)
        _note_seconds(claim, started)
        tell(claim.trial, max(values))
    remove_weights(claim.run_path)


def _note_result(
    claim: Claim, history: Mapping[str, list[float]], values: list[float]
) -> None:
    claim.trial.set_user_attr("epochs", len(history["epoch"]))
    claim.trial.set_user_attr("best_epoch", values.index(max(values)) + 1)


def _note_seconds(claim: Claim, started: float) -> None:
    claim.trial.set_user_attr("seconds", round(time.monotonic() - started, 1))
