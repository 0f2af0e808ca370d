"""Small datasets with known answers, written without `tfrec prepare`.

*cycle*: the next item is always `(i + 1) mod n`; a working model reaches HR@1 = 1.
*noise*: items are drawn uniformly; no model can beat HR@k = k / n for long.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrec.data.store import (
    CONTEXT_COLUMN_PREFIX,
    FORMAT_VERSION,
    EventSequences,
    PreparedDataset,
)
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import AttributeKind, Schema

FIRST_TIMESTAMP = 1_700_000_000
SECONDS_BETWEEN_EVENTS = 60
_FIRST_ITEM_INDEX = 2  # 0 is padding, 1 unknown.


def cycle(
    num_items: int = 8, *, num_users: int = 40, length: int = 12, seed: int = 0
) -> EventSequences:
    """Every user walks the ring of items from a start of their own."""
    starts = np.random.default_rng(seed).integers(0, num_items, num_users)
    steps = np.arange(length)
    return make_sequences([(start + steps) % num_items for start in starts])


def noise(
    num_items: int = 8, *, num_users: int = 40, length: int = 12, seed: int = 0
) -> EventSequences:
    """Every event is an item drawn uniformly."""
    random = np.random.default_rng(seed)
    return make_sequences(list(random.integers(0, num_items, (num_users, length))))


def make_sequences(
    histories: Sequence[Sequence[int] | np.ndarray],
    *,
    event_types: Sequence[Sequence[int] | np.ndarray] | None = None,
    timestamps: Sequence[Sequence[int] | np.ndarray] | None = None,
    splits: Sequence[Sequence[int] | np.ndarray] | None = None,
    context: Mapping[str, np.ndarray] | None = None,
) -> EventSequences:
    """Builds sequences from catalogue rows, one list a user, oldest first.

    Args:
        histories: Catalogue rows from 0; -1 is an item outside the catalogue.
        event_types: Positions in `Schema.event_types`; all 0 if not given.
        timestamps: Unix seconds; one minute apart if not given.
        splits: 0 training, 1 validation, 2 test; leave-one-out if not given.
        context: Per attribute `[num_events]`, for all users one after the other.
    """
    lengths = [len(history) for history in histories]
    num_events = sum(lengths)
    steps = [np.arange(n) for n in lengths]

    def flat(rows: Sequence[Sequence[int] | np.ndarray]) -> np.ndarray:
        return np.concatenate([np.asarray(row, np.int64) for row in rows])

    return EventSequences(
        user_ids=np.array([f"user {u}" for u in range(len(lengths))], object),
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        item_index=(flat(histories) + _FIRST_ITEM_INDEX).astype(np.int32),
        event_type_index=(
            flat(event_types) if event_types else np.zeros(num_events)
        ).astype(np.int32)
        + 2,
        timestamps=flat(timestamps)
        if timestamps
        else FIRST_TIMESTAMP + SECONDS_BETWEEN_EVENTS * flat(steps),
        dwell_seconds=np.zeros(num_events, np.float32),
        session_index=np.zeros(num_events, np.int32),
        split=flat(splits or [_leave_one_out(n) for n in lengths]).astype(np.int8),
        query_text=np.array([""] * num_events, object),
        context=dict(context or {}),
    )


def write_prepared(
    path: Path,
    sequences: EventSequences,
    *,
    num_items: int = 8,
    schema: Schema | None = None,
    attributes: Mapping[str, Sequence[str | float | None]] | None = None,
    context_tokens: Mapping[str, Sequence[str]] | None = None,
    num_shards: int = 2,
) -> PreparedDataset:
    """Writes sequences and a catalogue as `tfrec prepare` would, and opens them.

    Args:
        path: Folder to write, for example `tmp_path / "prepared"`.
        sequences: From `cycle`, `noise` or `make_sequences`.
        num_items: Items of the catalogue, `item 0`, `item 1`, ….
        schema: One event type `event` if not given.
        attributes: Values by item for `schema.item_attributes`.
        context_tokens: Vocabulary by name for `schema.context`.
        num_shards: Files of sequences.
    """
    schema = schema or Schema(event_types=("event",), target_event_types=("event",))
    (path / "sequences").mkdir(parents=True)
    (path / "vocabularies").mkdir()
    _write_items(path, sequences, num_items, schema, attributes or {})
    for attribute in schema.item_attributes:
        if attribute.kind != AttributeKind.NUMERIC:
            values = [str(v) for v in (attributes or {})[attribute.name] if v]
            tokens = sorted({t for value in values for t in attribute.tokens(value)})
            counts = [sum(t in attribute.tokens(v) for v in values) for t in tokens]
            vocabulary = Vocabulary(tokens, np.array(counts, np.int64))
            vocabulary.save(path / "vocabularies" / f"{attribute.name}.parquet")
    for name, tokens in (context_tokens or {}).items():
        Vocabulary(tokens).save(path / "vocabularies" / f"{name}.parquet")
    table = _sequence_table(sequences)
    bounds = np.linspace(0, len(table), num_shards + 1).astype(int)
    for shard, (start, stop) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        part = path / "sequences" / f"part-{shard:05d}.parquet"
        pq.write_table(table.slice(start, stop - start), part)
    manifest = {
        "format_version": FORMAT_VERSION,
        "schema": schema.to_json(),
        "schema_hash": schema.schema_hash,
        "repeat_share_train": _repeat_share(sequences),
    }
    (path / "manifest.json").write_text(json.dumps(manifest))
    return PreparedDataset(path)


def _leave_one_out(length: int) -> np.ndarray:
    splits = np.zeros(length, np.int64)
    if length >= 3:
        splits[-2:] = 1, 2
    return splits


def _write_items(
    path: Path,
    sequences: EventSequences,
    num_items: int,
    schema: Schema,
    attributes: Mapping[str, Sequence[str | float | None]],
) -> None:
    training = sequences.item_index[sequences.split == 0] - _FIRST_ITEM_INDEX
    counts = np.bincount(training[training >= 0], minlength=num_items)
    first = np.zeros(num_items, np.int64)
    for row in range(num_items):
        times = sequences.timestamps[sequences.item_index == row + _FIRST_ITEM_INDEX]
        first[row] = times.min(initial=np.iinfo(np.int64).max) if len(times) else 0
    columns = {
        "item_id": pa.array([f"item {i}" for i in range(num_items)]),
        "title": pa.array([f"Title of item {i}" for i in range(num_items)]),
        "train_count": pa.array(counts.astype(np.int64)),
        "first_timestamp": pa.array(first),
    }
    for attribute in schema.item_attributes:
        numeric = attribute.kind == AttributeKind.NUMERIC
        kind = pa.float64() if numeric else pa.string()
        columns[attribute.name] = pa.array(attributes[attribute.name], kind)
    pq.write_table(pa.table(columns), path / "items.parquet")


def _sequence_table(sequences: EventSequences) -> pa.Table:
    offsets = pa.array(sequences.offsets.astype(np.int32))

    def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        return pa.ListArray.from_arrays(offsets, pa.array(values, kind))

    columns = {
        "user_id": pa.array(sequences.user_ids, pa.string()),
        "item_index": lists(sequences.item_index, pa.int32()),
        "event_type_index": lists(sequences.event_type_index, pa.int32()),
        "timestamp": lists(sequences.timestamps, pa.int64()),
        "dwell_seconds": lists(sequences.dwell_seconds, pa.float32()),
        "session_index": lists(sequences.session_index, pa.int32()),
        "split": lists(sequences.split, pa.int8()),
        "query": lists(sequences.query_text, pa.string()),
    }
    for name, values in sequences.context.items():
        kind = pa.float32() if values.dtype.kind == "f" else pa.int32()
        columns[CONTEXT_COLUMN_PREFIX + name] = lists(values, kind)
    return pa.table(columns)


def _repeat_share(sequences: EventSequences) -> float:
    """Share of training events whose item the user met before."""
    seen: set[tuple[int, int]] = set()
    repeats = []
    training = sequences.split == 0
    users = sequences.user_rows[training].tolist()
    items = sequences.item_index[training].tolist()
    for pair in zip(users, items, strict=True):
        repeats.append(pair in seen)
        seen.add(pair)
    return float(np.mean(repeats)) if repeats else 0.0
