"""Search: what is found for the texts that shoppers typed."""

from dataclasses import replace
from typing import Any

import numpy as np

from tfrec.config import ExperimentConfig
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.baselines.bm25 import Bm25
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
from tfrec.evaluation.protocols import (
    EvaluatedSplit,
    EvaluationQueries,
    Scorer,
    build_queries,
)
from tfrec.models.final_order import FinalOrder, build_final_order
from tfrec.models.recommender import TrainedRecommender
from tfrec.order_config import SEARCH

WITHOUT_HISTORY = "without history"


class _Renamed:
    """A scorer under another name, asked without what the shopper did before."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        self.scorer = scorer
        self.name = name

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[num_rows, num_items]` for empty histories."""
        starts = sequences.offsets[queries.user_rows].astype(np.int64)
        return self.scorer.score(sequences, replace(queries, history_ends=starts), rows)


def evaluate_search(
    config: ExperimentConfig,
    dataset: PreparedDataset,
    sequences: EventSequences,
    recommender: TrainedRecommender,
    *,
    split: EvaluatedSplit,
) -> dict[str, Any] | None:
    """Evaluates the answers to searches; None where there are none, or none is read.

    A query is each user's first target event of the split that a search led to;
    the item of that event is the positive, the full catalogue is ranked. Ranking and
    retrieval are asked with and without the shopper's history; where requests without
    a wish are not ordered by the preset `search`, ranking by that order stands beside
    them, and BM25.

    Returns:
        As `EvaluationResult.to_json`.
    """
    settings = config.evaluation
    schema = config.experiment_schema
    queries = build_queries(
        sequences, schema, split=split, targets="next", searched=True
    )
    if not queries.num_queries or recommender.text_reader is None:
        return None
    scorers = _model_scorers(config, dataset, recommender)
    scorers.append(Bm25().fit(sequences, dataset.items, schema, split=split))
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
    return result.to_json()


def _model_scorers(
    config: ExperimentConfig, dataset: PreparedDataset, recommender: TrainedRecommender
) -> list[Scorer]:
    """Returns the models, the reference first, and both without history."""
    retrieval: Scorer = RetrievalScorer(recommender, searches=True)
    asked, models = [retrieval], [retrieval]
    if recommender.ranking is not None:
        exclude_seen = config.evaluation.exclude_seen
        pipeline: Scorer = PipelineScorer(
            recommender, exclude_seen=exclude_seen, searches=True
        )
        models = [pipeline, retrieval]
        asked = [pipeline, retrieval]
        order = _search_order(config, dataset)
        if order is not None:
            by_order: Scorer = PipelineScorer(
                recommender, exclude_seen=exclude_seen, searches=True, final_order=order
            )
            asked = [pipeline, by_order, retrieval]
    alone = [_Renamed(m, f"{m.name}, {WITHOUT_HISTORY}") for m in models]
    return [*asked, *alone]


def _search_order(
    config: ExperimentConfig, dataset: PreparedDataset
) -> FinalOrder | None:
    """Returns the preset `search`; None where requests without a wish get it anyway."""
    if config.ranking is None or config.ranking.final_order.default == SEARCH:
        return None
    settings = config.ranking.final_order.model_copy(update={"default": SEARCH})
    ranking = config.ranking.model_copy(update={"final_order": settings})
    return build_final_order(config.model_copy(update={"ranking": ranking}), dataset)
