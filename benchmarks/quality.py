"""Trains a configuration with several seeds and prints its table beside baselines.

    python -m benchmarks.quality --dataset beauty --config configs/beauty_ids.yaml \
        --out docs/results/beauty_ids.json [--seeds 3] [--work_dir runs/quality] \
        [dotted overrides]
    python -m benchmarks.quality --config configs/ml_100k.yaml \
        --split leave_one_out --split by_time --out docs/results/ml_100k_splits.json

Each seed is a run of its own (`python -m tfrec.train`), on one prepared dataset. A
run that is already finished is read, not made again, so a broken-off benchmark goes
on where it was; a run of another configuration is refused. Writes the JSON and,
beside it, the table as Markdown. Every field of the configuration can be overridden,
for example `--retrieval.dropout 0.2`.

With `--split`, given once or more, each split is prepared, trained and tested by
itself, and one page holds the tables of all: leave-one-out to compare with papers,
a cut in time to know what to expect.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.quality_page import markdown, print_tables
from benchmarks.quality_splits import splits_markdown, splits_result
from benchmarks.quality_summary import summarise
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config, read_config
from tfrec.run_record import CONFIG_FILE, config_differences

_PROGRAM = "python -m benchmarks.quality"
_SET_HERE = ("seed", "run_dir")  # A seed and a folder for each run.
_SPLITS = ("leave_one_out", "by_time")
# Neither the place of a run nor that of its prepared data changes a figure, nor does
# what is searched elsewhere.
_PLACES = ("seed", "run_dir", "data.prepared_dir", "tune")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options, overrides = _parse([a for a in arguments if a != "--"])
    files = [part for path in options.config for part in ("--config", str(path))]
    splits = [part for name in options.split for part in ("--split", name)]
    own = [*files, *splits, "--seeds", str(options.seeds), "--out", str(options.out)]
    command = command_line(_PROGRAM, [*own, *overrides])
    console = Console()
    try:
        # All are checked before the first of them is trained.
        wanted = [
            _of_split([*files, *overrides], split, options.work_dir)
            for split in options.split or [None]
        ]
        results = [_measure(one, options.seeds, console=console) for one in wanted]
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    for result in results:
        result["command"] = command
        print_tables(result, console)
    if options.split:
        page, result = splits_markdown(results), splits_result(results)
    else:
        page, result = markdown(results[0]), results[0]
    write_result(options.out, result, page=page)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    return 0


@dataclass(frozen=True)
class _Wanted:
    """A configuration under one split.

    Attributes:
        config: The configuration.
        argv: The same as options of `tfrec.train`.
        parent: Folder of its runs and prepared data.
    """

    config: ExperimentConfig
    argv: Sequence[str]
    parent: Path


def _of_split(argv: Sequence[str], split: str | None, work_dir: Path) -> _Wanted:
    """Splits have runs and data of their own; without one, those of the config."""
    if split is None:
        return _Wanted(load_config(argv, description=""), argv, work_dir)
    argv = [*argv, "--data.split.protocol", split]
    config = load_config(argv, description="")
    if config.data.prepared_dir is not None:
        raise ValueError(
            "`data.prepared_dir` holds one split, and --split wants one for each. "
            f"Received: '{config.data.prepared_dir}'. Leave it out; the folders are "
            "in --work_dir."
        )
    return _Wanted(config, argv, work_dir / split)


def _measure(wanted: _Wanted, num_seeds: int, *, console: Console) -> dict[str, Any]:
    """Makes what is missing of the runs, and joins the seeds."""
    runs = []
    for seed in range(num_seeds):
        split = wanted.config.data.split.protocol
        console.rule(f"{wanted.config.name}, {split}, seed {seed} of {num_seeds}")
        runs.append(
            finished_run(wanted.config, wanted.argv, seed=seed, parent=wanted.parent)
        )
    return summarise(runs)


def command_line(program: str, arguments: Sequence[str]) -> str:
    """Returns a command as it is typed into a shell."""
    return f"{program} {shlex.join(arguments)}"


def write_result(path: Path, result: Mapping[str, Any], *, page: str) -> None:
    """Writes the JSON and, beside it, the page in Markdown."""
    path.parent.mkdir(parents=True, exist_ok=True)
    texts = {path.with_suffix(".md"): page, path: _lines(result) + "\n"}
    for file, text in texts.items():
        partial = file.with_name(file.name + ".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)


def _lines(value: Mapping[str, Any], indent: str = "") -> str:
    """Writes JSON with one line a figure: its mean, deviation and intervals."""
    if not any(isinstance(part, Mapping) for part in value.values()):
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + "  "
    parts = [
        f"{deeper}{json.dumps(name)}: "
        + (_lines(part, deeper) if isinstance(part, Mapping) else json.dumps(part))
        for name, part in value.items()
    ]
    return "{\n" + ",\n".join(parts) + f"\n{indent}}}"


def finished_run(
    config: ExperimentConfig, argv: Sequence[str], *, seed: int, parent: Path
) -> Path:
    """Trains one seed unless its results are there; returns the run's folder.

    Args:
        config: The configuration; its seed and folder are not looked at.
        argv: The same as options of `tfrec.train`.
        seed: Of this run.
        parent: Folder of all runs and, unless configured, of the prepared data.

    Raises:
        ValueError: If the folder holds a run of another configuration.
        subprocess.CalledProcessError: If training fails; it has said why.
    """
    run = parent / f"{config.name}-seed{seed}"
    if (run / CONFIG_FILE).is_file():
        check_same(config, read_config(run / CONFIG_FILE), run)
    if not is_finished(run):
        prepared = config.data.prepared_dir or parent / f"{config.name}-prepared"
        command = [sys.executable, "-m", "tfrec.train", *argv]
        command += ["--seed", str(seed), "--run_dir", str(run)]
        command += ["--data.prepared_dir", str(prepared)]
        subprocess.run(command, check=True)
    return run


def is_finished(run: Path) -> bool:
    """Whether the run was evaluated to its end: the time of it is written last."""
    timings = run / "timings.json"
    if not (timings.is_file() and (run / "metrics.json").is_file()):
        return False
    return "evaluate" in json.loads(timings.read_text())


def check_same(
    wanted: ExperimentConfig,
    found: ExperimentConfig,
    run: Path,
    *,
    ignored: Sequence[str] = (),
) -> None:
    """Refuses results of another configuration, which would be taken for this one's.

    Args:
        wanted: The configuration.
        found: That of the run.
        run: The run's folder.
        ignored: Fields and sections that may differ, beside seed and folders.

    Raises:
        ValueError: If anything else differs; names what.
    """
    different = config_differences(wanted, found, ignored=(*_PLACES, *ignored))
    if different:
        raise ValueError(
            f"'{run}' holds a run of another configuration: "
            f"{', '.join(different[:5])}. Give the same overrides as then, choose "
            "another --work_dir, or delete the folder."
        )


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s (--dataset NAME | --config FILE) --out FILE [options] "
        "[--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--dataset", help="Short for --config configs/DATASET.yaml before all others."
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="YAML file of the experiment. Given twice, the later one wins.",
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="Seeds 0 … n-1 (default: 3)."
    )
    parser.add_argument(
        "--split",
        action="append",
        default=[],
        choices=_SPLITS,
        help="Evaluated by; given twice, both tables are on the page (default: as "
        "configured).",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; the page lies beside."
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/quality"),
        help="Folder of the runs (default: runs/quality).",
    )
    options, overrides = parser.parse_known_args(arguments)
    if options.dataset:
        options.config.insert(0, Path("configs", f"{options.dataset}.yaml"))
    if not options.config:
        parser.error("say what to train: --dataset beauty, or --config FILE.")
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}.")
    if len(set(options.split)) < len(options.split):
        parser.error(f"--split must name each once. Received: {options.split}.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    given = [a[2:].split("=")[0] for a in overrides if a.startswith("--")]
    for name in _SET_HERE:
        if name in given:
            parser.error(
                f"--{name} is set for each run; use --seeds and --work_dir instead."
            )
    return options, overrides


if __name__ == "__main__":
    sys.exit(main())
