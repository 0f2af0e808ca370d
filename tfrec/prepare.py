"""Cleans and splits a log into a prepared dataset.

python -m tfrec.prepare --config configs/online_retail.yaml [--overwrite]
"""

import sys
from typing import Any

import duckdb
from jsonargparse import ArgumentParser
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfrec.config_file import load_config_and_options
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset
from tfrec.file_errors import explain_error

_DESCRIPTION = (
    "Reads the event log and the catalogue that `data` in the configuration names, "
    "cleans them, splits them into training, validation and test, and writes the "
    "prepared dataset that `tfrec.train` reads. Rows that cannot be used are counted "
    "and kept in rejects.csv. docs/preparation.md explains every step."
)


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    config, options = load_config_and_options(
        argv, description=_DESCRIPTION, add_options=_add_options
    )
    console = Console(stderr=True)
    try:
        dataset = prepare(config, overwrite=options.overwrite)
    except (OSError, ValueError, MemoryError, duckdb.Error) as error:
        text = f"tfrec prepare: error: {explain_error(error, config.prepared_path)}"
        console.print(text, style="red", markup=False, soft_wrap=True)
        return 1
    show(dataset, Console())
    return 0


def _add_options(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="Replace a prepared dataset that was made of other data.",
    )


def show(dataset: PreparedDataset, console: Console) -> None:
    """Prints what a prepared dataset holds and what was left out."""
    manifest = dataset.manifest
    console.print(_counts_table(manifest))
    left_out = _left_out_table(manifest)
    if left_out.row_count:
        console.print(left_out)
    for warning in manifest["warnings"]:
        console.print(f"Warning: {warning}", style="yellow", markup=False)
    total = sum(manifest["seconds"].values())
    console.print(f"Prepared in {total:.1f} s: {dataset.path}", soft_wrap=True)


def _counts_table(manifest: dict[str, Any]) -> Table:
    counts = manifest["counts"]
    title = f"{manifest['name']}: {counts['users']:,} users, {counts['items']:,} items"
    table = Table(title=title)
    table.add_column("split", overflow="fold")
    by_split = counts["events_by_split"]
    for split in by_split:
        table.add_column(split, justify="right", no_wrap=True)
    cuts = manifest["split"]["boundaries"] or {}
    starts = [cuts.get(f"{split}_start_iso", "") for split in by_split]
    # Splits start at midnight: the date says all.
    table.add_row("from", *(start.partition("T")[0] for start in starts))
    # One row a type, since a shop may have more types than a terminal has room for.
    numbers = {
        "users": [counts["users_by_split"][split] for split in by_split],
        "events": [sum(by_type.values()) for by_type in by_split.values()],
    }
    numbers |= {
        name: [by_type[name] for by_type in by_split.values()]
        for name in manifest["schema"]["event_types"]
    }
    for name, row in numbers.items():
        table.add_row(escape(name), *(f"{n:,}" for n in row))
    return table


def _left_out_table(manifest: dict[str, Any]) -> Table:
    table = Table(title="Left out")
    table.add_column("table", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("why", overflow="fold")
    for name, dropped in manifest["dropped"].items():
        for reason, count in dropped.items():
            if count:
                table.add_row(name, f"{count:,}", escape(f"dropped: {reason}"))
    for name, rejects in manifest["rejects"].items():
        for entry in rejects["reasons"]:
            example = entry["example"]
            place = f"{example['file']} row {example['row']}"
            text = f"unusable: {entry['reason']} (e.g. {place})"
            table.add_row(name, f"{entry['count']:,}", escape(text))
    return table


if __name__ == "__main__":
    sys.exit(main())
