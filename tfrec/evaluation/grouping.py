"""Means of the metrics over groups and slices of the positives."""

import numpy as np

from tfrec.data.store import EventSequences
from tfrec.evaluation.metrics import metric_names, query_metrics
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.evaluation.slices import (
    history_length_slices,
    popularity_slices,
    seen_slices,
)

Slices = dict[str, dict[str, np.ndarray]]  # Kind, slice, bool [num_positives].


def group_values(
    ranks: np.ndarray,
    queries: EvaluationQueries,
    seen: np.ndarray,
    *,
    ks: tuple[int, ...],
    exclude_seen: bool,
) -> dict[str, np.ndarray]:
    """Computes the values per query of every group that has positives.

    Args:
        ranks: int `[2, num_positives]`, in the main ranking and among novel items.
        queries: Whose positives are ranked.
        seen: bool `[num_positives]`, True if the history holds the item.
        ks: List lengths.
        exclude_seen: Leaves out the group `repeat`, which the list cannot hold.

    Returns:
        Per group float `[num_queries, num_metrics]`, NaN for queries without a
        positive in the group.
    """
    everything = np.ones(len(seen), bool)
    groups = {"all": (ranks[0], everything), "novel": (ranks[1], ~seen)}
    if not exclude_seen:
        groups["repeat"] = (ranks[0], seen)
    return {
        name: query_metrics(
            group_ranks[mask],
            queries.query_of_positive[mask],
            ks=ks,
            num_queries=queries.num_queries,
        )
        for name, (group_ranks, mask) in groups.items()
        if mask.any()
    }


def build_slices(
    sequences: EventSequences,
    queries: EvaluationQueries,
    seen: np.ndarray,
    *,
    train_counts: np.ndarray,
) -> Slices:
    """Parts the positives in every way that is reported.

    Args:
        sequences: All events.
        queries: Whose positives are parted.
        seen: bool `[num_positives]`, True if the history holds the item.
        train_counts: int `[num_items]`.
    """
    return {
        "item_popularity": popularity_slices(queries.positive_items, train_counts),
        "history_length": history_length_slices(
            queries.history_lengths(sequences), queries.query_of_positive
        ),
        "seen_before": seen_slices(seen),
    }


def slice_means(
    ranks: np.ndarray,
    queries: EvaluationQueries,
    slices: Slices,
    *,
    ks: tuple[int, ...],
) -> dict[str, dict[str, dict[str, float]]]:
    """Averages every metric over the queries with a positive in the slice."""
    names = metric_names(ks)

    def means(mask: np.ndarray) -> dict[str, float]:
        query_of_positive = queries.query_of_positive[mask]
        values = query_metrics(
            ranks[mask], query_of_positive, ks=ks, num_queries=queries.num_queries
        )
        return dict(zip(names, np.nanmean(values, axis=0).tolist(), strict=True))

    return {
        kind: {name: means(mask) for name, mask in parts.items() if mask.any()}
        for kind, parts in slices.items()
    }


def slice_sizes(slices: Slices) -> dict[str, dict[str, int]]:
    """Counts the positives of every slice."""
    return {
        kind: {name: int(mask.sum()) for name, mask in parts.items()}
        for kind, parts in slices.items()
    }
