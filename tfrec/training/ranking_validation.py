"""Validates a ranking model on lists as they are served."""

from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from tfrec.data.store import EventSequences
from tfrec.evaluation.metrics import metric_names, parse_metric, query_metrics
from tfrec.models.ranking_model import RankingBatch, RankingModel
from tfrec.training.ranking_batches import batch_spec, make_batch
from tfrec.training.ranking_lists import RankingLists

MISS = np.iinfo(np.int32).max  # The rank of a positive that is not in the list.


class RankingValidator:
    """Metrics of retrieved and then ranked lists, as served, on held-out users."""

    def __init__(
        self,
        sequences: EventSequences,
        lists: RankingLists,
        model: RankingModel,
        *,
        metric: str,
        max_history_length: int,
    ) -> None:
        self.sequences = sequences
        self.lists = lists
        self.k = parse_metric(metric)[1]
        self.max_history_length = max_history_length

        @tf.function(input_signature=[batch_spec(sequences, lists)], autograph=False)
        def score(batch: RankingBatch) -> tf.Tensor:
            return model.scores(model(batch.inputs, training=False))

        @tf.function(input_signature=[batch_spec(sequences, lists)], autograph=False)
        def score_calibrated(batch: RankingBatch) -> tf.Tensor:
            logits = model(batch.inputs, training=False)
            return model.scores(model.calibrated(logits, batch.inputs.request))

        self.score, self.score_calibrated = score, score_calibrated

    def __call__(self) -> Mapping[str, float]:
        """Returns the metrics of the model as it is now, before calibration."""
        return self._order_by(self.score)

    def calibrated_order(self) -> Mapping[str, float]:
        """Returns the metrics of the order by calibrated probabilities."""
        return self._order_by(self.score_calibrated)

    def _order_by(self, score: Callable[[RankingBatch], tf.Tensor]) -> dict[str, float]:
        scores = []
        for start in range(0, self.lists.num_lists, 64):
            rows = np.arange(start, min(start + 64, self.lists.num_lists))
            batch = make_batch(
                self.sequences,
                self.lists.take(rows),
                max_history_length=self.max_history_length,
            )
            scores.append(score(batch).numpy())
        return self._metrics(np.concatenate(scores))

    def retrieval_order(self) -> Mapping[str, float]:
        """Returns the metrics of the same lists in the order of retrieval."""
        return self._metrics(self.lists.retrieval_scores)

    def _metrics(self, scores: np.ndarray) -> dict[str, float]:
        query, place = np.nonzero(self.lists.relevant)
        own = scores[query, place][:, None]
        # Ties, and what is no number, count against the model.
        ranks = (~(scores[query] < own)).sum(axis=1)
        missing = self.lists.num_relevant - self.lists.relevant.sum(axis=1)
        lost = np.repeat(np.arange(len(missing)), missing)
        values = query_metrics(
            np.concatenate([ranks, np.full(len(lost), MISS)]),
            np.concatenate([query, lost]),
            ks=(self.k,),
            num_queries=self.lists.num_lists,
        )
        means = values.mean(axis=0).tolist()
        return dict(zip(metric_names((self.k,)), means, strict=True))
