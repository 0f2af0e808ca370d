"""Views that the regularisers compare: whose history, up to where, of which target."""

import numpy as np
import pytest

from tests.data.test_batches import read_back
from tests.synthetic import make_sequences
from tfrec.data.batches import BatchArrays, BatchBuilder
from tfrec.data.store import EventSequences
from tfrec.data.views import ViewDrawer, ViewKind, view_kinds
from tfrec.data.windows import find_targets
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("event",), target_event_types=("event",))
BATCHINGS = ("packed", "bucketed")


def random_sequences() -> EventSequences:
    rng = np.random.default_rng(0)
    lengths = [1, 4, 9, 12, 3, 7]
    return make_sequences(
        [rng.integers(0, 9, n) for n in lengths],
        # Some events share their time: baskets.
        timestamps=[np.cumsum(rng.integers(0, 3, n)) for n in lengths],
        splits=[[0] * n for n in lengths],
    )


def batches_of(
    sequences: EventSequences,
    kinds: tuple[ViewKind, ...],
    *,
    batching: str = "packed",
    max_length: int = 6,
    max_queries: int = 99,
    unordered: bool = False,
    epoch: int = 0,
) -> list[BatchArrays]:
    targets = find_targets(sequences, SCHEMA, simultaneous_unordered=unordered)
    builder = BatchBuilder(
        sequences,
        targets,
        max_length=max_length,
        batch_tokens=24,
        batching="packed" if batching == "packed" else "bucketed",
        seed=0,
        view_drawer=ViewDrawer(
            sequences,
            targets,
            kinds=kinds,
            max_length=max_length,
            max_queries=max_queries,
        ),
    )
    return list(builder.epoch(epoch))


def views_of(batch: BatchArrays) -> BatchArrays:
    assert isinstance(batch.views, BatchArrays)
    return batch.views


def all_queries(sequences: EventSequences, max_length: int, unordered: bool) -> set:
    """Every event with the newest of what its user did before it, basket-mates not."""
    found = set()
    for user in range(sequences.num_users):
        start, stop = sequences.offsets[user : user + 2]
        for event in range(start, stop):
            end = event
            while (
                unordered
                and end > start
                and sequences.timestamps[end - 1] == sequences.timestamps[event]
            ):
                end -= 1
            begin = max(start, end - (max_length - 1))
            history = tuple(sequences.item_index[begin:end].tolist())
            found.add((user, history, int(sequences.item_index[event])))
    return found


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_own_views_are_queries_of_their_batch(batching, unordered):
    sequences = random_sequences()
    for batch in batches_of(
        sequences, ("own", "own"), batching=batching, unordered=unordered
    ):
        asked = read_back(batch)
        views = read_back(views_of(batch))
        first, second = views[: len(views) // 2], views[len(views) // 2 :]
        assert first == second
        assert set(first) <= set(asked)


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("batching", BATCHINGS)
def test_the_other_view_has_the_target_and_is_of_another_user(batching, unordered):
    sequences = random_sequences()
    queries = all_queries(sequences, 6, unordered)
    num_found = 0
    for epoch in range(5):
        for batch in batches_of(
            sequences,
            ("own", "same_target"),
            batching=batching,
            unordered=unordered,
            epoch=epoch,
        ):
            views = views_of(batch)
            asked = read_back(views)
            half = len(asked) // 2
            for own, other, weight in zip(
                asked[:half], asked[half:], views.target_weights[half:], strict=True
            ):
                assert own[1] == other[1]
                if weight == 0.0:
                    assert own == other
                    continue
                num_found += 1
                of_other = {u for u, *query in queries if query == list(other[:2])}
                of_own = {u for u, *query in queries if query == list(own[:2])}
                assert of_other, "no user has this history"
                assert of_other - of_own or len(of_own) > 1
    assert num_found > 20


def test_a_target_that_nobody_else_has_is_not_found():
    sequences = make_sequences([[0, 1, 1, 1], [2, 0]], splits=[[0] * 4, [0] * 2])
    seen = {}
    for epoch in range(30):
        (batch,) = batches_of(sequences, ("own", "same_target"), epoch=epoch)
        views = views_of(batch)
        other = slice(len(views.target_items) // 2, None)
        pairs = zip(views.target_items[other], views.target_weights[other], strict=True)
        seen.update({(int(item), float(weight)): None for item, weight in pairs})
    # Item 1 (index 3) stands thrice, in the history of one user.
    assert set(seen) == {(2, 1.0), (3, 0.0), (4, 0.0)}


def test_every_other_event_of_the_item_is_drawn_alike():
    # The first user asks for item 0 once; of the others there are 1 + 3 such events.
    histories = [[0], [5, 0], [0, 0, 0]]
    sequences = make_sequences(histories, splits=[[0], [0, 0], [0] * 3])
    drawer_targets = find_targets(sequences, SCHEMA)
    drawer = ViewDrawer(
        sequences,
        drawer_targets,
        kinds=("same_target",),
        max_length=6,
        max_queries=1,
    )
    (batch,) = batches_of(sequences, ("own",))
    assert views_of(batch).target_items.shape == (3,)
    rng = np.random.default_rng(0)
    events, starts = np.zeros(4_000, np.int64), np.zeros(4_000, np.int64)
    drawn, begins, found = drawer._same_target(events, starts, rng)
    assert found.all()
    share = np.bincount(drawn, minlength=6) / 4_000
    np.testing.assert_allclose(share, [0, 0, 0.25, 0.25, 0.25, 0.25], atol=0.03)
    np.testing.assert_array_equal(begins, np.where(drawn == 2, 1, 3))


def test_one_place_is_drawn_of_each_window_and_no_more_than_asked_for():
    sequences = random_sequences()
    for batch in batches_of(sequences, ("own",)):
        row, column = np.nonzero(batch.tokens.segment_ids)
        windows = set(zip(row, batch.tokens.segment_ids[row, column], strict=True))
        num_windows = len(windows)
        assert len(views_of(batch).target_items) == num_windows
    for batch in batches_of(sequences, ("own",), max_queries=2):
        assert len(views_of(batch).target_items) <= 2


def test_every_place_of_a_window_is_drawn_in_some_epoch():
    sequences = make_sequences([[0, 1, 2, 3]], splits=[[0] * 4])
    drawn = set()
    for epoch in range(40):
        (batch,) = batches_of(sequences, ("own",), epoch=epoch)
        drawn |= set(views_of(batch).target_items.tolist())
    assert drawn == {2, 3, 4, 5}


def test_same_seed_and_epoch_give_the_same_views_and_others_do_not():
    sequences = random_sequences()
    kinds: tuple[ViewKind, ...] = ("own", "own", "same_target")

    def views(epoch: int) -> list:
        batches = batches_of(sequences, kinds, epoch=epoch)
        return [read_back(views_of(batch)) for batch in batches]

    assert views(0) == views(0)
    assert views(0) != views(1)


def test_context_of_a_view_is_that_of_its_event():
    sequences = make_sequences(
        [[0, 1], [2, 1]],
        splits=[[0, 0], [0, 0]],
        context={"device": np.array([10, 11, 12, 13], np.int32)},
    )
    device = {}
    for epoch in range(20):
        (batch,) = batches_of(sequences, ("own", "same_target"), epoch=epoch)
        views = views_of(batch)
        for query, value in zip(
            read_back(views), views.target_context["device"], strict=True
        ):
            device[query[:2]] = int(value)
    assert device[((2,), 3)] == 11
    assert device[((4,), 3)] == 13


def test_terms_that_are_left_out_need_no_view():
    assert view_kinds("none", 0.5) == ()
    assert view_kinds("duorec", 0.0) == ("own", "own")
    assert view_kinds("duorec", 0.5) == ("own", "own", "same_target")
    assert view_kinds("duorec", 1.0) == ("own", "same_target")
    for share in (0.0, 0.5, 1.0):
        assert view_kinds("icsrec", share) == ("own", "same_target")
