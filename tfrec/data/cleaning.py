"""Codes ids as numbers and removes duplicates and rare users and items."""

from dataclasses import dataclass
from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from tfrec.config import CleaningConfig
from tfrec.data.engine import Table, content_hash, count_rows, drop, materialise
from tfrec.data.values import clean_id, id_problem

KEY = ("user", "item", "type_index", "instant")  # Roles that every event has.


@dataclass(frozen=True)
class Dictionary:
    """Ids of one kind, and the raw spellings that mean them.

    Attributes:
        spellings: `raw`, `code` (null if unusable), `problem` (null if usable).
        ids: `code` and `id`; codes count from 0 in the order of the ids.
    """

    spellings: Table
    ids: Table


def build_dictionary(
    engine: Backend, raw: Table, column: str, *, what: str
) -> Dictionary:
    """Cleans the distinct ids of a column, once each instead of once a row."""
    used = raw.filter(raw["dropped"].isnull())
    cleaned = used.select(raw=used[column]).distinct()
    cleaned = cleaned.mutate(id=clean_id(cleaned["raw"]))
    cleaned = cleaned.mutate(problem=id_problem(cleaned["id"], what=what))
    cleaned = materialise(engine, f"{what}_cleaned", cleaned)
    usable = cleaned.filter(cleaned["problem"].isnull()).select("id").distinct()
    code: Any = ibis.row_number().over(ibis.window(order_by="id"))
    ids = materialise(
        engine, f"{what}_ids", usable.select("id", code=code.cast("int32"))
    )
    # An unusable id is joined to none: its id must not meet a usable one.
    joined = cleaned.left_join(ids, ["id"])
    joined = joined.select(
        "raw",
        "problem",
        code=ibis.ifelse(
            joined["problem"].isnull(), joined["code"], ibis.null("int32")
        ),
    )
    return Dictionary(materialise(engine, f"{what}_spellings", joined), ids)


def code_rows(
    raw: Table,
    users: Dictionary,
    items: Dictionary,
    *,
    impressions: bool,
    search_type: int | None = None,
) -> Table:
    """Selects the usable rows with numbers in place of ids, by user and time.

    Args:
        raw: Staged rows.
        users: Ids of users.
        items: Ids of items.
        impressions: Whether rows that say what was shown are wanted, or events.
        search_type: Type index of the events whose `item` is null; None: all events
            have one.
    """
    is_kind = raw["type_index"] == 0 if impressions else raw["type_index"] > 0
    rows = raw.mutate(row=raw.rowid())
    rows = rows.filter(raw["dropped"].isnull() & raw["problem"].isnull() & is_kind)
    rows = rows.drop("dropped", "problem")
    for name, dictionary in (("user", users), ("item", items)):
        spellings = dictionary.spellings
        known = spellings.filter(spellings["code"].notnull())
        known = known.select(**{f"{name}_text": known["raw"], name: known["code"]})
        if name == "item" and search_type is not None and not impressions:
            rows = rows.left_join(known, [f"{name}_text"]).drop(f"{name}_text_right")
            is_usable = rows["item"].notnull() | (rows["type_index"] == search_type)
            rows = rows.filter(is_usable).drop(f"{name}_text")
            continue
        rows = rows.inner_join(known, [f"{name}_text"]).drop(f"{name}_text")
    # Windows over rows that already lie in order take half the time.
    return rows if impressions else rows.order_by("user", "instant", "row")


def find_duplicates(rows: Table, cleaning: CleaningConfig) -> Table:
    """Returns the column `row` of rows that repeat an earlier row.

    Only rows whose hash occurs twice are compared, by value, so a collision of
    hashes removes nothing.
    """
    key = [*KEY]
    if cleaning.duplicates == "exact" and "content" in rows.columns:
        key.append("content")
    if "search" in rows.columns:  # Two searches of one second are two events.
        key.append("search")
    rows = rows.mutate(hash=content_hash({k: rows[k] for k in key}))
    counts = rows.group_by("hash").agg(count=rows.count())
    suspects = rows.semi_join(counts.filter(counts["count"] > 1), ["hash"])
    place: Any = ibis.row_number().over(ibis.window(group_by=key, order_by="row"))
    suspects = suspects.mutate(place=place)
    return suspects.filter(suspects["place"] > 0).select("row")


def remove_duplicates(
    engine: Backend, rows: Table, cleaning: CleaningConfig, *, name: str
) -> tuple[Table, int]:
    """Removes rows that repeat an earlier one; returns the rest and the number."""
    found = materialise(engine, f"{name}_duplicates", find_duplicates(rows, cleaning))
    number = count_rows(engine, found)
    if number:
        rows = materialise(engine, f"{name}_distinct", rows.anti_join(found, ["row"]))
    return rows, number


def keep_core(
    engine: Backend, rows: Table, cleaning: CleaningConfig
) -> tuple[Table, int]:
    """Drops users and items with too few events until all have enough.

    Returns:
        The rest (the k-core) and the number of dropped events. Searches, which have
        no item, do not count; they stay with the users who stay.
    """
    before = count_rows(engine, rows)
    if "search" not in rows.columns:
        kept = _keep_core(engine, rows, cleaning)
        return kept, before - count_rows(engine, kept)
    has_item = rows["item"].notnull()
    kept = _keep_core(engine, rows.filter(has_item), cleaning)
    searches = rows.filter(~has_item).semi_join(kept.select("user").distinct(), "user")
    kept = kept.union(searches).order_by("user", "instant", "row")
    kept = materialise(engine, "core_with_searches", kept)
    return kept, before - count_rows(engine, kept)


def _keep_core(engine: Backend, rows: Table, cleaning: CleaningConfig) -> Table:
    rounds = 0
    limits = {"user": cleaning.min_user_events, "item": cleaning.min_item_events}
    active = {column: limit for column, limit in limits.items() if limit > 1}
    left = count_rows(engine, rows) if active else 0
    while active:
        kept = rows
        for column, limit in active.items():
            counts = rows.group_by(column).agg(count=rows.count())
            enough = counts.filter(counts["count"] >= limit)
            kept = kept.semi_join(enough, [column])
        rounds += 1
        rows = materialise(engine, f"core_{rounds}", kept)
        remaining = count_rows(engine, rows)
        if remaining == left:
            break
        if rounds > 1:
            drop(engine, f"core_{rounds - 1}")
        left = remaining
    return rows
