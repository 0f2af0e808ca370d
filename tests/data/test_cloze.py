"""Cloze batches: what is masked is not shown, and is asked for where it stood."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.batches import BatchArrays
from tfrec.data.cloze import ClozeBatchBuilder, WindowEvents, draw_gaps
from tfrec.data.store import EventSequences
from tfrec.data.windows import find_targets
from tfrec.schema import Schema

TYPES = ("view", "cart", "purchase")
BATCHINGS = ("packed", "bucketed")
NUM_USERS, LENGTH = 12, 9


def distinct_sequences(**more: Any) -> EventSequences:
    """Every event has an item, a time and a dwell of its own."""
    items = np.arange(NUM_USERS * LENGTH).reshape(NUM_USERS, LENGTH)
    sequences = make_sequences(
        list(items),
        timestamps=more.get("timestamps", list(1_000 + 10 * items)),
        event_types=more.get("event_types"),
        splits=[[0] * LENGTH] * NUM_USERS,
    )
    sequences.dwell_seconds[:] = 1 + items.ravel()
    return sequences


def make_builder(
    sequences: EventSequences,
    batching: str = "bucketed",
    *,
    mask_share: float = 0.3,
    last_share: float = 0.0,
    targets: tuple[str, ...] = TYPES,
    max_length: int = LENGTH,
    unordered: bool = False,
    **more: Any,
) -> ClozeBatchBuilder:
    schema = Schema(event_types=TYPES, target_event_types=targets)
    return ClozeBatchBuilder(
        sequences,
        find_targets(sequences, schema, simultaneous_unordered=unordered),
        mask_share=mask_share,
        last_share=last_share,
        max_length=max_length,
        batch_tokens=4 * LENGTH,
        batching="packed" if batching == "packed" else "bucketed",
        seed=0,
        **more,
    )


def asked_items(builder: ClozeBatchBuilder, epoch: int = 0) -> list[int]:
    return [int(i) for batch in builder.epoch(epoch) for i in batch.target_items]


@pytest.mark.parametrize("batching", BATCHINGS)
@pytest.mark.parametrize("last_share", [0.0, 0.5])
def test_a_masked_event_says_nothing_but_when_it_happened(batching, last_share):
    sequences = distinct_sequences()
    times = dict(zip(sequences.item_index, sequences.timestamps, strict=True))
    for batch in make_builder(sequences, batching, last_share=last_share).epoch(0):
        tokens = batch.tokens
        assert not np.isin(tokens.item_index, batch.target_items).any()
        for values in tokens[:4]:  # Item, type, time, dwell.
            assert not values.ravel()[batch.target_tokens].any()
        asked = tokens.next_timestamps.ravel()[batch.target_tokens]
        np.testing.assert_array_equal(asked, [times[i] for i in batch.target_items])


@pytest.mark.parametrize("batching", BATCHINGS)
def test_batches_do_not_change_with_the_item_type_and_dwell_they_ask_for(batching):
    sequences = distinct_sequences()
    asked = np.isin(sequences.item_index, asked_items(make_builder(sequences)))
    other = dataclasses.replace(
        sequences,
        item_index=np.where(asked, sequences.item_index + 900, sequences.item_index),
        event_type_index=np.where(asked, 3, sequences.event_type_index),
        dwell_seconds=np.where(asked, 77, sequences.dwell_seconds),
    )
    one, two = (
        np.concatenate([np.stack(b.tokens).ravel() for b in make_builder(s).epoch(0)])
        for s in (sequences, other)
    )
    np.testing.assert_array_equal(one, two)
    # It would show: events that are read do change the batch.
    changed = dataclasses.replace(
        other, dwell_seconds=np.where(asked, 1, other.dwell_seconds + 1)
    )
    three = [np.stack(b.tokens).ravel() for b in make_builder(changed).epoch(0)]
    assert (np.concatenate(three) != one).any()


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_event_is_read_or_asked_for_in_its_place(batching):
    sequences = distinct_sequences()
    for batch in make_builder(sequences, batching).epoch(0):
        seen = batch.tokens.item_index.ravel().copy()
        seen[batch.target_tokens] = batch.target_items
        real = batch.tokens.segment_ids.ravel() > 0
        place = (seen - 2) % LENGTH  # Items are numbered along the histories.
        np.testing.assert_array_equal(
            batch.tokens.positions.ravel()[real], place[real] + 1
        )
        # The next event of the user, 10 seconds later; nothing behind the last.
        read = real & (batch.tokens.item_index.ravel() > 0)
        gap = (batch.tokens.next_timestamps - batch.tokens.timestamps).ravel()
        assert set(gap[read & (place < LENGTH - 1)].tolist()) == {10}
        last = read & (place == LENGTH - 1)
        assert not batch.tokens.next_timestamps.ravel()[last].any()


def test_the_share_of_masks_is_as_configured_and_never_none():
    sequences = distinct_sequences()
    builder = make_builder(sequences, mask_share=0.4)
    counts = [len(asked_items(builder, epoch)) for epoch in range(40)]
    # 12 histories of 9 events: 43.2 of 108 masks an epoch, and a few because none
    # was drawn: 12 (.6^9) = .12. Standard deviation of the mean: .8.
    assert np.mean(counts) == pytest.approx(43.3, abs=2.5)
    rare = make_builder(sequences, mask_share=1e-9)
    for epoch in range(5):
        users = [(item - 2) // LENGTH for item in asked_items(rare, epoch)]
        assert sorted(users) == list(range(NUM_USERS))  # One each.


def test_every_event_is_asked_for_in_some_epoch_and_epochs_come_again():
    builder = make_builder(distinct_sequences())
    asked = {item for epoch in range(40) for item in asked_items(builder, epoch)}
    assert len(asked) == NUM_USERS * LENGTH
    assert asked_items(builder, 3) == asked_items(builder, 3)
    assert asked_items(builder, 3) != asked_items(builder, 4)


def test_the_last_target_is_masked_alone_where_asked_and_nothing_follows():
    # Only carts are targets: the last of each history stands at place 6.
    types = [[0, 1, 0, 0, 1, 0, 1, 0, 0]] * NUM_USERS
    sequences = distinct_sequences(event_types=types)
    builder = make_builder(sequences, last_share=1.0, targets=("cart",))
    items = []
    for batch in builder.epoch(0):
        items += batch.target_items.tolist()
        assert (batch.tokens.segment_ids.sum(axis=1) == 7).all()
        assert ((batch.tokens.item_index > 0).sum(axis=1) == 6).all()
    assert sorted(items) == [LENGTH * user + 6 + 2 for user in range(NUM_USERS)]


def test_both_kinds_of_examples_come_where_shares_are_mixed():
    builder = make_builder(distinct_sequences(), mask_share=0.9, last_share=0.5)
    sizes = [
        np.unique(b.target_tokens // b.tokens.item_index.shape[1], return_counts=True)
        for epoch in range(10)
        for b in builder.epoch(epoch)
    ]
    alone = np.concatenate([counts == 1 for _, counts in sizes])
    # 120 draws of one half; 8 of 9 or so masks in the others.
    assert alone.mean() == pytest.approx(0.5, abs=0.15)


def test_only_events_of_target_types_are_masked():
    types = [[0, 1, 2, 0, 1, 2, 0, 1, 2]] * NUM_USERS
    sequences = distinct_sequences(event_types=types)
    builder = make_builder(sequences, targets=("purchase",), mask_share=1.0)
    assert sorted(asked_items(builder)) == [
        LENGTH * user + place + 2 for user in range(NUM_USERS) for place in (2, 5, 8)
    ]
    shown = sum(int((b.tokens.item_index > 0).sum()) for b in builder.epoch(0))
    assert shown == NUM_USERS * 6


def test_a_basket_is_masked_as_a_whole_by_one_mask():
    times = [[10, 20, 20, 20, 30, 40, 40, 50, 60]] * NUM_USERS
    sequences = distinct_sequences(timestamps=times)
    builder = make_builder(sequences, unordered=True, last_share=0.3)
    time_of = np.array(times).ravel()
    together = 0
    for epoch in range(5):
        for batch in builder.epoch(epoch):
            row = batch.target_tokens // batch.tokens.item_index.shape[1]
            for place, item in zip(
                batch.target_tokens, batch.target_items, strict=True
            ):
                time = time_of[item - 2]
                shown = batch.tokens.timestamps[place // LENGTH]
                assert time not in shown, "a basket shows a part of itself"
                mates = batch.target_items[row == place // LENGTH]
                same = time_of[mates - 2] == time
                assert same.sum() == (time_of[:LENGTH] == time).sum()
                assert len(set(batch.target_tokens[row == place // LENGTH][same])) == 1
                together += same.sum() > 1
    assert together > 10


@pytest.mark.parametrize("batching", BATCHINGS)
def test_long_histories_are_cut_and_the_first_event_behind_a_cut_is_not_asked(batching):
    builder = make_builder(distinct_sequences(), batching, mask_share=1.0, max_length=4)
    for epoch in range(3):
        # Each event once: a window begins with one that the window before asks for.
        assert sorted(asked_items(builder, epoch)) == list(range(2, 2 + 108))


def test_later_events_of_a_masked_item_are_hidden_and_earlier_ones_stay():
    # Item 7 three times in the first window, once in the second.
    events = WindowEvents(
        window=np.array([0, 0, 0, 0, 0, 1, 1]),
        item_index=np.array([7, 8, 7, 9, 7, 9, 7]),
        head=np.arange(7),
        is_target=np.array([False, False, True, False, False, True, False]),
    )
    rng = np.random.default_rng(0)
    gaps = draw_gaps(events, mask_share=0.5, last_share=0.0, rng=rng)
    assert np.flatnonzero(gaps.is_mask).tolist() == [2, 5]
    assert np.flatnonzero(gaps.is_asked).tolist() == [2, 5]
    assert np.flatnonzero(gaps.is_hidden).tolist() == [4]


def test_what_led_to_a_masked_event_is_given_and_a_masked_search_is_not():
    sequences = distinct_sequences()
    number = np.arange(NUM_USERS * LENGTH, dtype=np.int32)
    builder = make_builder(
        sequences,
        search_rows=number + 1_000,
        history_rows=number + 2_000,
        past_search_rows=number + 3_000,
    )
    for batch in builder.epoch(0):
        event = batch.target_items - 2
        np.testing.assert_array_equal(batch.target_search, event + 1_000)
        np.testing.assert_array_equal(batch.target_history, event + 2_000)
        read = batch.tokens.item_index > 0
        expected = np.where(read, batch.tokens.item_index - 2 + 3_000, 0)
        np.testing.assert_array_equal(batch.past_searches, expected)


def test_weights_and_context_are_those_of_the_masked_events():
    sequences = distinct_sequences()
    number = np.arange(NUM_USERS * LENGTH, dtype=np.float32)
    sequences.context["price"] = number
    builder = make_builder(sequences)
    builder.targets.weights[:] = 1 + number

    def check(batch: BatchArrays) -> int:
        event = batch.target_items - 2
        np.testing.assert_array_equal(batch.target_weights, 1 + event)
        np.testing.assert_array_equal(batch.target_context["price"], event)
        return len(event)

    assert sum(check(batch) for batch in builder.epoch(0)) > NUM_USERS
