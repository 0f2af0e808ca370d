"""A prepared dataset whose catalogue has changed since the training."""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from tfrec.data.catalogue import FIRST_TIMESTAMP
from tfrec.data.store import (
    ITEM_ID,
    RETIRED,
    TRAIN_COUNT,
    PreparedDataset,
)

_NUM_SHOWN = 20  # Ids in a message.


@dataclass(frozen=True)
class CatalogueChange:
    """A catalogue after a change, and how many items were concerned.

    Attributes:
        items: The table, see `RefreshedDataset`.
        num_added: Items that were not known.
        num_changed: Known items with another title or attribute.
        num_removed: Items that are not recommended any more.
        num_restored: Items that were removed before, and are back.
    """

    items: pa.Table
    num_added: int
    num_changed: int
    num_removed: int
    num_restored: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing is different."""
        counts = (self.num_added, self.num_changed, self.num_removed)
        return not any((*counts, self.num_restored))


class RefreshedDataset(PreparedDataset):
    """The dataset of a training with the catalogue of today.

    The items of the training keep their rows, and so their indices; new ones stand
    behind them. A removed item keeps its row, too: histories may hold it. Sequences
    and vocabularies are those of the training.

    Args:
        trained: The dataset of the training.
        items: As `PreparedDataset.items`, and the column `RETIRED`.

    Raises:
        ValueError: If `items` does not begin with the items of the training.
    """

    def __init__(self, trained: PreparedDataset, items: pa.Table) -> None:
        super().__init__(trained.path)
        self.trained = trained
        self._items = items
        first = items[ITEM_ID].slice(0, len(trained.items))
        if first.to_pylist() != trained.items[ITEM_ID].to_pylist():
            raise ValueError(
                "`items` must begin with the items of the training, in their order. "
                f"Received: {len(items):,} items that do not begin with the "
                f"{len(trained.items):,} of '{trained.path}'."
            )
        counts = {**self.manifest.get("counts", {}), "items": self.num_offered}
        self.manifest: dict[str, Any] = {**self.manifest, "counts": counts}

    @cached_property
    def items(self) -> pa.Table:
        """The catalogue of today, removed items included."""
        return self._items

    @property
    def num_offered(self) -> int:
        """Items that can be recommended."""
        return int((~self.retired).sum())

    @cached_property
    def differs(self) -> np.ndarray:
        """Items that are new, or not as training saw them; bool `[num_items]`."""
        num_trained = len(self.trained.items)
        changed = differing_rows(self.items.slice(0, num_trained), self.trained.items)
        return np.append(changed, np.ones(len(self.items) - num_trained, bool))


def change_catalogue(
    items: pa.Table,
    given: pa.Table | None,
    *,
    removed: Collection[str] = (),
    complete: bool = False,
    warn: Callable[[str], None] = lambda text: None,
) -> CatalogueChange:
    """Applies changes to a catalogue.

    Args:
        items: The catalogue so far, with or without the column `RETIRED`.
        given: `item_id`, `title` and attributes of new and changed items. A row
            replaces all that was known of its item.
        removed: Ids of items that are gone. What is not in the catalogue is not
            recommended anyway: it is a warning, unless there is nothing else.
        complete: Whether `given` is everything: items it lacks are gone, too.
        warn: Is told of unknown items in `removed`.

    Raises:
        ValueError: If a removed item is given, too, no item would be left, or all
            that is to change are unknown removed items.
    """
    items = _with_retired(items)
    has_given = given is not None
    given = given if has_given else items.slice(0, 0)
    place: dict[str, int] = {item: row for row, item in enumerate(_ids(items))}
    ids = _ids(given)
    removed = _known_ids(place, ids, removed, must_know=not has_given, warn=warn)
    gone = _gone_rows(place, ids, removed, complete=complete)
    rows = np.array([place.get(item, -1) for item in ids], np.int64)
    known = np.flatnonzero(rows >= 0)
    new = sorted(np.flatnonzero(rows < 0), key=lambda row: _digest(ids[row]))
    content = _content_names(items)
    joined = pa.concat_tables([items.select(content), _cast(given, items, content)])
    order = np.arange(len(items) + len(new))
    order[rows[known]] = len(items) + known
    order[len(items) :] = len(items) + np.array(new, np.int64)
    table = joined.take(order)
    before = np.append(_retired(items), np.zeros(len(new), bool))
    retired = before.copy()
    retired[rows[known]] = False
    retired[gone] = True
    if retired.all():
        raise ValueError(
            "At least one item must be left to recommend. Received a change that "
            f"removes all {len(items):,}. Give the items that are left, too."
        )
    changed = differing_rows(table.slice(0, len(items)), items)
    columns = {name: table[name] for name in content}
    for name in items.column_names:
        if name not in columns:
            columns[name] = _padded(items[name], len(new))
    columns[RETIRED] = pa.chunked_array([pa.array(retired)])
    return CatalogueChange(
        pa.table({name: columns[name] for name in items.column_names}),
        num_added=len(new),
        num_changed=int(changed.sum()),
        num_removed=int((retired & ~before).sum()),
        num_restored=int((before & ~retired).sum()),
    )


def differing_rows(first: pa.Table, second: pa.Table) -> np.ndarray:
    """Returns bool `[num_rows]`: rows with another title or attribute."""
    differs = np.zeros(len(first), bool)
    for name in _content_names(second)[1:]:
        one, two = (t[name].to_numpy() for t in (first, second))
        differs_here = one != two
        if one.dtype.kind == "f":  # What is not known is the same as itself.
            differs_here &= ~(np.isnan(one) & np.isnan(two))
        differs |= differs_here
    return differs


def _ids(items: pa.Table) -> list[str]:
    return items[ITEM_ID].to_numpy().tolist()


def _content_names(items: pa.Table) -> list[str]:
    """Returns the columns that a shop gives, the id first."""
    own = (ITEM_ID, TRAIN_COUNT, RETIRED, FIRST_TIMESTAMP)
    return [ITEM_ID, *(name for name in items.column_names if name not in own)]


def _with_retired(items: pa.Table) -> pa.Table:
    if RETIRED in items.column_names:
        return items
    return items.append_column(RETIRED, pa.array(np.zeros(len(items), bool)))


def _retired(items: pa.Table) -> np.ndarray:
    return items[RETIRED].to_numpy()


def _cast(given: pa.Table, items: pa.Table, names: list[str]) -> pa.Table:
    schema = pa.schema([items.schema.field(name) for name in names])
    return given.select(names).cast(schema)


def _padded(column: pa.ChunkedArray, num_new: int) -> pa.ChunkedArray:
    """Appends zeros, or False: nothing is known of new items."""
    zeros = pa.array(np.zeros(num_new, np.int64)).cast(column.type)
    return pa.chunked_array([*column.chunks, zeros])


def _digest(item_id: str) -> str:
    """As in `tfrec.data.catalogue`: an index says nothing of an item."""
    return hashlib.sha256(item_id.encode()).hexdigest()


def _known_ids(
    place: dict[str, int],
    ids: list[str],
    removed: Collection[str],
    *,
    must_know: bool,
    warn: Callable[[str], None],
) -> list[str]:
    """Returns the removed items that the catalogue has."""
    both = sorted(set(removed) & set(ids))
    if both:
        raise ValueError(
            "An item must be either given or removed. Received both for "
            f"{_shown(both)}. Leave it out of one."
        )
    unknown = [item for item in removed if item not in place]
    if unknown and must_know and len(unknown) == len(removed):
        raise ValueError(
            "Removed items must be items of the catalogue. Received only unknown ids: "
            f"{_shown(unknown)}. Check that they are the ids of `data.items`, as they "
            "are written there."
        )
    if unknown:
        warn(
            f"{len(unknown):,} removed items are not in the catalogue, and left out: "
            f"{_shown(unknown)}"
        )
    return [item for item in removed if item in place]


def _shown(ids: list[str]) -> str:
    more = f" and {len(ids) - _NUM_SHOWN:,} more" if len(ids) > _NUM_SHOWN else ""
    return ", ".join(map(repr, ids[:_NUM_SHOWN])) + more


def _gone_rows(
    place: dict[str, int], ids: list[str], removed: Collection[str], *, complete: bool
) -> list[int]:
    gone = {place[item] for item in removed}
    if complete:
        gone |= set(place.values()) - {place[item] for item in ids if item in place}
    return sorted(gone)
