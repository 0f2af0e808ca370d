"""Files of a shop: written to a temporary folder, then renamed."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from tfrec.data.simulator.rows import EVENT_SCHEMA, Labels, rows_to_table
from tfrec.data.simulator.steps import ChunkLog

FileFormat = Literal["parquet", "csv"]
CONFIG_FILE = "config.yaml"
TRUTH_DIR = "truth"


def write_table(table: pa.Table, path: Path) -> None:
    """Writes a table in the format that the file's name says."""
    if path.suffix == ".csv":
        pa_csv.write_csv(table, path)
    else:
        pq.write_table(table, path, compression="zstd")


class EventWriter:
    """Writes the event log chunk by chunk; a context manager.

    Args:
        path: The file; `.csv` or `.parquet`.
        labels: What the numbers in the rows stand for.
    """

    def __init__(self, path: Path, labels: Labels) -> None:
        self._labels = labels
        self._is_csv = path.suffix == ".csv"
        if self._is_csv:
            self._writer = pa_csv.CSVWriter(path, EVENT_SCHEMA)
        else:
            # Without the Arrow schema, so that readers get plain strings.
            self._writer = pq.ParquetWriter(
                path,
                rows_schema(),
                compression="zstd",
                compression_level=1,
                store_schema=False,
            )

    def __enter__(self) -> Self:
        """Returns the open writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._writer.close()

    def write(self, log: ChunkLog) -> None:
        """Adds the rows of a chunk."""
        table = rows_to_table(log.columns, self._labels)
        if self._is_csv:
            table = table.cast(EVENT_SCHEMA)
        self._writer.write_table(table)


def rows_schema() -> pa.Schema:
    """Returns the schema of `rows_to_table`: its text is dictionary-encoded."""
    text = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(
        [f.with_type(text) if pa.types.is_string(f.type) else f for f in EVENT_SCHEMA]
    )


def check_target(output: Path, overwrite: bool) -> None:
    """Checks that a shop may be written to `output`.

    Raises:
        FileExistsError: If a shop is there and `overwrite` is not set, or if
            something else is there: that is never replaced.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    is_shop = (output / CONFIG_FILE).is_file() and (output / TRUTH_DIR).is_dir()
    if not is_shop:
        raise FileExistsError(
            f"`output` must be a new or empty folder, or one that holds a simulated "
            f"shop. Received: '{output}', which holds something else. "
            "Choose another folder."
        )
    if not overwrite:
        raise FileExistsError(
            f"There is a shop in '{output}' already. Choose another folder, or "
            "pass `--overwrite` (`overwrite=True`) to replace it."
        )


@contextmanager
def replaced_when_done(output: Path) -> Iterator[Path]:
    """Gives a temporary folder that becomes `output`; a failure leaves nothing."""
    output = output.resolve()
    output.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    folder = output.parent / f".{output.name}.{mark}.partial"
    old = output.parent / f".{output.name}.{mark}.old"
    folder.mkdir()
    try:
        yield folder
        if output.exists():
            output.rename(old)
        folder.rename(output)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists() and not output.exists():
            old.rename(output)
        raise
    shutil.rmtree(old, ignore_errors=True)
