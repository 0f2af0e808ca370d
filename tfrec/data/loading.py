"""Loads both raw tables into the engine: usable rows coded, the others explained."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from ibis.backends.duckdb import Backend

from tfrec.config import AttributeConfig, DataConfig
from tfrec.data.catalogue import (
    keep_last_rows,
    numeric_columns,
    stage_items,
    staged_item_columns,
    wanted_item_columns,
)
from tfrec.data.cleaning import (
    Dictionary,
    build_dictionary,
    code_rows,
    keep_core,
    remove_duplicates,
)
from tfrec.data.empty_columns import NOTHING_LEARNT, empty_column_notes
from tfrec.data.engine import Table, count_rows, drop, materialise
from tfrec.data.numbers import event_attributes, number_columns, zero_place_note
from tfrec.data.readers import Source, check_columns, check_numbers, open_source
from tfrec.data.rejects import (
    Reject,
    RejectSummary,
    check_share,
    explain_read_error,
    find_rejected,
    read_line_rejects,
    read_row_rejects,
)
from tfrec.data.staging import (
    IMPRESSION_TYPE,
    NO_IMPRESSION_ID,
    drop_reasons,
    search_type,
    stage_events,
    staged_columns,
    wanted_columns,
)
from tfrec.schema import AttributeKind

EVENTS, ITEMS = "data.events", "data.items"

_NUMBERS = "(expected such as {}, no other sign, no currency; no price or time below 0)"
_NUMBER_EXAMPLES = {
    None: "1234.5: a point",
    ".": "1234.5: a point, or a comma with `decimal: ','` beside `paths`",
    ",": "1.234,5: a comma, points between groups of three",
}
_PROPENSITIES = "(expected a chance from 0 to 1, such as 0.25)"


@dataclass
class LoadReport:
    """What happened to the rows of one raw table.

    Attributes:
        rejects: Unusable rows, for the rejects file.
        summary: Their counts.
        dropped: Rows left out on purpose, per reason.
        warnings: Values, or rows, that were usable only in part, per kind.
        notes: What else is to be told.
    """

    rejects: list[Reject] = field(default_factory=list)
    summary: RejectSummary = field(default_factory=RejectSummary)
    dropped: dict[str, int] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class LoadedEvents:
    """The event log with numbers in place of ids.

    Attributes:
        events: Usable behaviour events.
        shown: Usable rows of impressions; None where the log has none.
        users: Codes and ids of users.
        items: Codes and ids of items.
        report: What happened to the other rows.
    """

    events: Table
    shown: Table | None
    users: Dictionary
    items: Dictionary
    report: LoadReport


def read_events(
    engine: Backend, data: DataConfig, *, reads_searches: bool = False
) -> tuple[Source, Table]:
    """Reads the event log into the engine, once; without `reads_searches` no search."""
    roles = data.event_columns
    sequence_columns = (roles.user_id, roles.item_id)
    attributes = event_attributes(data).values()
    source = _open(engine, data.events, EVENTS, sequence_columns, attributes)
    wanted = wanted_columns(data)
    check_columns(source, wanted)
    check_numbers(source, _only(wanted, number_columns(data)))
    staged = stage_events(source, data, reads_searches=reads_searches)
    return source, _stage(engine, source, staged, "events_raw")


def clean_events(
    engine: Backend, source: Source, raw: Table, data: DataConfig
) -> LoadedEvents:
    """Parts the rows into usable, dropped and unusable ones; codes the usable."""
    report = LoadReport(dropped=_count_dropped(engine, raw, data))
    users = build_dictionary(engine, raw, "user_text", what="user")
    items = build_dictionary(engine, raw, "item_text", what="item")
    spellings = {"user_text": users.spellings, "item_text": items.spellings}
    rejected = find_rejected(raw, spellings)
    _reject(engine, source, raw, rejected, report, data.cleaning.max_reject_share)
    kept = raw.filter(raw["dropped"].isnull())
    report.warnings = _count_garbage(
        engine,
        kept,
        number_columns(data),
        decimal=source.decimal,
        propensity=data.event_columns.propensity,
    )
    usable = kept.filter(kept["problem"].isnull())
    report.notes = empty_column_notes(
        engine, usable, staged=staged_columns(data), wanted=wanted_columns(data)
    )
    shown_rows = usable.filter(usable["type_index"] == IMPRESSION_TYPE)
    report.notes += zero_place_note(engine, shown_rows, data)
    searches = search_type(data) if data.search_event_type is not None else None
    coded = code_rows(raw, users, items, impressions=False, search_type=searches)
    events = materialise(engine, "events_coded", coded)
    shown = None
    if data.impression_event_type is not None and data.event_columns.impression_id:
        coded = code_rows(raw, users, items, impressions=True)
        shown = materialise(engine, "shown_coded", coded)
    if count_rows(engine, events) == 0:
        raise ValueError(
            f"`{EVENTS}` must hold usable events. Received: "
            f"{report.summary.num_rows:,} rows, of which {report.summary.total:,} are "
            f"unusable and {sum(report.dropped.values()):,} dropped, none is left "
            f"({report.dropped}). Check `data.cleaning.drop_rows`."
        )
    drop(engine, "events_raw")
    return LoadedEvents(events, shown, users, items, report)


def thin_events(
    engine: Backend, loaded: LoadedEvents, data: DataConfig
) -> LoadedEvents:
    """Removes duplicates, then users and items with too few events."""
    events, shown, dropped = loaded.events, loaded.shown, loaded.report.dropped
    cleaning = data.cleaning
    # Without times, equal rows are different events at different places.
    if cleaning.duplicates != "keep" and data.event_columns.timestamp is not None:
        events, dropped["duplicate"] = remove_duplicates(
            engine, events, cleaning, name="events"
        )
        if shown is not None:
            shown, dropped["duplicate impression"] = remove_duplicates(
                engine, shown, cleaning, name="shown"
            )
    before = events
    events, dropped["too few events (k-core)"] = keep_core(engine, events, cleaning)
    if count_rows(engine, events) == 0:
        raise ValueError(
            "`data.cleaning.min_user_events` and `min_item_events` must leave events. "
            f"Received: min_user_events={cleaning.min_user_events}, min_item_events="
            f"{cleaning.min_item_events}, which drop all. Lower them."
        )
    if shown is not None and dropped["too few events (k-core)"]:
        kept = shown
        for column in ("user", "item"):
            gone = before.select(column).distinct().anti_join(events, [column])
            kept = kept.anti_join(gone, [column])
        kept = materialise(engine, "shown_core", kept)
        number = count_rows(engine, shown) - count_rows(engine, kept)
        dropped["impression of a dropped user or item"], shown = number, kept
    return LoadedEvents(events, shown, loaded.users, loaded.items, loaded.report)


def load_items(
    engine: Backend, data: DataConfig, *, if_empty: str = NOTHING_LEARNT
) -> tuple[Table, LoadReport]:
    """Reads the catalogue; the last row of an item counts.

    `if_empty` is what notes say comes of a column without values.
    """
    if data.items is None:
        raise ValueError("`data.items` must be set to load a catalogue.")
    id_column = data.item_columns.item_id
    names = (id_column, f"{id_column}_2")
    source = _open(engine, data.items, ITEMS, names, data.item_attributes)
    wanted = wanted_item_columns(data)
    check_columns(source, wanted)
    check_numbers(source, _only(wanted, numeric_columns(data)))
    staged = _stage(engine, source, stage_items(source, data), "items_raw")
    report = LoadReport()
    bad = staged.mutate(row=staged.rowid()).filter(staged["problem"].notnull())
    rejected = bad.select("row", reason=bad["problem"])
    _reject(engine, source, staged, rejected, report, data.cleaning.max_reject_share)
    given, report.dropped["earlier row of the same item"] = keep_last_rows(
        engine, staged
    )
    usable = staged.filter(staged["problem"].isnull())
    report.warnings = _count_garbage(
        engine, usable, numeric_columns(data), decimal=source.decimal
    )
    report.notes = empty_column_notes(
        engine,
        usable,
        staged=staged_item_columns(data),
        wanted=wanted_item_columns(data),
        consequence=if_empty,
    )
    return given, report


def _only(wanted: dict[str, str], columns: Sequence[str]) -> dict[str, str]:
    return {key: column for key, column in wanted.items() if column in columns}


def _open(
    engine: Backend,
    table: Any,
    name: str,
    sequence_columns: tuple[str, str],
    attributes: Iterable[AttributeConfig],
) -> Source:
    words = [a for a in attributes if a.kind != AttributeKind.NUMERIC]
    try:
        return open_source(
            engine,
            table,
            name=name,
            sequence_columns=sequence_columns,
            list_columns={attribute.source_column for attribute in words},
        )
    except (EOFError, duckdb.Error) as error:
        raise explain_read_error(error, name=name) from error


def _stage(engine: Backend, source: Source, staged: Table, name: str) -> Table:
    try:
        table = materialise(engine, name, staged)
    except duckdb.OutOfMemoryException:
        raise
    except (duckdb.IOException, duckdb.InvalidInputException) as error:
        raise explain_read_error(error, name=source.name) from error
    if count_rows(engine, table) == 0 and not read_line_rejects(engine, source):
        raise ValueError(
            f"`{source.name}` must have rows. Received: {list(source.files)[:3]} with "
            f"the columns {list(source.columns)} and no row."
        )
    return table


def _reject(
    engine: Backend,
    source: Source,
    raw: Table,
    rejected: Table,
    report: LoadReport,
    max_share: float,
) -> None:
    """Counts and reads the unusable rows, or fails where they are too many."""
    lines = read_line_rejects(engine, source)
    name = f"{raw.get_name()}_rejected"
    rejected = materialise(engine, name, rejected)
    num_rows = count_rows(engine, raw) + len(lines)
    rows = rejected
    too_many = count_rows(engine, rejected) + len(lines) > max_share * num_rows
    if too_many:  # One example a reason is enough for the error.
        rows = rejected.group_by("reason").agg(row=rejected["row"].min())
    report.summary.num_rows = num_rows
    report.summary.add(lines)
    if count_rows(engine, rejected):
        found = read_row_rejects(engine, source, rows, line_rejects=lines)
        report.rejects += found
        report.summary.add(found)
    if too_many:
        counts = rejected.group_by("reason").agg(count=rejected.count())
        for row in engine.to_pyarrow(counts).to_pylist():
            report.summary.counts[row["reason"]] = row["count"]
    report.rejects[:0] = lines
    check_share(
        report.summary,
        name=source.name,
        max_share=max_share,
        can_drop=source.name == EVENTS,
    )


def _count_dropped(engine: Backend, raw: Table, data: DataConfig) -> dict[str, int]:
    reasons = drop_reasons(data.cleaning)
    used = raw.filter(raw["dropped"].notnull())
    counts = engine.to_pyarrow(used.group_by("dropped").agg(count=used.count()))
    by_place = {r["dropped"]: r["count"] for r in counts.to_pylist()}
    result = {reason: by_place.get(place, 0) for place, reason in enumerate(reasons)}
    shown = reasons[: len(data.cleaning.drop_rows)]
    if data.impression_event_type is not None and not data.event_columns.impression_id:
        shown.append(NO_IMPRESSION_ID)
    return {reason: n for reason, n in result.items() if n or reason in shown}


def _count_garbage(
    engine: Backend,
    rows: Table,
    columns: Sequence[str],
    *,
    decimal: str | None,
    propensity: str | None = None,
) -> dict[str, int]:
    """Counts rows by the bits of `garbage`: one for each of the columns."""
    if "garbage" not in rows.columns:
        return {}
    numbers = _NUMBERS.format(_NUMBER_EXAMPLES[decimal])
    bad = rows.filter(rows["garbage"] > 0)
    counts = engine.to_pyarrow(bad.group_by("garbage").agg(count=bad.count()))
    result: dict[str, int] = {}
    for row in counts.to_pylist():
        for bit, column in enumerate(columns):
            if row["garbage"] & 2**bit:
                expected = _PROPENSITIES if column == propensity else numbers
                text = f"value of '{column}' that is no usable number {expected}"
                result[text] = result.get(text, 0) + row["count"]
    return result
