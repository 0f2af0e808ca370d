"""Warns of configured columns that hold nothing."""

from collections.abc import Mapping

from ibis.backends.duckdb import Backend

from tfrec.data.engine import Column, Table

NOTHING_LEARNT = (
    "it counts as unknown everywhere, and nothing is learnt from it. Name another "
    "column, export it again, or leave the setting out"
)


def empty_column_notes(
    engine: Backend,
    rows: Table,
    *,
    staged: Mapping[str, str],
    wanted: Mapping[str, str],
    consequence: str = NOTHING_LEARNT,
) -> list[str]:
    """Says which configured columns have no usable value in any row.

    Args:
        engine: Looks.
        rows: Staged rows that are used.
        staged: Configuration key to column of `rows`.
        wanted: Configuration key to raw column, for the text.
        consequence: What comes of it, and what to do, for the text.
    """
    if not staged:
        return []
    filled = [_is_filled(rows[name]).any().name(key) for key, name in staged.items()]
    counted = rows.agg([rows.count().name("rows"), *filled])
    (found,) = engine.to_pyarrow(counted).to_pylist()
    num_rows = found.pop("rows")
    if not num_rows:
        return []
    return [
        f"`{key}` should name a column with values. Received: '{wanted[key]}', which "
        f"has no usable one in {num_rows:,} rows: {consequence}"
        for key, is_filled in found.items()
        if not is_filled
    ]


def _is_filled(column: Column) -> Column:
    if column.type().is_boolean():
        return column
    return column != "" if column.type().is_string() else column.notnull()
