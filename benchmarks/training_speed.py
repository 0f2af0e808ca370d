"""Measures training steps of retrieval beside the machine's matrix product.

    python -m benchmarks.training_speed --config configs/beauty.yaml [--json out.json]

Three things take turns: one large fp32 matrix product, the exact softmax with its
gradients written plainly, and this project's, on queries and a catalogue of the
configuration's size; then whole training steps on batches of its data in memory. Each
comes as multiply-adds per second, so that the share of the machine's rate can be read
off. Of a step the products of the loss and of the transformer are counted; what else
it does costs time but counts for nothing. Every field of the configuration can be
overridden.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.training_work import (
    SQUARE,
    TrainingSteps,
    Work,
    product_work,
    softmax_works,
)
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.store import PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

_PROGRAM = "python -m benchmarks.training_speed"
_PRODUCT, _PLAIN, _OURS, _STEP = "product", "plain softmax", "our softmax", "step"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options, config = _parse(sys.argv[1:] if argv is None else argv)
    start_tensorflow_quietly()
    from tfrec.data.prepare import prepare

    try:
        dataset = prepare(config)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    plain, ours = softmax_works(config, dataset)
    work = {_PRODUCT: product_work(), _PLAIN: plain, _OURS: ours}
    work[_STEP] = _step_work(config, dataset, options.steps)
    for one in work.values():
        one.run()  # Compiles.
    rates: dict[str, list[float]] = {name: [] for name in work}
    for _ in track(range(options.rounds), "Measure", transient=True):
        for name, one in work.items():
            started = time.perf_counter()
            one.run()
            rates[name].append(one.flops / (time.perf_counter() - started) / 1e9)
    result = summarise(rates)
    result |= {"config": config.name, "rounds": options.rounds}
    step = work[_STEP]
    per_flop = step.num_targets / step.flops
    result["targets_per_second"] = result["gflops"][_STEP] * 1e9 * per_flop
    result["versions"] = library_versions()
    show(result)
    if options.json:
        write_json(options.json, result)
    return 0


def summarise(rates: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Returns medians of GFLOP/s, and of the ratios within a round."""
    product = np.asarray(rates[_PRODUCT])
    plain = np.asarray(rates[_PLAIN])
    return {
        "gflops": {name: float(np.median(found)) for name, found in rates.items()},
        "share_of_product": {
            name: float(np.median(np.asarray(found) / product))
            for name, found in rates.items()
        },
        "softmax_per_plain": float(np.median(np.asarray(rates[_OURS]) / plain)),
    }


def _step_work(config: ExperimentConfig, dataset: PreparedDataset, steps: int) -> Work:
    """Whole steps on batches that lie in memory."""
    training = TrainingSteps(config, dataset)
    kept = list(itertools.islice(training.batches, steps))

    def run() -> None:
        for batch in kept:
            training.run(batch)

    counts = [training.count(batch) for batch in kept]
    targets, flops = (sum(part) for part in zip(*counts, strict=True))
    return Work(flops, run, targets)


def show(result: Mapping[str, Any]) -> None:
    """Prints the table."""
    table = Table(
        title=f"Training of retrieval, {result['config']}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("", "GFLOP/s", "share of the product"):
        table.add_column(name, justify="right" if name else "left")
    titles = {
        _PRODUCT: f"fp32 product of two {SQUARE:,} x {SQUARE:,} matrices",
        _PLAIN: "exact softmax and gradients, written plainly",
        _OURS: "exact softmax and gradients, ours",
        _STEP: "whole training steps",
    }
    for name, title in titles.items():
        share = result["share_of_product"][name]
        table.add_row(title, f"{result['gflops'][name]:,.1f}", f"{share:.0%}")
    console = Console()
    console.print(table)
    console.print(
        f"Our softmax is {result['softmax_per_plain']:.1f} times as fast as the plain "
        f"one; whole steps learn from {result['targets_per_second']:,.0f} targets a "
        f"second. Medians of {result['rounds']} rounds, "
        f"{result['versions']['num_cpus']} cores, TensorFlow "
        f"{result['versions']['tensorflow']}.",
        highlight=False,
    )


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ExperimentConfig]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s --config FILE [options] [--section.field VALUE ...]",
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
        "--steps", type=int, default=30, help="Batches a round (default: 30)."
    )
    parser.add_argument(
        "--rounds", type=int, default=9, help="Turns of all (default: 9)."
    )
    parser.add_argument("--json", type=Path, help="Also write the figures here.")
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/training_speed"),
        help="Folder of prepared data (default: runs/training_speed).",
    )
    options, overrides = parser.parse_known_args(arguments)
    for name in ("steps", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1.")
    files = [part for path in options.config for part in ("--config", str(path))]
    config = load_config([*files, *overrides], description="")
    if config.data.prepared_dir is None:
        place = {"prepared_dir": options.work_dir / f"{config.name}-prepared"}
        data = config.data.model_copy(update=place)
        config = config.model_copy(update={"data": data})
    return options, config


if __name__ == "__main__":
    sys.exit(main())
