"""Small models and batches for the tests of models, features and batches."""

import numpy as np
import tensorflow as tf

from tfrec.config import RetrievalConfig
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.store import EventSequences
from tfrec.data.windows import find_targets
from tfrec.features.followers import count_followers
from tfrec.features.item_table import ItemTable
from tfrec.features.request import Request
from tfrec.features.tokens import Tokens
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.models.retrieval_model import RetrievalModel
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("event", "cart"), target_event_types=("event",))
NUM_ITEMS = 8


def plain_item_table(num_items: int = NUM_ITEMS) -> ItemTable:
    counts = np.concatenate([[0, 0], np.full(num_items, 5)]).astype(np.int64)
    return ItemTable(counts, {}, {}, {}, {})


def rich_item_table() -> ItemTable:
    """Six items in two categories with two levels, and a price; the last is cold."""
    category = np.array([[0, 0], [0, 0], *[[2, 3]] * 3, *[[2, 4]] * 2, [0, 0]])
    price = np.array([0, 0, -1, 0, 1, -1, 1, 0], np.float32)
    known = np.array([0, 0, 1, 1, 1, 1, 1, 0], bool)
    counts = np.array([0, 0, 9, 7, 5, 3, 1, 0], np.int64)
    return ItemTable(
        counts,
        {"category": category.astype(np.int32)},
        {"category": 5},
        {"price": price},
        {"price": known},
    )


def toy_model(
    *, seed: int = 0, repeat: bool = True, **settings: object
) -> RetrievalModel:
    """A model whose weights are all away from their start values."""
    tf.keras.utils.set_random_seed(seed)
    defaults = {
        "embedding_dim": 8,
        "num_heads": 2,
        "feedforward_dim": 8,
        "dropout": 0.0,
        "max_history_length": 6,
    }
    config = RetrievalConfig.model_validate({**defaults, **settings})
    model = RetrievalModel(
        config, SCHEMA, plain_item_table(), has_repeat_bias=repeat, context_sizes={}
    )
    model(one_batch(toy_sequences(), max_length=4))
    for i, weight in enumerate(model.trainable_variables):
        noise = tf.random.stateless_normal(tf.shape(weight), (seed, i), stddev=0.3)
        weight.assign_add(noise)
    return model


def count_toy_transitions(model: RetrievalModel) -> RetrievalModel:
    """Without counts the weights of transitions have no gradient."""
    if model.transition_mixture is not None:
        counted = count_followers(toy_sequences(), SCHEMA, model.num_items)
        model.transition_mixture.set_followers(counted)
    return model


def toy_sequences() -> EventSequences:
    """Three users of different lengths with repeats, times and dwell."""
    from tests.synthetic import make_sequences

    histories = [[0, 1, 0, 2, 3, 0], [4, 5, 4], [6, 1, 1]]
    sequences = make_sequences(
        histories,
        timestamps=[[10, 20, 500, 510, 90_000, 90_030], [5, 6, 70], [7, 8, 4_000]],
        splits=[[0] * 6, [0] * 3, [0] * 3],
    )
    sequences.dwell_seconds[:] = np.arange(12) % 4
    return sequences


def builder(
    sequences: EventSequences,
    *,
    max_length: int,
    batching: str = "bucketed",
    **more: int,
) -> BatchBuilder:
    return BatchBuilder(
        sequences,
        find_targets(sequences, SCHEMA),
        max_length=max_length,
        batch_tokens=more.get("batch_tokens", 1_000),
        batching="packed" if batching == "packed" else "bucketed",
        seed=more.get("seed", 0),
    )


def to_tensors(batch: BatchArrays) -> RetrievalBatch:
    tensors = tf.nest.map_structure(tf.convert_to_tensor, tuple(batch))
    return RetrievalBatch(Tokens(*tensors[0]), *tensors[1:])


def one_batch(
    sequences: EventSequences, *, max_length: int, batching: str = "bucketed"
) -> RetrievalBatch:
    """All events in one batch."""
    (batch,) = builder(sequences, max_length=max_length, batching=batching).epoch(0)
    return to_tensors(batch)


def request(
    items: list[list[int]],
    *,
    timestamps: list[list[int]] | None = None,
    now: list[int] | None = None,
    dwell: list[list[float]] | None = None,
) -> Request:
    """A batch of requests from item indices; 0 is padding."""
    index = tf.constant(items, tf.int32)
    times = tf.constant(timestamps or [[0] * len(row) for row in items], tf.int64)
    return Request(
        index,
        tf.where(index > 0, 2, 0),
        times,
        tf.constant(dwell or [[0.0] * len(row) for row in items]),
        tf.constant(now or [0] * len(items), tf.int64),
        {},
    )
