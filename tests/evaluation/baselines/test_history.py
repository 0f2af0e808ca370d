import numpy as np

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.history import decayed_histories
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema

SPLITS = [[0, 0, 0, 0, 2], [0, 0, 2], [2]]
HISTORIES = [[0, 1, 0, 2, 3], [1, -1, 3], [3]]


def weights(
    sequences: EventSequences, single_type: Schema, max_length: int = 50
) -> list[list[float]]:
    queries = build_queries(sequences, single_type, split="test", targets="next")
    found = decayed_histories(
        sequences,
        queries,
        np.arange(3),
        num_items=4,
        decay=0.5,
        max_length=max_length,
    )
    return found.toarray().tolist()


def test_weights_halve_with_every_older_event(single_type: Schema) -> None:
    sequences = make_sequences(HISTORIES, splits=SPLITS)
    # Item 0 has the ages 3 and 1. The unknown item is an event, but no item.
    assert weights(sequences, single_type) == [
        [0.125 + 0.5, 0.25, 1, 0],
        [0, 0.5, 0, 0],
        [0, 0, 0, 0],
    ]


def test_only_the_newest_events_are_read(single_type: Schema) -> None:
    sequences = make_sequences(HISTORIES, splits=SPLITS)
    assert weights(sequences, single_type, 2)[0] == [0.5, 0, 1, 0]


def test_events_of_one_time_share_an_age(single_type: Schema) -> None:
    # The lines of an invoice have no order; equal times of two users are no tie.
    sequences = make_sequences(
        HISTORIES, splits=SPLITS, timestamps=[[7, 7, 9, 9, 10], [9, 9, 10], [10]]
    )
    assert weights(sequences, single_type) == [
        [0.5 + 1, 0.5, 1, 0],
        [0, 1, 0, 0],
        [0, 0, 0, 0],
    ]


def test_without_times_every_event_is_a_moment(single_type: Schema) -> None:
    zeros = [[0] * len(history) for history in HISTORIES]
    untimed = make_sequences(HISTORIES, splits=SPLITS, timestamps=zeros)
    timed = make_sequences(HISTORIES, splits=SPLITS)
    assert weights(untimed, single_type) == weights(timed, single_type)
