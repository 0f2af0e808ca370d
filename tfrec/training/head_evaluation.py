"""Measures the heads of a trained run on lists of a split, as they are served."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfrec.config import ExperimentConfig, RankingConfig
from tfrec.data.store import SPLIT_INDEX, EventSequences, PreparedDataset
from tfrec.evaluation.dwell_report import dwell_report
from tfrec.evaluation.head_metrics import NUM_BINS
from tfrec.evaluation.head_report import HeadOutcomes, head_report
from tfrec.evaluation.protocols import EvaluatedSplit, Scorer
from tfrec.evaluation.result import CONFIDENCE
from tfrec.models.ranking_model import RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.ranking_config import SHOPPER
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind
from tfrec.training.head_lists import (
    Lists,
    Population,
    counted_cells,
    find_evaluation_lists,
    find_populations,
    head_cells,
    outcome_labels,
    predict,
    real_cells,
)
from tfrec.training.later_events import add_dwell
from tfrec.training.ranking_lists import RankingLists

_MAX_SLICES = 8  # Values of a context attribute that are reported, the largest.
_ORACLE_BATCH = 512
_FINISHED = "ranking/finished.json"


def evaluate_heads(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    recommender: TrainedRecommender,
    *,
    split: EvaluatedSplit,
    oracle: Scorer | None = None,
) -> dict[str, Any] | None:
    """Measures every head on lists of a split, before and after calibration.

    Args:
        config: Of the experiment.
        dataset: The prepared data.
        recommender: The trained models.
        split: Which events are asked for.
        oracle: Knows the true probability of the next target event, if there is one.

    Returns:
        What `metrics.json` holds as `heads`, see `docs/calibration.md`; None without a
        ranking model.
    """
    model, settings = recommender.ranking, config.ranking
    if model is None or settings is None:
        return None
    schema = config.experiment_schema
    lists = find_evaluation_lists(
        config,
        dataset,
        recommender,
        split=SPLIT_INDEX[split],
        max_lists=config.evaluation.max_validation_queries,
    )
    types = schema.head_event_types or schema.target_event_types
    found = _populations(config, lists)
    samples: dict[Population, _Sample] = {
        name: _Sample(config, settings, dataset, model, lists=lists[name])
        for name in set(found.values())
        if name in lists
    }
    truth_of = samples.get("retrieved") if len(schema.target_event_types) == 1 else None
    if oracle is not None and truth_of is not None:
        truth_of.add_truth(oracle)
    heads = {}
    for h, head in enumerate(types):
        is_target = head in schema.target_event_types
        sample = samples.get(found[head])
        outcomes = sample.outcomes(h, knows_truth=is_target) if sample else None
        measured = _measure_head(config, head, outcomes)
        heads[head] = {"population": found[head], **measured}
    dwell = {}
    if model.has_dwell:
        last = SPLIT_INDEX[split]
        reports = {name: s.dwell(last_split=last) for name, s in samples.items()}
        dwell = {name: report for name, report in reports.items() if report}
    return {
        "split": split,
        "num_bins": NUM_BINS,
        "num_bootstrap": config.evaluation.num_bootstrap,
        "seed": config.seed,
        "confidence": CONFIDENCE,
        "num_retrieved": recommender.num_candidates,
        "heads": heads,
        **({"dwell": dwell} if dwell else {}),
    }


def _measure_head(
    config: ExperimentConfig, head: str, outcomes: HeadOutcomes | None
) -> dict[str, Any]:
    calibration = _read_finished(config).get("calibration", {})
    kind = calibration.get(head, {}).get("kind", "none")
    if outcomes is None or not len(outcomes.labels):  # Nothing was shown, say.
        return {"calibrator": kind}
    num_bootstrap = config.evaluation.num_bootstrap
    report = head_report(outcomes, num_bootstrap=num_bootstrap, seed=config.seed)
    return {"calibrator": kind, **report}


class _Sample:
    """Lists of one population with what the model says of them."""

    def __init__(
        self,
        config: ExperimentConfig,
        settings: RankingConfig,
        dataset: PreparedDataset,
        model: RankingModel,
        *,
        lists: RankingLists,
    ) -> None:
        self.config, self.model = config, model
        self.sequences = dataset.load_sequences()
        self.lists = lists
        self.labels = outcome_labels(model, lists)
        self.cells = real_cells(lists)
        self.counted = counted_cells(lists, position_bias=settings.position_bias)
        self.predictions = predict(
            model,
            self.sequences,
            lists,
            max_history_length=config.max_history_length,
        )
        self.slices = list_slices(dataset, self.sequences, lists)
        self.truth: np.ndarray | None = None

    def add_truth(self, oracle: Scorer) -> None:
        """Asks for the true probabilities of the candidates."""
        columns = np.maximum(self.lists.candidate_index - NUM_SPECIAL_INDICES, 0)
        truth = np.empty(columns.shape)
        for start in range(0, len(columns), _ORACLE_BATCH):
            rows = np.arange(start, min(start + _ORACLE_BATCH, len(columns)))
            # The oracle reads user and time, which lists have as queries do.
            scores = oracle.score(self.sequences, self.lists, rows)  # pyright: ignore
            truth[rows] = np.take_along_axis(scores, columns[rows], axis=1)
        self.truth = truth

    def outcomes(self, head: int, *, knows_truth: bool) -> HeadOutcomes:
        """Returns the candidates whose outcome of a head is known."""
        places = head_cells(self.labels, self.cells, head)
        raw, calibrated = self.predictions.raw, self.predictions.calibrated
        truth = self.truth if knows_truth else None
        return HeadOutcomes(
            self.labels[..., head].ravel()[places] > 0,
            raw[..., head].ravel()[places],
            calibrated[..., head].ravel()[places],
            places // self.cells.shape[1],
            self.lists.user_rows,
            self.slices,
            None if truth is None else truth.ravel()[places],
            self.counted.ravel()[places],
        )

    def dwell(self, *, last_split: int) -> dict[str, Any] | None:
        """Measures the predicted dwell; None where nobody stayed."""
        lists = add_dwell(self.lists, self.sequences, last_split=last_split)
        seconds = lists.dwell_seconds
        if seconds is None or not (seconds > 0.0).any():
            return None
        rows, places = np.nonzero(seconds > 0.0)
        return dwell_report(
            np.log1p(seconds[rows, places]),
            self.predictions.log_dwell[rows, places],
            self.lists.user_rows[rows],
            constant=float(self.model.mean_log_dwell),
            num_bootstrap=self.config.evaluation.num_bootstrap,
            seed=self.config.seed,
        )


def list_slices(
    dataset: PreparedDataset, sequences: EventSequences, lists: RankingLists
) -> dict[str, dict[str, np.ndarray]]:
    """Parts lists by whether there is a history, and by their context.

    Returns:
        Kind, slice, bool `[num_lists]`. Of a context attribute the values of most
        lists; none where the context is not known.
    """
    is_new = lists.history_ends == sequences.offsets[lists.user_rows]
    slices = {SHOPPER: {"known": ~is_new, "new": is_new}}
    for attribute in dataset.schema.context:
        if attribute.kind != AttributeKind.CATEGORICAL:
            continue
        values = lists.context[attribute.name]
        tokens = dataset.attribute_vocabularies[attribute.name].tokens
        slices[attribute.name] = _by_value(values, tokens)
    return {kind: parts for kind, parts in slices.items() if parts}


def _by_value(values: np.ndarray, tokens: Sequence[str]) -> dict[str, np.ndarray]:
    counts = np.bincount(values[values >= NUM_SPECIAL_INDICES])
    largest = np.argsort(-counts, kind="stable")[:_MAX_SLICES]
    return {
        str(tokens[index - NUM_SPECIAL_INDICES]): values == index
        for index in largest
        if counts[index]
    }


def _populations(config: ExperimentConfig, lists: Lists) -> dict[str, Population]:
    """Returns per head the lists that it was trained for.

    Runs of earlier versions do not tell: then the lists of the split do.
    """
    shown = [lists["shown"]] if "shown" in lists else []
    return find_populations(config, shown) | _read_finished(config).get(
        "populations", {}
    )


def _read_finished(config: ExperimentConfig) -> dict[str, Any]:
    """Reads what training says of the ranking model; empty where it says nothing."""
    path = config.run_path / _FINISHED
    return json.loads(path.read_text()) if path.is_file() else {}
