"""What past events say of items: neighbours, and how much in demand they are."""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from tfrec.data.store import SPLIT_INDEX, EventSequences
from tfrec.features.cooccurrence import count_near, count_pairs
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX, Schema

NUM_NEIGHBOURS = 32  # Kept per item and table.
SHRINKAGE = 5.0  # Added to counts below a division: rare pairs prove little.
RECENT_SECONDS = 30 * 86_400


class Neighbours(NamedTuple):
    """The strongest neighbours of every item.

    Attributes:
        item_index: int32 `[num_items + 2, NUM_NEIGHBOURS]`; 0 where there are
            fewer.
        strength: float32, same shape, in 0 to 1.
    """

    item_index: np.ndarray
    strength: np.ndarray


class ItemStatistics(NamedTuple):
    """Statistics of the catalogue up to a moment.

    Attributes:
        next_item: What comes next after an item.
        near: What stands near an item.
        demand: float32 `[num_items + 2, 2]`: log(1 + events of the last 30 days),
            standardised, and how that differs from the log of all events, scaled
            to the same length of time; zeros without times.
    """

    next_item: Neighbours
    near: Neighbours
    demand: np.ndarray


def measure_items(
    sequences: EventSequences,
    schema: Schema,
    num_items: int,
    *,
    splits: tuple[str, ...] = ("train",),
) -> ItemStatistics:
    """Measures items on the target events of some splits.

        next(a, b) = #(b is the next target after a) / (#(a has a next) + s)
        near(a, b) = n(a, b) / sqrt((n(a) + s) (n(b) + s))

    where n is `count_near` and s is `SHRINKAGE`. An item is no neighbour of its own.

    Ranking is trained on validation targets with the statistics of the training
    events: the numbers so know nothing of what they help to predict.
    """
    types = [schema.event_type_index(name) for name in schema.target_event_types]
    chosen = np.isin(sequences.split, [SPLIT_INDEX[name] for name in splits])
    chosen &= np.isin(sequences.event_type_index, types)
    chosen &= sequences.item_index > OOV_INDEX
    items = sequences.item_index[chosen].astype(np.int64)
    users = sequences.user_rows[chosen]
    size = num_items + NUM_SPECIAL_INDICES
    follows = count_pairs(items, users, 1, size)
    near = count_near(items, users, size)
    own = np.asarray(follows.sum(axis=1)).ravel() + SHRINKAGE
    total = np.asarray(near.sum(axis=1)).ravel() + SHRINKAGE
    scale = sp.diags_array(total**-0.5)
    return ItemStatistics(
        _strongest(sp.diags_array(1.0 / own) @ follows, size),
        _strongest(scale @ near @ scale, size),
        _demand(items, sequences.timestamps[chosen], size),
    )


def _demand(items: np.ndarray, timestamps: np.ndarray, size: int) -> np.ndarray:
    if not len(items) or not timestamps.any():
        return np.zeros((size, 2), np.float32)
    newest = timestamps.max()
    recent = timestamps > newest - RECENT_SECONDS
    span = max(float(newest - timestamps.min()), RECENT_SECONDS)
    recent_count = np.bincount(items[recent], minlength=size)
    expected = np.bincount(items, minlength=size) * (RECENT_SECONDS / span)
    logs = np.log1p(recent_count)
    scale = max(float(logs.std()), 1e-3)
    trend = logs - np.log1p(expected)
    return np.stack([(logs - logs.mean()) / scale, trend], axis=1).astype(np.float32)


def _strongest(matrix: sp.csr_matrix, num_rows: int) -> Neighbours:
    entries = sp.coo_array(matrix)
    rows, columns = entries.coords
    values = np.asarray(entries.data, np.float64)
    # Ties go by column, which is the order of training counts.
    order = np.lexsort([columns, -values, rows])
    rows, columns, values = rows[order], columns[order], values[order]
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < NUM_NEIGHBOURS
    shape = (num_rows, NUM_NEIGHBOURS)
    item_index, strength = np.zeros(shape, np.int32), np.zeros(shape, np.float32)
    item_index[rows[kept], place[kept]] = columns[kept]
    strength[rows[kept], place[kept]] = values[kept]
    return Neighbours(item_index, strength)
