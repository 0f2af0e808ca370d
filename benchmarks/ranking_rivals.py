"""Rivals of the ranking model: LambdaMART and logistic regression on its numbers."""

import importlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.ranking_rows import LAMBDAMART
from tfrec.data.store import EventSequences
from tfrec.models.ranking_features import cross_features
from tfrec.models.ranking_model import RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.recommender_interface import RankedCandidates
from tfrec.schema import NUM_SPECIAL_INDICES
from tfrec.training.ranking_batches import batch_spec, make_batch
from tfrec.training.ranking_lists import RankingLists

MAX_CANDIDATES = 3_000_000  # Rows that rivals learn from; bounds their memory.
_LEAVES = (7, 15, 31, 63)  # Of a tree; held-out users choose.
_MAX_TREES = 1_000
_PATIENCE = 50  # Trees without a better NDCG on held-out users.
_MIN_ROWS_FOR_THREADS = 100_000  # Below, threads wait longer than they work.
_BATCH_SIZE = 256

Predict = Callable[[np.ndarray], np.ndarray]


class Examples(NamedTuple):
    """Candidates of many lists, one behind the other.

    Attributes:
        features: float32 `[num_rows, num_features]`.
        relevant: bool `[num_rows]`.
        sizes: int64 `[num_lists]`, candidates of each list.
    """

    features: np.ndarray
    relevant: np.ndarray
    sizes: np.ndarray


class HandMadeFeatures(tf.Module):
    """What rivals read: the numbers of the ranking model, and meetings.

        [numbers, times met, bucket of the time since the last meeting]

    `numbers` are exactly those that the model's wide part and fusion read. How often
    and when a candidate was met the model embeds, so that rivals get it, too.

    Args:
        model: A ranking model whose frozen parts are set; nothing of it need be
            trained.
    """

    def __init__(self, model: RankingModel) -> None:
        super().__init__()
        self.model = model

    def __call__(self, inputs: RankingInputs) -> tf.Tensor:
        """Returns float32 `[batch_size, num_candidates, num_features]`."""
        inputs = self.model.of_items(inputs)
        numbers = self.model.numbers(inputs)
        crossed = cross_features(
            inputs.request,
            inputs.candidate_index,
            self.model.item_table,
            num_event_types=self.model.fields.num_event_types,
        )
        met = tf.stack([crossed.times_met, crossed.last_met_bucket], axis=-1)
        return tf.concat([numbers, tf.cast(met, tf.float32)], axis=-1)


def make_examples(
    features: HandMadeFeatures,
    sequences: EventSequences,
    lists: RankingLists,
    *,
    max_history_length: int,
    seed: int,
) -> Examples:
    """Reads the features of lists; of too many a part, drawn by seed."""
    largest = max(MAX_CANDIDATES // lists.candidate_index.shape[1], 1)
    if lists.num_lists > largest:
        order = np.random.default_rng([seed, 3]).permutation(lists.num_lists)
        lists = lists.take(np.sort(order[:largest]))
    run = tf.function(
        lambda batch: features(batch.inputs),
        input_signature=[batch_spec(sequences, lists)],
    )
    real = lists.candidate_index >= NUM_SPECIAL_INDICES

    def parts() -> Iterator[np.ndarray]:
        for start in range(0, lists.num_lists, _BATCH_SIZE):
            rows = np.arange(start, min(start + _BATCH_SIZE, lists.num_lists))
            batch = make_batch(
                sequences, lists.take(rows), max_history_length=max_history_length
            )
            yield run(batch).numpy()[real[rows]]

    return Examples(np.concatenate(list(parts())), lists.relevant[real], real.sum(1))


def fit_rival(
    name: str, train: Examples, holdout: Examples, *, k: int, seed: int
) -> tuple[Predict, dict[str, Any]]:
    """Fits a rival; returns how it scores features, and what was chosen."""
    if name == LAMBDAMART:
        return fit_lambdamart(train, holdout, k=k, seed=seed)
    return fit_logistic(train)


def fit_lambdamart(
    train: Examples, holdout: Examples, *, k: int, seed: int
) -> tuple[Predict, dict[str, Any]]:
    """Fits LambdaMART; held-out users choose the number and the size of its trees.

    References:
        - Burges, "From RankNet to LambdaRank to LambdaMART: an overview", Microsoft
          Research MSR-TR-2010-82, 2010.
        - Ke et al., "LightGBM: a highly efficient gradient boosting decision tree",
          NIPS 2017.
    """
    # By name: type checkers need not have the extra installed.
    lightgbm: Any = importlib.import_module("lightgbm")
    threads = None if len(train.features) >= _MIN_ROWS_FOR_THREADS else 1
    best: Any = None
    chosen: dict[str, Any] = {}
    for num_leaves in _LEAVES:
        ranker = lightgbm.LGBMRanker(
            objective="lambdarank",
            n_estimators=_MAX_TREES,
            learning_rate=0.05,
            num_leaves=num_leaves,
            random_state=seed,
            deterministic=True,
            force_row_wise=True,
            n_jobs=threads,
            verbose=-1,
        )
        ranker.fit(
            train.features,
            train.relevant.astype(np.int32),
            group=train.sizes,
            eval_X=(holdout.features,),
            eval_y=(holdout.relevant.astype(np.int32),),
            eval_group=[holdout.sizes],
            eval_at=[k],
            callbacks=[lightgbm.early_stopping(_PATIENCE, verbose=False)],
        )
        score = float(ranker.best_score_["valid_0"][f"ndcg@{k}"])
        if best is None or score > chosen["holdout_ndcg"]:
            best = ranker
            chosen = {
                "holdout_ndcg": score,
                "num_leaves": num_leaves,
                "num_trees": int(ranker.best_iteration_),
            }
    return lambda rows: np.asarray(best.predict(rows), np.float32), chosen


def fit_logistic(train: Examples) -> tuple[Predict, dict[str, Any]]:
    """Fits logistic regression, candidate by candidate, on standardised features."""
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1_000))
    model.fit(train.features, train.relevant)
    return lambda rows: np.asarray(model.decision_function(rows), np.float32), {}


class RivalRecommender(TrainedRecommender):
    """Retrieves as our model does and ranks by a rival; in this process only.

    Args:
        base: Whose retrieval model finds the candidates.
        features: What the rival reads; its model may hold newer item vectors than
            those that the rival was fitted with.
        predict: Scores float32 `[num_rows, num_features]`.
    """

    def __init__(
        self, base: TrainedRecommender, features: HandMadeFeatures, predict: Predict
    ) -> None:
        super().__init__(
            base.retrieval,
            features.model,
            num_candidates=features.model.settings.num_candidates,
            text_reader=base.text_reader,
        )
        self.features = features
        self.predict = predict

    def rank(
        self,
        request: Any,
        candidate_index: tf.Tensor,
        retrieval_scores: tf.Tensor,
        *,
        encoded: Any = None,
    ) -> RankedCandidates:
        """Ranks candidates, see `Recommender`; the rival has no heads."""
        known = candidate_index >= NUM_SPECIAL_INDICES
        finite = tf.where(known, retrieval_scores, 0.0)
        encoded = self.encode(request) if encoded is None else encoded
        inputs = RankingInputs(request, encoded.embeddings, candidate_index, finite)
        features = self.features(inputs)

        def predict(values: np.ndarray) -> np.ndarray:
            rows = values.reshape(-1, values.shape[-1])
            return self.predict(rows).reshape(values.shape[:-1])

        scores = tf.numpy_function(predict, [features], tf.float32)
        scores = tf.ensure_shape(scores, candidate_index.shape)
        return RankedCandidates(tf.where(known, scores, -np.inf), {})
