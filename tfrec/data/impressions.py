"""Impression lists: what was shown together, and what followed."""

from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from tfrec.data.context import context_columns, encode_context
from tfrec.data.engine import MICROSECONDS, PARQUET_OPTIONS, Table, count_rows, read_int
from tfrec.data.sessions import ORDER
from tfrec.data.store import TEST, TRAIN, USER_ID, VALIDATION
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import OOV_INDEX, AttributeSpec

NUM_ROWS_PER_CHUNK = 1_000_000
_SPLITS = (TRAIN, VALIDATION, TEST)
_LISTS = {
    "item_index": pa.int32(),
    "position": pa.int32(),
    "propensity": pa.float32(),
    "event_type_index": pa.int8(),
}
_QUERY = "query"


def impression_schema(context: tuple[AttributeSpec, ...]) -> pa.Schema:
    """Returns the columns of `impressions/*.parquet`."""
    return pa.schema(
        [
            (USER_ID, pa.string()),
            ("timestamp", pa.int64()),
            ("split", pa.int8()),
            (_QUERY, pa.string()),
            *context_columns(context).items(),
            *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
        ]
    )


def find_labels(events: Table) -> Table:
    """Returns `user`, `impression`, `item` and a label as of each split.

    `label_<split>` is the strongest event of an item in a list up to that split. An
    event belongs to the list whose `impression` it carries. From then on the later
    events of the same user, item and session count too, such as the cart and the
    purchase behind a click.
    """
    key = ["user", "impression", "item"]
    linked = events.filter(events["impression"].notnull())
    direct = linked.group_by(*key, "session_index").agg(since=linked["instant"].min())
    place = ["user", "item", "session_index"]
    later = events.select(*place, "instant", "type_index", "split")
    follows = direct.inner_join(later, [*place, later["instant"] >= direct["since"]])
    strongest = {
        _label(split): follows["type_index"].max(where=follows["split"] <= split)
        for split in _SPLITS
    }
    return follows.group_by(*key).agg(**strongest)


def add_labels(shown: Table, labels: Table) -> Table:
    """Adds `label`, an event type index of `find_labels`; 0 for none.

    A list knows no events of a later split than its own: those are what the models
    are asked about.
    """
    labelled = shown.left_join(labels, ["user", "impression", "item"])
    known = [(labelled["split"] == s, labelled[_label(s)]) for s in _SPLITS]
    label: Any = ibis.cases(*known)
    chosen = [shown[c] for c in shown.columns]
    return labelled.select(*chosen, label=label.fill_null(0).cast("int8"))


def _label(split: int) -> str:
    return f"label_{split}"


def split_by_user(shown: Table, events: Table) -> Table:
    """Adds `split` where the events' own split differs by user (leave-one-out)."""

    def start(split: int) -> Any:
        return events["instant"].min(where=events["split"] >= split)

    starts = events.group_by("user").agg(validation=start(VALIDATION), test=start(TEST))
    joined = shown.left_join(starts, ["user"])
    split: Any = ibis.cases(
        (joined["instant"] >= joined["test"], TEST),
        (joined["instant"] >= joined["validation"], VALIDATION),
        else_=TRAIN,
    )
    return joined.select(*(shown[c] for c in shown.columns), split=split.cast("int8"))


def write_impressions(
    engine: Backend,
    shown: Table,
    users: Table,
    item_indices: Table,
    folder: Path,
    *,
    context: tuple[AttributeSpec, ...],
    vocabularies: dict[str, Vocabulary],
) -> dict[str, int]:
    """Writes the lists as shards of users; returns how many lists and items.

    Context and words searched for are those of the first row of a list.
    """
    folder.mkdir()
    schema = impression_schema(context)
    shown = encode_context(engine, shown, context, vocabularies, what="shown")
    highest = read_int(engine, users["code"].max())
    num_rows = count_rows(engine, shown)
    num_chunks = max(1, -(-num_rows // NUM_ROWS_PER_CHUNK))
    step = (highest + num_chunks) // num_chunks
    num_lists = 0
    for shard in range(num_chunks):
        first = shard * step
        chunk = shown.filter(shown["user"].between(first, first + step - 1))
        table = engine.to_pyarrow(
            _collect(chunk, users, item_indices, list(context_columns(context)))
        ).cast(schema)
        path = folder / f"part-{shard:05d}.parquet"
        pq.write_table(table, path, **PARQUET_OPTIONS)
        num_lists += len(table)
    return {"lists": num_lists, "shown_items": num_rows}


def _collect(
    shown: Table, users: Table, item_indices: Table, context: list[str]
) -> Table:
    rows = shown.left_join(item_indices, ["item"])

    def optional(name: str, default: float, kind: str) -> Any:
        if name not in rows.columns:
            return ibis.literal(default, kind)
        column: Any = rows[name]
        return column.cast(kind).fill_null(default)

    entry = ibis.struct(
        {
            "position": optional("position", 0, "int32"),
            "row": rows["row"],
            "item_index": rows["item_index"].fill_null(OOV_INDEX).cast("int32"),
            "propensity": optional("propensity", float("nan"), "float32"),
            "event_type_index": rows["label"],
            _QUERY: rows[_QUERY] if _QUERY in rows.columns else ibis.literal(""),
            **{name: rows[name] for name in context},
        }
    )
    lists = rows.group_by("user", "impression").agg(
        entries=entry.collect(),
        instant=rows["instant"].min(),
        row=rows["row"].min(),
        split=rows["split"].min(),
    )
    lists = lists.mutate(entries=lists["entries"].sort())
    named = lists.inner_join(users, lists["user"] == users["code"])
    entries = named["entries"]
    ordered = named.order_by("user", *ORDER).select(
        named["id"].name(USER_ID),
        (named["instant"] / MICROSECONDS).floor().cast("int64").name("timestamp"),
        "split",
        *(entries[0][name].name(name) for name in (_QUERY, *context)),
        *(entries.map(lambda e, n=name: e[n]).name(name) for name in _LISTS),
    )
    return ordered
