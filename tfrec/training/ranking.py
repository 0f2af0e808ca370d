"""Builds and trains the ranking model on mined candidates and impressions."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.config import ExperimentConfig, RankingConfig
from tfrec.data.histories import gather_requests
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.metrics import metric_names, parse_metric, query_metrics
from tfrec.evaluation.model_scorers import request_spec
from tfrec.features.item_statistics import measure_items
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request
from tfrec.models.ranking_model import RankingBatch, RankingInputs, RankingModel
from tfrec.models.recommender import TrainedRecommender
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.training.fitting import fit, make_optimizer
from tfrec.training.input import PREFETCH
from tfrec.training.mining import RankingLists, impression_lists, mine_candidates
from tfrec.training.retrieval import context_sizes

MISS = np.iinfo(np.int32).max  # The rank of a positive that is not in the list.


def build_ranking_model(
    config: ExperimentConfig,
    settings: RankingConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
) -> RankingModel:
    """Builds the model with all its variables."""
    dim = config.retrieval.embedding_dim
    model = RankingModel(
        settings,
        config.experiment_schema,
        item_table,
        embedding_dim=dim,
        context_sizes=context_sizes(dataset),
    )
    index, one = tf.ones([1, 1], tf.int32), tf.ones([1], tf.int64)
    context = {
        name: tf.ones([1], tf.int32 if size else tf.float32)
        for name, size in context_sizes(dataset).items()
    }
    request = Request(index, index, one[None], tf.ones([1, 1]), one, context)
    model(RankingInputs(request, tf.zeros([1, dim]), index, tf.zeros([1, 1])))
    return model


def train_ranking(
    config: ExperimentConfig,
    settings: RankingConfig,
    dataset: PreparedDataset,
    item_table: ItemTable,
    retrieval: RetrievalModel,
    *,
    path: Path,
    strategy: tf.distribute.Strategy,
) -> tuple[RankingModel, dict[str, Any]]:
    """Trains on lists of some validation users; others pick the best epoch.

    Returns:
        The model with the weights of the best epoch, and its history, to which
        `retrieval_order` adds what the order of retrieval reaches on the same
        held-out lists.
    """
    sequences = dataset.load_sequences()
    recommender = TrainedRecommender(
        retrieval, None, num_candidates=settings.num_candidates
    )
    mined = mine_candidates(config, sequences, recommender)
    rng = np.random.default_rng([config.seed, 1])
    held_out = rng.random(sequences.num_users) < settings.holdout_share
    is_held_out = held_out[mined.user_rows]
    holdout = mined.take(np.flatnonzero(is_held_out))
    sources = [with_positives(mined.take(np.flatnonzero(~is_held_out)))]
    impressions = dataset.load_impressions()
    if impressions is not None:
        shown = impression_lists(config, sequences, impressions, recommender)
        sources.append(shown.take(np.flatnonzero(~held_out[shown.user_rows])))
    _check_lists(sources[0], holdout)
    stage = config.training.ranking
    with strategy.scope():
        model = build_ranking_model(config, settings, dataset, item_table)
        model.compile(optimizer=make_optimizer(stage.optimizer))
    model.set_frozen(
        retrieval.item_vectors(),
        measure_items(sequences, config.experiment_schema, item_table.num_items),
    )
    num_candidates = sum(source.candidate_index.size for source in sources)
    batch_size = min(
        stage.global_batch_size, num_candidates // stage.min_steps_per_epoch
    )
    batches = RankingBatches(
        sequences,
        sources,
        max_history_length=config.retrieval.max_history_length,
        batch_candidates=batch_size // strategy.num_replicas_in_sync,
        seed=config.seed,
    )
    validator = RankingValidator(
        sequences,
        holdout,
        model,
        metric=config.evaluation.selection_metric,
        max_history_length=config.retrieval.max_history_length,
    )
    history: dict[str, Any] = fit(
        model,
        batches.distributed(strategy, model),
        name="ranking",
        path=path,
        stage=stage,
        steps_per_epoch=max(batches.num_batches // strategy.num_replicas_in_sync, 1),
        metric=config.evaluation.selection_metric,
        validate=validator,
    )
    return model, {**history, "retrieval_order": validator.retrieval_order()}


def with_positives(lists: RankingLists) -> RankingLists:
    """Keeps the lists that have a positive: without one there is no order to learn.

    Lists whose positive was not retrieved stay out: at serving the model never
    sees such a candidate either.
    """
    return lists.take(np.flatnonzero(lists.relevant.any(axis=1)))


def _check_lists(train: RankingLists, holdout: RankingLists) -> None:
    if not train.num_lists or not holdout.num_lists:
        raise ValueError(
            "There are too few validation targets to train ranking: "
            f"{train.num_lists} lists with a positive to learn from, "
            f"{holdout.num_lists} held out. Set `ranking: null`, lengthen "
            "`data.split.validation_days`, or raise `ranking.num_candidates`."
        )


class RankingBatches:
    """Gives batches of lists, shuffled by seed and epoch.

    Args:
        sequences: The events of the histories.
        sources: Lists of different origin; a batch holds lists of one of them.
        max_history_length: Events that are read.
        batch_candidates: Candidates of a batch, about.
        seed: Of the order.
    """

    def __init__(
        self,
        sequences: EventSequences,
        sources: list[RankingLists],
        *,
        max_history_length: int,
        batch_candidates: int,
        seed: int,
    ) -> None:
        self.sequences = sequences
        self.sources = [s for s in sources if s.num_lists]
        self.max_history_length = max_history_length
        self.sizes = [
            max(batch_candidates // s.candidate_index.shape[1], 1) for s in self.sources
        ]
        self.seed = seed

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        pairs = zip(self.sources, self.sizes, strict=True)
        return sum(-(-s.num_lists // size) for s, size in pairs)

    def epoch(self, number: int) -> Iterator[RankingBatch]:
        """Yields the batches of epoch `number`, counted from 0."""
        rng = np.random.default_rng([self.seed, number])
        parts = []
        for source, size in zip(self.sources, self.sizes, strict=True):
            order = rng.permutation(source.num_lists)
            starts = range(0, len(order), size)
            parts += [(source, order[start : start + size]) for start in starts]
        for i in rng.permutation(len(parts)):
            source, rows = parts[i]
            yield make_batch(
                self.sequences,
                source.take(rows),
                max_history_length=self.max_history_length,
            )

    def distributed(self, strategy: tf.distribute.Strategy, model: RankingModel) -> Any:
        """Returns all epochs behind one another, for the replicas of a strategy."""
        spec = batch_spec(self.sequences, self.sources[0])

        def generate() -> Iterator[RankingBatch]:
            epoch = int(model.epochs_done.numpy())
            while True:
                yield from self.epoch(epoch)
                epoch += 1

        def dataset(context: tf.distribute.InputContext | None = None) -> Any:
            batches = tf.data.Dataset.from_generator(generate, output_signature=spec)
            if context is not None and context.num_input_pipelines > 1:
                batches = batches.shard(
                    context.num_input_pipelines, context.input_pipeline_id
                )
            return batches.prefetch(PREFETCH)

        if strategy.num_replicas_in_sync > 1:
            return strategy.distribute_datasets_from_function(dataset)
        return dataset()


def batch_spec(sequences: EventSequences, lists: RankingLists) -> RankingBatch:
    """Returns the `tf.TensorSpec`s of a batch."""
    rows = [None, None]
    inputs = RankingInputs(
        request_spec(sequences.context),
        tf.TensorSpec([None, lists.query_embeddings.shape[1]], tf.float32),
        tf.TensorSpec(rows, tf.int32),
        tf.TensorSpec(rows, tf.float32),
    )
    labels = tf.TensorSpec([None, None, lists.labels.shape[2]], tf.int8)
    return RankingBatch(inputs, labels)


def make_batch(
    sequences: EventSequences, lists: RankingLists, *, max_history_length: int
) -> RankingBatch:
    """Lays out lists with their histories."""
    arrays = gather_requests(
        sequences,
        lists.user_rows,
        lists.history_ends,
        request_timestamps=lists.request_timestamps,
        context=lists.context,
        max_history_length=max_history_length,
    )
    inputs = RankingInputs(
        Request(*arrays),
        lists.query_embeddings,
        lists.candidate_index,
        lists.retrieval_scores,
    )
    return RankingBatch(inputs, lists.labels)


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

        @tf.function(input_signature=[batch_spec(sequences, lists)])
        def score(batch: RankingBatch) -> tf.Tensor:
            return model.scores(model(batch.inputs, training=False))

        self.score = score

    def __call__(self) -> Mapping[str, float]:
        """Returns the metrics of the model as it is now."""
        scores = []
        for start in range(0, self.lists.num_lists, 64):
            rows = np.arange(start, min(start + 64, self.lists.num_lists))
            batch = make_batch(
                self.sequences,
                self.lists.take(rows),
                max_history_length=self.max_history_length,
            )
            scores.append(self.score(batch).numpy())
        return self._metrics(np.concatenate(scores))

    def retrieval_order(self) -> Mapping[str, float]:
        """Returns the metrics of the same lists in the order of retrieval."""
        return self._metrics(self.lists.retrieval_scores)

    def _metrics(self, scores: np.ndarray) -> dict[str, float]:
        query, place = np.nonzero(self.lists.relevant)
        own = scores[query, place][:, None]
        ranks = (scores[query] >= own).sum(axis=1)  # Ties against the model.
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
