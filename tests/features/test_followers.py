import numpy as np

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.features import followers
from tfrec.features.followers import count_followers
from tfrec.schema import Schema

SCHEMA = Schema(event_types=("view", "cart"), target_event_types=("view",))


def training(histories: list[list[int]]) -> EventSequences:
    return make_sequences(histories, splits=[[0] * len(h) for h in histories])


def test_what_came_next_is_counted_the_most_frequent_first():
    histories = [[0, 1, 0, 2, 0, 1], [0, 1], [2, 2, 1]]
    found = count_followers(training(histories), SCHEMA, 3)
    # Item 0 is index 2: followed three times by item 1 and once by item 2.
    assert found.item_index[2, :3].tolist() == [3, 4, 0]
    assert found.count[2, :3].tolist() == [3.0, 1.0, 0.0]
    assert found.total.tolist() == [0.0, 0.0, 4.0, 1.0, 2.0]
    # An item does not follow itself, nor does what another user does next.
    assert found.item_index[4, :3].tolist() == [2, 3, 0]


def test_only_targets_follow_but_any_event_leads():
    sequences = training([[0, 1, 2]])
    sequences.event_type_index[:] = [2, 3, 2]
    found = count_followers(sequences, SCHEMA, 3)
    assert found.total.tolist() == [0.0, 0.0, 0.0, 1.0, 0.0]
    assert found.item_index[3, 0] == 4


def test_other_splits_count_when_they_are_asked_for():
    sequences = make_sequences([[0, 1, 2, 1]], splits=[[0, 0, 1, 2]])
    train = count_followers(sequences, SCHEMA, 3)
    assert train.total.sum() == 1.0
    both = count_followers(sequences, SCHEMA, 3, splits=("train", "validation"))
    assert both.total.sum() == 2.0


def test_no_more_than_the_most_frequent_are_kept(monkeypatch):
    monkeypatch.setattr(followers, "NUM_FOLLOWERS", 1)
    found = count_followers(training([[0, 1, 0, 2, 0, 2]]), SCHEMA, 3)
    assert found.item_index.shape == (5, 1)
    assert found.item_index[2, 0] == 4
    assert found.total[2] == 3.0  # Of all that followed.


def test_nothing_follows_in_an_empty_log():
    found = count_followers(training([[0]]), SCHEMA, 3)
    assert not found.item_index.any()
    np.testing.assert_array_equal(found.total, np.zeros(5))
