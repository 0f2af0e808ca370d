import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.evaluation.protocols import (
    EvaluationQueries,
    build_queries,
    history_events,
)
from tfrec.schema import Schema

# Event type positions: 0 view, 1 purchase (the target). Splits: 0, 1, 2.
VIEW, PURCHASE = 2, 3  # Event type indices.


@pytest.fixture
def sequences() -> EventSequences:
    return make_sequences(
        [[0, 1, 2, 1, 3, 1], [5, 6], [4, -1, -1, 4], [7]],
        event_types=[[1, 0, 0, 1, 1, 1], [0, 0], [1, 1, 1, 1], [1]],
        timestamps=[[10, 20, 30, 40, 50, 60], [10, 20], [5, 70, 80, 90], [99]],
        splits=[[0, 0, 2, 2, 2, 2], [0, 2], [0, 2, 2, 2], [2]],
        context={"device": np.arange(13)},
    )


def positives(queries: EvaluationQueries, row: int) -> list[int]:
    first, last = queries.positive_offsets[[row, row + 1]]
    return queries.positive_items[first:last].tolist()


def test_next_asks_for_the_first_target_event_after_everything_before_it(
    sequences: EventSequences, schema: Schema
) -> None:
    queries = build_queries(sequences, schema, split="test", targets="next")
    # User 1 has no purchase in the test split; user 3 has no event before.
    assert queries.user_rows.tolist() == [0, 2, 3]
    # User 0: the view at position 2 is in the test split and in the history.
    assert queries.history_ends.tolist() == [3, 9, 12]
    assert queries.history_lengths(sequences).tolist() == [3, 1, 0]
    assert [positives(queries, row) for row in range(3)] == [[3], [1], [9]]
    assert queries.positive_types.tolist() == [PURCHASE] * 3
    assert queries.request_timestamps.tolist() == [40, 70, 99]
    assert queries.context["device"].tolist() == [3, 9, 12]


def test_window_asks_for_all_distinct_targets_after_the_first_event_of_the_split(
    sequences: EventSequences, schema: Schema
) -> None:
    queries = build_queries(sequences, schema, split="test", targets="window")
    assert queries.user_rows.tolist() == [0, 2, 3]
    # The history of user 0 ends before the view that opens the test split.
    assert queries.history_ends.tolist() == [2, 9, 12]
    # Item row 1 (index 3) was bought twice; unknown items are one positive.
    assert [positives(queries, row) for row in range(3)] == [[3, 5], [1, 6], [9]]
    # The request comes in at the first target event, not at the view.
    assert queries.request_timestamps.tolist() == [40, 70, 99]


def test_positives_carry_the_strongest_event_type() -> None:
    both = Schema(("view", "purchase"), ("view", "purchase"))
    sequences = make_sequences(
        [[0, 1, 2, 1]], event_types=[[0, 1, 0, 0]], splits=[[0, 2, 2, 2]]
    )
    queries = build_queries(sequences, both, split="test", targets="window")
    assert positives(queries, 0) == [3, 4]
    assert queries.positive_types.tolist() == [PURCHASE, VIEW]


def test_leave_one_out_test_history_holds_the_validation_event(
    single_type: Schema,
) -> None:
    sequences = make_sequences([[0, 1, 2, 3], [4, 5, 6]])
    test = build_queries(sequences, single_type, split="test", targets="next")
    validation = build_queries(
        sequences, single_type, split="validation", targets="next"
    )
    rows = np.arange(2)
    offsets, events = history_events(sequences, test, rows)
    assert np.split(sequences.item_index[events], offsets[1:-1])[0].tolist() == [
        2,
        3,
        4,
    ]
    assert test.positive_items.tolist() == [5, 8]
    assert validation.positive_items.tolist() == [4, 7]
    assert validation.history_ends.tolist() == [2, 5]


def test_history_events_keep_the_newest(single_type: Schema) -> None:
    sequences = make_sequences(
        [[0, 1, 2, 3], [4], [5, 6]], splits=[[0, 0, 0, 2], [2], [0, 2]]
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    offsets, events = history_events(
        sequences, queries, np.array([2, 0, 1]), max_length=2
    )
    assert offsets.tolist() == [0, 1, 3, 3]
    assert sequences.item_index[events].tolist() == [7, 3, 4]


def test_drawn_queries_repeat_by_seed_and_stay_whole(single_type: Schema) -> None:
    sequences = make_sequences([[u, u + 1, u + 2] for u in range(50)])
    everything = build_queries(sequences, single_type, split="test", targets="next")

    def draw(seed: int) -> EvaluationQueries:
        return build_queries(
            sequences,
            single_type,
            split="test",
            targets="next",
            max_queries=10,
            seed=seed,
        )

    first = draw(1)
    assert first.num_queries == 10
    assert first.user_rows.tolist() == draw(1).user_rows.tolist()
    assert first.user_rows.tolist() != draw(2).user_rows.tolist()
    for row, user in enumerate(first.user_rows):
        assert positives(first, row) == positives(everything, int(user))


def test_split_without_targets_gives_no_query(schema: Schema) -> None:
    sequences = make_sequences([[0, 1]], event_types=[[1, 0]], splits=[[0, 2]])
    for targets in ("next", "window"):
        queries = build_queries(sequences, schema, split="test", targets=targets)
        assert queries.num_queries == 0
        assert queries.positive_offsets.tolist() == [0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"split": "train"}, r"`split` must be one of .*split='train'"),
        ({"targets": "all"}, r"`targets` must be one of .*targets='all'"),
        ({"max_queries": 0}, r"`max_queries` must be at least 1.*max_queries=0"),
    ],
)
def test_bad_arguments_are_named(
    single_type: Schema, change: dict, message: str
) -> None:
    arguments = {"split": "test", "targets": "next", **change}
    with pytest.raises(ValueError, match=message):
        build_queries(make_sequences([[0, 1, 2]]), single_type, **arguments)
