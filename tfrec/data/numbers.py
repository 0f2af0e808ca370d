"""Numbers of the event log: which make sense, and which rows hold others."""

from dataclasses import dataclass
from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from tfrec.config import DataConfig
from tfrec.data.engine import Table
from tfrec.data.values import as_attribute_number, as_number, is_garbage
from tfrec.data_config import AttributeConfig
from tfrec.schema import AttributeKind


@dataclass(frozen=True)
class NumberRole:
    """A role whose column holds numbers, and which of them make sense."""

    role: str
    lowest: float | None = None
    highest: float | None = None
    unknown: float | None = None


NUMBER_ROLES = (
    NumberRole("dwell_seconds", lowest=0, unknown=0),
    NumberRole("position", lowest=1, unknown=0),
    NumberRole("propensity", lowest=0, highest=1),
    NumberRole("quantity"),
    NumberRole("price", lowest=0),
)
KEPT_NUMBERS = ("dwell_seconds", "position", "propensity")
_IS_ZERO_PLACE = "is_zero_place"


def event_attributes(data: DataConfig) -> dict[str, AttributeConfig]:
    """Returns the attributes that are read off the events, by their staged column."""
    declared = {f"context_{a.name}": a for a in data.context}
    if data.items is None:
        declared |= {f"attribute_{a.name}": a for a in data.item_attributes}
    return declared


def number_columns(data: DataConfig) -> list[str]:
    """Returns the event columns that hold numbers, each once."""
    roles = [getattr(data.event_columns, role.role) for role in NUMBER_ROLES]
    columns = [column for column in roles if column is not None]
    columns += [
        attribute.source_column
        for attribute in event_attributes(data).values()
        if attribute.kind == AttributeKind.NUMERIC
    ]
    return list(dict.fromkeys(columns))


def stage_numbers(raw: Table, data: DataConfig) -> dict[str, Any]:
    """Selects what is kept of the numbers, and which of them are unusable.

    Returns:
        As configured `dwell_seconds`, `position`, `propensity`, whether the position
        is 0 as `is_zero_place`, whether there is a usable number as `has_quantity` and
        `has_price`, and `garbage`, one bit for each of `number_columns` that holds an
        unusable one.
    """
    bits = {column: 2**bit for bit, column in enumerate(number_columns(data))}
    if not bits:
        return {}
    columns: dict[str, Any] = {}
    garbage: Any = ibis.literal(0, "int64")
    roles = set()
    for role in NUMBER_ROLES:
        name = getattr(data.event_columns, role.role)
        if name is None:
            continue
        roles.add(name)
        number: Any = as_number(raw[name])
        if role.role == "position":
            columns[_IS_ZERO_PLACE] = (number == 0).fill_null(False)
        bad = is_garbage(raw[name], number)
        if role.lowest is not None or role.highest is not None:
            low = float("-inf") if role.lowest is None else role.lowest
            high = float("inf") if role.highest is None else role.highest
            usable = number.between(low, high)
            allowed = usable | (number == role.unknown) if role.unknown == 0 else usable
            bad = bad | ~allowed.fill_null(True)
            number = ibis.ifelse(usable, number, ibis.null("float64"))
        garbage = garbage | ibis.ifelse(bad, bits[name], 0)
        if role.role in KEPT_NUMBERS:
            columns[role.role] = number.cast("float32")
        else:
            columns[f"has_{role.role}"] = number.notnull()
    for attribute in event_attributes(data).values():
        name = attribute.source_column
        # Looking a second time at the column of a role costs 0.4 s a million rows.
        if attribute.kind == AttributeKind.NUMERIC and name not in roles:
            bad = is_garbage(
                raw[name], as_attribute_number(raw[name], name=attribute.name)
            )
            garbage = garbage | ibis.ifelse(bad, bits[name], 0)
    return {**columns, "garbage": garbage}


def zero_place_note(engine: Backend, shown: Table, data: DataConfig) -> list[str]:
    """Says if places of lists seem to be counted from 0, which means unknown.

    Args:
        engine: Looks.
        shown: Staged rows of items that were shown.
        data: Names the column of places.
    """
    if _IS_ZERO_PLACE not in shown.columns:
        return []
    zero, known = shown[_IS_ZERO_PLACE], shown["position"].notnull()
    counted = shown.agg(zero=zero.sum().fill_null(0), known=known.sum().fill_null(0))
    (found,) = engine.to_pyarrow(counted).to_pylist()
    if not found["zero"] or not found["known"]:  # Of none at all another note tells.
        return []
    return [
        "`data.event_columns.position` should count places from 1. Received: "
        f"'{data.event_columns.position}', which is 0 in {found['zero']:,} rows of "
        "impressions: the place counts as unknown there. If 0 is the first place, add "
        "1 to all of them; if it means unknown, leave it empty"
    ]
