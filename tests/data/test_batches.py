import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.store import EventSequences
from tfrec.data.windows import find_targets
from tfrec.schema import Schema

TYPES = ("event", "cart", "purchase")
SCHEMA = Schema(event_types=TYPES, target_event_types=TYPES)
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
    half_life_days: float | None = None,
) -> BatchBuilder:
    targets = find_targets(
        sequences,
        SCHEMA,
        simultaneous_unordered=unordered,
        recency_half_life_days=half_life_days,
    )
    return BatchBuilder(
        sequences,
        targets,
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
def test_targets_of_long_histories_are_asked_for_once_after_what_came_before(batching):
    sequences = random_sequences([30, 17])
    for epoch in range(3):
        builder = make_builder(sequences, batching, max_length=5)
        found = [t for batch in builder.epoch(epoch) for t in read_back(batch)]
        event_at = {int(t): e for e, t in enumerate(sequences.timestamps)}
        assert len(event_at) == 47, "times must tell events apart"
        asked = []
        for history, item, time in found:
            event = event_at[time]
            assert item == sequences.item_index[event]
            past = sequences.item_index[event - len(history) : event]
            assert history == tuple(past.tolist())
            # Only the very first event of a user is predicted from nothing.
            assert bool(history) == (event not in (0, 30))
            asked.append(event)
        assert sorted(asked) == list(range(47))


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_batch_has_a_target(batching):
    # Windows of two tokens: the start token of the second knows nothing.
    builder = make_builder(random_sequences([3]), batching, max_length=2)
    builder.batch_tokens = 2
    for epoch in range(6):
        batches = list(builder.epoch(epoch))
        assert len(batches) == builder.num_batches(epoch) == 2
        assert all(len(batch.target_items) for batch in batches)


@pytest.mark.parametrize("batching", BATCHINGS)
def test_held_out_events_are_never_targets_nor_read(batching):
    # Every item stands once, so that it tells its event.
    sequences = make_sequences([[0, 1, 2, 3, 4], [5, 6, 7], [8, 9]])
    builder = make_builder(sequences, batching)
    batches = list(builder.epoch(0))
    learned = sorted(int(i) for b in batches for i in b.target_items)
    # Leave-one-out: the last event is for test, the one before for validation;
    # two events are too few to hold anything out.
    assert learned == [2, 3, 4, 7, 10, 11]
    read = {int(i) for b in batches for i in b.tokens.item_index.ravel()}
    assert read <= {0, *learned}


@pytest.mark.parametrize("batching", BATCHINGS)
def test_every_token_holds_all_that_is_known_of_its_event(batching):
    rng = np.random.default_rng(3)
    lengths = [1, 2, 3, 3, 4, 5, 6, 13]
    sequences = make_sequences(
        [rng.integers(-1, 9, n) for n in lengths],
        event_types=[rng.integers(0, 3, n) for n in lengths],
        timestamps=[np.cumsum(rng.integers(1, 99, n)) for n in lengths],
        splits=[[0] * n for n in lengths],
    )
    total = sum(lengths)
    sequences.dwell_seconds[:] = np.arange(1, total + 1)  # Tells events apart.
    seen = set()
    for batch in make_builder(sequences, batching).epoch(0):
        tokens = batch.tokens
        for row, column in np.ndindex(tokens.segment_ids.shape):
            cell = [values[row, column] for values in tokens]
            item, kind, time, dwell, following, position, segment = cell
            if segment == 0:
                assert not any(cell), "padding is not empty"
            elif position == 0:
                assert not any((item, kind, time, dwell))
            else:
                event = int(dwell) - 1
                seen.add(event)
                assert item == sequences.item_index[event]
                assert kind == sequences.event_type_index[event]
                assert time == sequences.timestamps[event]
                assert following == sequences.timestamps[event + 1]
                assert tokens.segment_ids[row, column - 1] == segment
                assert tokens.positions[row, column - 1] == position - 1
    # Nobody asks for anything behind the last event of a user.
    last = {int(e) - 1 for e in sequences.offsets[1:]}
    before_unknown = {e for e in range(total) if e + 1 < total and e not in last}
    trimmed = {
        e
        for user in range(len(lengths))
        for e in range(_last_known(sequences, user), int(sequences.offsets[user + 1]))
    }
    assert seen == before_unknown - trimmed


def _last_known(sequences: EventSequences, user: int) -> int:
    """The user's last event with an item of the catalogue, or its first event."""
    start, stop = (int(o) for o in sequences.offsets[user : user + 2])
    known = [e for e in range(start, stop) if sequences.item_index[e] > 1]
    return known[-1] if known else start


def test_weights_of_targets_are_those_of_their_events():
    sequences = make_sequences(
        [[0, 1, 2]], timestamps=[[0, 86_400, 2 * 86_400]], splits=[[0] * 3]
    )
    builder = make_builder(sequences, "packed", half_life_days=1.0)
    (batch,) = builder.epoch(0)
    weight = dict(zip(batch.target_items.tolist(), batch.target_weights, strict=True))
    # 1/4, 1/2 and 1, divided by their mean 7/12.
    np.testing.assert_allclose(
        [weight[2], weight[3], weight[4]], [3 / 7, 6 / 7, 12 / 7], rtol=1e-6
    )


@pytest.mark.parametrize("batching", BATCHINGS)
def test_nothing_to_learn_gives_no_batch(batching):
    builder = make_builder(make_sequences([[0, 1]], splits=[[1, 2]]), batching)
    assert list(builder.epoch(0)) == []
    assert builder.num_batches() == 0


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
