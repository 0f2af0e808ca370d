"""Reads a changed catalogue, whole or in part, as the run's own was read."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.common.exceptions import IbisError

from tfrec.data.engine import open_engine
from tfrec.data.loading import load_items
from tfrec.data.readers import format_of_name
from tfrec.data.store import ITEM_ID
from tfrec.data_config import DataConfig, TableConfig
from tfrec.schema import AttributeKind

_NUM_SHOWN = 5
_GARBAGE = "numeric item attribute that is no number"


def read_changed_items(data: DataConfig, path: Path) -> pa.Table:
    """Reads items in the columns of `data.items`.

    The rules of `tfrec prepare` hold: the same columns by their roles, the same
    unusable rows. Two things that are a warning there are errors here, since nobody
    looks at a report each night: an item with several rows, and a number that is
    none.

    Args:
        data: The data configuration of the run.
        path: Parquet, CSV or JSON lines, by its ending; else as `data.items` says.

    Returns:
        `item_id`, `title` and the attributes, one row an item.

    Raises:
        FileNotFoundError: If there is no file.
        ValueError: If it cannot be used; says why.
    """
    data = data.model_copy(update={"items": _table_config(data.items, path)})
    with tempfile.TemporaryDirectory(prefix="tfrec-items-") as folder:
        engine = open_engine(
            Path(folder),
            memory_limit_gb=data.memory_limit_gb,
            time_zone=data.time_zone,
        )
        try:
            given, report = load_items(engine, data)
            if report.dropped["earlier row of the same item"]:
                raise ValueError(_explain_repeated(engine))
            if report.warnings.get(_GARBAGE):
                raise ValueError(_explain_garbage(data, engine, path))
            return engine.to_pyarrow(given)
        except (ValueError, IbisError, duckdb.Error) as error:
            raise ValueError(
                f"'{path}' cannot be used as a catalogue: {error}"
            ) from error
        finally:
            engine.disconnect()


def read_removed_ids(path: Path) -> list[str]:
    """Reads item ids, one a line; blank lines are left out.

    Raises:
        ValueError: If the file is no text, or has no id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' must be text in UTF-8, one item id a line. Received: {error}."
        ) from error
    ids = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not ids:
        raise ValueError(f"'{path}' must hold item ids, one a line. Received: none.")
    return ids


def _table_config(configured: TableConfig | None, path: Path) -> TableConfig:
    """Returns how the file is read: by its ending, else as the run's catalogue."""
    named = format_of_name(str(path))
    table = configured or TableConfig(paths=(str(path),))
    if named is None and (configured is None or table.format == "auto"):
        raise ValueError(
            f"'{path}' must have an ending that tells its format: .parquet, .csv, "
            ".tsv, .jsonl, also with .gz."
        )
    update = {"paths": (str(path),), "format": named or table.format}
    return table.model_copy(update=update)


def _explain_repeated(engine: Backend) -> str:
    rows = engine.con.sql(
        f"SELECT {ITEM_ID}, count(*) FROM items_raw WHERE problem IS NULL "
        f"GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC, 1 LIMIT {_NUM_SHOWN}"
    ).fetchall()
    shown = ", ".join(f"{item!r} ({count} rows)" for item, count in rows)
    return (
        f"an item must have one row. Received several of {shown}. Leave the outdated "
        "rows out."
    )


def _explain_garbage(data: DataConfig, engine: Backend, path: Path) -> str:
    columns = [
        a.source_column for a in data.item_attributes if a.kind == AttributeKind.NUMERIC
    ]
    rows = engine.con.sql(
        f"SELECT {ITEM_ID} FROM items_raw WHERE garbage > 0 ORDER BY 1 "
        f"LIMIT {_NUM_SHOWN}"
    ).fetchall()
    items = [item for (item,) in rows]
    return (
        f"{_listed(columns)} must hold numbers, or nothing. Received something else "
        f"for the items {items}. Correct '{path.name}'."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(f"`{name}`" for name in names)
