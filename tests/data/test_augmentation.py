"""Crop, mask and shuffling among ties: seeded, in training batches alone."""

from typing import Any

import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.augmentation_config import AugmentationConfig
from tfrec.data.augmentation import crop_windows, reorder, shuffle_ties
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.cloze import ClozeBatchBuilder
from tfrec.data.store import EventSequences
from tfrec.data.windows import Targets, Windows, find_targets
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("event",), target_event_types=("event",))
NUM_USERS, LENGTH = 30, 10


def distinct_sequences() -> EventSequences:
    items = np.arange(NUM_USERS * LENGTH).reshape(NUM_USERS, LENGTH)
    sequences = make_sequences(
        list(items), timestamps=list(1_000 + items), splits=[[0] * LENGTH] * NUM_USERS
    )
    sequences.dwell_seconds[:] = 1 + items.ravel()
    return sequences


def make_builder(
    sequences: EventSequences, *, unordered: bool = False, **augmentation: Any
) -> BatchBuilder:
    return BatchBuilder(
        sequences,
        find_targets(sequences, SCHEMA, simultaneous_unordered=unordered),
        max_length=LENGTH,
        batch_tokens=5 * LENGTH,
        batching="bucketed",
        seed=3,
        augmentation=AugmentationConfig(**augmentation),
    )


def flat(batch: BatchArrays) -> np.ndarray:
    tokens = np.concatenate([np.asarray(v).ravel() for v in batch.tokens])
    return np.concatenate([tokens, batch.target_tokens, batch.target_items])


def epochs(builder: BatchBuilder, numbers: range) -> np.ndarray:
    return np.concatenate([flat(b) for n in numbers for b in builder.epoch(n)])


def test_nothing_is_augmented_by_default():
    sequences = distinct_sequences()
    builder = make_builder(sequences)
    plain = BatchBuilder(
        sequences,
        builder.targets,
        max_length=LENGTH,
        batch_tokens=5 * LENGTH,
        batching="bucketed",
        seed=3,
    )
    np.testing.assert_array_equal(epochs(builder, range(2)), epochs(plain, range(2)))


@pytest.mark.parametrize(
    "augmentation",
    [{"crop_share": 0.8}, {"mask_share": 0.3}, {"shuffle_ties": True}],
    ids=lambda value: next(iter(value)),
)
def test_the_same_epoch_is_the_same_again_and_another_differs(augmentation):
    times = [np.arange(LENGTH) // 3 + 1] * NUM_USERS
    sequences = distinct_sequences()
    sequences.timestamps[:] = np.concatenate(times)
    builder = make_builder(sequences, **augmentation)
    first = epochs(builder, range(1))
    np.testing.assert_array_equal(first, epochs(builder, range(1)))
    assert len(list(builder.epoch(1))) == builder.num_batches(1)
    assert not np.array_equal(first, epochs(builder, range(1, 2)))
    assert not np.array_equal(first, epochs(make_builder(sequences), range(1)))


def test_crops_are_contiguous_parts_of_the_least_length_that_ask_for_something():
    sequences = distinct_sequences()
    targets = find_targets(sequences, SCHEMA)
    whole = Windows(
        sequences.offsets[:-1], sequences.offsets[1:], np.ones(NUM_USERS, bool)
    )
    lengths, starts = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        cropped = crop_windows(whole, targets, share=1.0, min_length=0.4, rng=rng)
        assert (cropped.starts >= whole.starts).all()
        assert (cropped.stops <= whole.stops).all()
        np.testing.assert_array_equal(cropped.opens, cropped.starts == whole.starts)
        lengths += cropped.lengths.tolist()
        starts += (cropped.starts - whole.starts).tolist()
    # ceil(10 u), u in [.4, 1]: 5 to 10 alike.
    assert set(lengths) == {5, 6, 7, 8, 9, 10}
    assert np.mean(lengths) == pytest.approx(7.5, abs=0.3)
    assert set(starts) == {0, 1, 2, 3, 4, 5}


def test_the_share_of_cropped_windows_is_as_configured():
    sequences = distinct_sequences()
    targets = find_targets(sequences, SCHEMA)
    whole = Windows(
        sequences.offsets[:-1], sequences.offsets[1:], np.ones(NUM_USERS, bool)
    )
    rng = np.random.default_rng(0)
    shares = [
        (
            crop_windows(whole, targets, share=0.5, min_length=0.01, rng=rng).lengths
            < LENGTH
        ).mean()
        for _ in range(40)
    ]
    # A tenth of the crops keep all; single events that ask for nothing stay whole.
    assert np.mean(shares) == pytest.approx(0.5 * 0.9, abs=0.07)


def test_a_crop_that_would_ask_for_nothing_leaves_the_window_whole():
    # One target, the third of four events; baskets {0}, {1, 2}, {3}.
    weights = np.array([0, 0, 1, 0], np.float32)
    targets = Targets(weights, np.array([0, 0, 1, 0], np.int32))
    whole = Windows(np.array([0]), np.array([4]), np.array([True]))
    found = set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        crop = crop_windows(whole, targets, share=1.0, min_length=0.01, rng=rng)
        found.add((int(crop.starts[0]), int(crop.stops[0])))
    # From 1 on the basket of the target is cut through: its query is outside.
    assert found == {(0, 3), (0, 4)}


@pytest.mark.parametrize("unordered", [False, True])
def test_cropped_batches_ask_after_what_came_before_alone(unordered):
    sequences = distinct_sequences()
    sequences.timestamps[:] = 1 + np.arange(NUM_USERS * LENGTH) // 2
    builder = make_builder(sequences, unordered=unordered, crop_share=1.0)
    asked = 0
    for batch in builder.epoch(0):
        width = batch.tokens.item_index.shape[1]
        for cell, item in zip(batch.target_tokens, batch.target_items, strict=True):
            row, column = divmod(int(cell), width)
            history = batch.tokens.item_index[row, 1 : column + 1]
            event = int(item) - 2
            basket = event % 2 if unordered else 0
            expected = np.arange(event - basket - len(history), event - basket) + 2
            np.testing.assert_array_equal(history, expected)
            assert len(history) or event % LENGTH - basket == 0
            asked += 1
    assert asked < NUM_USERS * LENGTH


@pytest.mark.parametrize("cloze", [False, True])
def test_hidden_events_are_unknown_and_targets_stay(cloze):
    sequences = distinct_sequences()
    plain = make_builder(sequences)
    settings: dict[str, Any] = {
        "max_length": LENGTH,
        "batch_tokens": 5 * LENGTH,
        "batching": "bucketed",
        "seed": 3,
        "past_search_rows": np.arange(NUM_USERS * LENGTH, dtype=np.int32) + 1,
        "augmentation": AugmentationConfig(mask_share=0.4),
    }
    if cloze:
        builder = ClozeBatchBuilder(
            sequences, plain.targets, mask_share=0.3, last_share=0.0, **settings
        )
    else:
        builder = BatchBuilder(sequences, plain.targets, **settings)
    hidden = read = 0
    for batch in builder.epoch(0):
        tokens = batch.tokens
        gone = tokens.item_index == 1
        assert (tokens.event_type_index[gone] == 1).all()
        assert not tokens.dwell_seconds[gone].any()
        assert not np.asarray(batch.past_searches)[gone].any()
        assert (tokens.timestamps[gone] > 0).all()
        assert (batch.target_items > 1).all()
        kept = tokens.item_index > 1
        # Dwell and search tell the event: item 2 is event 0.
        np.testing.assert_array_equal(
            tokens.dwell_seconds[kept], tokens.item_index[kept] - 1
        )
        np.testing.assert_array_equal(
            np.asarray(batch.past_searches)[kept], tokens.item_index[kept] - 1
        )
        hidden, read = hidden + gone.sum(), read + kept.sum()
    # About 270 or 210 events: a standard deviation of .03.
    assert hidden / (hidden + read) == pytest.approx(0.4, abs=0.1)


def test_only_events_of_one_time_user_and_split_change_places():
    sequences = make_sequences(
        [[0, 1, 2, 3, 4, 5], [6, 7, 8], [9, 10]],
        timestamps=[[5, 7, 7, 7, 7, 9], [9, 9, 12], [0, 0]],
        splits=[[0, 0, 0, 0, 1, 2], [0, 0, 0], [0, 0]],
    )
    orders = {
        tuple(shuffle_ties(sequences, np.random.default_rng(seed)).tolist())
        for seed in range(60)
    }
    assert {order[:1] + order[4:6] + order[8:] for order in orders} == {
        (0, 4, 5, 8, 9, 10)
    }
    assert {frozenset(order[1:4]) for order in orders} == {frozenset({1, 2, 3})}
    assert len({order[1:4] for order in orders}) == 6
    assert {order[6:8] for order in orders} == {(6, 7), (7, 6)}


def test_shuffled_events_take_all_they_have_with_them():
    sequences = distinct_sequences()
    sequences.context["price"] = np.arange(NUM_USERS * LENGTH, dtype=np.float32)
    order = np.arange(NUM_USERS * LENGTH)
    order[[3, 4]] = [4, 3]
    moved = reorder(sequences, order)
    assert moved.item_index[3:5].tolist() == [6, 5]
    assert moved.dwell_seconds[3:5].tolist() == [5.0, 4.0]
    assert moved.context["price"][3:5].tolist() == [4.0, 3.0]
    assert moved.timestamps[3:5].tolist() == [1_004, 1_003]
    assert moved.offsets is sequences.offsets


def test_shuffled_ties_keep_weights_searches_and_the_rule_of_baskets():
    sequences = distinct_sequences()
    sequences.timestamps[:] = 1 + np.arange(NUM_USERS * LENGTH) // 5
    number = np.arange(NUM_USERS * LENGTH, dtype=np.int32)
    builder = make_builder(sequences, unordered=True, shuffle_ties=True)
    builder.search_rows = number + 500
    builder.targets.weights[:] = 1 + number
    firsts = set()
    for epoch in range(8):
        for batch in builder.epoch(epoch):
            event = batch.target_items - 2
            np.testing.assert_array_equal(batch.target_weights, 1 + event)
            np.testing.assert_array_equal(batch.target_search, event + 500)
            width = batch.tokens.item_index.shape[1]
            for cell, one in zip(batch.target_tokens, event, strict=True):
                row, column = divmod(int(cell), width)
                history = batch.tokens.item_index[row, 1 : column + 1] - 2
                basket = one // 5 * 5
                before = np.arange(basket // LENGTH * LENGTH, basket)
                assert sorted(history.tolist()) == before.tolist()
            firsts.update((batch.tokens.item_index[:, 1] - 2) % LENGTH)
    assert firsts == {0, 1, 2, 3, 4}
