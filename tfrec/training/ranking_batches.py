"""Training batches of ranking as `tf.data`, also under a strategy."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfrec.data.histories import gather_requests
from tfrec.data.store import EventSequences
from tfrec.evaluation.model_scorers import request_spec
from tfrec.features.request import Leaf, request_of
from tfrec.models.ranking_model import RankingBatch, RankingInputs, RankingModel
from tfrec.training.input import PREFETCH
from tfrec.training.ranking_lists import RankingLists


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
        tf.TensorSpec([None, *lists.query_embeddings.shape[1:]], tf.float32),
        tf.TensorSpec(rows, tf.int32),
        tf.TensorSpec(rows, tf.float32),
    )
    labels = tf.TensorSpec([None, None, lists.labels.shape[2]], tf.int8)

    def optional(values: np.ndarray | None) -> Leaf:
        if values is None:
            return ()
        return tf.TensorSpec(rows, tf.as_dtype(values.dtype))

    return RankingBatch(
        inputs,
        labels,
        optional(lists.positions),
        optional(lists.propensities),
        optional(lists.dwell_seconds),
        () if lists.taught is None else tf.TensorSpec([None, labels.shape[2]], tf.bool),
    )


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
        request_of(arrays),
        lists.query_embeddings,
        lists.candidate_index,
        lists.retrieval_scores,
    )
    return RankingBatch(
        inputs,
        lists.labels,
        () if lists.positions is None else lists.positions,
        () if lists.propensities is None else lists.propensities,
        () if lists.dwell_seconds is None else lists.dwell_seconds,
        () if lists.taught is None else lists.taught,
    )
