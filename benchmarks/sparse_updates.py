"""Measures a step of the optimizer on a large table that a batch looks up in part.

    python -m benchmarks.sparse_updates [--items 1000000] [--rows 8000] [--json FILE]

`LazyAdam` updates the rows of a sparse gradient, the Adam of Keras decays the moments
of the whole table and moves all of it. Both take turns on equal tables and gradients.
The bound is that of reading and writing three tables: the goal, a tenth of Adam's time.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.table import Table

from tfrec.training.lazy_adam import LazyAdam

GOAL = 0.1  # Of the time of Adam.


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where the goal is missed with `--check`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=1_000_000, help="rows of a table")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--rows", type=int, default=8_000, help="looked up in a step")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--check", action="store_true", help="1 if the goal is missed")
    options = parser.parse_args(argv)
    result = measure(options.items, options.dim, options.rows, options.steps)
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")
    return int(options.check and result["ratio"] > GOAL)


def measure(num_items: int, dim: int, num_rows: int, num_steps: int) -> dict[str, Any]:
    """Returns milliseconds a step, medians, and their ratio."""
    random = np.random.default_rng(0)
    steps = {
        "adam": _step(tf.keras.optimizers.Adam(1e-3), num_items, dim),
        "lazy_adam": _step(LazyAdam(1e-3), num_items, dim),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(num_steps + 2):
        rows = random.choice(num_items, num_rows, replace=False).astype(np.int32)
        values = tf.constant(random.standard_normal((num_rows, dim), np.float32))
        indices = tf.constant(rows)
        for name, step in steps.items():
            started = time.perf_counter()
            step(values, indices).numpy()
            if turn > 1:  # Tracing, and first touch of the memory.
                seconds[name].append(time.perf_counter() - started)
    medians = {f"{n}_ms": 1e3 * float(np.median(s)) for n, s in seconds.items()}
    return {
        "num_items": num_items,
        "dim": dim,
        "rows_a_step": num_rows,
        "cores": os.cpu_count(),
        **medians,
        "ratio": medians["lazy_adam_ms"] / medians["adam_ms"],
    }


def _step(optimizer: Any, num_items: int, dim: int) -> Any:
    table = tf.Variable(tf.zeros([num_items, dim]))
    optimizer.build([table])

    @tf.function
    def step(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
        gradient = tf.IndexedSlices(values, rows, tf.constant([num_items, dim]))
        optimizer.apply_gradients([(gradient, table)])
        return optimizer.iterations.value()

    return step


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(title="A step of the optimizer on a looked-up table")
    for name in ("optimizer", "ms a step", "of Adam"):
        table.add_column(name, justify="left" if name == "optimizer" else "right")
    table.add_row("Adam of Keras", f"{result['adam_ms']:.1f}", "1")
    ratio = f"{result['ratio']:.3f} (goal {GOAL})"
    table.add_row("LazyAdam", f"{result['lazy_adam_ms']:.1f}", ratio)
    console = Console()
    console.print(table)
    size = f"{result['num_items']:,} x {result['dim']}"
    console.print(f"{size}, {result['rows_a_step']:,} rows a step")


if __name__ == "__main__":
    raise SystemExit(main())
