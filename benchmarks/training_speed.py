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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

_PROGRAM = "python -m benchmarks.training_speed"
_POSITIONS = 4096  # Of the loss alone.
_SQUARE = 2048  # Rows of the matrices whose product is the machine's rate.
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
    work = {**_losses(config, dataset), **_steps(config, dataset, options.steps)}
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


class Work(NamedTuple):
    """Something to be timed.

    Attributes:
        flops: Floating-point operations of a call.
        run: Does it.
        num_targets: Training targets of a call.
    """

    flops: float
    run: Callable[[], Any]
    num_targets: int = 0


def _losses(config: ExperimentConfig, dataset: Any) -> dict[str, Work]:
    import tensorflow as tf

    from tfrec.models.losses import chunked_softmax_loss

    num_items = len(dataset.item_vocabulary.counts)
    dim = config.retrieval.embedding_dim
    generator = tf.random.Generator.from_seed(0)
    queries = generator.normal([_POSITIONS, dim])
    candidates = tf.math.l2_normalize(generator.normal([num_items, dim]), axis=1)
    bias = tf.zeros([num_items])
    columns = generator.uniform([_POSITIONS], 0, num_items, tf.int32)
    square = generator.normal([_SQUARE, _SQUARE])

    def plainly(queries: tf.Tensor, candidates: tf.Tensor, bias: tf.Tensor) -> Any:
        logits = tf.matmul(queries, candidates, transpose_b=True) + bias
        return tf.reduce_sum(
            tf.nn.sparse_softmax_cross_entropy_with_logits(columns, logits)
        )

    def ours(queries: tf.Tensor, candidates: tf.Tensor, bias: tf.Tensor) -> Any:
        weights = tf.ones([_POSITIONS])
        return chunked_softmax_loss(queries, candidates, bias, columns, weights)

    @tf.function
    def product() -> tf.Tensor:
        return tf.matmul(square, square)

    def with_gradients(loss: Callable[..., Any]) -> Callable[[], Any]:
        @tf.function
        def run() -> Any:
            sources = (queries, candidates, bias)
            with tf.GradientTape() as tape:
                tape.watch(sources)
                value = loss(*sources)
            return value, tape.gradient(value, sources)

        return lambda: run()[0].numpy()

    flops = 6.0 * _POSITIONS * num_items * dim
    return {
        _PRODUCT: Work(2.0 * _SQUARE**3, lambda: product().numpy()),
        _PLAIN: Work(flops, with_gradients(plainly)),
        _OURS: Work(flops, with_gradients(ours)),
    }


def _steps(config: ExperimentConfig, dataset: Any, num_steps: int) -> dict[str, Work]:
    import tensorflow as tf

    from tfrec.features.item_table import build_item_table
    from tfrec.training.fitting import make_optimizer
    from tfrec.training.input import batch_spec, endless_batches, make_builder
    from tfrec.training.retrieval import build_retrieval_model

    sequences = dataset.load_sequences()
    model = build_retrieval_model(config, dataset, build_item_table(dataset))
    model.compile(optimizer=make_optimizer(config.training.retrieval.optimizer))
    builder = make_builder(config, sequences, splits=("train",), num_replicas=1)
    kept = list(itertools.islice(endless_batches(builder, lambda: 0), num_steps))
    step: Any = tf.function(model.train_step, input_signature=[batch_spec(sequences)])

    def run() -> None:
        for batch in kept:
            step(batch)["loss"].numpy()

    flops = sum(_step_flops(config, batch, model.num_items) for batch in kept)
    num_targets = sum(int(batch.target_items.shape[0]) for batch in kept)
    return {_STEP: Work(flops, run, num_targets)}


def _step_flops(config: ExperimentConfig, batch: Any, num_items: int) -> float:
    """Counts the products of a step, forward and backward (three times forward)."""
    settings = config.retrieval
    rows, length = batch.tokens.item_index.shape
    targets, dim = int(batch.target_items.shape[0]), settings.embedding_dim
    dense = 4 * dim * dim + 2 * dim * settings.feedforward_dim
    attention = 2 * length * dim
    encoder = settings.num_layers * rows * length * (dense + attention)
    scored = settings.num_interests * targets * num_items * dim
    return 6.0 * (scored + encoder)


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
        _PRODUCT: f"fp32 product of two {_SQUARE:,} x {_SQUARE:,} matrices",
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
