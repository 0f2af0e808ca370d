import dataclasses

import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.store import TEST, EventSequences
from tfrec.schema import Schema
from tfrec.training.later_events import add_dwell, drop_false_negatives
from tfrec.training.ranking_lists import RankingLists

DAY = 86_400
TYPES = ("view", "cart", "purchase")
SCHEMA = Schema(TYPES, ("view",), TYPES)
VIEW, CART, PURCHASE = range(3)


def shop(*, times: list[int] | None = None) -> EventSequences:
    """User 0: views 0, 1; then view 2, cart 3 and purchase 4, days apart. User 1."""
    days = times or [0, 0, 1, 3, 9, 20]
    sequences = make_sequences(
        [[0, 1, 2, 3, 4, 5], [6, 7]],
        event_types=[[VIEW, VIEW, VIEW, CART, PURCHASE, PURCHASE], [VIEW, CART]],
        timestamps=[[DAY * d for d in days], [0, 1]],
        splits=[[0, 1, 1, 1, 1, 2], [1, 1]],
    )
    sequences.session_index[:] = [0, 0, 0, 0, 1, 2, 0, 0]
    return sequences


def lists_of(
    candidates: list[list[int]], *, users: list[int], ends: list[int]
) -> RankingLists:
    """Lists of catalogue rows, all labelled 0; -1 is padding."""
    index = np.array(candidates, np.int32) + 2
    index[index == 1] = 0
    num_lists = len(candidates)
    return RankingLists(
        user_rows=np.array(users, np.int32),
        history_ends=np.array(ends),
        request_timestamps=np.zeros(num_lists, np.int64),
        context={},
        candidate_index=index,
        labels=np.zeros((*index.shape, 3), np.int8),
        query_embeddings=np.zeros((num_lists, 2), np.float32),
        retrieval_scores=np.zeros(index.shape, np.float32),
        relevant=np.zeros(index.shape, bool),
        num_relevant=np.zeros(num_lists, np.int32),
    )


def test_what_is_wanted_within_the_days_is_no_negative_of_that_type_or_weaker():
    lists = lists_of([[1, 2, 3, 4, 7]], users=[0], ends=[1])
    found = drop_false_negatives(lists, shop(), SCHEMA, days=5.0)
    # Items 1 and 2 are viewed, 3 is put into the cart; 4 is bought too late.
    expected = [[-1, 0, 0], [-1, 0, 0], [-1, -1, 0], [0, 0, 0], [0, 0, 0]]
    assert found.labels[0].tolist() == expected
    later = drop_false_negatives(lists, shop(), SCHEMA, days=10.0)
    assert later.labels[0, 3].tolist() == [-1, -1, -1]
    assert (lists.labels == 0).all(), "the lists given were changed"


def test_events_of_the_test_split_and_before_the_request_are_not_looked_at():
    lists = lists_of([[0, 5]], users=[0], ends=[1])
    found = drop_false_negatives(lists, shop(), SCHEMA, days=100.0)
    assert (found.labels == 0).all()


def test_positives_and_undefined_labels_stay():
    lists = lists_of([[2, 4]], users=[0], ends=[1])
    lists.labels[0] = [[1, -1, 0], [0, 1, 1]]
    found = drop_false_negatives(lists, shop(), SCHEMA, days=100.0)
    assert found.labels[0].tolist() == [[1, -1, 0], [-1, 1, 1]]


def test_every_shopper_is_judged_by_their_own_events():
    lists = lists_of([[6, 3], [6, 3]], users=[0, 1], ends=[1, 6])
    found = drop_false_negatives(lists, shop(), SCHEMA, days=100.0)
    assert found.labels[:, :, VIEW].tolist() == [[0, -1], [-1, 0]]


def test_without_times_all_that_follows_counts():
    sequences = shop(times=[0] * 6)
    lists = lists_of([[4]], users=[0], ends=[1])
    found = drop_false_negatives(lists, sequences, SCHEMA, days=1.0)
    assert (found.labels == -1).all()


def test_a_request_behind_the_last_event_knows_of_nothing_later():
    lists = lists_of([[7, -1]], users=[1], ends=[8])
    found = drop_false_negatives(lists, shop(), SCHEMA, days=100.0)
    assert (found.labels == 0).all()
    assert (add_dwell(lists, shop()).dwell_seconds == 0).all()


def test_dwell_is_the_first_that_is_known_in_the_rest_of_the_session():
    sequences = make_sequences([[0, 1, 2, 1, 2, 3]], splits=[[0, 1, 1, 1, 1, 1]])
    sequences.session_index[:] = [0, 0, 0, 0, 0, 1]
    sequences.dwell_seconds[:] = [9.0, 0.0, 4.0, 7.0, 8.0, 5.0]
    lists = lists_of([[0, 1, 2, 3, -1]], users=[0], ends=[1])
    found = add_dwell(lists, sequences).dwell_seconds
    assert found is not None
    # Item 0 was before, item 3 is of the next session, of item 1 the second is known.
    assert found.tolist() == [[0.0, 7.0, 4.0, 0.0, 0.0]]
    assert found.dtype == np.float32


def test_dwells_of_later_splits_are_not_looked_at():
    sequences = make_sequences([[0, 1, 2]], splits=[[0, 1, 2]])
    sequences.dwell_seconds[:] = [9.0, 4.0, 7.0]
    lists = lists_of([[1, 2]], users=[0], ends=[1])
    for found, expected in (
        (add_dwell(lists, sequences), [[4.0, 0.0]]),
        (add_dwell(lists, sequences, last_split=TEST), [[4.0, 7.0]]),
    ):
        np.testing.assert_array_equal(found.dwell_seconds, expected)


@pytest.mark.parametrize("rows_at_once", [1, 2, 3])
def test_parts_of_the_comparison_give_the_whole(rows_at_once, monkeypatch):
    sequences = dataclasses.replace(shop(), dwell_seconds=np.arange(8.0) + 1)
    lists = lists_of([[1, 2, 3], [6, 7, 2]], users=[0, 1], ends=[1, 6])
    whole = add_dwell(lists, sequences).dwell_seconds
    monkeypatch.setattr("tfrec.training.later_events._ROWS_AT_ONCE", rows_at_once)
    np.testing.assert_array_equal(add_dwell(lists, sequences).dwell_seconds, whole)
    assert whole is not None
    assert whole.tolist() == [[2.0, 3.0, 4.0], [7.0, 8.0, 0.0]]
