"""The page of a configuration over seeds: as Markdown, and for the terminal."""

from collections.abc import Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.quality_heads import describe_heads, head_rows, head_verdicts
from benchmarks.quality_search import search_verdicts
from benchmarks.quality_tables import (
    describe_protocol,
    difference_rows,
    markdown_table,
    score_rows,
    verdicts,
)
from tfrec.evaluation.leakage import describe_leakage, leakage_table


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = [
        f"# {result['config']}",
        "",
        f"`{result['command']}`",
        "",
        *markdown_body(result),
    ]
    return "\n".join(lines)


def markdown_body(result: Mapping[str, Any]) -> list[str]:
    """Returns the lines of the page below its title and command."""
    return [
        describe_protocol(result),
        "",
        *markdown_table(*score_rows(result)),
        "",
        f"Differences, {result['reference']} − other: mean over seeds, paired "
        "interval, and with how many of the seeds that interval lies above 0, and "
        "below, where it does with any.",
        "",
        *markdown_table(*difference_rows(result)),
        "",
        *(f"- {line}" for line in verdicts(result)),
        "",
        *_search_section(result),
        *_heads_section(result),
        *_leakage(result),
        describe_runs(result),
        "",
    ]


def _leakage(result: Mapping[str, Any]) -> list[str]:
    leakage = result.get("leakage")
    if leakage is None:  # Runs of before it was measured.
        return []
    table = leakage_table(leakage)
    said = describe_leakage(leakage, split=result["protocol"]["evaluated"])
    return [f"Leakage. {said}", "", *markdown_table(table.headers, table.rows), ""]


def _search_section(result: Mapping[str, Any]) -> list[str]:
    if "search" not in result:
        return []
    searches = {**result, **result["search"]}
    return [
        f"Searches: {searches['num_queries']:,} targets that were searched for, asked "
        "with the search, with and without the shopper's history. `order search`: by "
        "that preset of the final order, not by the default.",
        "",
        *markdown_table(*score_rows(searches)),
        "",
        *markdown_table(*difference_rows(searches)),
        "",
        *(f"- {line}" for line in search_verdicts(result)),
        "",
    ]


def describe_runs(result: Mapping[str, Any]) -> str:
    """Says how long it took, on what, and of which commit."""
    minutes = ", ".join(f"{seconds / 60:.1f}" for seconds in result["seconds"])
    commits = ", ".join(commit[:12] for commit in result["git_commits"])
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    found = result.get("events_per_second", [])  # Records before it was kept: none.
    speeds = [speed for speed in found if speed is not None]
    speed = ", ".join(f"{speed:,.0f}" for speed in speeds)
    learned = f"; retrieval learned {speed} events a second" if speeds else ""
    return (
        f"Training and evaluation took {minutes} minutes a seed{learned}, on "
        f"{result['machine']} (shared). Commit {commits}{dirty}."
    )


def _heads_section(result: Mapping[str, Any]) -> list[str]:
    if "heads" not in result:
        return []
    return [
        f"Heads. {describe_heads(result)}",
        "",
        *markdown_table(*head_rows(result)),
        "",
        *(f"- {line}" for line in head_verdicts(result)),
        "",
    ]


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the tables and what they say."""
    parts = [
        (f"{result['config']}, seeds {result['seeds']}", score_rows(result)),
        (f"{result['reference']} minus the others", difference_rows(result)),
    ]
    if "search" in result:
        searches = {**result, **result["search"]}
        parts.append(("Searches", score_rows(searches)))
        parts.append(("Searches, differences", difference_rows(searches)))
    if "heads" in result:
        parts.append(("Heads", head_rows(result)))
    for title, (header, rows) in parts:
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        table.pad_edge, table.collapse_padding = False, True
        for i, name in enumerate(header):
            words = [w for row in (header, *rows) for w in row[i].split()]
            width = max(map(len, words))  # Narrow terminals break between words only.
            table.add_column(name, justify="right" if i else "left", min_width=width)
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    told = [*verdicts(result), *search_verdicts(result), *head_verdicts(result)]
    told += [describe_protocol(result), describe_runs(result)]
    if result.get("leakage") is not None:
        split = result["protocol"]["evaluated"]
        told.append(f"Leakage: {describe_leakage(result['leakage'], split=split)}")
    for line in told:
        console.print(escape(line), highlight=False)
