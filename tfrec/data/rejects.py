"""Rows that cannot be used: counted, shown with an example, kept in a file."""

import csv
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from tfrec.data.engine import Table
from tfrec.data.readers import FILE, LINE, Source

NUM_REPORTED_REASONS = 20
MAX_EXAMPLE_LENGTH = 300
COLUMNS = ("file", "row", "reason", "values")
_READER_REASONS = {
    "MISSING COLUMNS": "too few columns (cut-off line?)",
    "TOO MANY COLUMNS": "too many columns",
    "UNQUOTED VALUE": "quote that is not closed",
    "INVALID ENCODING": "bytes that are not UTF-8 (re-encode the file, for instance by "
    "`iconv -f latin1 -t utf-8 OLD > NEW`)",
    "LINE SIZE OVER MAXIMUM": "line too long",
    "INVALID STATE": "broken quoting",
}


@dataclass(frozen=True)
class Reject:
    """One unusable row; `row` is its line, or its place in a Parquet file."""

    file: str
    row: int
    reason: str
    values: str


@dataclass
class RejectSummary:
    """Unusable rows of one table.

    Attributes:
        num_rows: Rows read, unusable ones included.
        counts: Unusable rows per reason.
        examples: The first of each reason.
    """

    num_rows: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, Reject] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of unusable rows."""
        return sum(self.counts.values())

    def add(self, rejects: list[Reject]) -> None:
        """Counts rejects."""
        for reject in rejects:
            self.counts[reject.reason] = self.counts.get(reject.reason, 0) + 1
            self.examples.setdefault(reject.reason, reject)

    def to_json(self) -> dict[str, Any]:
        """Returns the most frequent reasons with counts and examples."""
        ranked = sorted(self.counts.items(), key=lambda item: -item[1])
        reasons = [
            {"reason": reason, "count": count, "example": vars(self.examples[reason])}
            for reason, count in ranked[:NUM_REPORTED_REASONS]
        ]
        return {
            "rows": self.num_rows,
            "rejected": self.total,
            "share": self.total / max(self.num_rows, 1),
            "num_reasons": len(ranked),
            "reasons": reasons,
        }


def read_line_rejects(engine: Backend, source: Source) -> list[Reject]:
    """Returns the lines that the reader could not take for rows."""
    if source.rejects_table is None:
        return []
    scans = source.rejects_table.removesuffix("_rejects") + "_scans"
    query = f"""
        SELECT s.file_path, r.line, r.error_type, r.csv_line
        FROM {source.rejects_table} r JOIN {scans} s USING (scan_id, file_id)
        WHERE scan_id = (SELECT min(scan_id) FROM {scans})
        QUALIFY row_number() OVER (PARTITION BY file_id, line ORDER BY column_idx) = 1
        ORDER BY file_id, line"""
    rows = engine.con.sql(query).fetchall()
    # An open quote swallows the lines up to the next one: each of them is lost.
    return [
        Reject(
            file, line + place, _READER_REASONS.get(str(kind), str(kind).lower()), part
        )
        for file, line, kind, text in rows
        for place, part in enumerate(text.strip("\r\n").splitlines() or [""])
    ]


def read_row_rejects(
    engine: Backend,
    source: Source,
    rejected: Table,
    *,
    line_rejects: list[Reject],
    limit: int | None = None,
) -> list[Reject]:
    """Reads the unusable rows again, with their raw values and place.

    Args:
        engine: Reads them.
        source: The raw table.
        rejected: `row` (place in the table, from 0) and `reason`.
        line_rejects: Lines that are no rows: they shift the lines behind them.
        limit: At most so many, `None` for all.
    """
    numbered = source.table.mutate(row=ibis.row_number())
    place = LINE if LINE in numbered.columns else "row"
    first_rows = _first_rows(engine, source, numbered, place)
    rows = numbered.inner_join(rejected, ["row"]).order_by("row")
    if limit is not None:
        rows = rows.limit(limit)
    skipped: dict[str, list[int]] = {}
    for reject in line_rejects:
        skipped.setdefault(reject.file, []).append(reject.row)
    result = []
    for row in engine.to_pyarrow(rows).to_pylist():
        line = row[place] - first_rows[row[FILE]] + source.first_line
        for lost in skipped.get(row[FILE], []):
            line += lost <= line
        values = {c: row[c] for c in source.columns}
        text = json.dumps(values, ensure_ascii=False, default=str)
        result.append(Reject(row[FILE], line, row["reason"], text))
    return result


def _first_rows(
    engine: Backend, source: Source, numbered: Table, place: str
) -> dict[str, int]:
    if len(source.files) == 1:
        return {source.files[0]: 0}
    firsts: Any = numbered.group_by(FILE).agg(first=numbered[place].min())
    return {r[FILE]: r["first"] for r in engine.to_pyarrow(firsts).to_pylist()}


def find_rejected(raw: Table, dictionaries: dict[str, Table]) -> Table:
    """Returns `row` and `reason` of unusable rows.

    Args:
        raw: Staged rows with `dropped` and `problem`.
        dictionaries: Column of raw ids to its `raw` spellings that have a
            `problem`.
    """
    rows = raw.mutate(row=raw.rowid()).filter(raw["dropped"].isnull())
    reasons = []
    for column, spellings in dictionaries.items():
        bad = spellings.filter(spellings["problem"].notnull())
        bad = bad.select(**{column: bad["raw"], f"{column}_problem": bad["problem"]})
        rows = rows.left_join(bad, [column])
        reasons.append(f"{column}_problem")
    reason = ibis.coalesce(rows["problem"], *(rows[r] for r in reasons))
    found = rows.select("row", reason=reason)
    return found.filter(found["reason"].notnull())


def write_rejects(path: Path, rejects: list[Reject]) -> None:
    """Writes the rejects file, a header where there are none."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        writer.writerows((r.file, r.row, r.reason, r.values) for r in rejects)


def check_share(
    summary: RejectSummary, *, name: str, max_share: float, can_drop: bool
) -> None:
    """Checks that not too many rows are unusable.

    `can_drop` is whether `data.cleaning.drop_rows` are conditions on this table.

    Raises:
        ValueError: If their share exceeds `max_share`; shows why, with examples.
    """
    share = summary.total / max(summary.num_rows, 1)
    if share <= max_share:
        return
    ranked = sorted(summary.counts.items(), key=lambda item: -item[1])
    shown = [
        f"  {count:,} x {reason}, e.g. {e.file} row {e.row}: "
        f"{e.values[:MAX_EXAMPLE_LENGTH]}"
        for reason, count in ranked[:NUM_REPORTED_REASONS]
        for e in [summary.examples[reason]]
    ]
    drop = ", or drop them by `data.cleaning.drop_rows`" if can_drop else ""
    raise ValueError(
        f"At most `data.cleaning.max_reject_share` = {max_share:.2%} of the rows of "
        f"`{name}` may be unusable. Received: {summary.total:,} of "
        f"{summary.num_rows:,} ({share:.2%}):\n" + "\n".join(shown) + "\nCorrect the "
        "configuration or the files; if these rows are to be left out, raise the "
        f"share{drop}."
    )


def explain_read_error(error: Exception, *, name: str) -> ValueError:
    """Returns what a failed read means for the user."""
    said = str(error).strip()
    # DuckDB adds what could be done to its own settings, and lists them.
    problem = re.split(r"\s*Possible (?:fixes|solutions):", said)[0]
    found = re.search(r"^\s*file ?= ?(.+)$", said, re.MULTILINE)
    where = f"'{found[1]}': {problem}" if found else problem
    if "state machine reached an invalid state" in problem:
        return ValueError(
            f"`{name}` must have lines that all end alike. Received: {where} Some end "
            r"in CRLF, some in LF or otherwise. Make them alike, for instance by "
            r"`sed -i 's/\r*$//' FILE`."
        )
    return ValueError(
        f"`{name}` must be readable. Received: {where}. The file may be cut off or "
        "damaged: fetch it again, or check its format in the configuration."
    )
