"""Turns raw values into ids, numbers and instants; says why one cannot be used."""

from collections.abc import Sequence
from typing import Any

import ibis

from tfrec.data.engine import MICROSECONDS, Column, Table, microseconds
from tfrec.data_config import TimeUnit
from tfrec.order_config import PRICE

# Spellings of "nothing" that databases and data frames leave in columns of text.
MISSING_WORDS = ("nan", "null", "none", "\\n", "<na>")
END_SECONDS = 4_102_444_800  # 2100-01-01: later instants are taken for errors.
# Unit, its microseconds, and the range in which a number is taken for it: 1e11 is the
# year 5138 in seconds and March 1973 in milliseconds, 1e14 the same a unit finer.
_UNITS = (
    ("seconds", MICROSECONDS, (1, 99_999_999_999)),
    ("milliseconds", MICROSECONDS // 1_000, (100_000_000_000, 99_999_999_999_999)),
    ("microseconds", 1, (100_000_000_000_000, float("inf"))),
)
# Groups of three between points, then a decimal comma; and what no number is.
_PARTED, _NO_NUMBER = r"^\s*[-+]?[0-9]{1,3}(\.[0-9]{3})+(,[0-9]*)?\s*$", "?"
_DATES = (19_000_101, 21_001_231)  # 20191001 is a day, not a second of 1970.

NO_TIME = "no timestamp"
BAD_TIME = (
    "unparseable timestamp (expected unix seconds, or such as 2025-01-31T12:00:00Z)"
)
EARLY_TIME = "timestamp before 1970-01-01 00:00:01"
LATE_TIME = "timestamp after 2099"
OTHER_UNIT_TIME = (
    "timestamp in {0} (set data.timestamp_unit: {0}; where only some rows are so, "
    "write all in one unit)"
)
DATE_TIME = "timestamp written as YYYYMMDD (write YYYY-MM-DD)"


def strip(text: Column) -> Column:
    """Strips white space, quickly where there is none.

    Stripping costs 0.3 microseconds a value, half of all reading, and few values
    need it: those that start with a character up to the blank, or end in one.
    """
    ends = [text.endswith(character) for character in " \t\n\r\v\f"]
    needs = text < "!"
    for end in ends:
        needs = needs | end
    return ibis.ifelse(needs, text.strip(), text)


def as_text(column: Column, *, separator: str = "/") -> Column:
    """Returns stripped text, null where there is none; lists are joined."""
    value: Any = column
    kind = value.type()
    if kind.is_array():
        value = value.cast("array<string>").join(separator)
    elif kind.is_floating():
        value = ibis.ifelse(value.isnan(), ibis.null(kind), value)
    return strip(value.cast("string")).nullif("")


def as_words(column: Column, *, separator: str = "/") -> Column:
    """Returns text to be read as `as_text`; `nan`, `null` and the like are none."""
    text = as_text(column, separator=separator)
    return ibis.ifelse(_says_nothing(text), ibis.null("string"), text)


def _says_nothing(text: Any) -> Any:
    longest = max(map(len, MISSING_WORDS))
    return (text.length() <= longest) & text.lower().isin(MISSING_WORDS)


def clean_id(column: Column) -> Column:
    """Returns ids as they are served, null where there is none.

    Whole numbers written as floats ("17850.0", as data frames write them as soon
    as one is missing) lose the ".0"; all other ids keep their spelling.
    """
    raw: Any = strip(column)
    is_float = raw.endswith("0") & raw.re_search(r"^-?[0-9]+\.0+$")
    text: Any = ibis.ifelse(is_float, raw.re_replace(r"\.0+$", ""), raw)
    is_missing = (text == "") | _says_nothing(text)
    return ibis.ifelse(is_missing, ibis.null("string"), text)


def id_problem(column: Column, *, what: str) -> Column:
    """Returns why a cleaned id cannot be used; null if it can."""
    has_newline = column.contains("\n") | column.contains("\r")
    has_nul = column.contains("\x00")
    return ibis.cases(
        (column.isnull(), f"no {what} id"),
        (has_newline, f"line break in {what} id"),
        (has_nul, f"NUL byte in {what} id"),
        else_=ibis.null("string"),
    )


def with_points(table: Table, columns: Sequence[str], decimal: str | None) -> Table:
    """Rewrites numbers with a decimal comma as those that `as_number` reads.

    `1.234,50` becomes `1234.50`. A point that does not part groups of three makes a
    text no number: it may as well be a decimal one.

    Args:
        table: With text in `columns`.
        columns: Those that hold numbers.
        decimal: Their decimal sign; the table is returned as it is but for ",".
    """
    if decimal != ",":
        return table
    changed = {}
    for name in columns:
        text: Any = table[name]
        parted = text.re_search(_PARTED)
        unclear = ~parted & text.contains(".")
        whole: Any = ibis.ifelse(parted, text.replace(".", ""), text)
        number = whole.replace(",", ".")
        changed[name] = ibis.ifelse(unclear, _NO_NUMBER, number)
    return table.mutate(**changed)


def as_number(column: Column) -> Column:
    """Returns float64; null for what is no finite number."""
    value: Any = column
    if value.type().is_string():
        value = value.try_cast("float64")
    elif not value.type().is_floating():
        return value.cast("float64")
    value = value.cast("float64")
    is_bad = value.isnan() | value.isinf()
    return ibis.ifelse(is_bad, ibis.null("float64"), value)


def as_attribute_number(column: Column, *, name: str) -> Column:
    """Returns the number of an attribute as `as_number`; a `price` below 0 is none."""
    number: Any = as_number(column)
    if name != PRICE:
        return number
    return ibis.ifelse(number < 0, ibis.null("float64"), number)


def is_garbage(column: Column, number: Column) -> Column:
    """Returns True where there is a value but no number."""
    raw: Any = column
    present = raw.strip() != "" if raw.type().is_string() else raw.notnull()
    return present.fill_null(False) & number.isnull()


def as_instant(column: Column, unit: TimeUnit) -> tuple[Column, Column]:
    """Reads timestamps.

    Args:
        column: Numbers, ISO 8601 text with or without zone, dates or timestamps.
        unit: Unit of numbers; `auto` is seconds.

    Returns:
        Microseconds since 1970 and why it cannot be used; each null where the
        other is not.
    """
    raw: Any = column
    kind = raw.type()
    number: Any = ibis.null("float64")
    instant: Any = ibis.null("int64")
    if kind.is_string():
        raw = raw.strip().nullif("")
        number, instant = raw.try_cast("float64"), microseconds(raw)
    elif kind.is_numeric():
        number = raw.cast("float64")
    else:
        instant = microseconds(raw)
    factor = next((f for name, f, _ in _UNITS if name == unit), MICROSECONDS)
    limit = END_SECONDS * MICROSECONDS / factor
    from_number: Any = ibis.ifelse(
        number.between(-limit, limit), (number * factor).round(), ibis.null("float64")
    )
    value: Any = ibis.coalesce(from_number.cast("int64"), instant)
    problem = _time_problem(raw, number, value, unit)
    return ibis.ifelse(problem.isnull(), value, ibis.null("int64")), problem


def _time_problem(raw: Any, number: Any, value: Any, unit: str) -> Column:
    is_number = number.notnull() & ~number.isnan() & ~number.isinf()
    cases: list[tuple[Any, str]] = [(raw.isnull(), NO_TIME)]
    own = "seconds" if unit == "auto" else unit
    cases += [
        (is_number & number.between(*usual), OTHER_UNIT_TIME.format(name))
        for name, _, usual in _UNITS
        if name != own
    ]
    if unit == "auto":
        cases.append((is_number & number.between(*_DATES), DATE_TIME))
    is_late = (value >= END_SECONDS * MICROSECONDS) | (is_number & (number > 0))
    cases += [
        (value.between(1, END_SECONDS * MICROSECONDS - 1), ""),
        (is_late, LATE_TIME),
        (value.notnull() | is_number, EARLY_TIME),
    ]
    found: Any = ibis.cases(*cases, else_=BAD_TIME)
    return found.nullif("")
