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
from rich.table import Table

from tfrec.evaluation.report import print_report

_DESCRIPTION = (
    "Prints the tables of an evaluated run again. With several runs it compares them: "
    "one row per run and model. Nothing is computed."
)
_METRICS = ("HR@10", "NDCG@10", "Recall@20", "NDCG@20")
_COMPARED = 2  # From so many runs on they are compared, not shown one by one.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser("tfrec report", description=_DESCRIPTION)
    parser.add_argument(
        "--run", type=Path, nargs="+", required=True, help="Folders of runs."
    )
    options = parser.parse_args(argv)
    console = Console()
    try:
        runs = {str(path): read_metrics(path) for path in options.run}
    except (OSError, ValueError) as error:
        print(f"tfrec report: error: {error}", file=sys.stderr)
        return 1
    if len(runs) < _COMPARED:
        for metrics in runs.values():
            print_report(metrics, console=console)
    else:
        console.print(compare(runs))
    return 0


def read_metrics(run: Path) -> dict[str, Any]:
    """Reads `metrics.json` of a run.

    Raises:
        FileNotFoundError: If the run has none.
        ValueError: If the file is not what an evaluation writes.
    """
    path = run / "metrics.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"No results in '{run}': metrics.json is missing. Run "
            "`python -m tfrec.train --config ...`, or `python -m tfrec.evaluate "
            f"--run {run}` for a trained run."
        )
    try:
        metrics = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"'{path}' is no JSON ({error}). Evaluate again.") from error
    if "scorers" not in metrics:
        raise ValueError(f"'{path}' has no 'scorers'. Evaluate the run again.")
    return metrics


def compare(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Puts the models of several runs under one another.

    A cell is empty where a run has no such metric. Runs of different data or
    protocols stand in one table too; the first columns tell them apart.
    """
    found = [s["metrics"] for m in runs.values() for s in m["scorers"].values()]
    names = [name for name in _METRICS if any(name in metrics for metrics in found)]
    table = Table("run", "split", "queries", "scorer", title="Runs")
    for name in names:
        table.add_column(name, justify="right")
    for run, metrics in runs.items():
        protocol = f"{metrics['split']}, {metrics['targets']}"
        for i, (scorer, result) in enumerate(metrics["scorers"].items()):
            first = (
                [run, protocol, f"{metrics['num_queries']:,}"] if i == 0 else [""] * 3
            )
            values = [result["metrics"].get(name) for name in names]
            cells = ["" if v is None else f"{v:.4f}" for v in values]
            table.add_row(*first, scorer, *cells)
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
