"""Claims, kills, pruning and shared budgets; what a trial trains is made up."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from optuna.trial import TrialState

from tfrec.config import ExperimentConfig
from tfrec.training.callbacks import TrainingDivergedError
from tfrec.tuning import worker
from tfrec.tuning.locks import LifeSign, is_alive, locked
from tfrec.tuning.results import best_trial, best_yaml, trials_table
from tfrec.tuning.study import Claim, TuningStudy
from tfrec.tuning.trial import TrialReporter

Configure = Callable[..., ExperimentConfig]
METRIC = "validation_NDCG@5"


def work(
    monkeypatch: pytest.MonkeyPatch,
    study: TuningStudy,
    train: Callable[[Claim], dict[str, list[float]]],
) -> list[str]:
    """Runs a worker of this process whose trials are `train`."""
    lines: list[str] = []
    monkeypatch.setattr(worker, "train_trial", lambda _, claim, *__: train(claim))
    worker.work(study.config, study.folder, deadline=None, say=lines.append)
    return lines


def curve(claim: Claim, values: list[float]) -> dict[str, list[float]]:
    """Reports a made-up validation epoch by epoch, as training does."""
    reporter = TrialReporter(claim.trial, "NDCG@5")
    history: dict[str, list[float]] = {"epoch": [], METRIC: []}
    for epoch, value in enumerate(values, start=1):
        history["epoch"].append(epoch)
        history[METRIC].append(value)
        reporter.report(history)
    return history


@contextmanager
def entered(study: TuningStudy) -> Iterator[LifeSign]:
    with study.worker_sign() as sign:
        yield sign


def test_trial_that_falls_behind_is_ended_and_is_never_the_best(
    configure, tmp_path, monkeypatch
):
    config = configure(trials=4, pruner_startup_trials=2, pruner_warmup_epochs=1)
    study = TuningStudy(config, tmp_path / "tuning")

    def train(claim: Claim) -> dict[str, list[float]]:
        # The last would have been the best, but is the worst after two epochs.
        worst_at_first = [0.01, 0.02, 0.9]
        number = claim.trial.number
        return curve(claim, worst_at_first if number == 3 else [0.1, 0.2, 0.3 + number])

    lines = work(monkeypatch, study, train)
    last = study.trials()[3]
    assert last.state == TrialState.PRUNED
    # One epoch is free; the second, .02, is below the median .2 of the others.
    assert list(last.intermediate_values.values()) == [0.01, 0.02]
    assert "behind the others in epoch 2" in lines[3]
    assert best_trial(study.trials()).number == 2


def test_no_pruner_ends_nothing(configure, tmp_path, monkeypatch):
    config = configure(trials=4, pruner="none", pruner_startup_trials=1)
    study = TuningStudy(config, tmp_path / "tuning")
    work(monkeypatch, study, lambda c: curve(c, [0.5 - 0.1 * c.trial.number] * 5))
    assert [t.state for t in study.trials()] == [TrialState.COMPLETE] * 4


def test_hyperband_ends_some_trials_early(configure, tmp_path, monkeypatch):
    config = configure(trials=12, pruner="hyperband")
    stage = config.training.retrieval.model_copy(update={"max_epochs": 9})
    training = config.training.model_copy(update={"retrieval": stage})
    config = config.model_copy(update={"training": training})
    study = TuningStudy(config, tmp_path / "tuning")
    work(monkeypatch, study, lambda c: curve(c, [0.9 - 0.05 * c.trial.number] * 9))
    lengths = [len(t.intermediate_values) for t in study.trials()]
    assert lengths[0] == 9
    assert min(lengths) < 9


@pytest.mark.parametrize(
    "error",
    [
        TrainingDivergedError("The loss is nan."),
        tf.errors.ResourceExhaustedError(None, None, "out of memory"),
    ],
    ids=["diverged", "memory"],
)
def test_values_that_cannot_be_trained_are_pruned_with_their_reason(
    configure, tmp_path, monkeypatch, error
):
    study = TuningStudy(configure(trials=3), tmp_path / "tuning")

    def train(claim: Claim) -> dict[str, list[float]]:
        if claim.trial.number == 1:
            raise error
        return curve(claim, [0.1])

    work(monkeypatch, study, train)
    states = [t.state for t in study.trials()]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, TrialState.COMPLETE]
    assert type(error).__name__ in study.trials()[1].user_attrs["note"]


def test_data_that_cannot_be_trained_on_end_the_worker(
    configure, tmp_path, monkeypatch
):
    study = TuningStudy(configure(), tmp_path / "tuning")

    def train(claim: Claim) -> dict[str, list[float]]:
        raise ValueError("There is nothing to validate on.")

    with pytest.raises(ValueError, match="nothing to validate on"):
        work(monkeypatch, study, train)
    (trial,) = study.trials()
    assert trial.state == TrialState.FAIL
    with pytest.raises(ValueError, match=r"None of 1 trials.*nothing to validate on"):
        best_trial(study.trials())


def test_interrupted_trial_is_given_out_again_in_its_old_folder(
    configure, tmp_path, monkeypatch
):
    study = TuningStudy(configure(trials=2), tmp_path / "tuning")

    def interrupt(claim: Claim) -> dict[str, list[float]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(monkeypatch, study, interrupt)
    claims: list[Claim] = []

    def train(claim: Claim) -> dict[str, list[float]]:
        claims.append(claim)
        return curve(claim, [0.1])

    work(monkeypatch, study, train)
    killed, again, other = study.trials()
    assert killed.state == TrialState.FAIL
    assert again.params == killed.params
    assert claims[0].run_path.name == "trial-0000"
    assert claims[1].run_path.name == f"trial-{other.number:04d}"
    # A kill does not use up the budget, and the table says what it was.
    assert [t.state for t in (again, other)] == [TrialState.COMPLETE] * 2
    table = trials_table(study.trials(), study.space, metric="NDCG@5")
    assert list(table.columns[1].cells) == ["complete", "complete", "killed"]


def test_search_that_was_interrupted_tries_what_the_uninterrupted_one_does(
    configure, tmp_path, monkeypatch
):
    def train(claim: Claim) -> dict[str, list[float]]:
        return curve(claim, [1.0 - claim.values["retrieval.dropout"]])

    whole = TuningStudy(configure(trials=5), tmp_path / "whole")
    work(monkeypatch, whole, train)
    parts = TuningStudy(configure(trials=3), tmp_path / "parts")
    work(monkeypatch, parts, train)
    parts = TuningStudy(configure(trials=5), tmp_path / "parts")
    # The number of random trials at the start goes by the budget: 2 of both here.
    work(monkeypatch, parts, train)
    assert [t.params for t in parts.trials()] == [t.params for t in whole.trials()]


def test_trial_that_always_kills_its_process_is_given_up(configure, tmp_path):
    study = TuningStudy(configure(trials=9), tmp_path / "tuning")
    for _ in range(3):
        with entered(study) as sign:
            claim = study.claim(sign)
            assert claim is not None
            assert claim.run_path.name == "trial-0000"
    with entered(study) as sign:
        claim = study.claim(sign)
        assert claim is not None
        assert claim.run_path.name != "trial-0000"
    states = [t.state for t in study.trials()]
    assert states == [TrialState.FAIL] * 3 + [TrialState.RUNNING]


def test_two_workers_never_take_one_trial_nor_more_than_the_budget(configure, tmp_path):
    first = TuningStudy(configure(trials=3), tmp_path / "tuning")
    second = TuningStudy(configure(trials=3), tmp_path / "tuning")
    with entered(first) as sign, entered(second) as other:
        claims = [first.claim(sign), second.claim(other), first.claim(sign)]
        assert first.claim(sign) is None
        assert second.claim(other) is None
    taken = [claim for claim in claims if claim is not None]
    assert [claim.trial.number for claim in taken] == [0, 1, 2]
    assert len({str(claim.values) for claim in taken}) == 3


def test_configuration_outside_of_its_space_is_no_trial(configure, tmp_path):
    space: dict[str, Any] = {"retrieval.dropout": {"low": 0.1, "high": 0.2}}
    study = TuningStudy(configure(space=space), tmp_path / "tuning")
    with entered(study) as sign:
        claim = study.claim(sign)
    assert claim is not None
    assert 0.1 <= claim.values["retrieval.dropout"] <= 0.2


def test_header_of_the_best_settings_compares_with_the_start(
    configure, tmp_path, monkeypatch
):
    config = configure(trials=2, timeout_minutes=30)
    study = TuningStudy(config, tmp_path / "tuning")
    work(monkeypatch, study, lambda c: curve(c, [0.25 + 0.25 * c.trial.number]))
    text = best_yaml(config, study.trials(), folder=study.folder)
    assert "NDCG@5 0.5000, trial 1 (unchanged configuration: 0.2500)." in text
    assert "Budget: 2 trials, 30 minutes; used: 2 to their end, 0 pruned" in text
    assert "study tuning of toy" in text
    assert "pruner: median; seed: 0" in text


def test_no_trial_starts_after_the_deadline(configure, tmp_path, monkeypatch):
    study = TuningStudy(configure(), tmp_path / "tuning")
    worker.work(study.config, study.folder, deadline=1.0, say=lambda _: None)
    assert [t.state for t in study.trials()] == [TrialState.WAITING]


def test_sign_of_life_ends_with_its_holder(tmp_path: Path) -> None:
    with locked(tmp_path / "lock"), LifeSign(tmp_path / "workers") as sign:
        assert is_alive(tmp_path / "workers", sign.name)
    assert not is_alive(tmp_path / "workers", sign.name)
    assert not is_alive(tmp_path / "workers", "never there")
    (tmp_path / "workers" / "killed").touch()  # As a kill leaves it: unlocked.
    assert not is_alive(tmp_path / "workers", "killed")
