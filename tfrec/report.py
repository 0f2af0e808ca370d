"""Shows the results of runs that are already evaluated.

python -m tfrec.report --run runs/demo [runs/other ...]
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tfrec.evaluation.report import print_report

_DESCRIPTION = (
    "Prints the tables of an evaluated run again. With several runs it compares them: "
    "one row per run and scorer. Nothing is computed, and no TensorFlow is loaded."
)
_METRICS = ("HR@10", "NDCG@10", "Recall@20", "NDCG@20")
_NEEDED = ("scorers", "split", "targets", "k", "groups", "num_queries", "num_items")
_COMPARED = 2  # From so many runs on they are compared, not shown one by one.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser("tfrec report", description=_DESCRIPTION)
    parser.add_argument(
        "--run",
        type=Path,
        nargs="+",
        required=True,
        metavar="FOLDER",
        help="Folders of runs, e.g. runs/demo; several are compared.",
    )
    parser.add_argument(
        "--split",
        choices=("test", "validation"),
        default="test",
        help="Results on which events (default: test). Those of the validation are "
        "there after `python -m tfrec.evaluate --split validation`.",
    )
    options = parser.parse_args(argv)
    console = Console()
    try:
        runs = {
            str(path): read_metrics(path, split=options.split) for path in options.run
        }
    except (OSError, ValueError) as error:
        print(f"tfrec report: error: {error}", file=sys.stderr)
        return 1
    if len(runs) < _COMPARED:
        for metrics in runs.values():
            print_report(metrics, console=console)
    else:
        console.print(compare(runs))
    return 0


def read_metrics(run: Path, *, split: str = "test") -> dict[str, Any]:
    """Reads the results of a run.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is not what an evaluation writes.
    """
    suffix = "" if split == "test" else f"_{split}"
    path = run / f"metrics{suffix}.json"
    again = f"`python -m tfrec.evaluate --run {run} --split {split}`"
    if not path.is_file():
        raise FileNotFoundError(
            f"No results in '{run}': {path.name} is missing. Run "
            f"`python -m tfrec.train --config ...`, or {again} for a trained run."
        )
    try:
        metrics = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"'{path}' is no JSON ({error}). Run {again}.") from error
    missing = [
        name for name in _NEEDED if not isinstance(metrics, dict) or name not in metrics
    ]
    if missing:
        raise ValueError(
            f"'{path}' is not what an evaluation writes: {missing} missing. "
            f"Run {again}."
        )
    return metrics


def compare(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Puts the scorers of several runs under one another.

    A cell is empty where a run has no such metric. Runs of different data or
    protocols stand in one table too; then a column tells them apart.
    """
    names = _shown_metrics(runs)
    evaluated = {run: _evaluated(metrics) for run, metrics in runs.items()}
    alike = len(set(evaluated.values())) == 1
    title = f"Runs, evaluated on {next(iter(evaluated.values()))}" if alike else "Runs"
    table = Table(title=title, title_justify="left")
    # A path that is cut off would not say which run it is.
    table.add_column("run", overflow="fold")
    if not alike:
        table.add_column("evaluated")
    table.add_column("scorer", no_wrap=True)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for run, metrics in runs.items():
        first = [escape(run)] if alike else [escape(run), evaluated[run]]
        for scorer, result in metrics["scorers"].items():
            values = [result["metrics"].get(name) for name in names]
            cells = ["" if v is None else f"{v:.4f}" for v in values]
            table.add_row(*first, scorer, *cells)
            first = [""] * len(first)
        table.add_section()
    return table


def _evaluated(metrics: Mapping[str, Any]) -> str:
    return (
        f"{metrics['split']}, {metrics['targets']}, {metrics['num_queries']:,} "
        f"queries, {metrics['num_items']:,} items"
    )


def _shown_metrics(runs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Returns the usual metrics, or HR and NDCG of each run's longest list."""
    found = [s["metrics"] for m in runs.values() for s in m["scorers"].values()]
    names = [name for name in _METRICS if any(name in metrics for metrics in found)]
    longest = sorted({max(metrics["k"]) for metrics in runs.values()})
    return names or [f"{name}@{k}" for k in longest for name in ("HR", "NDCG")]


if __name__ == "__main__":
    sys.exit(main())
