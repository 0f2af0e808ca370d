"""Writes the event log and catalogue of a simulated shop.

python -m tfrec.simulate --size demo --output runs/demo/shop
"""

import argparse
import difflib
import sys
from collections.abc import Sequence

from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from tfrec.data.simulator import (
    SIZES,
    ShopSummary,
    SimulatorConfig,
    simulate,
    sized_config,
)

_DESCRIPTION = (
    "Simulates a shop with known truth and writes what a real one would hand over: "
    "an event log, a catalogue, and a config.yaml that trains on both. `truth/` "
    "holds what each shopper had in mind, from which the evaluation computes the "
    "best result any model can reach. The same seed gives the same shop."
)
_EPILOG = (
    "Every field of the simulator can be set, for example `--num_users 500 "
    "--position_bias 1.2`; the others keep the value of `--size`. "
    "docs/simulator.md explains how shoppers behave."
)
_PROGRAM = "python -m tfrec.simulate"
_SIZE_NOTES = {
    "tiny": "4 k behaviour events, under 2 s",
    "demo": "200 k, some seconds",
    "medium": "1 M",
    "large": "10 M, some minutes",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        argv: Arguments, `None` for those of the process.

    Returns:
        Exit code: 0, 1 if the shop could not be written, 2 for wrong options.
    """
    parser = _build_parser()
    known, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(_explain_unknown(unknown[0], list(vars(known))))
    options = vars(known)
    console = Console(stderr=True)
    given = {
        name: options[name]
        for name in SimulatorConfig.model_fields
        if options[name] is not None
    }
    try:
        config = sized_config(options["size"], **given)
    except ValidationError as error:
        parser.error(_explain(error))
    try:
        summary = simulate(
            config,
            options["output"] or f"runs/{config.name}/shop",
            file_format=options["format"],
            overwrite=options["overwrite"],
            show_progress=True,
        )
    except OSError as error:
        console.print(
            f"tfrec.simulate: {error}", style="red", markup=False, soft_wrap=True
        )
        return 1
    _show(summary, Console())
    return 0


def _build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=sys.argv[0] if sys.argv[0].startswith("tfrec ") else _PROGRAM,
        usage="%(prog)s [--size SIZE] [--output FOLDER] [--FIELD VALUE ...]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        allow_abbrev=False,
    )
    sizes = "; ".join(f"{name}: {note}" for name, note in _SIZE_NOTES.items())
    parser.add_argument(
        "--size", choices=list(SIZES), default="demo", help=f"{sizes}. Default: demo."
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        help="Folder to create. Default: runs/<name>/shop.",
    )
    parser.add_argument(
        "--format",
        choices=["parquet", "csv"],
        default="parquet",
        help="Of log and catalogue. Default: parquet.",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="Replace a shop that is there already."
    )
    fields = parser.add_argument_group("fields of the simulator")
    for name, field in SimulatorConfig.model_fields.items():
        text = (field.description or "").replace("%", "%%")
        fields.add_argument(
            f"--{name}", metavar="VALUE", help=f"{text} Default: {_defaults(name)}."
        )
    return parser


def _defaults(name: str) -> str:
    """Returns the default of a field, and the sizes that have another."""
    default = SimulatorConfig.model_fields[name].default
    others = [
        f"{size}: {values[name]}"
        for size, values in SIZES.items()
        if values.get(name, default) != default
    ]
    return "; ".join([str(default), *others])


def _explain_unknown(argument: str, names: list[str]) -> str:
    name = argument.split("=")[0].lstrip("-")
    near = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    hint = f"Did you mean `--{near[0]}`?" if near else "`--help` lists all options."
    return f"unknown option `{argument}`. {hint}"


def _explain(error: ValidationError) -> str:
    """Returns one line per wrong value: option, what was expected, what came."""
    lines = []
    for detail in error.errors():
        option = "".join(f"--{part}: " for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        received = f" Received: {detail['input']!r}." if detail["loc"] else ""
        lines.append(f"{option}{message}.{received}".replace("..", "."))
    return "\n".join(lines)


def _show(summary: ShopSummary, console: Console) -> None:
    counts = Table(title="Simulated shop", title_justify="left")
    counts.add_column("rows of")
    counts.add_column("count", justify="right")
    for event_type, count in summary.event_counts.items():
        counts.add_row(event_type, f"{count:,}")
    counts.add_section()
    counts.add_row("shoppers", f"{summary.num_users:,}")
    counts.add_row("items", f"{summary.num_items:,}")
    counts.add_row("views the oracle knows", f"{summary.num_truth_states:,}")
    console.print(counts)
    files = Table(title="Files", title_justify="left", show_header=False)
    files.add_column()
    files.add_column(overflow="fold")
    files.add_row("event log", str(summary.events_path))
    files.add_row("catalogue", str(summary.items_path))
    files.add_row("configuration", str(summary.config_path))
    files.add_row("truth", str(summary.truth_path))
    console.print(files)
    rate = summary.num_behaviour_events / summary.seconds
    console.print(
        f"{summary.seconds:.1f} s, {rate:,.0f} behaviour events/s. Next: "
        f"python -m tfrec.train --config {summary.config_path}",
        soft_wrap=True,
        highlight=False,
    )


if __name__ == "__main__":
    sys.exit(main())
