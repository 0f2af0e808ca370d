"""Changes the catalogue of a model: `python -m export refresh --items new.parquet`."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly

if TYPE_CHECKING:
    from export.refresh import RefreshReport

_DESCRIPTION = (
    "Writes the next version of a trained run's model with a changed catalogue: "
    "items added, changed or removed, without training. Items that did not change "
    "keep their scores; new ones are recommended by their text and attributes; "
    "removed ones are recommended no more, but still count in histories. Only texts "
    "that are new are encoded. The version passes the same checks as an export."
)
_EPILOG = (
    "Refreshes build on one another: each starts from the newest version of the same "
    "training, which keeps its catalogue in assets.extra/catalogue.parquet. After "
    "`python -m export --run` the next refresh starts from the training's catalogue."
)


def main(argv: Sequence[str]) -> int:
    """Runs the command.

    Args:
        argv: Options behind `refresh`.

    Returns:
        The exit code: 0, also where nothing is different; 1 for an error.
    """
    options = _parser().parse_args(argv)
    start_tensorflow_quietly()
    console = Console()
    warnings: list[str] = []
    try:
        report = _refresh(options, console, warnings.append)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"export refresh: {explain_error(error, options.run)}", file=sys.stderr)
        return 1
    for text in warnings:
        print(f"Warning: {text}", file=sys.stderr)
    console.print(_table(report))
    if report.export is None:
        console.print(
            f"Nothing differs from version {report.base}: no version was written."
        )
    else:
        # Not wrapped, so that it can be copied.
        console.print(
            f"Written to {report.export.path}", soft_wrap=True, highlight=False
        )
    return 0


def _refresh(
    options: argparse.Namespace, console: Console, warn: Callable[[str], None]
) -> "RefreshReport":
    with console.status("loading TensorFlow") as status:
        from export.refresh import refresh

        return refresh(
            options.run,
            items=options.items,
            removed=options.remove,
            complete=options.complete,
            model_dir=options.model_dir,
            version=options.version,
            on_step=status.update,
            warn=warn,
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export refresh", description=_DESCRIPTION, epilog=_EPILOG
    )
    option = parser.add_argument
    option(
        "--run",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the run, as `python -m tfrec.train` wrote it",
    )
    option(
        "--items",
        type=Path,
        metavar="FILE",
        help="new and changed items in the columns of `data.items`: Parquet, CSV or "
        "JSON lines; a row replaces all that was known of its item",
    )
    option(
        "--complete",
        action="store_true",
        help="FILE is the whole catalogue: items that it lacks are removed",
    )
    option(
        "--remove",
        type=Path,
        metavar="FILE",
        help="text file with the ids of removed items, one a line",
    )
    option(
        "--model_dir",
        type=Path,
        metavar="DIR",
        help="folder that holds <model_name>/ (default: `export.model_dir` of the "
        "configuration, else `model` in the run)",
    )
    option(
        "--version",
        type=int,
        metavar="N",
        help="number of the version (default: the highest there is plus 1)",
    )
    return parser


def _table(report: "RefreshReport") -> Table:
    change = report.change
    base = "the training" if report.base is None else f"version {report.base}"
    table = Table(title=f"Catalogue, changed since {base}")
    table.add_column("what")
    table.add_column("result")
    for name, count in (
        ("added", change.num_added),
        ("changed", change.num_changed),
        ("removed", change.num_removed),
        ("restored", change.num_restored),
    ):
        table.add_row(f"items {name}", f"{count:,}")
    if report.export is not None:
        table.add_section()
        for gate in report.export.gates:
            table.add_row(f"gate {gate.name}", f"passed: {gate.detail}")
    table.add_section()
    for name, seconds in report.seconds.items():
        table.add_row(name, f"{seconds:.1f} s")
    table.add_row("in all", f"{sum(report.seconds.values()):.1f} s")
    return table
