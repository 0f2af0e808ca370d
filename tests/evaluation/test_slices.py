import numpy as np

from tfrec.evaluation.slices import (
    head_items,
    history_length_slices,
    popularity_slices,
    seen_slices,
)


def test_head_is_the_fewest_items_with_four_fifths_of_the_events() -> None:
    # 50 + 30 = 80 of 100 events.
    assert head_items(np.array([5, 50, 5, 30, 10])).tolist() == [
        False,
        True,
        False,
        True,
        False,
    ]
    # 79 are too few: the third item is needed.
    assert head_items(np.array([50, 29, 11, 10])).tolist() == [True, True, True, False]


def test_items_as_popular_as_the_last_of_the_head_belong_to_it() -> None:
    assert head_items(np.array([60, 20, 20])).tolist() == [True, True, True]


def test_catalogue_without_events_has_no_head() -> None:
    assert head_items(np.zeros(3, np.int64)).tolist() == [False] * 3


def test_every_positive_is_in_one_popularity_slice() -> None:
    counts = np.array([90, 10, 0])
    slices = popularity_slices(np.array([2, 3, 4, 1]), counts)
    assert {name: mask.tolist() for name, mask in slices.items()} == {
        "head": [True, False, False, False],
        "tail": [False, True, False, False],
        "cold": [False, False, True, False],
        "out_of_catalogue": [False, False, False, True],
    }


def test_history_buckets_have_the_stated_bounds() -> None:
    lengths = np.array([0, 1, 4, 5, 19, 20, 49, 50, 1000])
    slices = history_length_slices(lengths, np.arange(9))
    found = {name: lengths[mask].tolist() for name, mask in slices.items()}
    assert found == {
        "0": [0],
        "1-4": [1, 4],
        "5-19": [5, 19],
        "20-49": [20, 49],
        "50+": [50, 1000],
    }


def test_history_bucket_is_the_one_of_the_query() -> None:
    slices = history_length_slices(np.array([0, 7]), np.array([0, 1, 1]))
    assert slices["5-19"].tolist() == [False, True, True]


def test_seen_positives_are_repeats() -> None:
    slices = seen_slices(np.array([True, False]))
    assert slices["repeat"].tolist() == [True, False]
    assert slices["novel"].tolist() == [False, True]
