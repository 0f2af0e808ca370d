"""The query engine of the preparation, and the functions that differ by engine.

Every step of the preparation is an Ibis expression. What Ibis does not spell the
same on every engine stands here and in `readers`, so that another engine is a
second version of these two files.
"""

from pathlib import Path
from typing import Any, TypeAlias

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa
from ibis.backends.duckdb import Backend

# Expressions of Ibis. Its own annotations are too narrow for its API: a number may
# be compared with a column, which they deny.
Table: TypeAlias = Any
Column: TypeAlias = Any

INSTANT_TYPE = dt.Timestamp(timezone="UTC")
MICROSECONDS = 1_000_000
SECONDS_PER_DAY = 86_400


# Two thirds of the size of the defaults, and written in half the time.
PARQUET_OPTIONS: dict[str, Any] = {"compression": "zstd", "use_dictionary": False}


def open_engine(folder: Path, *, memory_limit_gb: float, time_zone: str) -> Backend:
    """Opens DuckDB on files in `folder`, within a memory limit.

    Args:
        folder: Holds the database and what does not fit into memory.
        memory_limit_gb: Gigabytes that DuckDB may use.
        time_zone: Zone of timestamps that state none.
    """
    engine = ibis.duckdb.connect(
        folder / "work.duckdb",
        memory_limit=f"{int(memory_limit_gb * 1000)}MB",
        temp_directory=str(folder / "spill"),
    )
    zone = time_zone.replace("'", "''")
    engine.raw_sql(f"SET TimeZone = '{zone}'")
    return engine


@ibis.udf.scalar.builtin
def epoch_us(instant: dt.Timestamp(timezone="UTC")) -> dt.int64:  # type: ignore[valid-type]
    """Returns microseconds since 1970 (Spark: `unix_micros`)."""


@ibis.udf.scalar.builtin
def json_valid(text: dt.string) -> dt.boolean:  # type: ignore[valid-type]
    """Returns whether the text is JSON."""


@ibis.udf.scalar.builtin
def json_extract_string(text: dt.string, path: dt.string) -> dt.string:  # type: ignore[valid-type]
    """Returns one value of a JSON text (Spark: `get_json_object`)."""


@ibis.udf.scalar.builtin(name="json_extract_string")
def json_extract_list(text: dt.string, path: dt.string) -> dt.Array(dt.string):  # type: ignore[valid-type]
    """Returns the values that a path with `[*]` finds; none where it is no list."""


@ibis.udf.scalar.builtin
def json_type(text: dt.string, path: dt.string) -> dt.string:  # type: ignore[valid-type]
    """Returns the type of one value of a JSON text, such as `ARRAY`."""


def microseconds(column: Column) -> Column:
    """Returns the instant as microseconds since 1970.

    Text that states no zone, and naive columns, are of the engine's time zone;
    what cannot be read is null.
    """
    instant: Any = column.try_cast(INSTANT_TYPE)
    return epoch_us(instant)


def content_hash(values: dict[str, Any]) -> Any:
    """Returns a 64-bit hash, uint64, of several values together (Spark: `xxhash64`).

    (`Value.hash` of Ibis casts by way of BIT, which takes three times as long.)
    """
    together = ibis.struct(values)

    @ibis.udf.scalar.builtin(name="hash", signature=((together.type(),), dt.uint64))
    def combined_hash(values: Any) -> int:  # type: ignore[empty-body]
        """Returns the hash of a struct."""

    return combined_hash(together)


def materialise(engine: Backend, name: str, expression: Table) -> Table:
    """Writes an expression into a table of the engine and returns the table."""
    return engine.create_table(name, expression)


def store_table(engine: Backend, name: str, table: pa.Table) -> Table:
    """Copies a table of this process into the engine.

    `create_table` and `memtable` of Ibis 12 drop a view and meet the same fault.
    """
    engine.con.register(f"{name}_view", table)
    engine.raw_sql(f"CREATE TABLE {name} AS SELECT * FROM {name}_view")
    engine.con.unregister(f"{name}_view")
    return engine.table(name)


def read_int(engine: Backend, scalar: Column) -> int:
    """Returns the value of a scalar expression; 0 where there are no rows."""
    return engine.to_pyarrow(scalar).as_py() or 0


def count_rows(engine: Backend, expression: Table) -> int:
    """Returns the number of rows."""
    return read_int(engine, expression.count())


def drop(engine: Backend, name: str) -> None:
    """Removes a table; `drop_table` of Ibis 12 loses the name with sqlglot 30."""
    engine.raw_sql(f"DROP TABLE {name}")
