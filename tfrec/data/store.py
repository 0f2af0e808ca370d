"""The prepared dataset on disk, and how it is read back.

manifest.json            schema, counts, split boundaries, rejects, versions
items.parquet            the catalogue; row r has the item index r + 2
vocabularies/*.parquet   one per categorical or path attribute
sequences/*.parquet      one row a user, list columns, oldest event first
impressions/*.parquet    one row an impression list, where the log has them
rejects.csv              rows that could not be used, with the reason
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, Schema

FORMAT_VERSION = 3
TRAIN, VALIDATION, TEST = 0, 1, 2  # Values of the column `split`.
SPLIT_INDEX = {"train": TRAIN, "validation": VALIDATION, "test": TEST}

USER_ID = "user_id"
ITEM_ID = "item_id"
TITLE = "title"
TRAIN_COUNT = "train_count"
TEXT_DIR = "text"  # Vectors of texts, and `OWN_ENCODERS*`: those of the shop itself.
OWN_ENCODERS = "scratch"
RETIRED = "_retired"  # Of a refreshed catalogue; no attribute starts with "_".
CONTEXT_COLUMN_PREFIX = "context_"


@dataclass(frozen=True)
class EventSequences:
    """All events of many users as flat arrays, users one after the other.

    Events of user u are `offsets[u]:offsets[u + 1]`, oldest first.

    Attributes:
        user_ids: object `[num_users]`.
        offsets: int64 `[num_users + 1]`.
        item_index: int32 `[num_events]`; 1 is an item outside the catalogue, or none:
            a search has no item.
        event_type_index: int32 `[num_events]`.
        timestamps: int64 `[num_events]`, unix seconds; zeros without times.
        dwell_seconds: float32 `[num_events]`; 0 where unknown.
        session_index: int32 `[num_events]`, counts a user's sessions from 0.
        split: int8 `[num_events]`: `TRAIN`, `VALIDATION` or `TEST`.
        query_text: object `[num_events]` of str, the search that led to the event, or
            that is the event; "" where there is none.
        context: Per context attribute int32 (index) or float32 `[num_events]`.
    """

    user_ids: np.ndarray
    offsets: np.ndarray
    item_index: np.ndarray
    event_type_index: np.ndarray
    timestamps: np.ndarray
    dwell_seconds: np.ndarray
    session_index: np.ndarray
    split: np.ndarray
    query_text: np.ndarray
    context: dict[str, np.ndarray]

    @property
    def num_users(self) -> int:
        """Number of users."""
        return len(self.offsets) - 1

    @cached_property
    def user_rows(self) -> np.ndarray:
        """int32 `[num_events]`: the user row of every event."""
        lengths = np.diff(self.offsets)
        return np.repeat(np.arange(self.num_users, dtype=np.int32), lengths)


@dataclass(frozen=True)
class Impressions:
    """What was shown together, flat; list i is `offsets[i]:offsets[i + 1]`.

    Attributes:
        user_ids: object `[num_lists]`.
        timestamps: int64 `[num_lists]`, unix seconds.
        split: int8 `[num_lists]`.
        offsets: int64 `[num_lists + 1]`.
        item_index: int32 `[num_shown]`.
        position: int32 `[num_shown]`, 1 is the first place; 0 unknown.
        propensity: float32 `[num_shown]`, logged probability that the place was
            examined; NaN where unknown.
        event_type_index: int32 `[num_shown]`, the strongest event that followed
            for the item through this list; 0 for none.
        query_text: object `[num_lists]`, words that were searched for; "" for none.
        context: Per context attribute `[num_lists]`: int32 indices of its vocabulary,
            0 unknown, or float32 numbers, NaN unknown.
    """

    user_ids: np.ndarray
    timestamps: np.ndarray
    split: np.ndarray
    offsets: np.ndarray
    item_index: np.ndarray
    position: np.ndarray
    propensity: np.ndarray
    event_type_index: np.ndarray
    query_text: np.ndarray
    context: dict[str, np.ndarray]


class PreparedDataset:
    """A prepared dataset, opened for reading.

    Args:
        path: Its folder.

    Raises:
        FileNotFoundError: If there is no finished dataset in `path`.
        ValueError: If it was written by another format version.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        manifest = self.path / "manifest.json"
        if not manifest.is_file():
            raise FileNotFoundError(
                f"No prepared dataset in '{self.path}': manifest.json is missing. "
                "Run `python -m tfrec.prepare --config ...` first."
            )
        self.manifest: dict[str, Any] = json.loads(manifest.read_text())
        found = self.manifest.get("format_version")
        if found != FORMAT_VERSION:
            raise ValueError(
                f"'{self.path}' has format version {found}, expected "
                f"{FORMAT_VERSION}. Prepare it again, with `python -m tfrec.prepare "
                "--overwrite --config ...`, and train anew."
            )
        self.schema = Schema.from_json(self.manifest["schema"])

    @cached_property
    def items(self) -> pa.Table:
        """The catalogue: `item_id`, `title`, `train_count`, then the attributes."""
        return pq.read_table(self.path / "items.parquet")

    @cached_property
    def item_vocabulary(self) -> Vocabulary:
        """Item ids with their number of training events."""
        return Vocabulary(
            self.items[ITEM_ID].to_pylist(), self.items[TRAIN_COUNT].to_numpy()
        )

    @cached_property
    def retired(self) -> np.ndarray:
        """Items that are not recommended any more; bool `[num_items]`."""
        if RETIRED not in self.items.column_names:
            return np.zeros(len(self.items), bool)
        return self.items[RETIRED].to_numpy()

    @cached_property
    def is_hidden(self) -> np.ndarray:
        """Items that training must not know of; bool `[num_items + 2]`."""
        return np.zeros(len(self.items) + NUM_SPECIAL_INDICES, bool)

    @cached_property
    def attribute_vocabularies(self) -> dict[str, Vocabulary]:
        """Vocabularies of categorical and path attributes, items' and context's."""
        specs = (*self.schema.item_attributes, *self.schema.context)
        return {
            a.name: Vocabulary.load(self.path / "vocabularies" / f"{a.name}.parquet")
            for a in specs
            if a.kind != AttributeKind.NUMERIC
        }

    def load_sequences(self, *, shard: int = 0, num_shards: int = 1) -> EventSequences:
        """Reads the sequences; worker `shard` of `num_shards` gets its users only."""
        files = sorted((self.path / "sequences").glob("*.parquet"))
        table = pa.concat_tables(pq.read_table(f) for f in files)
        table = table.take(pa.array(np.arange(shard, len(table), num_shards)))
        table = table.combine_chunks()

        def flat(name: str) -> np.ndarray:
            values = _flatten(table[name])
            return values.to_numpy(zero_copy_only=False)

        lists = _as_list_array(table["item_index"])
        return EventSequences(
            user_ids=table[USER_ID].to_numpy(),
            offsets=_offsets(lists),
            item_index=flat("item_index"),
            event_type_index=flat("event_type_index"),
            timestamps=flat("timestamp"),
            dwell_seconds=flat("dwell_seconds"),
            session_index=flat("session_index"),
            split=flat("split"),
            query_text=flat("query"),
            context={
                a.name: flat(CONTEXT_COLUMN_PREFIX + a.name)
                for a in self.schema.context
            },
        )

    def load_impressions(self) -> Impressions | None:
        """Reads the impression lists; None where the log has none."""
        files = sorted((self.path / "impressions").glob("*.parquet"))
        if not files:
            return None
        table = pa.concat_tables(pq.read_table(f) for f in files).combine_chunks()

        def flat(name: str) -> np.ndarray:
            return _flatten(table[name]).to_numpy(zero_copy_only=False)

        return Impressions(
            user_ids=table[USER_ID].to_numpy(),
            timestamps=table["timestamp"].to_numpy(),
            split=table["split"].to_numpy(),
            offsets=_offsets(_as_list_array(table["item_index"])),
            item_index=flat("item_index"),
            position=flat("position"),
            propensity=flat("propensity"),
            event_type_index=flat("event_type_index"),
            query_text=table["query"].to_numpy(),
            context={
                a.name: table[CONTEXT_COLUMN_PREFIX + a.name].to_numpy()
                for a in self.schema.context
            },
        )


def _as_list_array(column: pa.ChunkedArray) -> pa.Array:
    chunks = column.combine_chunks()
    return chunks.chunk(0) if isinstance(chunks, pa.ChunkedArray) else chunks


def _flatten(column: pa.ChunkedArray) -> pa.Array:
    return _as_list_array(column).flatten()


def _offsets(lists: pa.Array) -> np.ndarray:
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
