"""Says where the time of a training step of retrieval goes.

    python -m benchmarks.step_profile --config configs/beauty.yaml [--json out.json]

The parts of a step take turns with the whole of it, on the same batches in memory:
candidates (the item tower over the catalogue), queries (events, encoder, pooling) and
the exact softmax, each forward and backward by itself; the whole gradient; the whole
step, whose difference to the gradient is the optimizer; then the queries compiled by
XLA, the whole step in mixed precision, and building a batch. Parts run alone, so they
need not add up to the step. Every field of the configuration can be overridden.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.training_work import TrainingSteps
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.store import PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

_PROGRAM = "python -m benchmarks.step_profile"
_STEP = "step"
_TITLES = {
    "candidates": "candidates of the catalogue, forward and backward",
    "queries": "queries, forward and backward",
    "queries_xla": "queries, the same compiled by XLA",
    "softmax": "exact softmax, forward and backward",
    "gradient": "whole gradient",
    _STEP: "whole step (gradient and optimizer)",
    "mixed": "whole step in mixed precision (bfloat16)",
    "batch": "building a batch (beside the step, on a thread)",
}


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
    parts = _parts(config, dataset, options.steps)
    for run in parts.values():
        run()  # Compiles.
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in track(range(options.rounds), "Measure", transient=True):
        for name, run in parts.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    step = np.asarray(seconds[_STEP])
    result = {
        "config": config.name,
        "steps": options.steps,
        "rounds": options.rounds,
        "ms": {
            n: 1e3 * float(np.median(s)) / options.steps for n, s in seconds.items()
        },
        "share_of_step": {n: float(np.median(s / step)) for n, s in seconds.items()},
        "versions": library_versions(),
    }
    show(result)
    if options.json:
        write_json(options.json, result)
    return 0


def _parts(
    config: ExperimentConfig, dataset: PreparedDataset, num_steps: int
) -> dict[str, Callable[[], Any]]:
    """Returns what is timed; each runs over all batches."""
    import tensorflow as tf

    training = TrainingSteps(config, dataset)
    batches = list(itertools.islice(training.batches, num_steps))

    def each(run: Callable[[Any], Any]) -> Callable[[], Any]:
        return lambda: [run(batch) for batch in batches]

    parts = {
        name: each(_gradient_of(training, loss, jit_compile=jit))
        for name, loss, jit in (
            ("candidates", _candidates, False),
            ("queries", _queries, False),
            ("queries_xla", _queries, True),
            ("softmax", _softmax, False),
            ("gradient", _loss, False),
        )
    }
    parts[_STEP] = each(training.run)
    try:
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        parts["mixed"] = each(TrainingSteps(config, dataset).run)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    fresh = training.batches
    parts["batch"] = lambda: [next(fresh) for _ in range(num_steps)]
    return parts


def _gradient_of(
    training: TrainingSteps, loss: Callable[..., Any], *, jit_compile: bool
) -> Callable[[Any], Any]:
    """Returns what computes a loss of a batch and its gradients."""
    import tensorflow as tf

    model = training.model

    @tf.function(input_signature=[training.spec], jit_compile=jit_compile)
    def run(batch: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(model, batch)
        gradients = tape.gradient(value, model.trainable_variables)
        return value, [g for g in gradients if g is not None]

    return lambda batch: run(batch)[0].numpy()


def _loss(model: Any, batch: Any) -> Any:
    return model.compute_loss(batch, training=True)


def _candidates(model: Any, batch: Any) -> Any:
    import tensorflow as tf

    del batch
    return tf.reduce_sum(model.candidate_embeddings()[:, 0])


def _queries(model: Any, batch: Any) -> Any:
    """The queries alone: vectors of items are looked up from the table of ids."""
    import tensorflow as tf

    table = model.candidate_tower.id_table
    items = tf.gather(table, batch.tokens.item_index)
    items = tf.cast(items, model.candidate_tower.compute_dtype)
    encoded = model.encode_batch(batch, items, None, training=True)
    return tf.reduce_sum(encoded.embeddings[..., 0])


def _softmax(model: Any, batch: Any) -> Any:
    """The loss of the batch's targets; queries are rows of the table of ids."""
    import tensorflow as tf

    from tfrec.models.chunked_softmax import chunked_softmax_loss
    from tfrec.schema import NUM_SPECIAL_INDICES

    table = model.candidate_tower.id_table
    return chunked_softmax_loss(
        tf.gather(table, batch.target_items),
        table[NUM_SPECIAL_INDICES:],
        model.bias_rows[NUM_SPECIAL_INDICES:],
        batch.target_items - NUM_SPECIAL_INDICES,
        batch.target_weights,
        chunk_size=model.settings.softmax_chunk_size,
    )


def show(result: dict[str, Any]) -> None:
    """Prints the table."""
    table = Table(
        title=f"A training step of retrieval, {result['config']}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    for name in ("", "ms", "of the step"):
        table.add_column(name, justify="right" if name else "left")
    for name, title in _TITLES.items():
        share = result["share_of_step"][name]
        table.add_row(title, f"{result['ms'][name]:.1f}", f"{share:.0%}")
    console = Console()
    console.print(table)
    versions = result["versions"]
    console.print(
        f"Medians of {result['rounds']} rounds of {result['steps']} batches, "
        f"{versions['num_cpus']} cores, TensorFlow {versions['tensorflow']}.",
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
    parser.add_argument("--config", type=Path, action="append", required=True)
    parser.add_argument("--steps", type=int, default=20, help="Batches a round.")
    parser.add_argument("--rounds", type=int, default=5, help="Turns of all.")
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
