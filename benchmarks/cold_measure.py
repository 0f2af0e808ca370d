"""Asks the runs of one seed for cold and for warm items."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cold_protocol import (
    History,
    Renamed,
    TextNeighbours,
    build_cold_queries,
)
from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.baselines.tfidf import TfIdf
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.intervals import bootstrap_means, percentile_intervals
from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
from tfrec.evaluation.protocols import EvaluationQueries, Scorer
from tfrec.evaluation.result import CONFIDENCE, EvaluationResult
from tfrec.models.recommender import TrainedRecommender
from tfrec.run_record import VERSIONS_FILE
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.training.run import load_recommender

K = 10
COLD_METRIC, WARM_METRIC = f"HR@{K}", f"NDCG@{K}"
METRICS = (COLD_METRIC, WARM_METRIC)
FULL_RUN = "full run, "


def measure_seed(
    run: Path,
    histories: Sequence[History],
    cold: Collection[str],
    *,
    full_run: Path | None,
    keep_cold_history: bool,
) -> dict[str, Any]:
    """Evaluates the run that never saw the cold items, and one that saw all.

    Args:
        run: Trained without the cold items.
        histories: All of them, unfiltered.
        cold: The cold items.
        full_run: Trained on everything; None leaves it out.
        keep_cold_history: Whether the run is given earlier events of cold items.

    Returns:
        `groups`: per group (`cold`, `warm`) and scorer mean and interval of
        `METRICS`. `ratios`: of the models' warm metric to the full run's, with
        paired intervals.

    Raises:
        ValueError: If training saw a cold item, or the catalogue lacks one.
    """
    recommender, dataset, config = load_recommender(run)
    _check_unseen(dataset, cold, run)
    schema = config.experiment_schema
    queries = build_cold_queries(
        histories,
        cold,
        dataset.item_vocabulary,
        schema,
        keep_cold_history=keep_cold_history,
    )
    exclude_seen = config.evaluation.exclude_seen
    models = _models(recommender, exclude_seen=exclude_seen)
    words = TfIdf().fit(queries.sequences, dataset.items, schema, split="test")
    scorers: list[Scorer] = [*models, words, *_text_neighbours(recommender)]
    found = {
        name: _evaluate(scorers, queries.sequences, part, dataset, config)
        for name, part in (("cold", queries.cold), ("warm", queries.warm))
    }
    result = {
        "seed": config.seed,
        "confidence": CONFIDENCE,
        "num_bootstrap": config.evaluation.num_bootstrap,
        "exclude_seen": exclude_seen,
        "keep_cold_history": keep_cold_history,
        "num_items": len(dataset.items),
        "num_queries": {name: part.num_queries for name, part in found.items()},
        "models": [model.name for model in models],
        "groups": {name: _figures(part) for name, part in found.items()},
        "versions": json.loads((run / VERSIONS_FILE).read_text("utf-8")),
    }
    if full_run is not None:
        full = _evaluate_full(full_run, histories, cold)
        result["groups"]["warm"] |= _figures(full)
        result["ratios"] = _ratios(found["warm"], full)
    return result


def _evaluate_full(
    run: Path, histories: Sequence[History], cold: Collection[str]
) -> EvaluationResult:
    """Asks a run trained on everything for the users whose last event is warm."""
    recommender, dataset, config = load_recommender(run)
    queries = build_cold_queries(
        histories,
        cold,
        dataset.item_vocabulary,
        config.experiment_schema,
        keep_cold_history=True,
    )
    models = _models(
        recommender, exclude_seen=config.evaluation.exclude_seen, prefix=FULL_RUN
    )
    return _evaluate(models, queries.sequences, queries.warm, dataset, config)


def _ratios(
    result: EvaluationResult, full: EvaluationResult
) -> dict[str, dict[str, Any]]:
    """Returns per model the ratio to the same model of the full run, paired by user."""
    ratios = {}
    for full_name in full.scorers:
        name = full_name.removeprefix(FULL_RUN)
        if name not in result.scorers:
            continue
        values = np.stack(
            [
                result.query_values(name, WARM_METRIC),
                full.query_values(full_name, WARM_METRIC),
            ],
            axis=1,
        )
        means = bootstrap_means(
            values, num_bootstrap=result.num_bootstrap, seed=result.seed
        )
        low, high = percentile_intervals(
            means[:, :1] / means[:, 1:], confidence=CONFIDENCE
        )
        mean, base = values.mean(axis=0)
        ratios[name] = {
            "mean": float(mean / base),
            "interval": [float(low[0]), float(high[0])],
        }
    return ratios


def _check_unseen(dataset: PreparedDataset, cold: Collection[str], run: Path) -> None:
    vocabulary = dataset.item_vocabulary
    seen = [
        token
        for token, count in zip(vocabulary.tokens, vocabulary.counts, strict=True)
        if count and token in cold
    ]
    if seen:
        raise ValueError(
            f"Training must not see cold items. Received: '{run}' was trained on "
            f"{len(seen):,} of them, such as {seen[0]!r}. Delete the folder."
        )


def _models(
    recommender: TrainedRecommender, *, exclude_seen: bool, prefix: str = ""
) -> list[Scorer]:
    models: list[Scorer] = [RetrievalScorer(recommender)]
    if recommender.ranking is not None:
        models.insert(0, PipelineScorer(recommender, exclude_seen=exclude_seen))
    return [Renamed(m.score, prefix + m.name) for m in models] if prefix else models


def _text_neighbours(recommender: TrainedRecommender) -> list[Scorer]:
    texts = recommender.retrieval.candidate_tower.text_rows
    if texts is None:
        return []
    return [TextNeighbours(np.asarray(texts)[NUM_SPECIAL_INDICES:])]


def _evaluate(
    scorers: Sequence[Scorer],
    sequences: EventSequences,
    queries: EvaluationQueries,
    dataset: PreparedDataset,
    config: ExperimentConfig,
) -> EvaluationResult:
    return evaluate(
        scorers,
        sequences,
        queries,
        train_counts=dataset.item_vocabulary.counts,
        ks=(K,),
        exclude_seen=config.evaluation.exclude_seen,
        num_bootstrap=config.evaluation.num_bootstrap,
        seed=config.seed,
    )


def _figures(result: EvaluationResult) -> dict[str, Any]:
    plain = result.to_json()["scorers"]
    return {
        name: {
            metric: {
                "mean": scorer["groups"]["all"]["metrics"][metric],
                "interval": scorer["groups"]["all"]["intervals"][metric],
            }
            for metric in METRICS
        }
        for name, scorer in plain.items()
    }
