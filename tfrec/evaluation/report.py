"""Tables of an evaluation: for the terminal, as Markdown and as JSON.

All functions take what `EvaluationResult.to_json` returns, so a finished run
can be reported again from its `metrics.json`. Further keys are shown where
the caller adds them: `skipped` (baseline name to reason), `split_protocol`,
`leakage` (from `measure_leakage`), `search`, the evaluation of searches, of the same
form, and `heads`, see `tfrec.evaluation.head_report`.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from tfrec.evaluation.dwell_report import dwell_table
from tfrec.evaluation.head_tables import (
    brief_head_table,
    describe_heads,
    head_slice_tables,
    head_table,
)
from tfrec.evaluation.leakage import describe_leakage, leakage_table
from tfrec.evaluation.tables import (
    ReportTable,
    difference_table,
    group_table,
    main_k,
    main_table,
    slice_tables,
)


def print_report(metrics: Mapping[str, Any], *, console: Console | None = None) -> None:
    """Prints the main table, and repeat and novel items apart where both occur."""
    console = console or Console()
    console.print(_rich_table(main_table(metrics)))
    if "repeat" in metrics["groups"]:
        console.print(_rich_table(group_table(metrics)))
    console.print(f"[dim]{describe_protocol(metrics)}[/dim]", highlight=False)
    if "leakage" in metrics:
        said = describe_leakage(metrics["leakage"], split=metrics["split"])
        console.print(f"[dim]Leakage: {said}[/dim]", highlight=False)
    for name, reason in metrics.get("skipped", {}).items():
        text = escape(f"{name} was skipped: {reason}.")
        console.print(f"[dim]{text}[/dim]", highlight=False)
    if "search" in metrics:
        console.print(
            _rich_table(replace(main_table(metrics["search"]), title="Search"))
        )
        count = metrics["search"]["num_queries"]
        console.print(f"[dim]{count:,} searches. {_SEARCH}[/dim]", highlight=False)
    if "heads" in metrics:
        console.print(_rich_table(brief_head_table(metrics["heads"])))
        if "dwell" in metrics["heads"]:
            console.print(_rich_table(dwell_table(metrics["heads"]["dwell"])))


def describe_protocol(metrics: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    window = metrics["targets"] == "window"
    targets = (
        "all distinct items of each user's split"
        if window
        else "each user's first target event of the split"
    )
    split = " ".join(filter(None, [metrics["split"], metrics.get("split_protocol")]))
    seen = "left out of" if metrics["exclude_seen"] else "kept in"
    return (
        f"Split: {split}. Positives: {targets}. {metrics['num_queries']:,} queries, "
        f"{metrics['num_positives']:,} positives, full ranking of "
        f"{metrics['num_items']:,} items; history items are {seen} the main list; "
        f"ties in score count against the scorer. Brackets: "
        f"{metrics['confidence']:.0%} bootstrap interval over users "
        f"({metrics['num_bootstrap']:,} resamples, seed {metrics['seed']})."
    )


def render_markdown(
    metrics: Mapping[str, Any],
    *,
    title: str = "Evaluation",
    images: Sequence[str] = (),
) -> str:
    """Renders the whole report.

    Args:
        metrics: See the module.
        title: First heading.
        images: Names of PNG files that lie beside the report.
    """
    parts = [f"# {title}", describe_protocol(metrics), _markdown(main_table(metrics))]
    if "repeat" in metrics["groups"]:
        parts += ["## Repeat and novel items", _GROUPS, _markdown(group_table(metrics))]
    if "leakage" in metrics:
        leakage = metrics["leakage"]
        said = describe_leakage(leakage, split=metrics["split"])
        parts += ["## Leakage", said, _markdown(leakage_table(leakage))]
    differences = difference_table(metrics)
    if differences.rows:
        parts += [f"## {differences.title}", _DIFFERENCES, _markdown(differences)]
    parts += [f"## Slices, NDCG@{main_k(metrics)}", _SLICES]
    for table in slice_tables(metrics):
        parts += [f"### {table.title}", _markdown(table)]
    if "search" in metrics:
        searched = metrics["search"]
        parts += ["## Search", _SEARCH, _markdown(main_table(searched))]
        parts.append(_markdown(difference_table(searched)))
    if "heads" in metrics:
        heads = metrics["heads"]
        parts += ["## Heads", describe_heads(heads), _markdown(head_table(heads))]
        if "dwell" in heads:
            parts += ["### Dwell", _markdown(dwell_table(heads["dwell"]))]
        for table in head_slice_tables(heads):
            parts += [f"### {table.title}", _markdown(table)]
    skipped = metrics.get("skipped", {})
    if skipped:
        lines = [f"- `{name}`: {reason}" for name, reason in skipped.items()]
        parts += ["## Skipped baselines", "\n".join(lines)]
    parts += [f"![{Path(name).stem}]({name})" for name in images]
    return "\n\n".join(parts) + "\n"


def write_metrics(metrics: Mapping[str, Any], path: Path) -> None:
    """Writes `metrics.json`; NaN is refused, for JSON does not know it."""
    _write_text(path, json.dumps(metrics, indent=2, allow_nan=False) + "\n")


def write_report(
    metrics: Mapping[str, Any],
    path: Path,
    *,
    title: str = "Evaluation",
    images: Sequence[str] = (),
) -> None:
    """Writes `report.md`; arguments as for `render_markdown`."""
    _write_text(path, render_markdown(metrics, title=title, images=images))


_SEARCH = (
    "The positive is the item that the search led to, each user's first of the split; "
    "the full catalogue is ranked."
)
_GROUPS = (
    "Repeat: positives that the history holds, in the whole catalogue. Novel: the "
    "others, ranked among the items that the history does not hold."
)
_DIFFERENCES = (
    "Paired bootstrap on the same users. An interval without 0 says that both differ."
)
_SLICES = (
    "Positives by how often training saw the item (the head holds 80 % of the training "
    "events, cold items have none), by the number of events before the query, and by "
    "whether the history holds the item; all in the main list. In brackets the number "
    "of positives."
)


def _rich_table(table: ReportTable) -> RichTable:
    rich_table = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    for i, header in enumerate(table.headers):
        words = [w for row in [table.headers, *table.rows] for w in row[i].split()]
        width = max(map(len, words))  # Narrow terminals break between words only.
        justify = "right" if i else "left"
        rich_table.add_column(header, justify=justify, min_width=width)
    for r, row in enumerate(table.rows):
        cells = [
            f"[bold green]{escape(cell)}[/]" if (r, c) in table.best else escape(cell)
            for c, cell in enumerate(row)
        ]
        rich_table.add_row(*cells)
    return rich_table


def _markdown(table: ReportTable) -> str:
    lines = [
        "| " + " | ".join(table.headers) + " |",
        "|" + "|".join("---:" if i else "---" for i in range(len(table.headers))) + "|",
    ]
    for r, row in enumerate(table.rows):
        cells = [
            f"**{cell}**" if (r, c) in table.best else cell
            for c, cell in enumerate(row)
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _write_text(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
