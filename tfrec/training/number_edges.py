"""Measures what the numbers of candidates look like, before ranking is trained."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tfrec.data.store import EventSequences
from tfrec.models.ranking_model import RankingBatch, RankingModel
from tfrec.training.ranking_batches import batch_spec, make_batch
from tfrec.training.ranking_lists import RankingLists

_MAX_CANDIDATES = 200_000  # Enough for quantiles; drawn by seed.
_BATCH_SIZE = 64


def measure_numbers(
    model: RankingModel,
    sequences: EventSequences,
    sources: Sequence[RankingLists],
    *,
    max_history_length: int,
    seed: int,
) -> np.ndarray:
    """Returns float32 `[num_candidates, num_numbers]` of lists drawn from each source.

    Args:
        model: Its frozen parts are set; nothing of it need be trained.
        sequences: All events.
        sources: Lists to learn from.
        max_history_length: Events that are read.
        seed: Of the draw.
    """

    @tf.function(input_signature=[batch_spec(sequences, sources[0])], autograph=False)
    def numbers_of(batch: RankingBatch) -> tf.Tensor:
        return model.numbers(batch.inputs)

    rng = np.random.default_rng([seed, 4])
    found = []
    for source in sources:
        width = source.candidate_index.shape[1]
        limit = max(_MAX_CANDIDATES // (len(sources) * width), 1)
        rows = rng.permutation(source.num_lists)[:limit]
        for start in range(0, len(rows), _BATCH_SIZE):
            lists = source.take(rows[start : start + _BATCH_SIZE])
            batch = make_batch(sequences, lists, max_history_length=max_history_length)
            real = lists.candidate_index > 0
            found.append(numbers_of(batch).numpy()[real])
    return np.concatenate(found)
