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
from tfrec.models.recommender import TrainedRecommender

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
    """Evaluates the answers to searches; None where the split has no search.

    A query is each user's first target event of the split that a search led to;
    the item of that event is the positive, the full catalogue is ranked. The
    model is asked with and without the shopper's history, and beside it BM25.

    Returns:
        As `EvaluationResult.to_json`.
    """
    settings = config.evaluation
    schema = config.experiment_schema
    queries = build_queries(
        sequences, schema, split=split, targets="next", searched=True
    )
    if not queries.num_queries or recommender.text_encoder is None:
        return None
    model: Scorer = RetrievalScorer(recommender, searches=True)
    scorers: list[Scorer] = [model]
    if recommender.ranking is not None:
        pipeline = PipelineScorer(
            recommender, exclude_seen=settings.exclude_seen, searches=True
        )
        scorers = [pipeline, model]
    first = scorers[0]
    scorers.append(_Renamed(first, f"{first.name}, {WITHOUT_HISTORY}"))
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
