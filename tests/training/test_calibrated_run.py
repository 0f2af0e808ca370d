"""A run with calibration, from training to what a model server answers."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import expit, logit

from export.exporter import export_with_report
from export.loaded_model import LoadedModel
from export.requests import batch_rows
from tests.training.conftest import configure_shop
from tfrec.config import ExperimentConfig
from tfrec.data.store import TEST, PreparedDataset
from tfrec.evaluation.head_tables import head_table
from tfrec.evaluation.report import print_report
from tfrec.models.recommender import TrainedRecommender
from tfrec.schema import SignatureName
from tfrec.training import calibration, calibrators
from tfrec.training.calibration import fit_calibration
from tfrec.training.calibrators import affordable_kind
from tfrec.training.head_lists import (
    Lists,
    Population,
    find_evaluation_lists,
    predict,
    slice_index,
)
from tfrec.training.run import load_recommender, train

pytestmark = pytest.mark.slow

POPULATIONS: dict[str, Population] = {
    "view": "retrieved",
    "click": "shown",
    "cart": "shown",
    "purchase": "shown",
}


class Run(NamedTuple):
    path: Path
    metrics: dict[str, Any]
    recommender: TrainedRecommender
    dataset: PreparedDataset
    config: ExperimentConfig


@pytest.fixture(scope="module")
def run(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("calibrated") / "run"
    more = ("--evaluation.oracle_dir", str(shop.parent / "truth"))
    more += ("--ranking.calibration", "isotonic")
    more += ("--ranking.calibration_slice", "device")
    more += ("--training.finetune_epochs", "1", "--evaluation.baselines", "[pop]")
    more += ("--ranking.dwell_weight", "0.1")
    metrics = train(configure_shop(shop, path, *more))
    return Run(path, metrics, *load_recommender(path))


def curves(run: Run) -> np.ndarray:
    assert run.recommender.ranking is not None
    assert run.recommender.ranking.calibration is not None
    return run.recommender.ranking.calibration.knots.numpy()


def test_every_head_is_calibrated_on_lists_that_it_is_about(run):
    found = json.loads((run.path / "ranking/finished.json").read_text())
    about = found["calibration"]
    assert {h: a["population"] for h, a in about.items()} == POPULATIONS
    assert found["populations"] == POPULATIONS
    assert about["view"]["kind"] == affordable_kind("isotonic", about["view"]["events"])
    assert about["view"]["log_loss"] < about["view"]["log_loss_before"]
    # One head is the order: no list changes.
    best = max(found["validation_NDCG@10"])
    assert found["calibrated_order"]["NDCG@10"] == pytest.approx(best, abs=1e-6)


def test_loaded_run_has_the_curves_also_after_fine_tuning(run):
    assert (run.path / "finetuned.json").is_file()
    knots = curves(run)
    assert knots.shape[0] == len(run.dataset.attribute_vocabularies["device"])
    assert np.abs(knots[..., 1]).max(axis=(0, 2)).min() > 0.01  # Of every head.


def test_probabilities_of_the_test_are_right_after_and_not_before(run):
    heads = run.metrics["heads"]
    assert heads == json.loads((run.path / "metrics.json").read_text())["heads"]
    metrics = heads["heads"]["view"]["metrics"]
    assert metrics["ratio_uncalibrated"] > 1.2  # Learned from lists with a positive.
    assert abs(metrics["ratio"] - 1.0) < 0.2
    assert metrics["ECE"] < metrics["ECE_uncalibrated"]
    assert metrics["ECE_truth"] < metrics["ECE_truth_uncalibrated"]
    assert "ECE_truth" not in heads["heads"]["click"]["metrics"]
    assert set(heads["heads"]["view"]["slices"]) == {"shopper", "device"}
    assert set(heads["heads"]["click"]["slices"]) == {"shopper", "device"}


def test_report_shows_heads_and_their_plot(run, capsys):
    text = (run.path / "report.md").read_text()
    assert "## Heads" in text
    assert "![reliability](reliability.png)" in text
    assert (run.path / "reliability.png").stat().st_size > 1_000
    assert head_table(run.metrics["heads"]).rows[0][3] in text
    print_report(run.metrics)
    assert "Heads on test" in capsys.readouterr().out


def test_dwell_is_measured_where_somebody_stayed(run):
    dwell = run.metrics["heads"]["dwell"]
    assert set(dwell) <= {"retrieved", "shown"}
    retrieved = dwell["retrieved"]
    assert retrieved["num_candidates"] > 0
    assert retrieved["metrics"]["MSE"] > 0.0
    assert retrieved["metrics"]["explained"] > -0.5  # Far from it, the start is lost.
    assert "### Dwell" in (run.path / "report.md").read_text()


def test_served_probabilities_are_the_curves_of_what_was_trained(run):
    """Through the loader of the model server, with the calibration and without."""
    report = export_with_report(run.recommender, run.dataset, run.config)
    ids = run.dataset.item_vocabulary.tokens[:12]
    devices = run.dataset.attribute_vocabularies["device"].tokens
    rows = [
        {
            "history_item_ids": [ids[0], ids[3]],
            "history_event_types": ["view", "click"],
            "history_dwell_seconds": [3.0, 5.0],
            "history_timestamps": [1_700_000_000, 1_700_000_060],
            "candidate_item_ids": ids,
            "context_device": device,
        }
        for device in (*devices, "")
    ]
    schema = run.config.experiment_schema
    batch = batch_rows(schema, SignatureName.RANK, rows)
    with LoadedModel(report.path) as model:
        served = model.call(SignatureName.RANK, batch.inputs)
    ranking = run.recommender.ranking
    assert ranking is not None
    calibration, ranking.calibration = ranking.calibration, None
    try:
        raw = export_with_report(run.recommender, run.dataset, run.config)
        with LoadedModel(raw.path) as model:
            before = model.call(SignatureName.RANK, batch.inputs)
    finally:
        ranking.calibration = calibration
    assert calibration is not None
    index = run.dataset.attribute_vocabularies["device"].lookup([*devices, ""])
    for h, head in enumerate(ranking.heads):
        for row, place in enumerate(index):
            knots = calibration.knots.numpy()[place, h].astype(np.float64)
            tails = calibration.tails.numpy()[place, h]
            x = logit(before[head][row].astype(np.float64))
            y = np.interp(x, *knots.T)
            y += tails[0] * np.minimum(x - knots[0, 0], 0)
            y += tails[1] * np.maximum(x - knots[-1, 0], 0)
            np.testing.assert_allclose(served[head][row], expit(y), rtol=1e-3)
    assert np.abs(served[ranking.heads[0]] - before[ranking.heads[0]]).max() > 1e-3


@pytest.mark.parametrize("kind", ["temperature", "platt", "bent", "isotonic"])
def test_graph_says_of_lists_what_numpy_fitted(run, kind):
    ranking = run.recommender.ranking
    assert ranking is not None
    assert run.config.ranking is not None
    lists = find_evaluation_lists(
        run.config, run.dataset, run.recommender, split=TEST, max_lists=60
    )
    settings = run.config.ranking.model_copy(update={"calibration": kind})
    kept = [v.numpy() for v in ranking.calibration.weights]
    sequences = run.dataset.load_sequences()
    try:
        about = fit_calibration(
            run.config, settings, sequences, ranking, lists, populations=POPULATIONS
        )
        found = predict(ranking, sequences, lists["retrieved"], max_history_length=8)
    finally:
        for variable, value in zip(ranking.calibration.weights, kept, strict=True):
            variable.assign(value)
    labels = lists["retrieved"].labels[..., 0] > 0
    x = found.calibrated[..., 0].astype(np.float64)
    loss = (np.logaddexp(0, x) - x * labels).mean()
    assert about["view"]["log_loss"] == pytest.approx(loss, rel=1e-4)
    assert about["view"]["candidates"] == labels.size


def test_the_level_is_that_of_all_lists_and_of_each_slice(run, monkeypatch):
    """The held-out are few: how often it happened is known of the others, too."""
    for module in (calibration, calibrators):  # So that a third of the shop will do.
        monkeypatch.setattr(module, "MIN_EVENTS_OF_SLOPE", 5)
    ranking = run.recommender.ranking
    config, sequences = run.config, run.dataset.load_sequences()
    all_lists = find_evaluation_lists(
        config, run.dataset, run.recommender, split=TEST, max_lists=10_000
    )
    lists = all_lists["retrieved"]
    some: Lists = {
        name: one.take(np.arange(0, one.num_lists, 3))
        for name, one in all_lists.items()
    }
    settings = config.ranking.model_copy(update={"calibration": "platt"})
    kept = [v.numpy() for v in ranking.calibration.weights]
    try:
        about = fit_calibration(
            config,
            settings,
            sequences,
            ranking,
            some,
            populations=POPULATIONS,
            all_lists=all_lists,
        )
        found = predict(ranking, sequences, some["retrieved"], max_history_length=8)
    finally:
        for variable, value in zip(ranking.calibration.weights, kept, strict=True):
            variable.assign(value)
    own = slice_index(ranking, sequences, some["retrieved"])
    theirs = slice_index(ranking, sequences, lists)
    assert about["view"]["slices"]
    for index in about["view"]["slices"]:
        promised = expit(found.calibrated[own == index, :, 0]).mean()
        happened = (lists.labels[theirs == index, :, 0] > 0).mean()
        assert promised == pytest.approx(happened, rel=1e-3)
        few = (some["retrieved"].labels[own == index, :, 0] > 0).mean()
        assert few != pytest.approx(happened, rel=1e-3)


def test_lists_without_their_target_count_too(run):
    """Else probabilities would be too large by one over the recall of retrieval."""
    lists = find_evaluation_lists(
        run.config, run.dataset, run.recommender, split=TEST, max_lists=10_000
    )
    has_target = lists["retrieved"].relevant.any(axis=1)
    assert 0.2 < has_target.mean() < 0.95
    view = run.metrics["heads"]["heads"]["view"]
    assert view["num_lists"] == lists["retrieved"].num_lists
    assert view["num_events"] == has_target.sum()


def test_without_calibration_nothing_is_fitted(shop, tmp_path):
    more = ("--ranking.calibration", "none", "--training.retrieval.max_epochs", "1")
    more += ("--training.finetune_epochs", "0")  # It trains both models once more.
    path = tmp_path / "run"
    metrics = train(
        configure_shop(shop, path, *more, "--training.ranking.max_epochs", "1")
    )
    finished = json.loads((path / "ranking/finished.json").read_text())
    assert not {"calibration", "calibrated_order"} & set(finished)
    assert finished["populations"] == POPULATIONS
    recommender, _, _ = load_recommender(path)
    assert recommender.ranking is not None
    assert recommender.ranking.calibration is None
    view = metrics["heads"]["heads"]["view"]
    assert view["calibrator"] == "none"
    assert view["metrics"]["ECE"] == view["metrics"]["ECE_uncalibrated"]


def test_slice_that_is_no_context_is_refused(shop, tmp_path, capsys):
    with pytest.raises(SystemExit):
        configure_shop(shop, tmp_path, "--ranking.calibration_slice", "colour")
    message = capsys.readouterr().err
    assert "`ranking.calibration_slice` must be `shopper` or a categorical" in message
    assert "['device']. Received: 'colour'." in message
