"""Writes the sequences: one row a user, in chunks of bounded size."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from tfrec.data.context import context_columns, encode_context
from tfrec.data.engine import MICROSECONDS, PARQUET_OPTIONS, Table
from tfrec.data.store import SPLIT_INDEX, TRAIN, USER_ID
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX, Schema

NUM_EVENTS_PER_CHUNK = 1_000_000  # About 0.3 GB while a chunk is collected.


@dataclass
class Statistics:
    """Counts over all events, gathered while they are written.

    Attributes:
        events: int64 `[3, num_event_types]`, events per split and type.
        users: int64 `[3]`, users with events in a split.
        num_users: All users.
        train_targets: Training target events.
        train_repeats: Those whose item stands earlier in the user's history.
    """

    events: np.ndarray
    users: np.ndarray = field(default_factory=lambda: np.zeros(3, np.int64))
    num_users: int = 0
    train_targets: int = 0
    train_repeats: int = 0

    def add(self, lists: pa.Table, target_indices: list[int]) -> None:
        """Counts the events of a chunk of users."""
        rows = lists.combine_chunks()
        types, split, items = (
            _flat(rows[name]) for name in ("event_type_index", "split", "item_index")
        )
        lengths = rows["item_index"].combine_chunks().value_lengths().to_numpy()
        user = np.repeat(np.arange(len(lengths)), lengths)
        np.add.at(self.events, (split, types.astype(int) - NUM_SPECIAL_INDICES), 1)
        for index in SPLIT_INDEX.values():
            self.users[index] += len(np.unique(user[split == index]))
        self.num_users += len(lengths)
        target = np.isin(types, target_indices) & (split == TRAIN)
        self.train_targets += int(target.sum())
        self.train_repeats += int((target & _is_repeat(user, items)).sum())


def _flat(lists: pa.ChunkedArray) -> np.ndarray:
    return lists.combine_chunks().flatten().to_numpy(zero_copy_only=False)


def _is_repeat(user: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Returns which events have an earlier one of the same user and item."""
    pair = user.astype(np.int64) * (int(items.max(initial=0)) + 1) + items
    order = np.argsort(pair, kind="stable")
    repeat = np.zeros(len(pair), bool)
    repeat[order[1:]] = pair[order[1:]] == pair[order[:-1]]
    return repeat


def write_sequences(
    engine: Backend,
    events: Table,
    users: Table,
    item_indices: Table,
    folder: Path,
    *,
    schema: Schema,
    vocabularies: dict[str, Vocabulary],
    num_shards: int,
    report: Callable[[float], None],
) -> Statistics:
    """Writes `sequences/*.parquet`, users in the order of their ids.

    Args:
        engine: Holds the tables.
        events: Coded events with `session_index` and `split`.
        users: `code` and `id`.
        item_indices: `item` and `item_index`.
        folder: Is created.
        schema: Names of the context and the target types.
        vocabularies: By attribute name.
        num_shards: Files, at most one a user.
        report: Is told the share that is written.
    """
    folder.mkdir()
    counts = events.group_by("user").agg(count=events.count()).order_by("user")
    rows = engine.to_pyarrow(counts)
    codes, sizes = rows["user"].to_numpy(), rows["count"].to_numpy()
    targets = [schema.event_type_index(t) for t in schema.target_event_types]
    statistics = Statistics(np.zeros((3, len(schema.event_types)), np.int64))
    rows = encode_context(engine, events, schema.context, vocabularies, what="events")
    rows = rows.left_join(item_indices, ["item"])
    done = 0
    for shard, part in enumerate(np.array_split(np.arange(len(codes)), num_shards)):
        if not len(part):
            continue
        arrow_schema = sequence_schema(schema)
        path = folder / f"part-{shard:05d}.parquet"
        with pq.ParquetWriter(path, arrow_schema, **PARQUET_OPTIONS) as writer:
            for chunk in _chunks(part, sizes):
                between = rows["user"].between(
                    int(codes[chunk[0]]), int(codes[chunk[-1]])
                )
                lists = _collect(rows.filter(between), users, schema)
                table = engine.to_pyarrow(lists).cast(arrow_schema)
                statistics.add(table, targets)
                writer.write_table(table)
                done += int(sizes[chunk].sum())
                report(done / int(sizes.sum()))
    return statistics


def sequence_schema(schema: Schema) -> pa.Schema:
    """Returns the columns of `sequences/*.parquet`."""
    lists = {
        "item_index": pa.int32(),
        "event_type_index": pa.int32(),
        "timestamp": pa.int64(),
        "dwell_seconds": pa.float32(),
        "session_index": pa.int32(),
        "split": pa.int8(),
        "query": pa.string(),
    }
    lists |= context_columns(schema.context)
    columns = [(name, pa.list_(kind)) for name, kind in lists.items()]
    return pa.schema([(USER_ID, pa.string()), *columns])


def _chunks(part: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
    """Parts users so that a chunk has about `NUM_EVENTS_PER_CHUNK` events."""
    place = np.cumsum(sizes[part]) // NUM_EVENTS_PER_CHUNK
    return np.split(part, np.flatnonzero(np.diff(place)) + 1)


def _collect(rows: Any, users: Table, schema: Schema) -> Table:
    """Collects one sorted list a user and takes it apart into one list a column."""
    names = sequence_schema(schema).names[1:]
    values = {name: _value(rows, name) for name in names}
    values = {name: value for name, value in values.items() if value is not None}
    # (instant, row) stands first and is unique, so it alone decides the order.
    entry = ibis.struct({"instant": rows["instant"], "row": rows["row"], **values})
    lists: Any = rows.group_by("user").agg(entries=entry.collect())
    lists = lists.mutate(entries=lists["entries"].sort())
    named: Any = lists.inner_join(users, lists["user"] == users["code"])
    entries = named["entries"]
    columns = [entries.map(_part(name, values)).name(name) for name in names]
    return named.order_by("user").select(named["id"].name(USER_ID), *columns)


def _part(name: str, values: dict[str, Any]) -> Callable[[Any], Any]:
    """Returns what takes one column's value out of an entry."""
    if name == "timestamp":
        return lambda entry: (entry["instant"] / MICROSECONDS).floor().cast("int64")
    if name == "dwell_seconds" and name not in values:
        return lambda entry: ibis.literal(0.0, "float32")
    if name == "query" and name not in values:
        return lambda entry: ibis.literal("")
    return lambda entry: entry[name]


def _value(rows: Any, name: str) -> Any:
    """Returns what is collected for a column; None where it follows from the rest."""
    if name == "item_index":
        return rows[name].fill_null(OOV_INDEX)
    if name == "event_type_index":
        return rows["type_index"]
    if name == "timestamp" or name not in rows.columns:
        return None
    if name == "dwell_seconds":
        return rows[name].fill_null(0.0)
    return rows[name]
