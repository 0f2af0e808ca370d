"""Reads raw tables: Parquet, CSV, JSON lines and sequences, several files at once."""

import codecs
import difflib
import glob
import gzip
import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend

from tfrec.config import TableConfig
from tfrec.data.engine import (
    Column,
    Table,
    json_extract_list,
    json_extract_string,
    json_type,
    json_valid,
)
from tfrec.data.headers import (
    MAX_LINE_BYTES,
    check_distinct,
    check_same,
    open_binary,
    read_header,
    told_delimiter,
)

# Columns of the reader: no log has such names.
FILE = "__tfrec_file"
LINE = "__tfrec_line"  # Place in the file, where it is not the place in the table.
PROBLEM = "__tfrec_problem"  # Why the reader could not make sense of the row.
NUM_SAMPLED_LINES = 10_000  # Their keys are the columns of JSON lines.
NUM_CHECKED_BYTES = 4_096  # Of a text file, for bytes that no text has.
_SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


@dataclass(frozen=True)
class Source:
    """A raw table, lazily read in file order.

    Attributes:
        name: Where it stands in the configuration, for example `data.events`.
        table: The columns as they are, or as text, and `FILE`; in some formats
            `LINE` and `PROBLEM`.
        columns: Names of the raw columns.
        files: The files, in the order of reading.
        first_line: Line of the first row in each file, from 1.
        rejects_table: Engine table of the lines that are no rows, after a scan.
        decimal: Decimal sign of numbers in text; None where the format has its own.
    """

    name: str
    table: Table
    columns: tuple[str, ...]
    files: tuple[str, ...]
    first_line: int = 1
    rejects_table: str | None = None
    decimal: str | None = None


def open_source(
    engine: Backend,
    config: TableConfig,
    *,
    name: str,
    sequence_columns: tuple[str, str],
    list_columns: Collection[str] = (),
) -> Source:
    """Opens a raw table; nothing but its first lines is read yet.

    Args:
        engine: Reads it.
        config: Where it lies and how it is written.
        name: Key of the configuration, for errors, for example `data.events`.
        sequence_columns: Names of user and item in the format `sequences`.
        list_columns: Keys of JSON lines that may hold lists; lists of others are
            read as their JSON text.

    Raises:
        FileNotFoundError: If a path or glob matches nothing.
        ValueError: If a file is empty, or is not of its format.
    """
    files = find_files(config, name=name)
    kind = _format(config, files, name=name)
    view = name.replace(".", "_")
    if kind == "parquet":
        return _open_parquet(engine, files, name=name, view=view)
    for file in files:
        _check_text(file, name=name)
    if kind == "csv":
        return _open_csv(engine, files, config, name=name, view=view)
    lines = _open_lines(engine, files, view=view)
    table, columns = (
        _explode_sequences(lines, sequence_columns)
        if kind == "sequences"
        else _extract_json(lines, files, list_columns, name=name)
    )
    return Source(name, table, columns, files, 1, f"{view}_rejects")


def _check_text(file: str, *, name: str) -> None:
    """Refuses what is no text in UTF-8, as far as its first bytes say.

    A cut-off gzip file is left to the reading, which says where.
    """
    try:
        with open_binary(file) as stream:
            start = stream.read(NUM_CHECKED_BYTES)
    except EOFError:
        return
    except gzip.BadGzipFile as error:
        raise ValueError(
            f"`{name}` must be gzip where the name of a file ends in .gz. Received: "
            f"'{file}', {error}. Compress it, or drop the ending."
        ) from error
    if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in start:
        raise ValueError(
            f"`{name}` must be text in UTF-8. Received: '{file}', which looks like "
            "UTF-16 or binary data. Save it as UTF-8 (in a spreadsheet: CSV UTF-8)."
        )


def find_files(config: TableConfig, *, name: str) -> tuple[str, ...]:
    """Returns the files that the paths and globs name, each pattern's sorted."""
    found: dict[str, None] = {}
    for pattern in config.paths:
        matches = [f for f in glob.glob(pattern, recursive=True) if Path(f).is_file()]
        if Path(pattern).is_file():  # A name may hold glob characters.
            matches = [pattern]
        if not matches and Path(pattern).is_dir():
            raise FileNotFoundError(
                f"`{name}.paths` must name files. Received: '{pattern}', a folder. "
                f"Name what lies in it, such as '{Path(pattern) / '*.csv'}'."
            )
        if not matches:
            raise FileNotFoundError(
                f"`{name}.paths` must name files. Received: '{pattern}', which "
                f"matches none (current folder: '{Path.cwd()}'). Correct the path, or "
                "start from the folder that it is relative to."
            )
        found.update(dict.fromkeys(sorted(matches)))
    for file in found:
        if Path(file).stat().st_size == 0:
            raise ValueError(
                f"`{name}` must have rows. Received: '{file}' is empty (0 bytes)."
            )
    return tuple(found)


def check_columns(source: Source, wanted: dict[str, str]) -> None:
    """Checks that the raw table has the configured columns, and that they hold values.

    Args:
        source: The raw table.
        wanted: Configuration key to column name.

    Raises:
        ValueError: If columns are missing; names the most similar ones. If one holds
            structures.
    """
    for key, column in wanted.items():
        if column in source.columns:
            kind: Any = source.table[column].type()
            if kind.is_struct() or kind.is_map():
                raise ValueError(
                    f"`{key}` must name a column of text or numbers. Received: "
                    f"'{column}' of '{source.files[0]}', of the type {kind}. Write the "
                    "part that is meant into a column of its own."
                )
            continue
        near = difflib.get_close_matches(column, source.columns, n=1, cutoff=0.5)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ValueError(
            f"`{key}` must name a column of '{source.files[0]}'. Received: '{column}'; "
            f"its columns are {list(source.columns)}.{hint} If they look wrong, see "
            f"`{source.name}.delimiter` and `{source.name}.header`."
        )


def check_numbers(source: Source, wanted: dict[str, str]) -> None:
    """Checks that columns that are read as numbers can hold some.

    Args:
        source: The raw table.
        wanted: Configuration key to column name.

    Raises:
        ValueError: If a column is of another type, such as a list or a date.
    """
    for key, column in wanted.items():
        kind: Any = source.table[column].type()
        if not (kind.is_nested() or kind.is_temporal() or kind.is_binary()):
            continue
        raise ValueError(
            f"`{key}` must name a column of numbers, or of text that says them. "
            f"Received: '{column}' of '{source.files[0]}', of the type {kind}. Write "
            "one number a row, or name another column."
        )


def format_of_name(file: str) -> str | None:
    """Returns the format that the ending of a file tells; None if it tells none."""
    return _SUFFIXES.get(Path(file.removesuffix(".gz")).suffix.lower())


def _format(config: TableConfig, files: tuple[str, ...], *, name: str) -> str:
    if config.format != "auto":
        return config.format
    kinds = {format_of_name(file) for file in files}
    if len(kinds) == 1 and None not in kinds:
        return str(kinds.pop())
    raise ValueError(
        f"`{name}.format` must be set where file names do not tell it. Received: "
        f"'auto' with {list(files)[:3]}. Known endings: {sorted(_SUFFIXES)}, also "
        "with .gz; formats: parquet, csv, jsonl, sequences."
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _file_list(files: tuple[str, ...]) -> str:
    return "[" + ", ".join(map(_quoted, files)) + "]"


def _open_parquet(
    engine: Backend, files: tuple[str, ...], *, name: str, view: str
) -> Source:
    columns = _parquet_columns(files[0], name=name)
    check_distinct(columns, files[0], name=name)
    for file in files[1:]:
        check_same(columns, _parquet_columns(file, name=name), files[0], file)
    engine.raw_sql(
        f"CREATE TEMP VIEW {view} AS SELECT *, filename AS {FILE} FROM "
        f"read_parquet({_file_list(files)}, hive_partitioning = false)"
    )
    return Source(name, engine.table(view), columns, files)


def _parquet_columns(file: str, *, name: str) -> tuple[str, ...]:
    try:
        return tuple(pq.read_schema(file).names)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"`{name}` must be readable. Received: '{file}' is no Parquet file, or a "
            f"damaged one ({error}). Set `{name}.format`, or fetch the file again."
        ) from error


def _open_csv(
    engine: Backend,
    files: tuple[str, ...],
    config: TableConfig,
    *,
    name: str,
    view: str,
) -> Source:
    delimiter, columns = config.delimiter, config.columns
    if delimiter is None:
        delimiter = told_delimiter(files[0], config, name=name)
    if config.header:
        headers = [read_header(f, delimiter, config.quote, name=name) for f in files]
        columns = headers[0]
        for file, header in zip(files, headers, strict=True):
            check_same(columns, header, files[0], file)
    names = ", ".join(f"{_quoted(c)}: 'VARCHAR'" for c in columns)
    engine.raw_sql(
        f"CREATE TEMP VIEW {view} AS SELECT * FROM read_csv({_file_list(files)}, "
        f"columns = {{{names}}}, header = {config.header}, auto_detect = false, "
        f"delim = {_quoted(delimiter)}, quote = {_quoted(config.quote)}, "
        f"escape = {_quoted(config.quote)}, filename = '{FILE}', "
        f"hive_partitioning = false, {_store_rejects(view)})"
    )
    first_line = 2 if config.header else 1
    table = engine.table(view)
    return Source(
        name, table, columns, files, first_line, f"{view}_rejects", config.decimal
    )


def _store_rejects(view: str) -> str:
    return (
        f"store_rejects = true, rejects_limit = 0, rejects_table = '{view}_rejects', "
        f"rejects_scan = '{view}_scans'"
    )


def _open_lines(engine: Backend, files: tuple[str, ...], *, view: str) -> Table:
    """Opens text files as one row a line; blank lines are left out."""
    engine.raw_sql(
        f"CREATE TEMP VIEW {view} AS SELECT * FROM read_csv({_file_list(files)}, "
        "columns = {'line': 'VARCHAR'}, header = false, auto_detect = false, "
        f"delim = '\x1f', quote = '', escape = '', filename = '{FILE}', "
        f"max_line_size = {MAX_LINE_BYTES}, {_store_rejects(view)})"
    )
    table: Table = engine.table(view)
    table = table.mutate(ibis.row_number().name(LINE))
    return table.filter(table["line"].strip() != "")


def _explode_sequences(
    lines: Table, columns: tuple[str, str]
) -> tuple[Table, tuple[str, ...]]:
    words: Any = lines["line"].strip().re_split(r"\s+")
    lines = lines.mutate(words=words)
    words = lines["words"]
    # A user without items keeps one row, so that it is counted and rejected.
    items: Any = ibis.ifelse(words.length() > 1, words[1:], ibis.array([""]))
    user, item = columns
    table = lines.select(FILE, LINE, words[0].name(user), items.unnest().name(item))
    return table, columns


def _extract_json(
    lines: Table, files: tuple[str, ...], list_columns: Collection[str], *, name: str
) -> tuple[Table, tuple[str, ...]]:
    columns = tuple(dict.fromkeys(k for f in files for k in _json_keys(f)))
    if not columns:
        raise ValueError(
            f"`{name}` must have one JSON object a line. Received: no object in the "
            f"first {NUM_SAMPLED_LINES} lines of {list(files)[:3]}."
        )
    check_distinct(columns, files[0], name=name)
    is_valid: Any = json_valid(lines["line"])
    text = ibis.ifelse(is_valid, lines["line"], ibis.null("string"))
    lines = lines.mutate(text=text)

    def value(column: str) -> Column:
        quoted = column.replace('"', '\\"')
        text, path = lines["text"], f'$."{quoted}"'
        single: Any = json_extract_string(text, path)
        if column not in list_columns:
            return single.name(column)
        is_array: Any = json_type(text, path) == "ARRAY"
        several: Any = json_extract_list(text, f"{path}[*]")
        return ibis.ifelse(is_array, several, ibis.array([single])).name(column)

    problem = lines["text"].isnull().ifelse("not valid JSON", ibis.null("string"))
    table = lines.select(FILE, LINE, problem.name(PROBLEM), *map(value, columns))
    return table, columns


def _json_keys(file: str) -> Iterator[str]:
    with open_binary(file) as stream:
        for line in islice(stream, NUM_SAMPLED_LINES):
            try:
                # Lines that are not UTF-8 become rejects that say so.
                record = json.loads(line.decode("utf-8-sig", errors="replace"))
            except ValueError:
                continue  # Counted as a reject when the table is read.
            if isinstance(record, dict):
                yield from record
