"""Trains and validates one trial. The test split is never there."""

import json
import multiprocessing
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
import tensorflow as tf

from tfrec.config import ExperimentConfig
from tfrec.config_file import save_config
from tfrec.data.store import PreparedDataset
from tfrec.features.item_table import build_item_table
from tfrec.run_record import CONFIG_FILE, RANKING, RETRIEVAL
from tfrec.text.shop_texts import ShopTexts, load_shop_texts
from tfrec.training.callbacks import VALIDATION_PREFIX
from tfrec.training.run import ranking_stage, retrieval_stage
from tfrec.tuning.space import apply_values
from tfrec.tuning.study import Claim, TuningStudy, metric_of

SHARED_DIR = "shared"  # Of the retrieval model, where only ranking is tuned.


class TrialReporter:
    """Tells a study how a trial does, epoch by epoch.

    Args:
        trial: Is told.
        metric: Name of the metric that decides.
    """

    def __init__(self, trial: optuna.Trial, metric: str) -> None:
        self._trial = trial
        self._metric = VALIDATION_PREFIX + metric
        self._num_told = 0

    def report(self, history: Mapping[str, list[float]]) -> None:
        """Tells the new epochs, also those before a kill, and asks whether to go on.

        Raises:
            optuna.TrialPruned: If the trial has fallen behind the others.
            KeyboardInterrupt: If the process that started this worker is gone.
        """
        self.watch(history)
        values = history[self._metric]
        for epoch in range(self._num_told, len(values)):
            self._trial.report(values[epoch], step=epoch + 1)
        self._num_told = len(values)
        if self._trial.should_prune():
            raise optuna.TrialPruned(f"behind the others in epoch {len(values)}")

    def watch(self, history: Mapping[str, list[float]]) -> None:
        """Ends a worker whose command was killed, so that none trains unseen."""
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise KeyboardInterrupt


def train_trial(
    study: TuningStudy,
    claim: Claim,
    dataset: PreparedDataset,
    strategy: tf.distribute.Strategy,
) -> dict[str, list[float]]:
    """Trains what the study tunes, and returns the history that decides.

    A trial that was killed goes on behind its last whole epoch.

    Raises:
        ConfigError: If the values do not go together.
        optuna.TrialPruned: If the trial has fallen behind the others.
        TrainingDivergedError: If a loss is no longer a number.
    """
    config = trial_config(study, claim)
    stages = config.tune.stages
    reporter = TrialReporter(claim.trial, metric_of(config))
    claim.run_path.mkdir(parents=True, exist_ok=True)
    save_config(config, claim.run_path / CONFIG_FILE)
    texts = _start(study, config, dataset)
    items = build_item_table(dataset, text=None if texts is None else texts.items)
    if stages == "ranking":
        shared = config.model_copy(update={"run_dir": study.folder / SHARED_DIR})
        with study.lock("shared.lock"):
            retrieval = retrieval_stage(
                shared, dataset, items, strategy, texts, after_epoch=reporter.watch
            )
    else:
        retrieval = retrieval_stage(
            config, dataset, items, strategy, texts, after_epoch=reporter.report
        )
    if stages != "retrieval":
        # Between stages figures are of other queries, so `both` prunes in the first.
        hook = reporter.report if stages == "ranking" else reporter.watch
        ranking_stage(
            config, dataset, items, retrieval, strategy, texts, after_epoch=hook
        )
    decisive = RETRIEVAL if stages == "retrieval" else RANKING
    return json.loads((claim.run_path / decisive / "history.json").read_text())


def trial_config(study: TuningStudy, claim: Claim) -> ExperimentConfig:
    """Returns the configuration that a trial trains.

    Raises:
        ConfigError: If the values do not go together.
    """
    config = apply_values(study.config, claim.values)
    evaluation = config.evaluation.model_copy(
        update={"selection_metric": metric_of(config)}
    )
    data = config.data.model_copy(update={"prepared_dir": study.config.prepared_path})
    return config.model_copy(
        update={"run_dir": claim.run_path, "evaluation": evaluation, "data": data}
    )


def remove_weights(run_path: Path) -> None:
    """Removes the weights of a finished trial; curves and configuration stay."""
    for stage in (RETRIEVAL, RANKING):
        for name in ("best", "backup"):
            shutil.rmtree(run_path / stage / name, ignore_errors=True)


def _start(
    study: TuningStudy, config: ExperimentConfig, dataset: PreparedDataset
) -> ShopTexts | None:
    """Brings the process into the state in which `tfrec train` starts training."""
    policy: Any = tf.keras.mixed_precision
    tf.keras.backend.clear_session()
    tf.keras.utils.set_random_seed(config.seed)
    policy.set_global_policy("float32")
    with study.lock("texts.lock"):  # Encoded once, then read from the cache.
        texts = load_shop_texts(config, dataset, dataset.load_sequences())
    tf.keras.utils.set_random_seed(config.seed)  # As in `tfrec.training.run`.
    if config.training.mixed_precision:
        policy.set_global_policy("mixed_bfloat16")
    return texts
