"""How much of the future training knew: checks of a split against the clock."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.data.store import SPLIT_INDEX, TRAIN, EventSequences
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.evaluation.tables import ReportTable
from tfrec.schema import OOV_INDEX, Schema


def measure_leakage(
    sequences: EventSequences, queries: EvaluationQueries, schema: Schema
) -> dict[str, Any]:
    """Compares the positives of an evaluation with the events of training.

    The cut is the time of the newest training event of anybody. Shares are of the
    positives, or of the users, that are evaluated:

    - `younger_items`: positives whose item nobody met at or before the cut;
    - `unknown_items`: positives outside of the catalogue, whose age nobody knows;
      they are in no other share of items;
    - `users_on_both_sides`: users with training events, too;
    - `before_cut`: positives earlier than the cut, so that training knew events of
      others that came later.

    Args:
        sequences: All events.
        queries: What is evaluated.
        schema: Says which events are targets, and whether there are times.

    Returns:
        `num_positives`, `num_users`, `cut` (unix seconds) and the shares. What needs
        times, or anything to evaluate, is None without.
    """
    training = sequences.split == TRAIN
    trained = np.zeros(sequences.num_users, bool)
    trained[sequences.user_rows[training]] = True
    known = queries.positive_items != OOV_INDEX
    result: dict[str, Any] = {
        "num_positives": queries.num_positives,
        "num_users": queries.num_queries,
        "cut": None,
        "younger_items": None,
        "unknown_items": _share(~known),
        "users_on_both_sides": _share(trained[queries.user_rows]),
        "before_cut": None,
    }
    if not schema.has_timestamps or not training.any():
        return result
    cut = int(sequences.timestamps[training].max())
    first = _first_times(sequences)[queries.positive_items]
    times = _positive_times(sequences, queries, schema)
    return {
        **result,
        "cut": cut,
        "younger_items": _share(known & (first > cut)),
        "before_cut": _share(times < cut),
    }


def _share(marks: np.ndarray) -> float | None:
    return float(marks.mean()) if len(marks) else None


def _first_times(sequences: EventSequences) -> np.ndarray:
    """Returns int64 by item index: when anybody first met the item."""
    size = int(sequences.item_index.max(initial=OOV_INDEX)) + 1
    first = np.full(size, np.iinfo(np.int64).max)
    np.minimum.at(first, sequences.item_index, sequences.timestamps)
    return first


def _positive_times(
    sequences: EventSequences, queries: EvaluationQueries, schema: Schema
) -> np.ndarray:
    """Returns int64 `[num_positives]`: the first target event of each positive."""
    if queries.targets == "next":
        return queries.request_timestamps[queries.query_of_positive]
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    is_target = np.isin(sequences.event_type_index, types)
    events = np.flatnonzero(is_target & (sequences.split == SPLIT_INDEX[queries.split]))
    size = int(sequences.item_index.max(initial=OOV_INDEX)) + 1
    keys = sequences.user_rows[events].astype(np.int64) * size
    keys += sequences.item_index[events]
    # The first of equal keys is the oldest: a user's events are in order of time.
    distinct, place = np.unique(keys, return_index=True)
    users = queries.user_rows[queries.query_of_positive].astype(np.int64)
    wanted = users * size + queries.positive_items
    return sequences.timestamps[events[place[np.searchsorted(distinct, wanted)]]]


def leakage_table(leakage: Mapping[str, Any]) -> ReportTable:
    """Builds the table of the figures, each with its meaning."""
    rows = [
        [name, _percent(leakage[key]), f"{leakage[whole]:,}"]
        for key, whole, name in _ROWS
    ]
    return ReportTable("Leakage", ["what", "share", "of"], rows)


def describe_leakage(leakage: Mapping[str, Any], *, split: str) -> str:
    """Says in plain words what the figures mean.

    Args:
        leakage: From `measure_leakage`.
        split: `test` or `validation`.
    """
    before = leakage["before_cut"]
    if before is None:
        return (
            "The log has no times: whether training knew events that came after the "
            f"{split} targets cannot be said."
        )
    if before == 0:
        return (
            f"No {split} target is earlier than the newest training event: training "
            "knew nothing of the time that it is asked for."
        )
    return (
        f"{before:.1%} of the {split} targets are earlier than the newest training "
        "event: for them training knew what others did later, such as which items "
        "became popular. In a shop that is the future, so figures of this split are "
        "for comparison with others of the same split; `by_time` tells what to expect."
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


_ROWS = (
    (
        "before_cut",
        "num_positives",
        "targets earlier than the newest training event of anybody",
    ),
    ("younger_items", "num_positives", "targets whose item nobody had met by then"),
    ("unknown_items", "num_positives", "targets whose item is not in the catalogue"),
    ("users_on_both_sides", "num_users", "users who have training events, too"),
)
