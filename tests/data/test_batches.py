import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.store import EventSequences
from tfrec.data.windows import find_targets
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("event",), target_event_types=("event",))
BATCHINGS = ("packed", "bucketed")


def random_sequences(lengths: list[int]) -> EventSequences:
    rng = np.random.default_rng(0)
    return make_sequences(
        [rng.integers(0, 9, n) for n in lengths],
        timestamps=[np.cumsum(rng.integers(1, 99, n)) for n in lengths],
        splits=[[0] * n for n in lengths],
    )


def make_builder(
    sequences: EventSequences,
    batching: str,
    *,
    max_length: int = 6,
    batch_tokens: int = 24,
    seed: int = 0,
    unordered: bool = False,
) -> BatchBuilder:
    return BatchBuilder(
        sequences,
        find_targets(sequences, SCHEMA, simultaneous_unordered=unordered),
        max_length=max_length,
        batch_tokens=batch_tokens,
        batching="packed" if batching == "packed" else "bucketed",
        seed=seed,
    )


def read_back(batch: BatchArrays) -> list[tuple[tuple[int, ...], int, int]]:
    """Per target: the history its query has read, the item, and the time asked."""
    found = []
    width = batch.tokens.item_index.shape[1]
    for place, item in zip(batch.target_tokens, batch.target_items, strict=True):
        row, column = divmod(int(place), width)
        start = column - int(batch.tokens.positions[row, column])
        segment = batch.tokens.segment_ids[row, start : column + 1]
        assert len(set(segment.tolist())) == 1, "a query spans two histories"
        assert segment[0] > 0, "a query stands on padding"
        history = batch.tokens.item_index[row, start + 1 : column + 1]
        time = int(batch.tokens.next_timestamps[row, column])
        found.append((tuple(history.tolist()), int(item), time))
    return found


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_event_is_asked_for_with_exactly_what_came_before(batching):
    sequences = random_sequences([1, 2, 3, 3, 4, 5, 6])
    expected = []
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        for event in range(start, stop):
            history = tuple(sequences.item_index[start:event].tolist())
            time = int(sequences.timestamps[event])
            expected.append((history, int(sequences.item_index[event]), time))
    builder = make_builder(sequences, batching)
    found = [t for batch in builder.epoch(0) for t in read_back(batch)]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_start_of_a_window_within_a_history_asks_for_nothing(batching):
    sequences = random_sequences([30])
    builder = make_builder(sequences, batching, max_length=5)
    targets = [t for batch in builder.epoch(0) for t in read_back(batch)]
    empty = [t for t in targets if not t[0]]
    # Only the very first event of the user may be predicted from nothing.
    first = ((), int(sequences.item_index[0]), int(sequences.timestamps[0]))
    assert empty == [first]


@pytest.mark.parametrize("batching", BATCHINGS)
def test_no_query_sees_an_event_of_its_own_time(batching):
    items = [[0, 1, 2, 3, 4, 5]]
    sequences = make_sequences(items, timestamps=[[5, 5, 8, 8, 8, 9]], splits=[[0] * 6])
    builder = make_builder(sequences, batching, unordered=True)
    found = [t for batch in builder.epoch(0) for t in read_back(batch)]
    first, second, third = (2, 3), (4, 5, 6), (7,)
    expected = [((), item, 5) for item in first]
    expected += [(first, item, 8) for item in second]
    expected += [(first + second, item, 9) for item in third]
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_same_seed_and_epoch_give_the_same_batches_and_others_do_not(batching):
    sequences = random_sequences(list(range(1, 30)))

    def flat(seed: int, epoch: int) -> list[int]:
        builder = make_builder(sequences, batching, seed=seed)
        return [i for b in builder.epoch(epoch) for i in b.target_items.tolist()]

    assert flat(0, 0) == flat(0, 0)
    assert flat(0, 0) != flat(0, 1)
    assert flat(0, 0) != flat(1, 0)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_padding_is_a_small_part_and_batches_keep_their_size(batching):
    rng = np.random.default_rng(1)
    sequences = random_sequences(rng.geometric(0.2, 4_000).clip(1, 20).tolist())
    builder = make_builder(sequences, batching, max_length=20, batch_tokens=400)
    batches = list(builder.epoch(0))
    cells = sum(b.tokens.segment_ids.size for b in batches)
    real = sum((b.tokens.segment_ids > 0).sum() for b in batches)
    assert real / cells > 0.9
    assert max(b.tokens.segment_ids.size for b in batches) <= 400
    assert len(batches) == builder.num_batches(0)


def test_context_of_a_target_is_that_of_its_event():
    sequences = make_sequences(
        [[0, 1, 2]],
        splits=[[0] * 3],
        context={"country": np.array([5, 6, 7], np.int32)},
    )
    (batch,) = make_builder(sequences, "bucketed").epoch(0)
    pairs = zip(batch.target_items, batch.target_context["country"], strict=True)
    assert sorted((int(i), int(c)) for i, c in pairs) == [(2, 5), (3, 6), (4, 7)]


def test_a_batch_without_a_target_is_left_out():
    # The window behind the cut holds one target only, and its start token knows
    # nothing of what came before.
    sequences = random_sequences([3])
    builder = make_builder(sequences, "bucketed", max_length=2, batch_tokens=2)
    for epoch in range(6):
        batches = list(builder.epoch(epoch))
        assert batches
        assert all(len(batch.target_items) for batch in batches)
