"""Trains and evaluates the rows of the ranking table on one retrieval model."""

import gc
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from benchmarks.quality import check_same
from benchmarks.ranking_rivals import (
    HandMadeFeatures,
    RivalRecommender,
    fit_rival,
    make_examples,
)
from benchmarks.ranking_stage import SeedStage
from benchmarks.ranking_store import is_done, store_result
from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.simulator import Oracle
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.metrics import parse_metric
from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
from tfrec.evaluation.protocols import Scorer
from tfrec.models.final_order import own_final_order
from tfrec.models.ranking_model import RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.run_record import CONFIG_FILE, write_run_record
from tfrec.training.ranking import (
    build_ranking_model,
    find_lists,
    train_ranking,
    with_positives,
)

RETRIEVAL, ORACLE = "retrieval", "oracle"
MAIN_METRIC = "NDCG@10"


def measure_row(stage: SeedStage, name: str, config: ExperimentConfig) -> None:
    """Trains and evaluates a row, unless that was done before.

    A row that was broken off is trained anew.

    Args:
        stage: Of the seed.
        name: Of the row, and of its folder.
        config: Of the row; only its `ranking` differs from the stage's.

    Raises:
        ValueError: If the folder holds a row of another configuration.
    """
    path = stage.path / "rows" / name
    if _is_measured(path, config):
        return
    shutil.rmtree(path, ignore_errors=True)
    write_run_record(config, path)
    tf.keras.utils.set_random_seed(config.seed)
    begin = time.monotonic()
    recommender, history = _train_row(stage, config, path)
    seconds = time.monotonic() - begin
    metric = config.evaluation.selection_metric
    values = history[f"validation_{metric}"]
    details = {
        "validation": max(values),
        "best_epoch": values.index(max(values)) + 1,
        "num_epochs": len(values),
        "validation_of_retrieval_order": history["retrieval_order"][metric],
    }
    scorer = PipelineScorer(recommender, exclude_seen=config.evaluation.exclude_seen)
    evaluate_scorer(stage, scorer, path, seconds=seconds, details=details)
    shutil.rmtree(path / "ranking" / "tensorboard", ignore_errors=True)
    gc.collect()  # Graphs and variables of the row are cycles.


def _is_measured(path: Path, config: ExperimentConfig) -> bool:
    if not (path / CONFIG_FILE).is_file():
        return False
    check_same(config, read_config(path / CONFIG_FILE), path)
    return is_done(path)


def _train_row(
    stage: SeedStage, config: ExperimentConfig, path: Path
) -> tuple[TrainedRecommender, Mapping[str, Any]]:
    """Trains ranking as `tfrec.train` does, on the retrieval model that is there."""
    settings = config.ranking
    if settings is None:
        raise ValueError("A row needs `ranking`. Received: ranking=null.")
    model, history = train_ranking(
        config,
        settings,
        stage.dataset,
        stage.item_table,
        stage.base.retrieval,
        path=path / "ranking",
        strategy=stage.strategy,
        text_reader=stage.base.text_reader,
    )
    if stage.is_finetuned:
        vectors = stage.final.retrieval.item_vectors()
        model.set_frozen(vectors, stage.final_statistics)
    recommender = TrainedRecommender(
        stage.final.retrieval,
        model,
        num_candidates=settings.num_candidates,
        text_reader=stage.final.text_reader,
        final_order=own_final_order(config, stage.dataset),
    )
    return recommender, history


def measure_references(stage: SeedStage) -> list[str]:
    """Evaluates the order of retrieval, and the oracle where there is one."""
    scorers: list[Scorer] = []
    if not _is_measured(stage.path / "rows" / RETRIEVAL, stage.config):
        scorers.append(RetrievalScorer(stage.final))
    names = [RETRIEVAL]
    truth = stage.config.evaluation.oracle_dir
    if truth is not None:
        names.append(ORACLE)
        if not _is_measured(stage.path / "rows" / ORACLE, stage.config):
            ids = stage.dataset.item_vocabulary.tokens
            scorers.append(Oracle(truth, item_ids=ids))
    for scorer in scorers:
        path = stage.path / "rows" / scorer.name
        write_run_record(stage.config, path)
        evaluate_scorer(stage, scorer, path)
    return names


def measure_rivals(stage: SeedStage, names: Sequence[str]) -> None:
    """Fits rivals on the candidates of retrieval, and evaluates them.

    They learn from the lists with a positive that the default row learns from; those
    that were only shown say nothing of targets, and stay out. The held-out lists are
    the same, too, and so are the candidates that they are asked to rank.
    """
    paths = {name: stage.path / "rows" / name for name in names}
    missing = [n for n, path in paths.items() if not _is_measured(path, stage.config)]
    settings = stage.config.ranking
    if not missing or settings is None:
        return
    base = TrainedRecommender(
        stage.base.retrieval,
        None,
        num_candidates=settings.num_candidates,
        text_reader=stage.base.text_reader,
    )
    config, sequences = stage.config, stage.sequences
    share = settings.holdout_share
    sources, holdout, _ = find_lists(
        config, stage.dataset, sequences, base, holdout_share=share
    )
    features = HandMadeFeatures(build_rival_inputs(stage, final=False))
    train, held_out = (
        make_examples(
            features,
            sequences,
            lists,
            max_history_length=config.max_history_length,
            seed=config.seed,
        )
        for lists in (sources[0], with_positives(holdout["retrieved"]))
    )
    k = parse_metric(config.evaluation.selection_metric)[1]
    served = HandMadeFeatures(build_rival_inputs(stage, final=True))
    for name in missing:
        begin = time.monotonic()
        predict, details = fit_rival(name, train, held_out, k=k, seed=config.seed)
        seconds = time.monotonic() - begin
        rival = RivalRecommender(stage.final, served, predict)
        scorer = PipelineScorer(rival, exclude_seen=config.evaluation.exclude_seen)
        write_run_record(config, paths[name])
        evaluate_scorer(stage, scorer, paths[name], seconds=seconds, details=details)


def build_rival_inputs(stage: SeedStage, *, final: bool) -> RankingModel:
    """Builds a ranking model of which rivals read the numbers.

    Args:
        stage: Of the seed.
        final: Whether its frozen parts are those of serving, or of training.
    """
    settings = stage.config.ranking
    if settings is None:
        raise ValueError("Rivals need `ranking`. Received: ranking=null.")
    model = build_ranking_model(stage.config, settings, stage.dataset, stage.item_table)
    statistics = stage.final_statistics if final else stage.base_statistics
    retrieval = (stage.final if final else stage.base).retrieval
    model.set_frozen(retrieval.item_vectors(), statistics)
    return model


def evaluate_scorer(
    stage: SeedStage,
    scorer: Scorer,
    path: Path,
    *,
    seconds: float = 0.0,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Evaluates on the test split, full ranking, and stores what every query got."""
    settings = stage.config.evaluation
    wanted = {parse_metric(m)[1] for m in (MAIN_METRIC, settings.selection_metric)}
    result = evaluate(
        [scorer],
        stage.sequences,
        stage.queries,
        train_counts=stage.dataset.item_vocabulary.counts,
        ks=sorted({*settings.k, *wanted}),
        exclude_seen=settings.exclude_seen,
        num_bootstrap=settings.num_bootstrap,
        seed=stage.config.seed,
    )
    store_result(path, result, seconds=seconds, details=details or {})
