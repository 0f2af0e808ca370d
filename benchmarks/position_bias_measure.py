"""Trains rankings on lists with and without position bias, and measures them."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console

from benchmarks.click_measure import (
    NUM_PLACES,
    KnownLists,
    find_test_lists,
    known_lists,
    measure_lists,
    score_lists,
)
from benchmarks.click_truth import BID, ClickTruth, examine_everything
from benchmarks.observer_scorer import ObserverScorer
from benchmarks.quality import check_same
from benchmarks.ranking_rows import Row
from benchmarks.ranking_stage import SeedStage, prepare_stage
from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.simulator.truth import load_config
from tfrec.data.store import Impressions, PreparedDataset
from tfrec.models.final_order import build_final_order
from tfrec.models.recommender import TrainedRecommender
from tfrec.run_record import CONFIG_FILE, VERSIONS_FILE, write_run_record
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.training.ranking import train_ranking

UNBIASED = "unbiased"  # Trained on lists of which every place was looked at.
MODELS = (UNBIASED, "none", "examination", "propensity")
VALUES_FILE = "values.npz"


class RelabelledDataset(PreparedDataset):
    """A prepared dataset with other lists than those it holds."""

    def __init__(self, path: Path, impressions: Impressions) -> None:
        super().__init__(path)
        self.impressions = impressions

    def load_impressions(self) -> Impressions:
        """Returns the lists that were given."""
        return self.impressions


@dataclass(frozen=True)
class SeedFigures:
    """What the models of a seed reached.

    Attributes:
        seed: Of the models.
        user_ids: object `[num_lists]`, whose lists.
        values: Per model what `measure_lists` gives.
        versions: What it was made with.
        num_bootstrap: Resamples of the intervals.
    """

    seed: int
    user_ids: np.ndarray
    values: dict[str, dict[str, np.ndarray]]
    versions: dict[str, Any]
    num_bootstrap: int


def measure_seed(
    config: ExperimentConfig, *, seed: int, parent: Path, console: Console
) -> SeedFigures:
    """Trains what is not trained of a seed, and measures the lists of the test.

    Raises:
        ValueError: If the folder holds models of another configuration, or there are
            no lists.
    """
    stage = prepare_stage(config, seed=seed, parent=parent)
    logged, test = _read_lists(stage)
    index = stage.config.experiment_schema.event_type_index("click")
    examined = examine_everything(logged, test.truth, click_index=index, seed=seed)
    values = {}
    for name in MODELS:
        console.print(f"Trained on: {name}", highlight=False)
        lists = examined if name == UNBIASED else logged
        bias = "none" if name == UNBIASED else name
        row = Row(name, "lists", {"position_bias": bias}).apply(stage.config)
        values[name] = _measure_model(
            stage,
            row,
            lists,
            test,
            stage.path / name,
            with_observer=name == UNBIASED,
        )
    versions = json.loads((stage.path / UNBIASED / VERSIONS_FILE).read_text("utf-8"))
    num_bootstrap = config.evaluation.num_bootstrap
    return SeedFigures(seed, test.user_ids, values, versions, num_bootstrap)


def _read_lists(stage: SeedStage) -> tuple[Impressions, KnownLists]:
    """Returns the logged lists that the truth knows, and those of the test."""
    impressions = stage.dataset.load_impressions()
    truth_dir = stage.config.evaluation.oracle_dir
    if impressions is None or truth_dir is None:
        raise ValueError(
            "Position bias is measured on a simulated shop with lists. Received: "
            f"evaluation.oracle_dir={truth_dir}, lists: {impressions is not None}."
        )
    truth = ClickTruth(truth_dir, item_ids=stage.dataset.item_vocabulary.tokens)
    logged = known_lists(impressions, truth)
    lists, user_ids = find_test_lists(stage.config, stage.sequences, logged, stage.base)
    bids = stage.dataset.items[BID].to_numpy().astype(np.float64)
    eta = load_config(truth_dir).position_bias
    examined = np.arange(1.0, NUM_PLACES + 1.0) ** -eta
    bids = np.concatenate([np.zeros(NUM_SPECIAL_INDICES), bids])
    observer = ObserverScorer(truth_dir, stage.dataset)

    def expected(items: np.ndarray) -> np.ndarray:
        return observer.expected_interest(
            stage.sequences, lists.user_rows, lists.history_ends, items
        )

    return logged, KnownLists(lists, user_ids, truth, expected, bids, examined)


def _measure_model(
    stage: SeedStage,
    config: ExperimentConfig,
    impressions: Impressions,
    test: KnownLists,
    path: Path,
    *,
    with_observer: bool,
) -> dict[str, np.ndarray]:
    """Trains and measures a model, unless that was done before.

    The observer is the same beside all models, and measured beside one.
    """
    if (path / CONFIG_FILE).is_file():
        check_same(config, read_config(path / CONFIG_FILE), path)
    if not (path / VALUES_FILE).is_file():
        shutil.rmtree(path, ignore_errors=True)
        write_run_record(config, path)
        recommender = _train(stage, config, impressions, path)
        tables = score_lists(recommender, stage.sequences, test.lists)
        found = measure_lists(test, tables, with_observer=with_observer)
        partial = path / f"partial-{VALUES_FILE}"
        np.savez_compressed(partial, **dict[str, Any](found))
        partial.rename(path / VALUES_FILE)
    with np.load(path / VALUES_FILE, allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    if with_observer and not any("observer" in name for name in values):
        raise ValueError(
            f"'{path}' was measured before there was an observer. Delete it, and run "
            "the command again."
        )
    return values


def _train(
    stage: SeedStage, config: ExperimentConfig, impressions: Impressions, path: Path
) -> TrainedRecommender:
    settings = config.ranking
    if settings is None:
        raise ValueError("Position bias is that of `ranking`. Received: ranking=null.")
    tf.keras.utils.set_random_seed(config.seed)
    dataset = RelabelledDataset(stage.dataset.path, impressions)
    model, _ = train_ranking(
        config,
        settings,
        dataset,
        stage.item_table,
        stage.base.retrieval,
        path=path / "ranking",
        strategy=stage.strategy,
        text_reader=stage.base.text_reader,
    )
    return TrainedRecommender(
        stage.base.retrieval,
        model,
        num_candidates=settings.num_candidates,
        text_reader=stage.base.text_reader,
        final_order=build_final_order(config, stage.dataset),
    )
