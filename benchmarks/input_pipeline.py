"""Compares packed with bucketed batches, and the input with what the model eats.

    python -m benchmarks.input_pipeline [--run runs/demo] [--steps 40] [--json out.json]

Takes the prepared dataset and the configuration of a run. For each layout: targets/s
that the input pipeline alone gives (`tf.data`, as in training), targets/s that
training steps take from batches already in memory, and of both together; the share
of tokens that are no padding. The layouts take turns, three rounds, medians are
shown. Goal: the pipeline gives at least 5 times what the model takes.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import write_json

ROUNDS = 3
LAYOUTS = ("bucketed", "packed")
MIN_RATIO = 5.0


class Rates(NamedTuple):
    """Targets per second of one round, and the share of real tokens."""

    fed: float
    consumed: float
    together: float
    fill: float


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code, 1 if the goal is missed."""
    parser = argparse.ArgumentParser(
        "benchmarks.input_pipeline",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--steps", type=int, default=40, help="Batches a round.")
    parser.add_argument("--json", type=Path, help="Also write the figures here.")
    options = parser.parse_args(argv)
    start_tensorflow_quietly()
    config = read_config(options.run / "config.yaml")
    config = config.model_copy(update={"run_dir": options.run})
    dataset = PreparedDataset(config.prepared_path)
    measure = Measurement(config, dataset, options.steps)
    rounds: dict[str, list[Rates]] = {layout: [] for layout in LAYOUTS}
    for _ in range(ROUNDS):
        for layout in LAYOUTS:
            rounds[layout].append(measure(layout))
    medians = {n: Rates(*np.median(rows, axis=0)) for n, rows in rounds.items()}
    show(medians)
    if options.json:
        write_json(options.json, {n: r._asdict() for n, r in medians.items()})
    ratio = medians[config.training.batching]
    return 0 if ratio.fed >= MIN_RATIO * ratio.consumed else 1


class Measurement:
    """Times one layout; model and compiled step are shared by all rounds."""

    def __init__(
        self, config: ExperimentConfig, dataset: PreparedDataset, steps: int
    ) -> None:
        import tensorflow as tf

        from tfrec.features.item_table import build_item_table
        from tfrec.training.fitting import make_optimizer
        from tfrec.training.input import batch_spec
        from tfrec.training.retrieval import build_retrieval_model

        self.config = config
        self.steps = steps
        self.sequences: EventSequences = dataset.load_sequences()
        model = build_retrieval_model(config, dataset, build_item_table(dataset))
        model.compile(optimizer=make_optimizer(config.training.retrieval.optimizer))
        self.step: Callable[[Any], Any] = tf.function(
            model.train_step, input_signature=[batch_spec(self.sequences)]
        )

    def __call__(self, layout: str) -> Rates:
        """Measures one round."""
        from tfrec.training.input import endless_batches, make_builder

        training = self.config.training.model_copy(update={"batching": layout})
        config = self.config.model_copy(update={"training": training})
        builder = make_builder(
            config, self.sequences, splits=("train",), num_replicas=1
        )
        batches = endless_batches(builder, lambda: 0)
        kept = list(itertools.islice(batches, self.steps))
        self.step(kept[0])  # Compiles, the first time.
        real = sum(int(np.sum(b.tokens.segment_ids.numpy() > 0)) for b in kept)
        cells = sum(int(np.prod(b.tokens.segment_ids.shape)) for b in kept)
        return Rates(
            self._rate(itertools.islice(batches, self.steps), None),
            self._rate(kept, self.step),
            self._rate(itertools.islice(batches, self.steps), self.step),
            real / cells,
        )

    @staticmethod
    def _rate(batches: Iterable[Any], step: Callable[[Any], Any] | None) -> float:
        started = time.perf_counter()
        targets = 0
        for batch in batches:
            targets += int(batch.target_items.shape[0])
            if step is not None:
                step(batch)["loss"].numpy()
        return targets / (time.perf_counter() - started)


def show(medians: dict[str, Rates]) -> None:
    """Prints the table."""
    table = Table(
        "layout",
        "real tokens",
        "fed, targets/s",
        "consumed, targets/s",
        "fed / consumed",
        "together, targets/s",
        title="Input pipeline and training steps of retrieval",
    )
    for name, rates in medians.items():
        table.add_row(
            name,
            f"{rates.fill:.1%}",
            f"{rates.fed:,.0f}",
            f"{rates.consumed:,.0f}",
            f"{rates.fed / rates.consumed:.1f}",
            f"{rates.together:,.0f}",
        )
    ratio = medians["bucketed"].together / medians["packed"].together
    table.caption = f"bucketed / packed, together: {ratio:.2f}"
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
