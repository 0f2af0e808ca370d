"""Ranks of positives in the full catalogue; ties count against the scorer."""

from dataclasses import dataclass

import numpy as np

from tfrec.evaluation.protocols import (
    EvaluationQueries,
    EventSequences,
    history_events,
    ragged_ranges,
)
from tfrec.schema import NUM_SPECIAL_INDICES

MISSED_RANK = np.iinfo(np.int32).max  # Rank of a positive that is never shown.


@dataclass(frozen=True)
class RankingTask:
    """A batch of queries, ready to be ranked by any number of scorers.

    Attributes:
        positive_rows: int64 `[num_positives]`, row of the batch; ascending.
        positive_columns: int64 `[num_positives]`, item index - 2; negative for
            an item outside the catalogue.
        positive_seen: bool `[num_positives]`, True if the history holds the item.
        seen_rows: int64 `[num_seen]`, row of the batch; ascending.
        seen_columns: int64 `[num_seen]`, the distinct catalogue items of each
            row's history.
    """

    positive_rows: np.ndarray
    positive_columns: np.ndarray
    positive_seen: np.ndarray
    seen_rows: np.ndarray
    seen_columns: np.ndarray


@dataclass(frozen=True)
class PositiveRanks:
    """1-based ranks of the positives of a batch; `MISSED_RANK` is a miss.

    Attributes:
        all: int32 `[num_positives]`, among the whole catalogue.
        novel: int32 `[num_positives]`, among the items that the history does
            not hold; a positive that it holds is a miss.
    """

    all: np.ndarray
    novel: np.ndarray


def build_ranking_task(
    sequences: EventSequences,
    queries: EvaluationQueries,
    rows: np.ndarray,
    *,
    num_items: int,
) -> RankingTask:
    """Collects positives and seen items of the queries `rows`.

    Args:
        sequences: Where histories are read.
        queries: Queries and their positives.
        rows: int `[batch_size]`, rows of `queries`.
        num_items: Items of the catalogue.
    """
    offsets, positions = ragged_ranges(
        queries.positive_offsets[rows], queries.positive_offsets[rows + 1]
    )
    positive_rows = np.repeat(np.arange(len(rows)), np.diff(offsets))
    columns = queries.positive_items[positions].astype(np.int64) - NUM_SPECIAL_INDICES
    offsets, events = history_events(sequences, queries, rows)
    seen_rows = np.repeat(np.arange(len(rows)), np.diff(offsets))
    seen = sequences.item_index[events].astype(np.int64) - NUM_SPECIAL_INDICES
    known = seen >= 0
    keys = np.unique(seen_rows[known] * num_items + seen[known])
    positive_keys = positive_rows * num_items + columns
    return RankingTask(
        positive_rows=positive_rows,
        positive_columns=columns,
        positive_seen=np.isin(positive_keys, keys) & (columns >= 0),
        seen_rows=keys // num_items,
        seen_columns=keys % num_items,
    )


def rank_positives(scores: np.ndarray, task: RankingTask) -> PositiveRanks:
    """Ranks every positive, in the whole catalogue and among novel items.

        rank = 1 + #(items with a greater score) + #(other items with an equal one)

    The positives of one query are places in a single ranked list: another
    positive above pushes one down like any other item. Where several positives
    of a query share a score they take the last places of that tie, each its
    own. A constant scorer thus ranks a single positive last.

    Args:
        scores: float32 `[batch_size, num_items]`, without NaN.
        task: The positives and seen items of the same rows.

    Returns:
        Ranks; items outside the catalogue and items scored -inf are misses.

    References:
        - McSherry and Najork, "Computing Information Retrieval Performance
          Measures Efficiently in the Presence of Tied Scores", ECIR 2008.
    """
    known = np.flatnonzero(task.positive_columns >= 0)
    rows, columns = task.positive_rows[known], task.positive_columns[known]
    positive_scores = scores[rows, columns]
    shown = positive_scores > -np.inf
    slots = places_within_rows(rows)
    seen_scores = scores[task.seen_rows, task.seen_columns]
    not_below = np.zeros(len(known), np.int64)  # Items with a score >= the positive's.
    seen_not_below = np.zeros(len(known), np.int64)
    for slot in range(int(slots.max(initial=-1)) + 1):
        chosen = np.flatnonzero(slots == slot)
        not_below[chosen] = _count_not_below(
            scores, rows[chosen], positive_scores[chosen]
        )
        seen_not_below[chosen] = _count_seen_not_below(
            seen_scores, task.seen_rows, rows[chosen], positive_scores[chosen]
        )
    ranks = _part_tied_positives(rows, not_below)
    every = np.full(len(task.positive_rows), MISSED_RANK, np.int32)
    every[known[shown]] = ranks[shown]
    novel = every.copy()
    unseen = shown & ~task.positive_seen[known]
    novel_ranks = np.full(len(known), MISSED_RANK, np.int64)
    novel_ranks[unseen] = _part_tied_positives(
        rows[unseen], (not_below - seen_not_below)[unseen]
    )
    novel[known] = novel_ranks
    return PositiveRanks(every, novel)


def check_scores(
    scores: np.ndarray, *, name: str, num_queries: int, num_items: int
) -> np.ndarray:
    """Checks what the scorer `name` returned and gives it as float32.

    Args:
        scores: float, expected `[num_queries, num_items]`.
        name: Of the scorer, for the error.
        num_queries: Rows that were asked for.
        num_items: Items of the catalogue.

    Raises:
        ValueError: If the shape is wrong or a score is NaN.
    """
    if scores.shape != (num_queries, num_items):
        raise ValueError(
            f"The scorer '{name}' must return scores of shape [rows, num_items]="
            f"{(num_queries, num_items)}. Received: scores.shape={scores.shape}."
        )
    if np.isnan(scores).any():
        row, column = np.argwhere(np.isnan(scores))[0]
        raise ValueError(
            f"The scorer '{name}' returned NaN, expected numbers (or -inf for items "
            f"never to be shown). Received: {int(np.isnan(scores).sum())} NaN, the "
            f"first in row {row} for the item index {column + NUM_SPECIAL_INDICES}. "
            "Look for diverged weights or a division by zero."
        )
    return np.ascontiguousarray(scores, np.float32)


def hide_seen(scores: np.ndarray, task: RankingTask) -> None:
    """Sets the score of each row's history items to -inf, in place.

    Args:
        scores: float `[batch_size, num_items]`.
        task: The seen items of the same rows.
    """
    scores[task.seen_rows, task.seen_columns] = -np.inf


def places_within_rows(rows: np.ndarray) -> np.ndarray:
    """Counts 0, 1, … within each run of equal, ascending `rows`, int `[num_rows]`."""
    starts = np.searchsorted(rows, rows)
    return np.arange(len(rows)) - starts


def _count_not_below(
    scores: np.ndarray, rows: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Counts per entry the items of row `rows[i]` that score >= `thresholds[i]`."""
    table = scores if len(rows) == len(scores) else scores[rows]
    return np.count_nonzero(table >= thresholds[:, None], axis=1)


def _count_seen_not_below(
    seen_scores: np.ndarray,
    seen_rows: np.ndarray,
    rows: np.ndarray,
    thresholds: np.ndarray,
) -> np.ndarray:
    """Like `_count_not_below`, among the seen items; `rows` are distinct."""
    if not len(rows) or not len(seen_rows):
        return np.zeros(len(rows), np.int64)
    threshold_of_row = np.full(max(seen_rows[-1], rows[-1]) + 1, np.inf, np.float32)
    threshold_of_row[rows] = thresholds
    not_below = seen_scores >= threshold_of_row[seen_rows]
    counts = np.bincount(seen_rows[not_below], minlength=len(threshold_of_row))
    return counts[rows]


def _part_tied_positives(rows: np.ndarray, worst_ranks: np.ndarray) -> np.ndarray:
    """Gives tied positives of one query the last places of their tie, one each."""
    order = np.lexsort((worst_ranks, rows))
    same = (np.diff(rows[order]) == 0) & (np.diff(worst_ranks[order]) == 0)
    if not same.any():
        return worst_ranks
    group = np.concatenate([[0], np.cumsum(~same)])
    last = np.searchsorted(group, group, side="right") - 1
    ranks = worst_ranks.copy()
    ranks[order] -= last - np.arange(len(group))
    return ranks
