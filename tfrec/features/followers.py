"""What came next after an item, as counts."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.features.cooccurrence import count_pairs
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX, Schema

NUM_FOLLOWERS = 16  # Kept per item.


class Followers(NamedTuple):
    """The most frequent next items of every item.

    Attributes:
        item_index: int32 `[num_items + 2, NUM_FOLLOWERS]`; 0 where there are fewer.
        count: float32, same shape.
        total: float32 `[num_items + 2]`, how often anything came next.
    """

    item_index: np.ndarray
    count: np.ndarray
    total: np.ndarray


def count_followers(
    sequences: EventSequences,
    schema: Schema,
    num_items: int,
    *,
    splits: tuple[str, ...] = ("train",),
) -> Followers:
    """Counts which target event came right after an event of another item.

    Args:
        sequences: The events.
        schema: Says which are targets.
        num_items: Size of the catalogue.
        splits: Whose events count.
    """
    size = num_items + NUM_SPECIAL_INDICES
    chosen = np.isin(sequences.split, [SPLIT_INDEX[name] for name in splits])
    chosen &= sequences.item_index > OOV_INDEX
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    is_target = np.isin(sequences.event_type_index[chosen], types)
    items = sequences.item_index[chosen].astype(np.int64)
    pairs = count_pairs(
        items, sequences.user_rows[chosen], 1, size, is_second=is_target
    )
    entries = sp.coo_array(pairs)
    rows, columns = entries.coords
    values = np.asarray(entries.data, np.float64)
    # Ties go by column, which is the order of training counts.
    order = np.lexsort([columns, -values, rows])
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < NUM_FOLLOWERS
    item_index = np.zeros((size, NUM_FOLLOWERS), np.int32)
    count = np.zeros((size, NUM_FOLLOWERS), np.float32)
    item_index[rows[kept], place[kept]] = columns[kept]
    count[rows[kept], place[kept]] = values[kept]
    total = np.asarray(pairs.sum(axis=1)).ravel().astype(np.float32)
    return Followers(item_index, count, total)
