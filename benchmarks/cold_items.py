"""Measures items that training never saw: recommended by their text, or not at all.

    python -m benchmarks.cold_items --config configs/beauty.yaml \
        --config configs/beauty_text.yaml --out docs/results/beauty_cold.json \
        [--full_run runs/quality/beauty_text-seed0 ...] [--seeds 3] [overrides]

Cold are the 5 % of the items whose SHA-256 of the id, as hex, sorts last. A file
without their events is written and trained on, one run a seed, resumed as
`benchmarks.quality` does. Then every user's last event is asked for, full ranking:
where it is a cold item, and where it is not; there a `--full_run`, trained on all
events, is asked the same. The log must be a sequences file, oldest event first.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.cold_measure import measure_seed
from benchmarks.cold_protocol import (
    choose_cold,
    read_histories,
    training_lines,
    write_if_changed,
)
from benchmarks.cold_tables import markdown, print_tables, summarise, verdicts
from benchmarks.quality import (
    check_same,
    command_line,
    finished_run,
    write_result,
)
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config, read_config
from tfrec.data.readers import find_files
from tfrec.run_record import CONFIG_FILE

_PROGRAM = "python -m benchmarks.cold_items"
# What may differ between a run without and one with the cold items; what new items are
# given is no part of training, and worth nothing where there are none.
_FREE = (
    "name",
    "data.events.paths",
    "evaluation",
    "export",
    "retrieval.new_item_budget",
    "retrieval.new_items_per_ten",
)
_SET_HERE = ("seed", "run_dir", "data.prepared_dir")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 for an error, or a missed goal with `--check`."""
    options, overrides = _parse(list(sys.argv[1:] if argv is None else argv))
    files = [part for path in options.config for part in ("--config", str(path))]
    config = load_config([*files, *overrides], description="")
    console = Console()
    try:
        result = measure(options, config, [*files, *overrides], console)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    given = [*files, "--seeds", str(options.seeds), "--out", str(options.out)]
    given += [p for run in options.full_run for p in ("--full_run", str(run))]
    given += ["--warm_history"] if options.warm_history else []
    result["command"] = command_line(_PROGRAM, [*given, *overrides])
    write_result(options.out, result, page=markdown(result))
    print_tables(result, console)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    missed = [line for line, is_met in verdicts(result) if not is_met]
    return int(options.check and bool(missed))


def measure(
    options: argparse.Namespace,
    config: ExperimentConfig,
    argv: Sequence[str],
    console: Console,
) -> dict[str, Any]:
    """Trains and asks every seed.

    Raises:
        ValueError: If the log is no sequences file with leave-one-out, or a run
            does not fit.
    """
    _check_protocol(config)
    full_runs = _full_runs(options.full_run, config, num_seeds=options.seeds)
    histories = read_histories(find_files(config.data.events, name="data.events"))
    cold = choose_cold(histories, share=options.share)
    name = f"{config.name}_cold"
    path = options.work_dir / f"{name}-sequences.txt"
    write_if_changed(path, training_lines(histories, cold))
    changes = ["--name", name, "--data.events.paths", f'["{path}"]']
    argv = [*argv, *changes]
    config = load_config(argv, description="")
    seeds = []
    for seed in range(options.seeds):
        console.rule(f"{name}, seed {seed} of {options.seeds}")
        run = finished_run(config, argv, seed=seed, parent=options.work_dir)
        seeds.append(
            measure_seed(
                run,
                histories,
                cold,
                full_run=full_runs[seed],
                keep_cold_history=not options.warm_history,
            )
        )
    return summarise(config, seeds, share=options.share, num_cold=len(cold))


def _check_protocol(config: ExperimentConfig) -> None:
    data = config.data
    wanted = {
        "data.events.format": (data.events.format, "sequences"),
        "data.split.protocol": (data.split.protocol, "leave_one_out"),
        "data.items": ("set" if data.items else None, "set"),
        "data.event_types": (len(data.event_types), 1),
    }
    wrong = [
        f"{n}={v[0]!r} (wanted {v[1]!r})" for n, v in wanted.items() if len(set(v)) > 1
    ]
    if wrong:
        raise ValueError(
            "Cold items are measured on a sequences file with a catalogue. Received: "
            f"{', '.join(wrong)}. Use another configuration, such as "
            "configs/beauty.yaml."
        )


def _full_runs(
    runs: Sequence[Path], config: ExperimentConfig, *, num_seeds: int
) -> list[Path | None]:
    """Returns one run a seed, by the seed that the run was trained with."""
    if not runs:
        return [None] * num_seeds
    missing = [str(run) for run in runs if not (run / CONFIG_FILE).is_file()]
    if missing:
        raise FileNotFoundError(f"No run in {missing}: {CONFIG_FILE} is missing.")
    by_seed = {}
    for run in runs:
        found = read_config(run / CONFIG_FILE)
        check_same(config, found, run, ignored=_FREE)
        by_seed[found.seed] = run
    if sorted(by_seed) != list(range(num_seeds)) or len(by_seed) < len(runs):
        raise ValueError(
            "`--full_run` must be given once a seed, or not at all. Received runs of "
            f"the seeds {sorted(by_seed)}, expected {list(range(num_seeds))}."
        )
    return [by_seed[seed] for seed in range(num_seeds)]


def _parse(arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s --config FILE --out FILE [options] [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
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
        "--full_run",
        type=Path,
        action="append",
        default=[],
        help="Run of the same configuration on all events, one for each seed.",
    )
    option("--share", type=float, default=0.05, help="Of cold items (default: 0.05).")
    option(
        "--warm_history",
        action="store_true",
        help="Leave cold items out of the histories that are asked, too.",
    )
    option(
        "--work_dir",
        type=Path,
        default=Path("runs/cold"),
        help="Folder of the runs (default: runs/cold).",
    )
    option("--check", action="store_true", help="Exit with 1 where a goal is missed.")
    options, overrides = parser.parse_known_args([a for a in arguments if a != "--"])
    if options.seeds < 1:
        parser.error(f"--seeds must be at least 1. Received: {options.seeds}.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    given = [a[2:].split("=")[0] for a in overrides if a.startswith("--")]
    for name in _SET_HERE:
        if name in given:
            parser.error(f"--{name} is set for each run; use --seeds and --work_dir.")
    return options, overrides


if __name__ == "__main__":
    sys.exit(main())
