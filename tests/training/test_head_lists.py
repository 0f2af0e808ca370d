from dataclasses import replace

import numpy as np
import pytest

from tests.training.test_mining import configure, recommender, shop_sequences
from tests.training.test_ranking_validation import lists_of
from tfrec.data.store import TEST, VALIDATION, Impressions
from tfrec.training.head_lists import (
    BestPlace,
    best_place,
    counted_cells,
    find_populations,
    head_cells,
)
from tfrec.training.mining import impression_lists, mine_candidates
from tfrec.training.ranking_lists import RankingLists


def some_lists() -> RankingLists:
    return lists_of([[3.0, 2.0, 1.0]] * 2, [[0, 1, 0], [0, 0, 0]], [1, 1])


def test_a_head_is_about_shown_lists_if_it_is_no_target_and_they_teach_it(tmp_path):
    config = configure(tmp_path)  # Views are the target; carts are the other head.
    lists = some_lists()
    lists = replace(lists, labels=np.zeros((2, 3, 2), np.int8))
    retrieved = {"view": "retrieved", "cart": "retrieved"}
    assert find_populations(config, []) == retrieved
    assert find_populations(config, [lists]) == retrieved  # Nothing was put into it.
    lists.labels[0, 1] = [-1, 1]
    shown = {"view": "retrieved", "cart": "shown"}
    assert find_populations(config, [lists]) == shown
    lists.candidate_index[0, 1] = 0  # An unknown item teaches nothing.
    assert find_populations(config, [lists]) == retrieved


def test_padding_and_what_a_list_was_filled_up_with_does_not_count():
    lists = some_lists()
    lists.candidate_index[0, 2] = 0
    lists.retrieval_scores[1, 0] = -1e4
    found = counted_cells(lists, position_bias="none")
    assert found.tolist() == [[True, True, False], [False, True, True]]


def test_where_places_are_taken_out_only_the_best_place_counts():
    lists = replace(
        some_lists(),
        positions=np.array([[1, 2, 3], [2, 1, 0]], np.int32),
        propensities=np.array([[0.8, 0.4, 0.3], [np.nan, 0.79, 0.5]], np.float32),
    )
    first = [[True, False, False], [False, True, False]]
    for bias in ("examination", "propensity"):
        assert counted_cells(lists, position_bias=bias).tolist() == first
    assert counted_cells(lists, position_bias="none").all()
    # Beside lists with a better place none of these is the best.
    better = BestPlace(0, 1.0)
    for bias in ("examination", "propensity"):
        assert not counted_cells(lists, position_bias=bias, best=better).any()
    assert best_place(lists) == (1, pytest.approx(0.8))
    assert best_place(some_lists()) == (0, 0.0)
    # Retrieved lists have no places: all of them count.
    assert counted_cells(some_lists(), position_bias="examination").all()


def test_the_best_place_is_the_smallest_that_a_known_item_was_logged_in():
    positions = np.array([[2, 3, 4], [0, 3, 4]], np.int32)
    propensities = np.array([[0.9, 0.4, 0.3], [0.0, 0.41, np.nan]], np.float32)
    lists = replace(some_lists(), positions=positions, propensities=propensities)
    found = counted_cells(lists, position_bias="examination")
    assert found.tolist() == [[True, False, False], [False, False, False]]
    lists.candidate_index[0, 0] = 0  # An unknown item.
    second = [[False, True, False], [False, True, False]]
    for bias in ("examination", "propensity"):
        assert counted_cells(lists, position_bias=bias).tolist() == second
    assert best_place(lists) == (3, pytest.approx(0.41))
    nowhere = replace(lists, positions=0 * positions, propensities=0 * propensities)
    for bias in ("examination", "propensity"):
        assert not counted_cells(nowhere, position_bias=bias).any()


def test_undefined_outcomes_do_not_count():
    labels = np.array([[[1, -1], [0, 0], [-1, 1]]], np.int8)
    cells = np.array([[True, True, True]])
    assert head_cells(labels, cells, 0).tolist() == [0, 1]
    assert head_cells(labels, cells, 1).tolist() == [1, 2]
    assert head_cells(labels, ~cells, 1).tolist() == []


def test_lists_of_another_split_are_those_of_its_targets(tmp_path):
    sequences = shop_sequences()
    sequences.split[-1] = TEST
    config = configure(tmp_path)
    found = mine_candidates(config, sequences, recommender(), split=TEST)
    assert found.history_ends.tolist() == [5]
    usual = mine_candidates(config, sequences, recommender())
    assert usual.history_ends.tolist() == [2, 3]
    fewer = mine_candidates(config, sequences, recommender(), max_lists=1)
    assert fewer.num_lists == 1


@pytest.mark.parametrize(("split", "expected"), [(VALIDATION, 4), (TEST, 2)])
def test_shown_lists_of_another_split_are_drawn_by_seed(tmp_path, split, expected):
    sequences = shop_sequences()
    impressions = Impressions(
        user_ids=np.array(["user 0"] * 6, object),
        timestamps=np.full(6, sequences.timestamps[3]),
        split=np.array([VALIDATION] * 4 + [TEST] * 2, np.int8),
        offsets=np.arange(7),
        item_index=np.arange(2, 8, dtype=np.int32),
        position=np.ones(6, np.int32),
        propensity=np.ones(6, np.float32),
        event_type_index=np.zeros(6, np.int32),
        query_text=np.full(6, "", object),
        context={},
    )

    def find(max_lists: int | None) -> list[int]:
        lists = impression_lists(
            configure(tmp_path),
            sequences,
            impressions,
            recommender(),
            split=split,
            max_lists=max_lists,
        )
        return lists.candidate_index[:, 0].tolist()

    everything = find(None)
    assert len(everything) == expected
    assert find(1) == find(1)
    assert set(find(1)) < set(everything)
