"""A study on disk: who tries what, kept through kills and shared by workers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config, save_config
from tfrec.tuning.locks import JournalLock, LifeSign, is_alive, locked
from tfrec.tuning.space import build_space, own_values

CONFIG_FILE = "study.yaml"
JOURNAL_FILE = "journal.log"
LOCK_FILE = "study.lock"
WORKERS_DIR = "workers"
MAX_ATTEMPTS = 3  # A trial that kills its process, for want of memory, ends some time.
# Attributes of a trial: who trains it, in which folder, how often it was begun, what
# is to be said of it, and whether it is the configuration as it was.
WORKER, RUN, ATTEMPT, NOTE, OWN = "worker", "run", "attempt", "note", "own"
_FREE = {"trials", "timeout_minutes"}  # Of `tune`: a study may be made longer.
_COUNTED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)


@dataclass(frozen=True)
class Claim:
    """A trial that a worker has taken.

    Attributes:
        trial: Where its results go.
        values: What it tries, by dotted name.
        run_path: Its folder; one that was killed before goes on in its old one.
    """

    trial: optuna.Trial
    values: Mapping[str, Any]
    run_path: Path


class TuningStudy:
    """The trials of one folder. Any number of processes may open it at once.

    Args:
        config: The experiment; `tune` says what is searched and for how long.
        folder: Of the study; created if it is not there.

    Raises:
        ConfigError: If what is searched does not fit the configuration.
        ValueError: If the folder holds a study of another configuration.
    """

    def __init__(self, config: ExperimentConfig, folder: Path) -> None:
        self.config = config
        self.folder = folder
        self.space = build_space(config)
        folder.mkdir(parents=True, exist_ok=True)
        with self.lock():
            self._check_same(folder / CONFIG_FILE)
            save_config(config, folder / CONFIG_FILE)
            self.optuna_study = _open(config, folder)
            if not self.optuna_study.get_trials(deepcopy=False):
                self._enqueue_own()

    def lock(self, name: str = LOCK_FILE) -> Any:
        """Lets one process of the study at a time into a block."""
        return locked(self.folder / name)

    def worker_sign(self) -> LifeSign:
        """Returns the sign by which others see that this worker lives."""
        return LifeSign(self.folder / WORKERS_DIR)

    def trials(self) -> list[FrozenTrial]:
        """Returns all trials, those of other processes included."""
        return self.optuna_study.get_trials(deepcopy=False)

    def is_finished(self) -> bool:
        """Whether as many trials have ended as the budget allows."""
        ended = (TrialState.COMPLETE, TrialState.PRUNED)
        return sum(t.state in ended for t in self.trials()) >= self.config.tune.trials

    def num_running(self) -> int:
        """Returns how many trials living workers are at."""
        with self.lock():
            names = [
                trial.user_attrs.get(WORKER, "none")
                for trial in self.trials()
                if trial.state == TrialState.RUNNING
            ]
            return sum(is_alive(self.folder / WORKERS_DIR, name) for name in names)

    def claim(self, sign: LifeSign) -> Claim | None:
        """Takes the next trial; None when the budget is used up.

        Trials whose process was killed are given out again first. What is tried
        depends on the seed, the number of the trial and the results so far, not on
        who asks: a study that was killed goes on as if it had not been.
        """
        with self.lock():
            self._requeue_killed()
            trials = self.trials()
            counted = sum(trial.state in _COUNTED for trial in trials)
            if counted >= self.config.tune.trials:
                return None
            self.optuna_study.sampler = _sampler(self.config, len(trials))
            trial = self.optuna_study.ask()
            values = {one.key: one.suggest(trial) for one in self.space}
            name = trial.user_attrs.get(RUN) or f"trial-{trial.number:04d}"
            trial.set_user_attr(RUN, name)
            trial.set_user_attr(WORKER, sign.name)
        return Claim(trial, values, self.folder / "trials" / name)

    def _requeue_killed(self) -> None:
        workers = self.folder / WORKERS_DIR
        for killed in self.trials():
            if killed.state != TrialState.RUNNING:
                continue
            if is_alive(workers, killed.user_attrs.get(WORKER, "none")):
                continue
            attempt = killed.user_attrs.get(ATTEMPT, 1)
            self.optuna_study.tell(killed.number, state=TrialState.FAIL)
            if attempt < MAX_ATTEMPTS:
                kept = {**killed.user_attrs, ATTEMPT: attempt + 1}
                kept.pop(WORKER, None)
                self.optuna_study.enqueue_trial(killed.params, user_attrs=kept)

    def _enqueue_own(self) -> None:
        """Tries the configuration itself first: what is found must beat it."""
        own = own_values(self.config, self.space)
        try:
            params = {one.key: one.encode(own[one.key]) for one in self.space}
        except ValueError:
            return  # Outside of the space: it cannot be one of its trials.
        self.optuna_study.enqueue_trial(params, user_attrs={OWN: True})

    def _check_same(self, path: Path) -> None:
        if not path.is_file():
            return
        there, wanted = map(_fixed, (read_config(path), self.config))
        different = [name for name in wanted if wanted[name] != there[name]]
        if different:
            raise ValueError(
                f"'{self.folder}' holds a study of another configuration; {different} "
                "differ. Choose another --folder, or delete it. Only `tune.trials` "
                "and `tune.timeout_minutes` may change."
            )


def _fixed(config: ExperimentConfig) -> dict[str, Any]:
    """Returns what must be the same for all trials of a study."""
    values = config.model_dump(mode="json", exclude={"run_dir"})
    tuned = values.pop("tune")
    return {**values, **{f"tune.{n}": v for n, v in tuned.items() if n not in _FREE}}


def metric_of(config: ExperimentConfig) -> str:
    """Returns the validation metric that decides between trials."""
    return config.tune.metric or config.evaluation.selection_metric


def _open(config: ExperimentConfig, folder: Path) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = JournalFileBackend(
        str(folder / JOURNAL_FILE), lock_obj=JournalLock(folder / "journal.lock")
    )
    return optuna.create_study(
        storage=JournalStorage(journal),
        study_name=config.name,
        direction="maximize",
        pruner=_pruner(config),
        load_if_exists=True,
    )


def _pruner(config: ExperimentConfig) -> BasePruner:
    tune = config.tune
    stage = config.training.ranking if tune.stages == "ranking" else None
    num_epochs = (stage or config.training.retrieval).max_epochs
    if tune.pruner == "median":
        return MedianPruner(
            n_startup_trials=tune.pruner_startup_trials,
            n_warmup_steps=tune.pruner_warmup_epochs + 1,  # Epochs count from 1.
        )
    if tune.pruner == "hyperband":
        return HyperbandPruner(min_resource=1, max_resource=num_epochs)
    return NopPruner()


def _sampler(config: ExperimentConfig, number: int) -> optuna.samplers.BaseSampler:
    """Returns a sampler for one trial; those of workers never draw the same."""
    seeds = np.random.SeedSequence([config.seed, number]).generate_state(1)
    return optuna.samplers.TPESampler(
        seed=int(seeds[0]),
        n_startup_trials=min(10, config.tune.trials // 3 + 1),
        multivariate=True,
    )
