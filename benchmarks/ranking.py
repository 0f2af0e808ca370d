"""Compares fusions, task layers and losses of ranking, beside two rivals.

    python -m benchmarks.ranking --config configs/online_retail.yaml --seeds 3 \
        --out docs/results/online_retail_ranking.json [--rows cross mmoe cross+mmoe]
        [--rivals lightgbm logistic] [--work_dir runs/ranking] [dotted overrides]

Retrieval is trained once a seed; every row, the configuration with some fields of
`ranking` changed, trains ranking alone on its candidates, and is evaluated end to end.
Rivals are LambdaMART (LightGBM, `pip install -c constraints.txt -e '.[benchmarks]'`)
and logistic regression on the numbers that the ranking model reads. Finished rows are
read, not made again, so a broken-off benchmark goes on where it was, and rows may be
added later; rows of another configuration are refused. `--list` names the rows that fit
the data. Writes the JSON and, beside it, the tables as Markdown, after every seed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.quality import command_line, write_result
from benchmarks.ranking_rows import (
    DEFAULT,
    LAMBDAMART,
    RIVALS,
    Row,
    check_installed,
    choose_rows,
)
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.quiet import start_tensorflow_quietly

_PROGRAM = "python -m benchmarks.ranking"
_SET_HERE = ("seed", "run_dir")  # A seed and a folder for each run.


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 for an error, or if a row failed."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options, overrides = _parse([a for a in arguments if a != "--"])
    files = [part for path in options.config for part in ("--config", str(path))]
    config = load_config([*files, *overrides], description="")
    console = Console()
    try:
        rows = choose_rows(config, options.rows)
        if options.list:
            console.print("\n".join(f"{row.name} ({row.part})" for row in rows))
            return 0
        if LAMBDAMART in options.rivals:
            check_installed()
        with console.status("Starting TensorFlow"):
            start_tensorflow_quietly()
        given = [*files, *_own_options(options), *overrides]
        command = command_line(_PROGRAM, given)
        result = measure(options, config, rows, command=command, console=console)
    except (OSError, ValueError, ModuleNotFoundError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    from benchmarks.ranking_tables import print_tables

    print_tables(result, console)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    return int(bool(result["failed"]))


def measure(
    options: argparse.Namespace,
    config: ExperimentConfig,
    rows: Sequence[Row],
    *,
    command: str,
    console: Console,
) -> dict[str, Any]:
    """Measures all rows of every seed; the tables are written after each.

    Raises:
        ValueError: If nothing was measured, or a folder holds another configuration.
    """
    from benchmarks import ranking_measure
    from benchmarks.ranking_stage import prepare_stage
    from benchmarks.ranking_tables import markdown

    folders: dict[int, Path] = {}
    failed: dict[str, str] = {}
    result: dict[str, Any] = {}
    for seed in range(options.seeds):
        console.rule(f"{config.name}, seed {seed} of {options.seeds}")
        stage = prepare_stage(config, seed=seed, parent=options.work_dir)
        names = ranking_measure.measure_references(stage)
        ranking_measure.measure_rivals(stage, options.rivals)
        failed |= _measure_rows(stage, rows, console=console)
        folders[seed] = stage.path / "rows"
        kept = [row for row in rows if row.name not in failed]
        result = _summary(config, folders, kept, [*names, *options.rivals])
        result |= {"failed": failed, "command": command}
        write_result(options.out, result, page=markdown(result))
    return result


def _measure_rows(
    stage: Any, rows: Sequence[Row], *, console: Console
) -> dict[str, str]:
    """Measures rows; returns why some failed. Without the default nothing counts."""
    from benchmarks.ranking_measure import measure_row
    from tfrec.training.callbacks import TrainingDivergedError

    failed = {}
    for number, row in enumerate(rows, start=1):
        console.print(f"Row {number} of {len(rows)}: {row.name}", highlight=False)
        try:
            measure_row(stage, row.name, row.apply(stage.config))
        except TrainingDivergedError as error:
            if row.name == DEFAULT:
                raise ValueError(f"The default row failed: {error}") from error
            console.print(f"{row.name} failed: {error}", style="red")
            failed[row.name] = str(error)
    return failed


def _summary(
    config: ExperimentConfig,
    folders: dict[int, Path],
    rows: Sequence[Row],
    others: Sequence[str],
) -> dict[str, Any]:
    from benchmarks.ranking_measure import MAIN_METRIC, RETRIEVAL
    from benchmarks.ranking_summary import summarise

    selection = config.evaluation.selection_metric
    found = summarise(
        folders,
        [*(row.name for row in rows), *others],
        metrics=(MAIN_METRIC, selection),
        references=(RETRIEVAL, *RIVALS, DEFAULT),
    )
    split = config.data.split.model_dump(mode="json")
    return {
        "config": config.name,
        **found,
        "protocol": {"split": split, **found["protocol"]},
        "selection_metric": selection,
        "rows": {
            row.name: {"part": row.part, "changes": dict(row.changes)} for row in rows
        },
    }


def _own_options(options: argparse.Namespace) -> list[str]:
    own = ["--seeds", str(options.seeds), "--out", str(options.out)]
    if options.rows is not None:
        own += ["--rows", *options.rows]
    if tuple(options.rivals) != RIVALS:
        own += ["--rivals", *options.rivals]
    return own


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s --config FILE --out FILE [options] [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_options(parser)
    options, overrides = parser.parse_known_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    given = [a[2:].split("=")[0] for a in overrides if a.startswith("--")]
    for name in _SET_HERE:
        if name in given:
            parser.error(
                f"--{name} is set for each run; use --seeds and --work_dir instead."
            )
    return options, overrides


def _add_options(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option(
        "--config",
        type=Path,
        action="append",
        required=True,
        help="YAML file of the experiment. Given twice, the later one wins.",
    )
    option("--out", type=Path, required=True, help="JSON to write; a page beside it.")
    option("--seeds", type=int, default=3, help="Seeds 0 … n-1 (default: 3).")
    option(
        "--rows",
        nargs="+",
        metavar="ROW",
        help="Rows beside the default, several joined by + (default: all that fit).",
    )
    option(
        "--rivals",
        nargs="*",
        choices=RIVALS,
        default=list(RIVALS),
        help="Rivals to fit (default: both).",
    )
    option(
        "--work_dir",
        type=Path,
        default=Path("runs/ranking"),
        help="Folder of retrieval models and rows (default: runs/ranking).",
    )
    option("--list", action="store_true", help="Name the rows and end.")


if __name__ == "__main__":
    sys.exit(main())
