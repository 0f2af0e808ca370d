"""Tables of fusions, tasks and losses: for the terminal and as Markdown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.quality_tables import (
    count_losses,
    count_wins,
    describe_protocol,
    difference_text,
    markdown_table,
    score_text,
)
from benchmarks.ranking_measure import ORACLE, RETRIEVAL
from benchmarks.ranking_rows import DEFAULT, LAMBDAMART, RIVALS

MIN_GAIN, MIN_ORACLE_SHARE = 0.15, 0.85  # Of the simulated shop.


def score_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of what every row reached."""
    columns = result["columns"]
    header = ["row", "changes", "validation", "− default"]
    header += [f"{group} {metric}" for group, metric in columns]
    several = len(result["seeds"]) > 1
    rows = []
    for name, groups in result["scorers"].items():
        varies = several and name not in (RETRIEVAL, ORACLE)
        cells = [score_text(groups[g][m], varies=varies) for g, m in columns]
        own = [_changes(result, name), _validation(result, name), _gain(result, name)]
        rows.append([name, *own, *cells, _minutes(result, name)])
    return [*header, "minutes"], rows


def difference_rows(
    result: Mapping[str, Any], reference: str
) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of every row minus a reference."""
    columns = result["columns"]
    header = [f"− {reference}", *(f"{group} {metric}" for group, metric in columns)]
    rows = [
        [name, *(difference_text(groups[g][m]) for g, m in columns)]
        for name, groups in result["differences"][reference].items()
    ]
    return header, rows


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """Says what won on validation, and what the default reaches on the test."""
    lines = [_winner(result)]
    group, metric = result["columns"][0]
    means = {n: s[group][metric]["mean"] for n, s in result["scorers"].items()}
    own, num_seeds = means[DEFAULT], len(result["seeds"])
    simulated = ORACLE in means
    if means.get(RETRIEVAL):
        gain = own / means[RETRIEVAL] - 1
        goal = _goal(gain, MIN_GAIN) if simulated else ""
        lines.append(f"{group} {metric}: default {gain:+.1%} on retrieval order{goal}")
    if simulated and means[ORACLE]:
        share = own / means[ORACLE]
        goal = _goal(share, MIN_ORACLE_SHARE)
        lines.append(f"{group} {metric}: default {share:.1%} of the oracle{goal}")
    for rival in (name for name in RIVALS if name in result["differences"]):
        gap = result["differences"][rival][DEFAULT][group][metric]
        lines.append(
            f"{group} {metric}: default − {rival} {gap['mean']:+.4f}, interval above "
            f"0 with {count_wins(gap)} of {num_seeds} seeds, below with "
            f"{count_losses(gap)}"
        )
    lines += [
        f"Failed, not in the table: {n}: {m}" for n, m in result["failed"].items()
    ]
    return lines


def _goal(value: float, goal: float) -> str:
    return f" (goal {goal:.0%}: {'met' if value >= goal else 'missed'})"


def _winner(result: Mapping[str, Any]) -> str:
    """Names the row that is best on the held-out validation users."""
    found = {
        name: float(np.mean(result["details"][name]["validation"]))
        for name in result["rows"]
    }
    best = max(found, key=lambda name: found[name])
    gain = f" ({_gain(result, best)} of the seeds)" if best != DEFAULT else ""
    return (
        f"Validation {result['selection_metric']}: best row {best} {found[best]:.4f}, "
        f"default {found[DEFAULT]:.4f}{gain}"
    )


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = [f"# Ranking: {result['config']}", "", f"`{result['command']}`", ""]
    lines += [f"- {line}" for line in verdicts(result)]
    lines += ["", describe(result), "", *markdown_table(*score_rows(result)), ""]
    for reference in result["differences"]:
        lines += [
            f"Each row − {reference}: mean over seeds, paired interval, and with how "
            "many of the seeds it lies above 0, and below, where it does with any.",
            "",
            *markdown_table(*difference_rows(result, reference)),
            "",
        ]
    return "\n".join([*lines, describe_machine(result), ""])


def describe(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    return (
        "Every row is the default with its changes of `ranking`. All rows of a seed "
        "share one trained retrieval model and so rank the same candidates; rivals "
        f"({', '.join(RIVALS)}) read the numbers of the default's inputs and learn "
        "from the same retrieved lists. `validation` is "
        f"{result['selection_metric']} on the held-out users who choose the epoch: by "
        "it rows are chosen, not by the test; `− default` is the mean of its "
        "differences seed by seed, and with how many seeds it is above 0. "
        f"{describe_protocol(result)}"
    )


def describe_machine(result: Mapping[str, Any]) -> str:
    """Says how long rows took, on what, and of which commit."""
    minutes = ", ".join(f"{seconds / 60:.0f}" for seconds in result["seconds"])
    commits = ", ".join(commit[:12] for commit in result["git_commits"])
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    return (
        f"Training ranking and rivals, candidates included, took {minutes} minutes a "
        f"seed on {result['machine']} (shared). Commit {commits}{dirty}."
    )


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the tables and what they say."""
    named = [(f"Ranking: {result['config']}", _without_changes(*score_rows(result)))]
    chosen = [r for r in (RETRIEVAL, LAMBDAMART) if r in result["differences"]]
    named += [(f"Minus {name}", difference_rows(result, name)) for name in chosen]
    for title, (header, rows) in named:
        print_table(title, header, rows, console=console)
    for line in (*verdicts(result), describe(result), describe_machine(result)):
        console.print(escape(line), highlight=False)


def _without_changes(
    header: list[str], rows: list[list[str]]
) -> tuple[list[str], list[list[str]]]:
    """Leaves out the column that a terminal has no room for."""
    place = header.index("changes")
    kept = [row[:place] + row[place + 1 :] for row in (header, *rows)]
    return kept[0], kept[1:]


def print_table(
    title: str, header: list[str], rows: list[list[str]], *, console: Console
) -> None:
    """Prints one table, words left and figures right."""
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _changes(result: Mapping[str, Any], name: str) -> str:
    changes = result["rows"].get(name, {}).get("changes", {})
    return ", ".join(f"{field}={_plain(value)}" for field, value in changes.items())


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return f"{{{', '.join(f'{k}: {v:g}' for k, v in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value)


def _validation(result: Mapping[str, Any], name: str) -> str:
    values = result["details"][name].get("validation")
    if values is None:
        return ""
    spread = f" ± {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def _gain(result: Mapping[str, Any], name: str) -> str:
    """Compares a row on validation with the default of the same seeds."""
    values = result["details"][name].get("validation")
    if values is None or name == DEFAULT:
        return ""
    gaps = np.subtract(values, result["details"][DEFAULT]["validation"])
    return f"{gaps.mean():+.4f} {np.sum(gaps > 0)}/{len(gaps)}"


def _minutes(result: Mapping[str, Any], name: str) -> str:
    minutes = float(np.mean(result["details"][name]["minutes"]))
    return f"{minutes:.1f}" if minutes else ""
