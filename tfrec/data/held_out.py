"""A prepared dataset from which some items are hidden until the test."""

import hashlib
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa

from tfrec.data.searches import is_search, keep_events
from tfrec.data.store import ITEM_ID, TEST, TRAIN_COUNT, EventSequences, PreparedDataset
from tfrec.schema import NUM_SPECIAL_INDICES


class HeldOutDataset(PreparedDataset):
    """Hides a share of the items, as if they were launched with the test.

    Events of hidden items are left out of training and validation, also where they
    are history; those of the test stay. The items stay in the catalogue, without
    training events. Which ones are hidden hangs on a hash of their ids alone: those
    whose SHA-256, as hex, sorts last.

    Args:
        path: Folder of the prepared dataset.
        share: Of the items, in (0, 1).
        reads_searches: Whether searches are events; a model without text reads none.

    Raises:
        ValueError: If `share` is out of its range.
    """

    def __init__(
        self, path: Path, *, share: float, reads_searches: bool = True
    ) -> None:
        super().__init__(path)
        if not 0.0 < share < 1.0:
            raise ValueError(
                f"`share` of hidden items must lie in (0, 1). Received: share={share}."
            )
        self.share = share
        self.reads_searches = reads_searches

    @cached_property
    def _all_items(self) -> pa.Table:
        # Not `super().items`: it would be cached in the place of this class's own.
        return PreparedDataset(self.path).items

    @cached_property
    def is_hidden(self) -> np.ndarray:
        """Bool `[num_items + 2]`, True for hidden items."""
        ids = self._all_items[ITEM_ID].to_pylist()
        digests = [hashlib.sha256(item.encode()).hexdigest() for item in ids]
        order = np.argsort(digests)
        hidden = np.zeros(len(ids) + NUM_SPECIAL_INDICES, bool)
        number = max(round(self.share * len(ids)), 1)
        hidden[order[-number:] + NUM_SPECIAL_INDICES] = True
        return hidden

    @cached_property
    def items(self) -> pa.Table:
        """The catalogue; hidden items have no training events."""
        table = self._all_items
        counts = table[TRAIN_COUNT].to_numpy().copy()
        counts[self.is_hidden[NUM_SPECIAL_INDICES:]] = 0
        column = table.column_names.index(TRAIN_COUNT)
        return table.set_column(column, TRAIN_COUNT, pa.array(counts))

    def load_sequences(self, *, shard: int = 0, num_shards: int = 1) -> EventSequences:
        """Reads the sequences without the hidden events."""
        whole = super().load_sequences(shard=shard, num_shards=num_shards)
        kept = ~self.is_hidden[whole.item_index] | (whole.split == TEST)
        if not self.reads_searches:
            kept &= ~is_search(whole, self.schema)
        return keep_events(whole, kept)
