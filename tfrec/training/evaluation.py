"""Evaluates a trained run on the test split, beside baselines and oracle."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.data.simulator import Oracle
from tfrec.data.store import PreparedDataset
from tfrec.evaluation.baselines.registry import build_baselines
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.leakage import measure_leakage
from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
from tfrec.evaluation.plots import plot_metrics, plot_training_curves
from tfrec.evaluation.protocols import EvaluatedSplit, Scorer, build_queries
from tfrec.evaluation.reliability_plot import plot_reliability
from tfrec.evaluation.report import print_report, write_metrics, write_report
from tfrec.evaluation.result import EvaluationResult
from tfrec.evaluation.search import evaluate_search
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.head_evaluation import evaluate_heads

VALUES_FILE = "values.npz"


def evaluate_run(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    recommender: TrainedRecommender,
    *,
    split: EvaluatedSplit = "test",
) -> dict[str, Any]:
    """Evaluates, prints the table and writes metrics, report and plots into the run.

    Returns:
        What `metrics.json` holds.
    """
    settings = config.evaluation
    sequences = dataset.load_sequences()
    schema = config.experiment_schema
    queries = build_queries(sequences, schema, split=split, targets=settings.targets)
    models: list[Scorer] = [RetrievalScorer(recommender)]
    if recommender.ranking is not None:
        models.insert(
            0, PipelineScorer(recommender, exclude_seen=settings.exclude_seen)
        )
    baselines = build_baselines(settings.baselines, dataset, schema)
    scorers = [*models, *baselines.fit(sequences, split=split)]
    oracle = None
    if settings.oracle_dir is not None:
        ids = dataset.item_vocabulary.tokens
        oracle = Oracle(settings.oracle_dir, item_ids=ids)
        scorers.append(oracle)
    result = evaluate(
        scorers,
        sequences,
        queries,
        train_counts=dataset.item_vocabulary.counts,
        ks=settings.k,
        exclude_seen=settings.exclude_seen,
        num_bootstrap=settings.num_bootstrap,
        seed=config.seed,
    )
    if split == "test":
        write_values(result, config.run_path / VALUES_FILE, len(models))
    metrics = {
        **result.to_json(),
        "split_protocol": config.data.split.protocol,
        "leakage": measure_leakage(sequences, queries, schema),
        "skipped": baselines.skipped,
    }
    search = evaluate_search(config, dataset, sequences, recommender, split=split)
    if search is not None:
        metrics["search"] = {**search, "split_protocol": config.data.split.protocol}
    heads = evaluate_heads(config, dataset, recommender, split=split, oracle=oracle)
    if heads is not None:
        metrics["heads"] = heads
    write_results(
        metrics,
        config.run_path,
        split=split,
        selection_metric=settings.selection_metric,
    )
    print_report(metrics)
    return metrics


def write_values(result: EvaluationResult, path: Path, num_models: int) -> None:
    """Writes every user's metrics of the models, so that runs can be compared.

    The file holds float32 `[num_queries]` by `scorer/group/metric`; queries are in
    the order of the prepared users, NaN where a query has no positive in the group.
    """
    arrays: dict[str, Any] = {
        f"{name}/{group}/{metric}": values[:, i].astype(np.float32)
        for name in list(result.scorers)[:num_models]
        for group, values in result.scorers[name].groups.items()
        for i, metric in enumerate(result.metric_names)
    }
    # Not the name itself: `savez` would put its own ending behind it.
    partial = path.with_suffix(".part.npz")
    np.savez_compressed(partial, **arrays)
    partial.replace(path)


def write_results(
    metrics: dict[str, Any],
    run_path: Path,
    *,
    split: EvaluatedSplit = "test",
    selection_metric: str,
) -> None:
    """Writes metrics, report and plots; those of the test are the run's own."""
    suffix = "" if split == "test" else f"_{split}"
    write_metrics(metrics, run_path / f"metrics{suffix}.json")
    images = [f"metrics{suffix}.png"]
    plot_metrics(metrics, run_path / images[0])
    if any(
        "reliability" in h for h in metrics.get("heads", {}).get("heads", {}).values()
    ):
        images.append(f"reliability{suffix}.png")
        plot_reliability(metrics["heads"], run_path / images[-1])
    histories = read_histories(run_path)
    if histories:
        plot_training_curves(
            histories,
            run_path / "training_curves.png",
            selection_metric=selection_metric,
        )
        images.append("training_curves.png")
    write_report(
        metrics,
        run_path / f"report{suffix}.md",
        title=f"{run_path.name}: {split}",
        images=images,
    )


def read_histories(run_path: Path) -> dict[str, dict[str, list[float]]]:
    """Reads the training curves of a run, by stage."""
    files = {n: run_path / n / "history.json" for n in ("retrieval", "ranking")}
    return {n: json.loads(f.read_text()) for n, f in files.items() if f.is_file()}
