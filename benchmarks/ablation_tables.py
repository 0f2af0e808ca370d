"""Tables of rows that differ in a switch or two: for the terminal and as Markdown."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.quality_tables import markdown_table


def table_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows; differences are to the first row."""
    header = ["row", "seeds", *result["metrics"]]
    header += [f"{m} − {result['reference']}" for m in result["metrics"]]
    rows = []
    for name, row in result["rows"].items():
        values = [_value(row, metric) for metric in result["metrics"]]
        gaps = [_gap(row, metric) for metric in result["metrics"]]
        rows.append([name, str(len(row["seeds"])), *values, *gaps])
    return header, rows


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = [
        f"# {result['name']}",
        "",
        f"{result['title']}",
        "",
        f"`{result['command']}`",
        "",
        *markdown_table(*table_rows(result)),
        "",
        describe(result),
        "",
        f"All rows: `{result['common']}`. What a row changes:",
        "",
        *(f"- {name}: `{row['changes']}`" for name, row in result["rows"].items()),
        "",
    ]
    return "\n".join(lines)


def describe(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    minutes = [m for row in result["rows"].values() for m in row["minutes"]]
    commits = ", ".join(commit[:12] for commit in result["git_commits"])
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    return (
        "Mean ± standard deviation over seeds, test split, full ranking. Differences "
        "on the seeds that both rows have, with the paired 95 % bootstrap interval "
        f"over users ({result['num_bootstrap']:,} resamples) of their mean over seeds. "
        f"{min(minutes):.1f} to {max(minutes):.1f} minutes a run on "
        f"{result['machine']} (shared). Commit {commits}{dirty}."
    )


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the table and what it means."""
    header, rows = table_rows(result)
    table = Table(title=result["title"], title_justify="left", box=SIMPLE_HEAD)
    for i, name in enumerate(header):
        table.add_column(name, justify="right" if i else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
    console.print(escape(describe(result)), highlight=False)


def _value(row: Mapping[str, Any], metric: str) -> str:
    value = row["values"][metric]
    spread = f" ± {value['sd']:.4f}" if len(row["seeds"]) > 1 else ""
    return f"{value['mean']:.4f}{spread}"


def _gap(row: Mapping[str, Any], metric: str) -> str:
    if not row["differences"]:
        return "–"
    gap = row["differences"][metric]
    low, high = gap["interval"]
    return f"{gap['mean']:+.4f} [{low:+.4f}, {high:+.4f}] {gap['share']:+.1%}"
