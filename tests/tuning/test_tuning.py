"""Whole searches on a tiny log."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config, read_config, save_config
from tfrec.data.store import PreparedDataset
from tfrec.training.run import train
from tfrec.tuning.dataset import DatasetWithoutTest
from tfrec.tuning.space import apply_values
from tfrec.tuning.study import TuningStudy
from tfrec.tuning.tuning import tune

Configure = Callable[..., ExperimentConfig]


@pytest.fixture(scope="module")
def searched(
    log_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TuningStudy, list[str]]:
    from tests.tuning.conftest import tuning_config

    path, lines = tmp_path_factory.mktemp("search"), []
    config = tuning_config(log_folder, path, trials=3, pruner="none")
    return tune(config, folder=path / "tuning", say=lines.append), lines


def test_search_ends_with_its_budget_and_says_each_trial(searched):
    study, lines = searched
    assert [t.state for t in study.trials()] == [TrialState.COMPLETE] * 3
    assert [line.split(":")[0].split(",")[0] for line in lines] == [
        f"Trial {number} complete" for number in range(3)
    ]
    assert study.is_finished()


def test_first_trial_is_the_configuration_itself(searched):
    study, _ = searched
    first = study.trials()[0].params
    assert first["retrieval.dropout"] == study.config.retrieval.dropout == 0.0
    assert first["training.retrieval.optimizer.learning_rate"] == 0.01
    assert study.trials()[1].params != first


def test_files_of_the_study_agree_with_its_best_trial(searched, tmp_path):
    study, _ = searched
    values = [t.value for t in study.trials()]
    best = int(np.argmax(values))
    text = (study.folder / "best.yaml").read_text()
    assert f"validation NDCG@5 {max(values):.4f}, trial {best}" in text
    assert "Budget: 3 trials" in text
    assert "3 to their end, 0 pruned" in text
    save_config(study.config, tmp_path / "base.yaml")
    files = ["--config", str(tmp_path / "base.yaml")]
    files += ["--config", str(study.folder / "best.yaml")]
    loaded = load_config(files, description="")
    assert loaded == apply_values(study.config, study.trials()[best].params)
    found = json.loads((study.folder / "trials.json").read_text())
    assert [t["value"] for t in found["trials"]] == values
    assert [max(t["by_epoch"]) for t in found["trials"]] == values
    assert (study.folder / "history.png").stat().st_size > 1000


def test_trials_keep_curves_and_configuration_but_no_weights(searched):
    study, _ = searched
    for number, trial in enumerate(study.trials()):
        folder = study.folder / "trials" / f"trial-{number:04d}"
        history = json.loads((folder / "retrieval" / "history.json").read_text())
        assert max(history["validation_NDCG@5"]) == trial.value
        config = read_config(folder / "config.yaml")
        assert config.retrieval.dropout == trial.params["retrieval.dropout"]
        assert not (folder / "retrieval" / "best").exists()
        assert not (folder / "ranking").exists()


@pytest.mark.slow
def test_trial_trains_exactly_as_a_run_that_has_the_test_split(searched, tmp_path):
    """So what a trial finds holds for `tfrec train`, and the test changed nothing."""
    study, _ = searched
    config = apply_values(study.config, study.trials()[1].params)
    train(config.model_copy(update={"run_dir": tmp_path, "ranking": None}))
    folder = study.folder / "trials" / "trial-0001"
    alone, trial = (
        json.loads((path / "retrieval" / "history.json").read_text())
        for path in (tmp_path, folder)
    )
    assert trial.keys() == alone.keys()
    for name in alone.keys() - {"seconds"}:
        assert trial[name] == pytest.approx(alone[name], rel=1e-5), name


def test_trials_cannot_see_the_test_split(log_folder):
    whole = PreparedDataset(log_folder / "prepared").load_sequences()
    seen = DatasetWithoutTest(log_folder / "prepared").load_sequences()
    assert (whole.split == 2).sum() == 40
    assert not (seen.split == 2).any()
    kept = whole.split != 2
    np.testing.assert_array_equal(seen.item_index, whole.item_index[kept])
    np.testing.assert_array_equal(seen.timestamps, whole.timestamps[kept])
    # Each of the 40 users has 8 events, the last of which is test.
    assert np.diff(seen.offsets).tolist() == [7] * 40


def test_finished_study_trains_nothing_more_and_a_longer_budget_goes_on(searched):
    study, _ = searched
    again: list[str] = []
    tune(study.config, folder=study.folder, say=again.append)
    assert again == []
    longer = study.config.tune.model_copy(update={"trials": 4})
    config = study.config.model_copy(update={"tune": longer})
    continued = tune(config, folder=study.folder, say=again.append)
    assert len(again) == 1
    assert len(continued.trials()) == 4


@pytest.mark.slow
def test_both_stages_are_decided_by_the_validation_of_ranking(configure, tmp_path):
    config = configure(stages="both", space={"ranking.dropout": {"choices": [0.1]}})
    config = apply_values(config, {"tune.trials": 1})
    study = tune(config, folder=tmp_path / "tuning", say=lambda _: None)
    (trial,) = study.trials()
    path = tmp_path / "tuning" / "trials" / "trial-0000" / "ranking" / "history.json"
    history = json.loads(path.read_text())
    assert trial.value == max(history["validation_NDCG@5"])
    assert trial.params == {"ranking.dropout": 0.1}


@pytest.mark.slow
def test_ranking_alone_shares_one_retrieval_model(configure, tmp_path):
    space = {"ranking.dropout": {"low": 0.0, "high": 0.5}}
    config = configure(stages="ranking", space=space)
    study = tune(config, folder=tmp_path / "tuning", say=lambda _: None)
    assert [t.state for t in study.trials()] == [TrialState.COMPLETE] * 2
    assert (tmp_path / "tuning" / "shared" / "retrieval" / "finished.json").is_file()
    for number in range(2):
        folder = tmp_path / "tuning" / "trials" / f"trial-{number:04d}"
        assert (folder / "ranking" / "history.json").is_file()
        assert not (folder / "retrieval").exists()


@pytest.mark.slow
def test_another_metric_decides_and_goes_into_the_best_settings(configure, tmp_path):
    config = configure(metric="HR@1", trials=1)
    study = tune(config, folder=tmp_path / "tuning", say=lambda _: None)
    folder = tmp_path / "tuning"
    run = folder / "trials" / "trial-0000" / "retrieval" / "history.json"
    history = json.loads(run.read_text())
    assert study.trials()[0].value == max(history["validation_HR@1"])
    assert "selection_metric: HR@1" in (folder / "best.yaml").read_text()


def test_study_of_another_configuration_is_refused(configure, tmp_path):
    TuningStudy(configure(), tmp_path / "tuning")
    other = apply_values(configure(trials=9), {"seed": 7, "tune.pruner": "none"})
    with pytest.raises(ValueError, match=r"\['seed', 'tune.pruner'\] differ"):
        TuningStudy(other, tmp_path / "tuning")
    TuningStudy(configure(trials=9), tmp_path / "tuning")


def test_command_that_finds_all_trials_taken_leaves_the_results_to_the_others(
    configure, tmp_path
):
    config = configure(trials=1)
    other = TuningStudy(config, tmp_path / "tuning")
    lines: list[str] = []
    with other.worker_sign() as sign:
        assert other.claim(sign) is not None
        tune(config, folder=tmp_path / "tuning", say=lines.append)
    assert "other processes still train: 1" in lines[0]
    assert not (tmp_path / "tuning" / "best.yaml").exists()
