import dataclasses

import numpy as np
import pytest

from tests.models.toys import toy_model
from tests.synthetic import make_sequences
from tests.training.conftest import make_config
from tfrec.data.store import EventSequences, Impressions
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.mining import impression_lists, mine_candidates
from tfrec.training.ranking import with_positives

NUM_ITEMS = 8


def configure(tmp_path, *, data=None, **ranking):
    base = make_config(tmp_path)
    data = {
        **base.data.model_dump(),
        "event_types": ["view", "cart"],
        "target_event_types": ["view"],
        "head_event_types": ["view", "cart"],
        "event_columns": {"event_type": "type", "timestamp": "time"},
        **(data or {}),
    }
    ranking = {"num_candidates": NUM_ITEMS, **ranking}
    return make_config(tmp_path, data=data, ranking=ranking)


def recommender(num_candidates: int = NUM_ITEMS) -> TrainedRecommender:
    return TrainedRecommender(toy_model(), None, num_candidates=num_candidates)


def shop_sequences():
    """Training: 0, 1. Validation session: view 2, view 3, cart 2; then view 4 later."""
    sequences = make_sequences(
        [[0, 1, 2, 3, 2, 4]],
        event_types=[[0, 0, 0, 0, 1, 0]],
        splits=[[0, 0, 1, 1, 1, 1]],
    )
    sequences.session_index[:] = [0, 0, 1, 1, 1, 2]
    return sequences


def label_of(lists, row: int, item: int, head: int) -> int:
    place = np.flatnonzero(lists.candidate_index[row] == item + 2)
    return int(lists.labels[row, place[0], head])


def test_labels_are_the_target_itself_and_what_follows_in_its_session(tmp_path):
    lists = mine_candidates(configure(tmp_path), shop_sequences(), recommender())
    # One query per validation view: of 2, of 3 and of 4.
    assert lists.history_ends.tolist() == [2, 3, 5]
    view, cart = 0, 1
    for row, viewed in enumerate([2, 3, 4]):
        labels = [label_of(lists, row, item, view) for item in range(NUM_ITEMS)]
        assert labels == [int(item == viewed) for item in range(NUM_ITEMS)]
    # Item 2 is carted after both views of its session, and not in the next one.
    carted = [[label_of(lists, row, i, cart) for i in range(8)] for row in range(3)]
    assert carted == [[0, 0, 1, 0, 0, 0, 0, 0]] * 2 + [[0] * 8]
    assert lists.num_relevant.tolist() == [1, 1, 1]


STAGES = {
    "event_types": ["view", "cart", "purchase"],
    "head_event_types": ["purchase", "view", "cart"],
}


def test_a_stronger_event_counts_for_weaker_heads_on_lists_of_both_origins(tmp_path):
    """Item 2 is bought without a logged cart, item 3 is only put into it."""
    config = configure(tmp_path, data=STAGES)
    sequences = make_sequences(
        [[0, 1, 2, 3, 2, 3]],
        event_types=[[0, 0, 0, 0, 2, 1]],
        splits=[[0, 0, 1, 1, 1, 1]],
    )
    found = mine_candidates(config, sequences, recommender())
    shown = Impressions(
        user_ids=np.array(["user 0"], object),
        timestamps=sequences.timestamps[2:3],
        split=np.ones(1, np.int8),
        offsets=np.array([0, 3]),
        item_index=np.array([4, 5, 6], np.int32),
        position=np.arange(1, 4, dtype=np.int32),
        propensity=np.ones(3, np.float32),
        event_type_index=np.array([4, 3, 0], np.int32),
        query_text=np.full(1, "", object),
        context={},
    )
    also = impression_lists(config, sequences, shown, recommender())
    purchase, view, cart = 0, 1, 2
    for lists in (found, also):
        of_items = [[label_of(lists, 0, i, h) for i in (2, 3, 4)] for h in range(3)]
        assert of_items[purchase] == [1, 0, 0]
        assert of_items[cart] == [1, 1, 0]
    # The target is the next view itself, and undefined where lists were shown.
    assert [label_of(found, 0, i, view) for i in (2, 3, 4)] == [1, 0, 0]
    assert [label_of(found, 1, i, view) for i in (2, 3, 4)] == [0, 1, 0]
    assert [label_of(also, 0, i, view) for i in (2, 3, 4)] == [-1, -1, -1]


def test_a_stronger_target_counts_for_a_weaker_head_that_is_none(tmp_path):
    data = {**STAGES, "target_event_types": ["purchase"]}
    sequences = make_sequences([[0, 2]], event_types=[[0, 2]], splits=[[0, 1]])
    lists = mine_candidates(configure(tmp_path, data=data), sequences, recommender())
    assert [label_of(lists, 0, 2, h) for h in range(3)] == [1, 1, 1]
    assert [label_of(lists, 0, 3, h) for h in range(3)] == [0, 0, 0]


def test_heads_of_targets_exclude_one_another(tmp_path):
    """Of five stars, four are not reached as well: P(4) + P(5) is a probability."""
    stars = ["3", "4", "5"]
    data = {
        "event_types": stars,
        "target_event_types": stars[1:],
        "head_event_types": stars,
    }
    sequences = make_sequences(
        [[0, 1, 2], [0, 1, 3]],
        event_types=[[0, 0, 2], [0, 0, 1]],
        splits=[[0, 0, 1], [0, 0, 1]],
    )
    lists = mine_candidates(configure(tmp_path, data=data), sequences, recommender())
    # Three or more, which is no target; exactly four; exactly five.
    assert [label_of(lists, 0, 2, h) for h in range(3)] == [1, 0, 1]
    assert [label_of(lists, 1, 3, h) for h in range(3)] == [1, 1, 0]


def test_labels_never_look_at_a_later_split(tmp_path):
    """Leave-one-out: the test event ends the session of the validation event."""
    sequences = make_sequences(
        [[0, 1, 2, 2]], event_types=[[0, 0, 0, 1]], splits=[[0, 0, 1, 2]]
    )
    cart = 1
    config = configure(tmp_path, data={"target_event_types": ["view"]})
    lists = mine_candidates(config, sequences, recommender())
    assert label_of(lists, 0, 2, cart) == 0
    sequences.split[2:] = 2
    lists = mine_candidates(config, sequences, recommender(), split=2)
    assert label_of(lists, 0, 2, cart) == 1


def test_candidates_are_those_of_retrieval_in_its_order(tmp_path):
    lists = mine_candidates(configure(tmp_path), shop_sequences(), recommender(3))
    assert lists.candidate_index.shape == (3, 3)
    assert (np.diff(lists.retrieval_scores, axis=1) <= 0).all()


def test_positives_that_were_not_retrieved_are_counted_but_not_learned(tmp_path):
    lists = mine_candidates(configure(tmp_path), shop_sequences(), recommender(1))
    found = lists.relevant.any(axis=1)
    assert lists.num_relevant.sum() == 3
    assert not found.all(), "the toy model retrieved all; the test tests nothing"
    assert with_positives(lists).num_lists == found.sum()


def test_number_of_queries_is_bounded_by_seed(tmp_path):
    config = configure(tmp_path, max_training_queries=2)
    first, second = (
        mine_candidates(config, shop_sequences(), recommender()) for _ in range(2)
    )
    assert first.num_lists == 2
    np.testing.assert_array_equal(first.history_ends, second.history_ends)


def test_history_items_are_no_candidates_where_seen_ones_are_excluded(tmp_path):
    config = configure(tmp_path)
    evaluation = config.evaluation.model_copy(update={"exclude_seen": True})
    config = config.model_copy(update={"evaluation": evaluation})
    lists = mine_candidates(config, shop_sequences(), recommender(4))
    seen = [{2, 3}, {2, 3, 4}, {2, 3, 4, 5}]
    for row, items in enumerate(seen):
        assert not items & set(lists.candidate_index[row].tolist())


def test_impressions_are_labelled_by_the_strongest_event_that_followed(tmp_path):
    sequences = shop_sequences()
    impressions = Impressions(
        user_ids=np.array(["user 0", "user 0", "nobody"], object),
        timestamps=np.array([sequences.timestamps[3], 0, 5]),
        split=np.array([1, 0, 1], np.int8),
        offsets=np.array([0, 3, 4, 5]),
        item_index=np.array([4, 5, 1, 2, 2], np.int32),
        position=np.arange(7, 12, dtype=np.int32),
        propensity=np.array([1.0, 0.5, 0.25, 1.0, 1.0], np.float32),
        event_type_index=np.array([3, 2, 0, 0, 0], np.int32),
        query_text=np.full(3, "", object),
        context={"device": np.array([5, 6, 7], np.int32)},
    )
    lists = impression_lists(configure(tmp_path), sequences, impressions, recommender())
    assert lists.context["device"].tolist() == [5]
    # The training list and that of an unknown shopper are left out.
    assert lists.num_lists == 1
    assert lists.history_ends.tolist() == [3]  # Strictly before the list was shown.
    assert lists.candidate_index.tolist() == [[4, 5, 0]]  # Unknown items are no item.
    # Views happen without impressions: undefined. Carted: only the first.
    assert lists.labels[0, :, 0].tolist() == [-1, -1, -1]
    assert lists.labels[0, :2, 1].tolist() == [1, 0]
    # What was shown keeps its place and its logged chance of being seen.
    assert lists.positions is not None
    assert lists.positions.tolist() == [[7, 8, 9]]
    assert lists.propensities is not None
    np.testing.assert_allclose(lists.propensities, [[1.0, 0.5, 0.25]])


def one_impression(sequences: EventSequences, *, split: int) -> Impressions:
    return Impressions(
        user_ids=np.array(["user 0"], object),
        timestamps=sequences.timestamps[3:4],
        split=np.array([split], np.int8),
        offsets=np.array([0, 1]),
        item_index=np.array([4], np.int32),
        position=np.zeros(1, np.int32),
        propensity=np.ones(1, np.float32),
        event_type_index=np.array([3], np.int32),
        query_text=np.full(1, "", object),
        context={},
    )


def test_context_and_search_of_impressions_are_those_of_the_list(tmp_path):
    context = {
        "country": np.full(6, 4, np.int32),
        "hour": np.full(6, 7.0, np.float32),
    }
    sequences = dataclasses.replace(shop_sequences(), context=context)
    told = {
        "country": np.array([3], np.int32),
        "hour": np.array([np.nan], np.float32),
    }
    shown = one_impression(sequences, split=1)
    shown = dataclasses.replace(shown, context=told)
    lists = impression_lists(configure(tmp_path), sequences, shown, recommender())
    # Not that of the event which stands beside it in the log.
    assert lists.context["country"].tolist() == [3]
    assert np.isnan(lists.context["hour"]).all()


def test_log_with_impressions_of_other_splits_only_has_no_lists(tmp_path):
    sequences = shop_sequences()
    shown = one_impression(sequences, split=0)
    lists = impression_lists(configure(tmp_path), sequences, shown, recommender())
    assert lists.num_lists == 0
    assert lists.query_embeddings.shape == (0, 8)


def test_log_without_validation_targets_has_no_lists(tmp_path):
    sequences = make_sequences([[0, 1], [2, 3]], splits=[[0, 0], [0, 0]])
    assert mine_candidates(configure(tmp_path), sequences, recommender()).num_lists == 0


def test_too_few_validation_targets_say_what_to_do(tmp_path, cycle_dataset):
    from tfrec.training.ranking import _check_lists

    lists = mine_candidates(configure(tmp_path), shop_sequences(), recommender())
    with pytest.raises(ValueError, match=r"too few validation targets.*ranking: null"):
        _check_lists(lists, lists.take(np.arange(0)))
