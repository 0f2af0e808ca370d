"""Reads a changed catalogue, whole or in part, as the run's own was read."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis.common.exceptions import IbisError

from tfrec.data.engine import open_engine
from tfrec.data.loading import load_items
from tfrec.data.readers import format_of_name
from tfrec.data.values import clean_id
from tfrec.data_config import DataConfig, TableConfig

_NOTHING_KNOWN = (
    "it is unknown of these items from now on, whatever it was before. Export the "
    "column again if they have one"
)


def read_changed_items(
    data: DataConfig, path: Path, *, warn: Callable[[str], None] = lambda text: None
) -> pa.Table:
    """Reads items in the columns of `data.items`.

    The rules of `tfrec prepare` hold: the same columns by their roles, the same
    unusable rows; the last row of an item counts, and a number that is none is
    missing. What prepare accepts is accepted here.

    Args:
        data: The data configuration of the run.
        path: Parquet, CSV or JSON lines, by its ending; else as `data.items` says.
        warn: Is told of rows and values that were usable only in part, and of
            columns without any value.

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
            given, report = load_items(engine, data, if_empty=_NOTHING_KNOWN)
            for text, count in {**report.dropped, **report.warnings}.items():
                if count:
                    warn(f"{path.name}: {count:,} x {text}")
            for note in report.notes:
                warn(f"{path.name}: {note}")
            return engine.to_pyarrow(given)
        except (ValueError, IbisError, duckdb.Error) as error:
            raise ValueError(
                f"'{path}' cannot be used as a catalogue: {error}"
            ) from error
        finally:
            engine.disconnect()


def read_removed_ids(path: Path) -> list[str]:
    """Reads item ids, one a line, as those of the catalogue; blank ones are left out.

    Raises:
        ValueError: If the file is no text, or has no id.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"'{path}' must be text in UTF-8, one item id a line. Received: {error}."
        ) from error
    table = ibis.memtable(pa.table({"id": pa.array(lines, pa.string())}))
    found = ibis.duckdb.connect().to_pyarrow(table.select(id=clean_id(table["id"])))
    ids = list(dict.fromkeys(item for item in found["id"].to_pylist() if item))
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
