"""Compares packed with bucketed batches, and the input with what the model eats.

    python -m benchmarks.input_pipeline [--config FILE] [--json out.json] [--check]

For each layout: targets/s that the input pipeline alone gives (`tf.data`, as in
training), targets/s that training steps of the retrieval model take from the same
batches lying in memory, and of both together; and the share of tokens that are no
padding. The layouts take turns, and the medians of the rounds' ratios are shown: the
machine's noise meets both. Goal: the pipeline gives at least 5 times what the model
takes. Without --config the shop of the demo is simulated. Every field of the
configuration can be overridden, for example `--retrieval.num_layers 2`.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.simulator import simulate, sized_config
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

LAYOUTS = ("bucketed", "packed")
MIN_RATIO = 5.0
_PROGRAM = "python -m benchmarks.input_pipeline"


class Rates(NamedTuple):
    """One layout in one round.

    Attributes:
        fed: Targets per second of the pipeline alone.
        consumed: Targets per second of training steps on batches in memory.
        together: Targets per second of training steps on the pipeline.
        together_cpu: The same per second of processor time, over all threads; what
            else runs on the machine hardly touches it.
        fill: Share of the tokens that are no padding.
        targets_per_batch: Mean.
    """

    fed: float
    consumed: float
    together: float
    together_cpu: float
    fill: float
    targets_per_batch: float


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns 1 for a missed goal with `--check`."""
    options, config = _parse(sys.argv[1:] if argv is None else argv)
    start_tensorflow_quietly()
    from tfrec.data.prepare import prepare

    try:
        measure = Measurement(config, prepare(config), options.steps)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    rounds: dict[str, list[Rates]] = {layout: [] for layout in LAYOUTS}
    for turn in track(range(options.rounds), "Measure", transient=True):
        # Who comes first changes: a machine that slows down meets both alike.
        for layout in LAYOUTS[:: 1 if turn % 2 == 0 else -1]:
            rounds[layout].append(measure(layout))
    result = {**summarise(rounds), "config": config.name, "steps": options.steps}
    result |= {"rounds": options.rounds, "versions": library_versions()}
    show(result)
    if options.json:
        write_json(options.json, result)
    ratio = result["layouts"][config.training.batching]["fed_per_consumed"]
    return int(options.check and ratio < MIN_RATIO)


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

        tf.keras.utils.set_random_seed(config.seed)
        self.config = config
        self.steps = steps
        self.sequences: EventSequences = dataset.load_sequences()
        model = build_retrieval_model(config, dataset, build_item_table(dataset))
        settings = config.training.retrieval.optimizer
        model.compile(optimizer=make_optimizer(settings, model.first_variables))
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
        fed, _ = self._rates(itertools.islice(batches, self.steps), None)
        consumed, _ = self._rates(kept, self.step)
        together = self._rates(itertools.islice(batches, self.steps), self.step)
        return Rates(
            fed,
            consumed,
            *together,
            real / cells,
            sum(int(b.target_items.shape[0]) for b in kept) / self.steps,
        )

    @staticmethod
    def _rates(
        batches: Iterable[Any], step: Callable[[Any], Any] | None
    ) -> tuple[float, float]:
        """Returns targets per second of the clock, and of the processor."""
        started, cpu_started = time.perf_counter(), time.process_time()
        targets = 0
        for batch in batches:
            targets += int(batch.target_items.shape[0])
            if step is not None:
                step(batch)["loss"].numpy()
        seconds = time.perf_counter() - started
        return targets / seconds, targets / (time.process_time() - cpu_started)


def summarise(rounds: Mapping[str, Sequence[Rates]]) -> dict[str, Any]:
    """Returns medians over rounds; ratios are taken within a round first."""
    layouts = {}
    for layout, rates in rounds.items():
        found = Rates(*np.median(np.asarray(rates), axis=0).tolist())
        layouts[layout] = {
            **found._asdict(),
            "fed_batches": found.fed / found.targets_per_batch,
            "consumed_batches": found.consumed / found.targets_per_batch,
            "fed_per_consumed": float(np.median([r.fed / r.consumed for r in rates])),
        }
    pairs = list(zip(*(rounds[layout] for layout in LAYOUTS), strict=True))
    wall = np.median([a.together / b.together for a, b in pairs])
    cpu = np.median([a.together_cpu / b.together_cpu for a, b in pairs])
    return {
        "layouts": layouts,
        "bucketed_per_packed": float(wall),
        "bucketed_per_packed_cpu": float(cpu),
    }


def show(result: Mapping[str, Any]) -> None:
    """Prints the table."""
    table = Table(
        title=f"Input and training steps of retrieval, {result['config']}",
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("per second")
    for layout in LAYOUTS:
        table.add_column(layout, justify="right")
    for title, name, style in (
        ("tokens that are no padding", "fill", "{:.1%}"),
        ("fed by the pipeline, batches", "fed_batches", "{:,.0f}"),
        ("fed by the pipeline, targets", "fed", "{:,.0f}"),
        ("consumed by the model, batches", "consumed_batches", "{:,.1f}"),
        ("consumed by the model, targets", "consumed", "{:,.0f}"),
        ("fed / consumed", "fed_per_consumed", "{:.1f}"),
        ("both together, targets", "together", "{:,.0f}"),
        ("... per processor second", "together_cpu", "{:,.0f}"),
    ):
        values = [style.format(result["layouts"][n][name]) for n in LAYOUTS]
        table.add_row(title, *values)
    console = Console()
    console.print(table)
    console.print(
        f"Bucketed / packed, both together: {result['bucketed_per_packed']:.2f}, per "
        f"processor second {result['bucketed_per_packed_cpu']:.2f}. "
        f"Medians of {result['rounds']} rounds of {result['steps']} batches, "
        f"{result['versions']['num_cpus']} cores, TensorFlow "
        f"{result['versions']['tensorflow']}.",
        highlight=False,
    )


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, ExperimentConfig]:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        usage="%(prog)s [--config FILE] [options] [--section.field VALUE ...]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        action="append",
        help="YAML file of an experiment. Given twice, the later one wins.",
    )
    parser.add_argument(
        "--steps", type=int, default=40, help="Batches a round (default: 40)."
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="Turns of both layouts (default: 5)."
    )
    parser.add_argument("--json", type=Path, help="Also write the figures here.")
    parser.add_argument("--check", action="store_true", help="1 for a missed goal.")
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/input_pipeline"),
        help="Folder of simulated and prepared data (default: runs/input_pipeline).",
    )
    options, overrides = parser.parse_known_args(arguments)
    for name in ("steps", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1.")
    paths = options.config or [_simulated_shop(options.work_dir / "shop")]
    files = [part for path in paths for part in ("--config", str(path))]
    config = load_config([*files, *overrides], description="")
    if config.data.prepared_dir is None:
        place = {"prepared_dir": options.work_dir / f"{config.name}-prepared"}
        data = config.data.model_copy(update=place)
        config = config.model_copy(update={"data": data})
    return options, config


def _simulated_shop(path: Path) -> Path:
    """Returns the configuration of the demo's shop; it is made if missing."""
    if not (path / "config.yaml").is_file():
        simulate(sized_config("demo"), path, show_progress=True)
    return path / "config.yaml"


if __name__ == "__main__":
    sys.exit(main())
