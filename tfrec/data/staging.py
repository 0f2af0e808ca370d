"""Reads the event log once: roles, types and instants, still with raw ids."""

from typing import Any

import ibis

from tfrec.config import CleaningConfig, DataConfig, RowFilter
from tfrec.data.engine import Column, Table, content_hash
from tfrec.data.numbers import event_attributes, number_columns, stage_numbers
from tfrec.data.readers import FILE, LINE, PROBLEM, Source
from tfrec.data.values import (
    as_attribute_number,
    as_instant,
    as_number,
    as_text,
    as_words,
    with_points,
)
from tfrec.schema import NUM_SPECIAL_INDICES, AttributeKind

IMPRESSION_TYPE = 0  # Type index of rows that only say what was shown.
NO_SEARCH_TEXT = "search without a text"
UNREAD_SEARCH = "search, which no text encoder reads (set text)"
NO_IMPRESSION_ID = "impression without an impression id"
_STAGED_NAMES = {
    "session_id": "session",
    "impression_id": "impression",
    "quantity": "has_quantity",
    "price": "has_price",
}
_MAX_EDITS = 3  # Of a misspelt event type, and at most a third of its length.


def wanted_columns(data: DataConfig) -> dict[str, str]:
    """Returns the event columns that the configuration names, by their key."""
    roles = data.event_columns.model_dump(exclude_none=True)
    wanted = {f"data.event_columns.{role}": column for role, column in roles.items()}
    for attribute in data.context:
        wanted[f"data.context.{attribute.name}"] = attribute.source_column
    for condition in data.cleaning.drop_rows:
        wanted[f"data.cleaning.drop_rows[{condition.column}]"] = condition.column
    if data.items is None:
        if data.item_columns.title:
            wanted["data.item_columns.title"] = data.item_columns.title
        for attribute in data.item_attributes:
            wanted[f"data.item_attributes.{attribute.name}"] = attribute.source_column
    return wanted


def staged_columns(data: DataConfig) -> dict[str, str]:
    """Returns the columns of `stage_events` by the keys of `wanted_columns`.

    Columns without which a row is unusable, and those of `drop_rows`, have none.
    """
    staged = {}
    for key in wanted_columns(data):
        section, name = key.removeprefix("data.").split(".", 1)
        staged[key] = {
            "event_columns": _STAGED_NAMES.get(name, name),
            "context": f"context_{name}",
            "item_attributes": f"attribute_{name}",
            "item_columns": name,
        }.get(section, "")
    needed = ("user_id", "item_id", "event_type", "timestamp", "")
    return {key: name for key, name in staged.items() if name not in needed}


def stage_events(source: Source, data: DataConfig, *, reads_searches: bool) -> Table:
    """Selects what is needed of every raw row, in file order.

    Args:
        source: The raw table.
        data: Its configuration.
        reads_searches: Whether rows of `search_event_type` are events; else they are
            dropped.

    Returns:
        Columns `user_text`, `item_text` (null in searches), `type_index` (-1
        unusable, 0 an impression), `instant`, `dropped` (place of the drop reason),
        `problem`, and as configured `content`, `session`, `dwell_seconds`, `query`,
        `search` (the text of a search, else ""), `impression`, `position`,
        `propensity`, `is_zero_place`, `has_quantity`, `has_price`, `garbage` (one bit
        for each of `number_columns` that holds no usable one), `context_*`,
        `attribute_*` and `title`.
    """
    raw = with_points(source.table, _compared_numbers(data), source.decimal)
    roles = data.event_columns
    type_index, type_problem = _event_type(raw, data)
    instant, time_problem = _instant(raw, data)
    item_text: Any = _raw_id(raw[roles.item_id])
    problems = [time_problem, type_problem]
    if data.search_event_type is not None and roles.query is not None:
        is_search = type_index == search_type(data)
        text = as_words(raw[roles.query])
        missing = is_search & text.isnull()
        problems.append(ibis.ifelse(missing, NO_SEARCH_TEXT, ibis.null("string")))
        item_text = ibis.ifelse(is_search, ibis.null("string"), item_text)
    if PROBLEM in raw.columns:
        problems.insert(0, raw[PROBLEM])
    columns: dict[str, Any] = {
        "user_text": _raw_id(raw[roles.user_id]),
        "item_text": item_text,
        "type_index": type_index,
        "instant": instant,
        "dropped": _dropped(raw, data, type_index, reads_searches=reads_searches),
        "problem": ibis.coalesce(*problems),
        **_content(raw, data),
        **_texts(raw, data, type_index),
        **stage_numbers(raw, data),
        **_attributes(raw, data),
    }
    return raw.select(**columns)


def search_type(data: DataConfig) -> int:
    """Returns the type index of searches: it follows those of `event_types`."""
    return len(data.event_types) + NUM_SPECIAL_INDICES


def drop_reasons(cleaning: CleaningConfig) -> list[str]:
    """Returns what the values of `dropped` mean, in order."""
    reasons = [c.reason or _default_reason(c) for c in cleaning.drop_rows]
    return [*reasons, NO_IMPRESSION_ID, UNREAD_SEARCH]


def _default_reason(condition: RowFilter) -> str:
    value = "" if condition.value is None else f" {condition.value}"
    return f"{condition.column} {condition.drop}{value}"


def _raw_id(column: Any) -> Column:
    return column.cast("string").fill_null("")


def _event_type(raw: Table, data: DataConfig) -> tuple[Any, Any]:
    column = data.event_columns.event_type
    if column is None:
        single = ibis.literal(NUM_SPECIAL_INDICES, "int8")
        return single, ibis.null("string")
    value: Any = raw[column].cast("string")
    text: Any = as_text(raw[column])
    types = data.event_types
    if data.search_event_type is not None:  # Behind the others: see `search_type`.
        types += (data.search_event_type,)
    names = {name: name for name in types} | data.event_type_names
    cases = [
        (value, types.index(name) + NUM_SPECIAL_INDICES)
        for value, name in names.items()
        if name in types
    ]
    if data.impression_event_type is not None:
        cases.insert(0, (data.impression_event_type, IMPRESSION_TYPE))
    # Most values need no stripping, which costs more than the comparison.
    index: Any = value.cases(*cases, else_=text.cases(*cases, else_=-1)).cast("int8")
    listed = f"' (known: {', '.join(names)})"
    unknown = ibis.literal("unknown event type '") + text + listed
    unknown += _near_type(text, {n: t for n, t in names.items() if t in types})
    problem = ibis.cases(
        (text.isnull(), "no event type"),
        (index < 0, unknown),
        else_=ibis.null("string"),
    )
    return index.fill_null(-1), problem


def _near_type(text: Any, names: dict[str, str]) -> Any:
    """Returns a hint where a raw type is nearly one of the names, else ""."""
    folded = text.lower()
    cases = [
        (
            folded.levenshtein(name.lower()) <= edits,
            ibis.literal(f"; did you mean '{name}'? Set data.event_type_names: {{'")
            + text
            + f"': {event_type}}}",
        )
        for edits in range(_MAX_EDITS + 1)  # The nearest first.
        for name, event_type in names.items()
        if edits <= len(name) // 3
    ]
    return ibis.cases(*cases, else_="")


def _instant(raw: Table, data: DataConfig) -> tuple[Any, Any]:
    column = data.event_columns.timestamp
    if column is None:
        return ibis.literal(0, "int64"), ibis.null("string")
    return as_instant(raw[column], data.timestamp_unit)


def _dropped(
    raw: Table, data: DataConfig, type_index: Any, *, reads_searches: bool
) -> Any:
    """Returns the place in `drop_reasons` of rows that are dropped, else null."""
    conditions = dict(enumerate(_meets(raw, c) for c in data.cleaning.drop_rows))
    place = len(conditions)
    if data.impression_event_type is not None:
        impression = data.event_columns.impression_id
        is_shown = type_index == IMPRESSION_TYPE
        if impression:
            is_shown &= raw[impression].cast("string").nullif("").isnull()
        conditions[place] = is_shown
    if data.search_event_type is not None and not reads_searches:
        conditions[place + 1] = type_index == search_type(data)
    if not conditions:
        return ibis.null("int8")
    cases = [(c.fill_null(False), place) for place, c in conditions.items()]
    found: Any = ibis.cases(*cases, else_=ibis.null("int8"))
    return found.cast("int8")


def _compared_numbers(data: DataConfig) -> list[str]:
    """Returns the columns that are read as numbers, those of conditions included."""
    compared = [
        c.column
        for c in data.cleaning.drop_rows
        if c.drop in ("at_most", "below") or isinstance(c.value, float)
    ]
    return list(dict.fromkeys([*number_columns(data), *compared]))


def _meets(raw: Table, condition: RowFilter) -> Any:
    column: Any = raw[condition.column]
    text, value = as_text(column), condition.value
    match condition.drop:
        case "missing":
            return text.isnull() | (text.lower() == "nan")
        case "starts_with":
            return text.startswith(str(value))
        case "not_matches":
            return ~text.re_search(str(value)).fill_null(False)
        case "equals" if not isinstance(value, str):
            return as_number(column) == value
        case "equals":
            return text == value
        case "at_most":
            return as_number(column) <= float(value or 0)
        case "below":
            return as_number(column) < float(value or 0)


def _content(raw: Table, data: DataConfig) -> dict[str, Any]:
    """Returns a hash of every role, by which equal rows are found."""
    if data.cleaning.duplicates != "exact" or data.event_columns.timestamp is None:
        return {}
    used = {FILE, LINE, PROBLEM, data.event_columns.user_id, data.event_columns.item_id}
    used |= {data.event_columns.timestamp, data.event_columns.event_type or ""}
    roles = {k: c for k, c in wanted_columns(data).items() if "drop_rows" not in k}
    others = [c for c in dict.fromkeys(roles.values()) if c not in used]
    return {"content": content_hash({c: raw[c] for c in others})} if others else {}


def _texts(raw: Table, data: DataConfig, type_index: Any) -> dict[str, Any]:
    roles, columns = data.event_columns, {}
    if roles.session_id:
        columns["session"] = _hash_of(raw[roles.session_id])
    if roles.query:
        columns["query"] = as_words(raw[roles.query]).fill_null("")
    if data.search_event_type is not None:
        is_search = type_index == search_type(data)
        columns["search"] = ibis.ifelse(is_search, columns["query"], "")
    if roles.impression_id:
        columns["impression"] = _hash_of(raw[roles.impression_id])
    return columns


def _hash_of(column: Column) -> Column:
    """Returns a hash in place of an id that is only compared within a user."""
    text = column.cast("string").nullif("")
    hashed = content_hash({"text": text})
    return text.isnull().ifelse(ibis.null("uint64"), hashed)


def _attributes(raw: Table, data: DataConfig) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for name, attribute in event_attributes(data).items():
        column = raw[attribute.source_column]
        if attribute.kind == AttributeKind.NUMERIC:
            columns[name] = as_attribute_number(column, name=attribute.name)
        else:
            columns[name] = as_words(column, separator=attribute.separator)
    if data.items is None and data.item_columns.title:
        columns["title"] = as_words(raw[data.item_columns.title])
    return columns
