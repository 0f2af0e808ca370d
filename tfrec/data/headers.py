"""What the first lines of tables say: delimiters and names of columns."""

import csv
import gzip
import re
from typing import IO

from tfrec.config import TableConfig

MAX_LINE_BYTES = 8_000_000
_DELIMITERS = (",", ";", "\t", "|")


def told_delimiter(file: str, config: TableConfig, *, name: str) -> str:
    """Returns the separator that parts the first line into most columns.

    Of a file without a header, whose first line has values, the one that parts it into
    as many columns as there are names.
    """
    line = _first_line(file, name=name)
    if quote := re.escape(config.quote):  # What is quoted may hold any of them.
        line = re.sub(f"{quote}.*?{quote}", "", line)
    widths = {d: 1 + line.count(d) for d in _DELIMITERS}
    if config.header:
        return max(_DELIMITERS, key=lambda d: widths[d])
    fits = [d for d in _DELIMITERS if widths[d] == len(config.columns)]
    return fits[0] if fits else _DELIMITERS[0]


def read_header(file: str, delimiter: str, quote: str, *, name: str) -> tuple[str, ...]:
    """Returns the names of the columns; `column_3` where the third one has none."""
    line = _first_line(file, name=name)
    if not line.strip() or line.startswith("sep="):
        raise ValueError(
            f"`{name}` must begin with the names of its columns. Received: '{file}', "
            f"whose first line is {line!r}. Take that line out."
        )
    columns = _split(line, delimiter, quote)
    named = (c or f"column_{place}" for place, c in enumerate(columns, start=1))
    columns = tuple(named)
    check_distinct(columns, file, name=name)
    return columns


def check_distinct(columns: tuple[str, ...], file: str, *, name: str) -> None:
    """Refuses names that differ in case alone: the engine takes them for one."""
    folded = [column.casefold() for column in columns]
    twice = sorted({c for c in columns if folded.count(c.casefold()) > 1})
    if twice:
        raise ValueError(
            f"`{name}` must have columns of different names, whatever their case. "
            f"Received: '{file}' has {twice} in {list(columns)}. Rename them; of a CSV "
            f"file, give all names by `{name}.columns` with `header: false` and no "
            "header line."
        )


def _first_line(file: str, *, name: str) -> str:
    with open_binary(file) as stream:
        first = stream.readline(MAX_LINE_BYTES)
    try:
        line = first.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`{name}` must be text in UTF-8. Received: the first line of '{file}' has "
            f"other bytes ({first[error.start : error.end]!r}). Re-encode the file, "
            "for instance by `iconv -f latin1 -t utf-8 OLD > NEW`."
        ) from error
    line = line.rstrip("\r\n")
    if "\r" in line:
        raise ValueError(
            f"Lines must end in a line feed. Received: '{file}', whose lines end in "
            "carriage returns alone, as old spreadsheets for the Mac write them. Save "
            "it anew, or run: tr '\\r' '\\n' < old.csv > new.csv"
        )
    return line


def _split(line: str, delimiter: str, quote: str) -> tuple[str, ...]:
    if len(delimiter) != 1 or not quote:
        return tuple(line.split(delimiter))
    return tuple(next(csv.reader([line], delimiter=delimiter, quotechar=quote), []))


def open_binary(file: str) -> IO[bytes]:
    """Opens a text file, unzipped where its name ends in `.gz`."""
    return gzip.open(file) if file.endswith(".gz") else open(file, "rb")  # type: ignore[return-value]


def check_same(
    first: tuple[str, ...], other: tuple[str, ...], first_file: str, other_file: str
) -> None:
    """Refuses files of one table that have other columns, or another order of them."""
    if first != other:
        raise ValueError(
            "All files of one table must have the same columns. Received: "
            f"'{first_file}' has {list(first)}, '{other_file}' has {list(other)}."
        )
