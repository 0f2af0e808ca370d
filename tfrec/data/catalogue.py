"""The catalogue: items, their attributes and the order of item indices."""

from collections import Counter
from typing import Any

import ibis
import numpy as np
from ibis.backends.duckdb import Backend

from tfrec.config import DataConfig
from tfrec.data.cleaning import Dictionary
from tfrec.data.engine import MICROSECONDS, Table, count_rows, materialise, read_int
from tfrec.data.readers import PROBLEM, Source
from tfrec.data.store import ITEM_ID, TEST, TITLE, TRAIN, TRAIN_COUNT
from tfrec.data.values import (
    as_attribute_number,
    as_words,
    clean_id,
    id_problem,
    is_garbage,
    with_points,
)
from tfrec.data.vocabulary import Vocabulary
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind, AttributeSpec

FIRST_TIMESTAMP = "first_timestamp"
_FEW_MISSING = 0.01  # Of the events: items a shop has sold out and deleted.


def wanted_item_columns(data: DataConfig) -> dict[str, str]:
    """Returns the catalogue columns that the configuration names, by their key."""
    wanted = {"data.item_columns.item_id": data.item_columns.item_id}
    if data.item_columns.title:
        wanted["data.item_columns.title"] = data.item_columns.title
    for attribute in data.item_attributes:
        wanted[f"data.item_attributes.{attribute.name}"] = attribute.source_column
    return wanted


def staged_item_columns(data: DataConfig) -> dict[str, str]:
    """Returns the columns of `stage_items` by the keys of `wanted_item_columns`.

    The id, without which a row is unusable, is left out.
    """
    staged = {"data.item_columns.title": TITLE} if data.item_columns.title else {}
    attributes = {
        f"data.item_attributes.{a.name}": a.name for a in data.item_attributes
    }
    return {**staged, **attributes}


def stage_items(source: Source, data: DataConfig) -> Table:
    """Selects id, `problem`, title, attributes and `garbage`, in file order.

    `garbage` has one bit for each of `numeric_columns` that holds no usable one.
    """
    raw = with_points(source.table, numeric_columns(data), source.decimal)
    item_id = clean_id(raw[data.item_columns.item_id].cast("string"))
    problem = id_problem(item_id, what="item")
    if PROBLEM in raw.columns:
        problem = ibis.coalesce(raw[PROBLEM], problem)
    columns: dict[str, Any] = {ITEM_ID: item_id, "problem": problem}
    title = data.item_columns.title
    columns[TITLE] = as_words(raw[title]) if title else ibis.null("string")
    garbage: Any = ibis.literal(0, "int64")
    bits = {name: 2**bit for bit, name in enumerate(numeric_columns(data))}
    for attribute in data.item_attributes:
        column = raw[attribute.source_column]
        if attribute.kind == AttributeKind.NUMERIC:
            number = as_attribute_number(column, name=attribute.name)
            bit = bits[attribute.source_column]
            garbage = garbage | is_garbage(column, number).ifelse(bit, 0)
            columns[attribute.name] = number
        else:
            columns[attribute.name] = as_words(column, separator=attribute.separator)
    return raw.select(**columns, garbage=garbage)


def numeric_columns(data: DataConfig) -> list[str]:
    """Returns the columns of numeric attributes of items, each once."""
    columns = [
        a.source_column for a in data.item_attributes if a.kind == AttributeKind.NUMERIC
    ]
    return list(dict.fromkeys(columns))


def keep_last_rows(engine: Backend, staged: Table) -> tuple[Table, int]:
    """Keeps the last row of each item; returns the rows and the number dropped."""
    rows = staged.mutate(row=staged.rowid()).filter(staged["problem"].isnull())
    last = rows.group_by(ITEM_ID).agg(row=rows["row"].max())
    kept = rows.semi_join(last, ["row"]).drop("row", "problem", "garbage")
    kept = materialise(engine, "items_given", kept)
    return kept, count_rows(engine, rows) - count_rows(engine, kept)


def items_from_events(
    engine: Backend, events: Table, items: Dictionary, data: DataConfig
) -> Table:
    """Reads titles and attributes off the events before the test.

    Text: the most frequent value, ties to the one seen last. Numbers: the median.
    """
    known = events.filter(events["split"] < TEST)
    table = known.select("item").distinct()
    wanted: list[tuple[str, str, AttributeKind]] = [
        (a.name, f"attribute_{a.name}", a.kind) for a in data.item_attributes
    ]
    if data.item_columns.title:
        wanted.insert(0, (TITLE, TITLE, AttributeKind.CATEGORICAL))
    else:
        table = table.mutate(ibis.null("string").name(TITLE))
    for name, column, kind in wanted:
        values: Any = known.select("item", "instant", "row", value=known[column])
        values = values.filter(values["value"].notnull())
        if kind == AttributeKind.NUMERIC:
            best = values.group_by("item").agg(values["value"].median().name(name))
        else:
            best = _most_frequent(values).rename({name: "value"})
        table = table.left_join(best, ["item"]).drop("item_right")
    table = table.inner_join(items.ids, table["item"] == items.ids["code"])
    names = [name for name, _, _ in wanted] if data.item_columns.title else None
    names = names or [TITLE, *(name for name, _, _ in wanted)]
    table = table.select(table["id"].name(ITEM_ID), *names)
    return materialise(engine, "items_given", table)


def _most_frequent(values: Table) -> Table:
    counts = values.group_by("item", "value").agg(
        count=values.count(),
        latest=ibis.struct({"t": values["instant"], "r": values["row"]}).max(),
    )
    order = [counts["count"].desc(), counts["latest"].desc()]
    place: Any = ibis.row_number().over(ibis.window(group_by="item", order_by=order))
    ranked = counts.mutate(place=place)
    return ranked.filter(ranked["place"] == 0).select("item", "value")


def missing_items_note(
    engine: Backend, events: Table, given: Table, items: Dictionary
) -> list[str]:
    """Says which items of the log the catalogue lacks, if they are many."""
    met = events.group_by("item").agg(count=events.count())
    met = met.inner_join(items.ids, met["item"] == items.ids["code"])
    total = read_int(engine, met["count"].sum())
    lost = met.anti_join(given, met["id"] == given[ITEM_ID])
    num_items, num_events = (
        count_rows(engine, lost),
        read_int(engine, lost["count"].sum().fill_null(0)),
    )
    if num_events <= _FEW_MISSING * total:
        return []
    order = [lost["count"].desc(), lost["id"]]
    most = engine.to_pyarrow(lost.order_by(order).limit(3))["id"].to_pylist()
    return [
        f"{num_events:,} of {total:,} events ({num_events / total:.0%}) are of "
        f"{num_items:,} items that the catalogue does not hold, such as "
        f"{', '.join(map(repr, most))}: they have neither title nor attributes. Where "
        "the catalogue writes these ids in another way (leading zeros, a prefix, upper "
        "case), write both alike"
    ]


def build_catalogue(
    engine: Backend,
    events: Table,
    given: Table,
    items: Dictionary,
    *,
    target_indices: list[int],
) -> Table:
    """Joins the given items with those met before the test, and orders them.

    The order is training count, then a hash of the id, so that an index says
    nothing but how frequent the item is.

    Returns:
        `item_index`, `item_id`, `title`, `train_count`, `first_timestamp` (0 for
        no event before the test) and the attributes.
    """
    known = events.filter(events["split"] < TEST)
    is_target = known["type_index"].isin(target_indices) & (known["split"] == TRAIN)
    counts = known.group_by("item").agg(
        is_target.cast("int64").sum().name(TRAIN_COUNT),
        (known["instant"].min() / MICROSECONDS)
        .floor()
        .cast("int64")
        .name(FIRST_TIMESTAMP),
    )
    counts = counts.inner_join(items.ids, counts["item"] == items.ids["code"])
    counts = counts.select("id", TRAIN_COUNT, FIRST_TIMESTAMP)
    joined = given.outer_join(counts, given[ITEM_ID] == counts["id"])
    attributes = [c for c in given.columns if c not in (ITEM_ID, TITLE)]
    table = joined.select(
        ibis.coalesce(joined[ITEM_ID], joined["id"]).name(ITEM_ID),
        TITLE,
        joined[TRAIN_COUNT].fill_null(0).name(TRAIN_COUNT),
        joined[FIRST_TIMESTAMP].fill_null(0).name(FIRST_TIMESTAMP),
        *attributes,
    )
    text: Any = table[ITEM_ID]
    order = [table[TRAIN_COUNT].desc(), text.hexdigest("sha256")]
    index: Any = ibis.row_number().over(ibis.window(order_by=order))
    table = table.mutate(item_index=(index + NUM_SPECIAL_INDICES).cast("int32"))
    return materialise(engine, "catalogue", table)


def index_items(engine: Backend, catalogue: Table, items: Dictionary) -> Table:
    """Returns `item` (code) and `item_index` of the items in the catalogue."""
    joined = items.ids.inner_join(catalogue, items.ids["id"] == catalogue[ITEM_ID])
    return materialise(
        engine, "item_indices", joined.select("item_index", item=joined["code"])
    )


def build_vocabulary(
    engine: Backend, table: Table, column: str, attribute: AttributeSpec
) -> Vocabulary:
    """Counts the tokens of an attribute; the most frequent one comes first."""
    values = table.select(value=table[column])
    values = values.filter(values["value"].notnull())
    counts = values.group_by("value").agg(count=values.count())
    rows = engine.to_pyarrow(counts)
    tokens: Counter[str] = Counter()
    for text, count in zip(
        rows["value"].to_pylist(), rows["count"].to_pylist(), strict=True
    ):
        for token in dict.fromkeys(attribute.tokens(text)):
            tokens[token] += count
    ranked = sorted(tokens.items(), key=lambda item: (-item[1], item[0]))
    return Vocabulary(
        [token for token, _ in ranked],
        np.array([count for _, count in ranked], np.int64),
    )
