"""Exports a trained run as a SavedModel: `python -m export --run runs/demo`.

`python -m export refresh` changes the catalogue of a model that was exported.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from export import refresh_command
from tfrec.file_errors import explain_error
from tfrec.quiet import start_tensorflow_quietly

if TYPE_CHECKING:
    from export.exporter import ExportReport

_REFRESH = "refresh"  # The one subcommand.
_DESCRIPTION = (
    "Turns a trained run into a version of a SavedModel that TensorFlow Serving "
    "loads: raw item ids and event types in, ranked item ids out. The version "
    "appears only after it was checked: it answers as the trained model does, a "
    "stock server knows all of its ops, and its warm-up requests run."
)
_EPILOG = (
    "The model is written to <model_dir>/<model_name>/<version>/; `model_name`, "
    "`filters`, `caps` and `rules` come from the section `export` of the run's "
    "config.yaml. Serve it with `python -m serving.server` or with the container in "
    "serving/. A changed "
    "catalogue needs no training: see `python -m export refresh --help`."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Options, `None` for those of the process.

    Returns:
        The exit code: 0, or 1 if nothing was exported.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == [_REFRESH]:
        return refresh_command.main(arguments[1:])
    options = _parser().parse_args(arguments)
    start_tensorflow_quietly()
    from export.errors import ExportGateError

    console = Console()
    try:
        with console.status("loading TensorFlow and the run") as status:
            report = _export(options, status.update)
    except (ExportGateError, OSError, ValueError) as error:
        folder = options.model_dir or options.run
        print(f"export: {explain_error(error, folder)}", file=sys.stderr)
        return 1
    console.print(_table(report))
    # Not wrapped, so that it can be copied.
    console.print(f"Written to {report.path}", soft_wrap=True, highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export", description=_DESCRIPTION, epilog=_EPILOG
    )
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of the run, as `python -m tfrec.train` wrote it",
    )
    parser.add_argument(
        "--model_dir",
        type=Path,
        metavar="DIR",
        help="folder that holds <model_name>/ (default: `export.model_dir` of the "
        "configuration, else `model` in the run)",
    )
    parser.add_argument(
        "--version",
        type=int,
        metavar="N",
        help="number of the version (default: the highest there is plus 1)",
    )
    return parser


def _export(
    options: argparse.Namespace, on_step: Callable[[str], None]
) -> "ExportReport":
    from export.exporter import export_with_report
    from tfrec.training.run import load_recommender

    recommender, dataset, config = load_recommender(options.run)
    # The folder may have moved since the training.
    config = config.model_copy(update={"run_dir": options.run})
    return export_with_report(
        recommender,
        dataset,
        config,
        version=options.version,
        model_dir=options.model_dir,
        on_step=on_step,
    )


def _table(report: "ExportReport") -> Table:
    table = Table(title=f"Version {report.version}, schema {report.schema.schema_hash}")
    table.add_column("what")
    table.add_column("result")
    for name, num_inputs, num_outputs in report.signatures:
        table.add_row(
            f"signature {name}", f"{num_inputs} inputs, {num_outputs} outputs"
        )
    table.add_section()
    for gate in report.gates:
        table.add_row(f"gate {gate.name}", f"passed: {gate.detail}")
    table.add_section()
    table.add_row("size", f"{report.num_bytes / 1e6:.1f} MB")
    table.add_row("time", f"{report.seconds:.1f} s")
    return table


if __name__ == "__main__":
    sys.exit(main())
