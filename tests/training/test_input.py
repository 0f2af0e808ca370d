import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.synthetic import make_sequences, write_prepared
from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.data.batches import BatchArrays
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.models.retrieval_batch import RetrievalBatch
from tfrec.training.input import (
    are_baskets_unordered,
    batch_spec,
    distributed_batches,
    endless_batches,
    make_builder,
)

NUM_USERS, LENGTH = 60, 10
NUM_TARGETS = NUM_USERS * (LENGTH - 2)  # The last two are validation and test.


class TwoWorkers(tf.distribute.MirroredStrategy):
    """Gives what each of two workers would read, without starting them."""

    num_replicas_in_sync = 2

    def __init__(self) -> None:
        super().__init__(["/cpu:0"])

    def distribute_datasets_from_function(self, dataset_fn: Any, options: Any = None):
        return [dataset_fn(tf.distribute.InputContext(2, i, 2)) for i in range(2)]


def configure(path: Path, *, min_steps: int = 8, **training: Any) -> ExperimentConfig:
    stage = {"global_batch_size": 100, "min_steps_per_epoch": min_steps}
    return make_config(path, training={"retrieval": stage, **training})


def batches_of(
    config: ExperimentConfig, dataset: PreparedDataset, strategy: tf.distribute.Strategy
) -> tuple[Any, int]:
    return distributed_batches(
        config, dataset, strategy, splits=("train",), first_epoch=lambda: 0
    )


def numbers(batch: RetrievalBatch | BatchArrays) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in tf.nest.flatten(tuple(batch))]


def assert_equal(first: RetrievalBatch, second: BatchArrays) -> None:
    for left, right in zip(numbers(first), numbers(second), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_steps_of_an_epoch_ask_for_every_target_once(batching, cycle_dataset, tmp_path):
    config = configure(tmp_path, batching=batching)
    default = tf.distribute.get_strategy()
    batches, steps = batches_of(config, cycle_dataset, default)
    assert steps >= 8
    asked = [np.asarray(batch.target_items) for batch in batches.take(steps)]
    sequences = cycle_dataset.load_sequences()
    wanted = sequences.item_index[sequences.split == 0]
    assert len(wanted) == NUM_TARGETS
    np.testing.assert_array_equal(np.sort(np.concatenate(asked)), np.sort(wanted))


def test_epoch_is_that_of_the_model_when_the_first_batch_is_drawn(
    cycle_dataset, tmp_path
):
    sequences = cycle_dataset.load_sequences()
    config = configure(tmp_path)
    builder = make_builder(config, sequences, splits=("train",), num_replicas=1)
    done = tf.Variable(tf.constant(0, tf.int64))
    batches = endless_batches(builder, lambda: int(done.numpy()))
    done.assign(3)  # As when a continued run restores its weights.
    steps = builder.num_batches(3)
    read = list(batches.take(steps + 1))
    for found, wanted in zip(read, builder.epoch(3), strict=False):
        assert_equal(found, wanted)
    assert_equal(read[steps], next(iter(builder.epoch(4))))


def test_batches_hold_to_their_spec_also_with_context(tmp_path):
    context = {
        "device": np.arange(10, dtype=np.int32),
        "temperature": np.linspace(0, 1, 10, dtype=np.float32),
    }
    sequences = make_sequences([[0, 1, 2, 3, 4]] * 2, context=context)
    config = configure(tmp_path, min_steps=1)
    builder = make_builder(config, sequences, splits=("train",), num_replicas=1)
    (batch,) = endless_batches(builder, lambda: 0).take(1)
    tf.nest.map_structure(
        lambda value, spec: tf.debugging.Assert(spec.is_compatible_with(value), []),
        tuple(batch),
        tuple(batch_spec(sequences)),
    )
    expected = {2, 3, 4}  # Catalogue rows 0 to 2 of each user are training targets.
    assert set(np.asarray(batch.target_items).tolist()) == expected
    np.testing.assert_array_equal(
        np.sort(batch.target_context["device"]), [0, 1, 2, 5, 6, 7]
    )


@pytest.mark.parametrize("min_steps", [1, 8])
def test_workers_share_the_users_out_and_see_all_in_an_epoch(
    min_steps, cycle_dataset, tmp_path
):
    config = configure(tmp_path, min_steps=min_steps)
    pipelines, steps = batches_of(config, cycle_dataset, TwoWorkers())
    asked = [
        sum(len(batch.target_items) for batch in pipeline.take(steps))
        for pipeline in pipelines
    ]
    # Steps are whole: the end of an epoch is a batch off at most.
    assert asked == pytest.approx([NUM_TARGETS / 2] * 2, abs=100 / 2)


def test_workers_read_different_users(tmp_path):
    # User u only meets items of parity u.
    histories = [[u % 2 + 2 * (step % 4) for step in range(6)] for u in range(8)]
    dataset = write_prepared(tmp_path / "prepared", make_sequences(histories))
    pipelines, _ = batches_of(configure(tmp_path), dataset, TwoWorkers())
    parities = [
        {int(item) % 2 for batch in pipeline.take(4) for item in batch.target_items}
        for pipeline in pipelines
    ]
    assert parities == [{0}, {1}]


def test_replicas_share_the_global_batch(cycle_dataset, tmp_path):
    sequences: EventSequences = cycle_dataset.load_sequences()
    config = configure(tmp_path, min_steps=1)
    sizes = []
    for num_replicas in (1, 2):
        builder = make_builder(
            config, sequences, splits=("train",), num_replicas=num_replicas
        )
        first = itertools.islice(builder.epoch(0), 2)
        sizes.append(max(len(batch.target_items) for batch in first))
    assert sizes[0] <= 100
    assert sizes[1] == pytest.approx(sizes[0] / 2, rel=0.2)


@pytest.mark.parametrize(
    ("setting", "protocol", "basket", "expected"),
    [
        ("auto", "by_time", True, True),
        ("auto", "by_time", False, False),
        # Asks for the last event of the order of a file, whatever its times.
        ("auto", "leave_one_out", True, False),
        ("ordered", "by_time", True, False),
        ("unordered", "leave_one_out", False, True),
    ],
)
def test_baskets_are_unordered_where_a_request_comes_before_them(
    tmp_path, setting, protocol, basket, expected
):
    config = make_config(tmp_path)
    retrieval = config.retrieval.model_copy(update={"simultaneous_events": setting})
    split = config.data.split.model_copy(update={"protocol": protocol})
    data = config.data.model_copy(update={"split": split})
    config = config.model_copy(update={"retrieval": retrieval, "data": data})
    times = [[10, 10, 10, 10] if basket else [10, 20, 30, 40]]
    sequences = make_sequences([[0, 1, 2, 3]], timestamps=times, splits=[[0] * 4])
    assert are_baskets_unordered(config, sequences) is expected
