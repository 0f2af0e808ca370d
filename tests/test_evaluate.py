"""`tfrec evaluate` on a run whose weights were written, not trained."""

import json
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from tests.synthetic import cycle, write_prepared
from tests.training.conftest import make_config
from tfrec import evaluate
from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.evaluation.evaluate import validation_metric
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import EvaluatedSplit, build_queries
from tfrec.features.item_table import build_item_table
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.run_record import FINISHED_FILE, RETRIEVAL, write_run_record
from tfrec.training.fitting import save_weights
from tfrec.training.retrieval import build_retrieval_model

NUM_USERS = 60


def build(
    config: ExperimentConfig, dataset: PreparedDataset, *, seed: int
) -> RetrievalModel:
    """A model with weights of a seed, which rank the items in some order."""
    tf.keras.utils.set_random_seed(seed)
    return build_retrieval_model(config, dataset, build_item_table(dataset))


def score(
    model: RetrievalModel, dataset: PreparedDataset, *, split: EvaluatedSplit
) -> float:
    sequences = dataset.load_sequences()
    queries = build_queries(sequences, dataset.schema, split=split, targets="next")
    scorer = RetrievalScorer(TrainedRecommender(model, None, num_candidates=1))
    found = validation_metric(
        scorer, sequences, queries, "NDCG@5", num_items=model.num_items
    )
    return found["NDCG@5"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> ExperimentConfig:
    # `score` keeps the items of the history too.
    changes: dict[str, Any] = {"evaluation": {"exclude_seen": False}}
    return make_config(tmp_path_factory.mktemp("evaluate"), ranking=None, **changes)


@pytest.fixture(scope="module")
def dataset(config: ExperimentConfig) -> PreparedDataset:
    return write_prepared(config.prepared_path, cycle(num_users=NUM_USERS, length=8))


@pytest.fixture(scope="module")
def model(config: ExperimentConfig, dataset: PreparedDataset) -> RetrievalModel:
    return build(config, dataset, seed=5)


@pytest.fixture
def run(tmp_path: Path, config: ExperimentConfig, model: RetrievalModel) -> Path:
    """A run that was moved after it was made: its configuration names the old place."""
    path = tmp_path / "moved"
    write_run_record(config, path)
    save_weights(model, path / RETRIEVAL / "best")
    (path / RETRIEVAL / FINISHED_FILE).write_text("{}")
    return path


@pytest.mark.parametrize(
    ("options", "split", "name"),
    [
        ([], "test", "metrics.json"),
        (["--split", "validation"], "validation", "metrics_validation.json"),
    ],
)
def test_weights_of_the_run_are_evaluated_on_the_split_asked_for(
    options, split, name, run, config, dataset, model, capsys
):
    assert evaluate.main(["--run", str(run), *options]) == 0
    assert [path.name for path in run.glob("metrics*.json")] == [name]
    assert not config.run_path.exists()  # Nothing goes where the run was before.
    metrics = json.loads((run / name).read_text())
    assert metrics["split"] == split
    assert metrics["num_queries"] == NUM_USERS
    found = metrics["scorers"]["retrieval"]["metrics"]["NDCG@5"]
    assert found == pytest.approx(score(model, dataset, split=split), abs=1e-6)
    # Weights that were drawn anew would have given something else.
    other = build(config, dataset, seed=6)
    assert found != pytest.approx(score(other, dataset, split=split), abs=1e-3)
    shown = capsys.readouterr().out
    assert f"Evaluation on {split}" in shown
    assert f"{found:.4f}" in shown


def test_run_that_is_missing_or_unfinished_says_what_to_do(tmp_path, run, capsys):
    assert evaluate.main(["--run", str(tmp_path / "nowhere")]) == 1
    error = capsys.readouterr().err
    assert "nowhere" in error
    assert "tfrec.train" in error
    (run / RETRIEVAL / FINISHED_FILE).unlink()
    assert evaluate.main(["--run", str(run)]) == 1
    assert "retrieval model" in (error := capsys.readouterr().err)
    assert f"tfrec.train --config {run / 'config.yaml'}" in error
    assert not list(run.glob("metrics*"))


def test_run_whose_data_are_gone_names_their_folder(tmp_path, run, config, capsys):
    moved = config.prepared_path.rename(tmp_path / "elsewhere")
    try:
        assert evaluate.main(["--run", str(run)]) == 1
    finally:
        moved.rename(config.prepared_path)
    assert str(config.prepared_path) in capsys.readouterr().err


def test_unknown_split_is_explained(run, capsys):
    with pytest.raises(SystemExit) as ended:
        evaluate.main(["--run", str(run), "--split", "train"])
    assert ended.value.code == 2
    assert "'test', 'validation'" in capsys.readouterr().err
