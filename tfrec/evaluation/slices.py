"""Parts of the positives that are reported apart."""

import numpy as np

from tfrec.schema import NUM_SPECIAL_INDICES

HEAD_SHARE = 0.8  # Share of the training events that the head items hold.
HISTORY_BUCKETS = ((0, "0"), (1, "1-4"), (5, "5-19"), (20, "20-49"), (50, "50+"))


def head_items(train_counts: np.ndarray, *, share: float = HEAD_SHARE) -> np.ndarray:
    """Says which items are the head of the catalogue.

    The head is the smallest set of most popular items that together hold at
    least `share` of the training events; items as popular as the last of them
    belong to it, so that the order of the catalogue has no say.

    Args:
        train_counts: int `[num_items]`.
        share: In (0, 1].

    Returns:
        bool `[num_items]`; all False if there are no training events.
    """
    descending = np.sort(train_counts)[::-1]
    total = descending.sum()
    if not total:
        return np.zeros(len(train_counts), bool)
    last = int(np.searchsorted(np.cumsum(descending), share * total))
    return train_counts >= max(descending[min(last, len(descending) - 1)], 1)


def popularity_slices(
    positive_items: np.ndarray, train_counts: np.ndarray
) -> dict[str, np.ndarray]:
    """Parts positives by how often training saw their item.

    `head` and `tail` as in `head_items`; `cold` items are in the catalogue but
    have no training event; `out_of_catalogue` can never be hit.

    Args:
        positive_items: int `[num_positives]`, item index.
        train_counts: int `[num_items]`.

    Returns:
        Per slice bool `[num_positives]`.
    """
    columns = positive_items.astype(np.int64) - NUM_SPECIAL_INDICES
    known = columns >= 0
    safe = np.where(known, columns, 0)
    head = known & head_items(train_counts)[safe]
    cold = known & (train_counts[safe] == 0)
    return {
        "head": head,
        "tail": known & ~head & ~cold,
        "cold": cold,
        "out_of_catalogue": ~known,
    }


def history_length_slices(
    history_lengths: np.ndarray, query_of_positive: np.ndarray
) -> dict[str, np.ndarray]:
    """Parts positives by the number of events before their query.

    Args:
        history_lengths: int `[num_queries]`.
        query_of_positive: int `[num_positives]`.

    Returns:
        Per bucket, shortest first, bool `[num_positives]`.
    """
    starts = [start for start, _ in HISTORY_BUCKETS]
    buckets = np.searchsorted(starts, history_lengths, side="right") - 1
    return {
        name: (buckets == i)[query_of_positive]
        for i, (_, name) in enumerate(HISTORY_BUCKETS)
    }


def seen_slices(positive_seen: np.ndarray) -> dict[str, np.ndarray]:
    """Parts positives into repeats (in the history) and novel items.

    Both ranked in the main ranking; the group `novel` of the report is another
    thing: there the history is removed from the list.
    """
    return {"repeat": positive_seen, "novel": ~positive_seen}
