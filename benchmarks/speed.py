"""Measures training targets a second beside the SASRec of RecBole and of RecTools.

    python -m benchmarks.speed --config configs/beauty.yaml \
        --out docs/results/speed_beauty.json [--rivals recbole rectools]

Rivals are installed into environments of their own, below --work_dir, and used again
from there. All learn the same sequences, with the same width, blocks, heads, length of
history and exact softmax, about as many targets a step and all cores. Ours reads ids
alone, as they do; where the configuration has attributes of items, a second row reads
these too. Every field of the configuration can be overridden.

All take turns, and what other processes had of the machine meanwhile is measured: it
starves some trainings more than others, so above 5 % no goal is decided.

Writes the JSON and, beside it, the page in Markdown. A rival that cannot be installed
or fails is named, the others are measured, and the command ends with 1.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.quality import command_line, write_result
from benchmarks.quality_summary import describe_machine
from benchmarks.speed_data import (
    Shapes,
    check_comparable,
    expected_targets,
    history_lengths,
    ids_alone,
    make_shapes,
    training_events,
)
from benchmarks.speed_measure import Trainer, measure, our_trainer, product_trainer
from benchmarks.speed_rivals import RIVALS, Rival, ensure_environment
from benchmarks.speed_tables import (
    OURS,
    PRODUCT,
    markdown,
    print_tables,
    summarise,
    verdicts,
)
from benchmarks.speed_turns import RivalError, TurnClient
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import git_state, library_versions

_PROGRAM = "python -m benchmarks.speed"
_ATTRIBUTES = "tfrec, attributes"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options, config = _parse(arguments)
    console = Console()
    start_tensorflow_quietly()
    try:
        check_comparable(config)
        with ExitStack() as stack:
            result = _run(config, options, stack=stack, console=console)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    result["command"] = command_line(_PROGRAM, arguments)
    print_tables(result, console)
    write_result(options.out, result, page=markdown(result))
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    for text in result["missing"].values():
        print(f"{_PROGRAM}: error: {text}", file=sys.stderr)
    missed = options.check and not all(met for _, met in verdicts(result))
    return int(bool(result["missing"]) or missed)


def _run(
    config: ExperimentConfig,
    options: argparse.Namespace,
    *,
    stack: ExitStack,
    console: Console,
) -> dict[str, Any]:
    trainers: dict[str, Trainer] = {PRODUCT: product_trainer()}
    folder = options.work_dir / config.name
    folder.mkdir(parents=True, exist_ok=True)
    ours, builder = our_trainer(ids_alone(config), folder / "ids_prepared")
    trainers[OURS] = ours
    if config.data.item_attributes:
        place = config.data.prepared_dir or folder / "prepared"
        trainers[_ATTRIBUTES] = our_trainer(config, place)[0]
    shapes = make_shapes(config, builder, folder)
    lengths = history_lengths(builder.sequences, training_events(builder))
    expected = expected_targets(lengths, shapes.max_history_length)
    missing: dict[str, str] = {}
    for name in options.rivals:
        rival = RIVALS[name]
        console.print(f"Starting {rival.title} …", highlight=False)
        try:
            client = stack.enter_context(_start(rival, shapes, options.work_dir))
            _check_targets(rival, client.facts, expected[name])
            trainers[name] = Trainer(client.turn, client.facts)
        except RivalError as error:
            missing[name] = str(error)
    rounds = measure(
        trainers, rounds=options.rounds, seconds=options.seconds, missing=missing
    )
    return _result(config, options, shapes, trainers, rounds, missing)


def _start(rival: Rival, shapes: Shapes, work_dir: Path) -> TurnClient:
    """Installs a rival where needed, and lets its driver lay out its data."""
    python = ensure_environment(rival, work_dir / "environments")
    told = Path(shapes.folder) / "shapes.json"
    shapes.write(told)
    return TurnClient(
        rival.title,
        [str(python.absolute()), str(rival.driver), str(told)],
        log=Path(shapes.folder) / f"{rival.name}.log",
        folder=Path(shapes.folder),
    )


def _check_targets(rival: Rival, facts: Mapping[str, Any], expected: int) -> None:
    """Refuses a rival that learns from other targets than were counted for it.

    Raises:
        RivalError: If the number of them is not as expected.
    """
    if facts["epoch_targets"] != expected:
        raise RivalError(
            f"{rival.title} should learn {expected:,} targets an epoch. Received: "
            f"{facts['epoch_targets']:,}. It reads the sequences otherwise than "
            f"`benchmarks.speed_data` says; see '{rival.driver.name}'."
        )


def _result(
    config: ExperimentConfig,
    options: argparse.Namespace,
    shapes: Shapes,
    trainers: Mapping[str, Trainer],
    rounds: Sequence[Mapping[str, Any]],
    missing: Mapping[str, str],
) -> dict[str, Any]:
    result = summarise(rounds)
    for name, found in result["trainers"].items():
        found.update(trainers[name].facts)
    told = dataclasses.asdict(shapes)
    versions = library_versions()
    return {
        "config": config.name,
        "shapes": {k: v for k, v in told.items() if k not in ("folder", "events")},
        "rounds": options.rounds,
        "seconds": options.seconds,
        "titles": {
            OURS: "tfrec, ids alone",
            _ATTRIBUTES: "tfrec, with attributes",
            **{name: rival.title for name, rival in RIVALS.items()},
        },
        "goals": {name: RIVALS[name].goal for name in options.rivals},
        "missing": dict(missing),
        **result,
        "machine": describe_machine([versions]),
        "versions": versions,
        **git_state(),
    }


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ExperimentConfig]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s --config FILE --out FILE [options] [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        required=True,
        help="YAML file of an experiment. Given twice, the later one wins.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; the page lies beside."
    )
    parser.add_argument(
        "--rivals",
        nargs="*",
        choices=sorted(RIVALS),
        default=sorted(RIVALS),
        help="Measured beside ours; none after the option: ours alone (default: all).",
    )
    parser.add_argument(
        "--rounds", type=int, default=7, help="Turns of all (default: 7)."
    )
    parser.add_argument(
        "--seconds", type=float, default=10.0, help="A turn's at least (default: 10)."
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/speed"),
        help="Folder of environments and prepared data (default: runs/speed).",
    )
    parser.add_argument(
        "--check", action="store_true", help="End with 1 where a goal is missed."
    )
    options, overrides = parser.parse_known_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds must be at least 1, and --seconds above 0.")
    if options.out.suffix != ".json":
        parser.error(f"--out must end in .json. Received: '{options.out}'.")
    options.rivals = list(dict.fromkeys(options.rivals))
    files = [part for path in options.config for part in ("--config", str(path))]
    return options, load_config([*files, *overrides], description="")


if __name__ == "__main__":
    sys.exit(main())
