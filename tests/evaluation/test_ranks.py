import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.evaluation.protocols import build_queries
from tfrec.evaluation.ranks import (
    MISSED_RANK,
    PositiveRanks,
    build_ranking_task,
    check_scores,
    hide_seen,
    rank_positives,
)
from tfrec.schema import Schema


def rank(
    scores: list[list[float]],
    histories: list[list[int]],
    positives: list[list[int]],
    single_type: Schema,
) -> PositiveRanks:
    """Ranks; items are catalogue rows, -1 is outside the catalogue."""
    users = [h + p for h, p in zip(histories, positives, strict=True)]
    splits = [
        [0] * len(h) + [2] * len(p) for h, p in zip(histories, positives, strict=True)
    ]
    sequences = make_sequences(users, splits=splits)
    queries = build_queries(sequences, single_type, split="test", targets="window")
    table = np.array(scores, np.float32)
    task = build_ranking_task(
        sequences, queries, np.arange(len(users)), num_items=table.shape[1]
    )
    return rank_positives(table, task)


def naive_ranks(
    scores: np.ndarray, positives: list[int], excluded: set[int]
) -> list[int]:
    """Sorts the list; among equal scores, positives come last, in their order."""
    order = sorted(
        (i for i in range(len(scores)) if i not in excluded),
        key=lambda i: (
            -scores[i],
            i in positives,
            positives.index(i) if i in positives else 0,
        ),
    )
    return [order.index(p) + 1 if p in order else MISSED_RANK for p in positives]


def test_ranks_equal_a_sorted_list_with_ties_against_the_positives(
    single_type: Schema,
) -> None:
    random = np.random.default_rng(3)
    num_items, scores, histories, positives = 12, [], [], []
    for _ in range(40):
        scores.append(random.integers(0, 5, num_items).astype(float))  # Many ties.
        histories.append(random.integers(0, num_items, random.integers(0, 8)).tolist())
        chosen = random.permutation(num_items)[: random.integers(1, 5)]
        positives.append(chosen.tolist())
    found = rank(scores, histories, positives, single_type)
    every, novel = [], []
    for row, items, history in zip(scores, positives, histories, strict=True):
        every += naive_ranks(row, items, set())
        fresh = [p for p in items if p not in history]
        fresh_ranks = iter(naive_ranks(row, fresh, set(history)))
        novel += [MISSED_RANK if p in history else next(fresh_ranks) for p in items]
    # Tied positives may swap places among themselves.
    ends = np.cumsum([len(p) for p in positives])[:-1]
    for name, expected in (("all", every), ("novel", novel)):
        for ours, theirs in zip(
            np.split(getattr(found, name), ends), np.split(expected, ends), strict=True
        ):
            assert sorted(ours.tolist()) == sorted(theirs.tolist())


def test_constant_scores_put_the_positive_last(single_type: Schema) -> None:
    found = rank([[1.0] * 5], [[0, 1]], [[3]], single_type)
    assert found.all.tolist() == [5]
    assert found.novel.tolist() == [3]  # Items 2, 3 and 4 are left.


def test_tied_positives_take_the_last_places_one_each(single_type: Schema) -> None:
    found = rank([[2.0, 1.0, 1.0, 1.0, 0.0]], [[4]], [[1, 3]], single_type)
    assert sorted(found.all.tolist()) == [3, 4]


def test_positives_push_each_other_down_like_other_items(single_type: Schema) -> None:
    found = rank([[3.0, 2.0, 1.0]], [[2]], [[0, 1]], single_type)
    assert found.all.tolist() == [1, 2]


def test_what_cannot_be_shown_is_a_miss(single_type: Schema) -> None:
    hidden = float("-inf")
    found = rank([[hidden, 1.0, 2.0]], [[1]], [[0, -1, 2]], single_type)
    assert found.all.tolist() == [MISSED_RANK, MISSED_RANK, 1]
    assert found.novel.tolist() == [MISSED_RANK, MISSED_RANK, 1]


def test_repeats_are_misses_among_novel_items_only(single_type: Schema) -> None:
    found = rank([[3.0, 2.0, 1.0]], [[0, 0, -1]], [[0, 2]], single_type)
    assert found.all.tolist() == [1, 3]
    assert found.novel.tolist() == [MISSED_RANK, 2]


def test_hidden_seen_items_have_no_score(single_type: Schema) -> None:
    sequences = make_sequences([[0, 2, 1], [2, 2, 0]])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    task = build_ranking_task(sequences, queries, np.arange(2), num_items=3)
    scores = np.ones((2, 3), np.float32)
    hide_seen(scores, task)
    assert np.isfinite(scores).tolist() == [[False, True, False], [True, True, False]]


def test_nan_names_scorer_and_item() -> None:
    scores = np.zeros((2, 3))
    scores[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"'mine' returned NaN.*row 1 .* index 4"):
        check_scores(scores, name="mine", num_queries=2, num_items=3)


def test_wrong_shape_names_scorer_and_shapes() -> None:
    with pytest.raises(ValueError, match=r"'mine' must .*\(2, 3\).*\(2, 5\)"):
        check_scores(np.zeros((2, 5)), name="mine", num_queries=2, num_items=3)
