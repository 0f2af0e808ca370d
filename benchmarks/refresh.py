"""Measures a refresh of the catalogue beside a full export.

    python -m benchmarks.refresh [--run runs/beauty_text-seed0] [--json refresh.json]
    python -m benchmarks.refresh --config benchmarks/texts_minilm.yaml

Changes 1 % of the items of a trained run (a third each added, renamed, removed) and
writes the next version, as `python -m export refresh` does; beside it the same run is
exported in full. Without `--run` a shop of 12,000 items is simulated and trained for
one epoch, with `--config` on top. The shop alone has no text tower: the figure with
MiniLM needs a configuration with a section `text`, as the second command has it.

The goal counts the whole refresh, the loading of both models included, but for the
loading of the text encoder, which is told apart. Starting Python and TensorFlow is
not counted, and the models were loaded once before, for the full export. On a machine
that others use, too, processor seconds say more than the clock. Work files go to a
temporary folder.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from tfrec.config import ExperimentConfig
from tfrec.config_file import read_config
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.shop import simulate
from tfrec.data.store import ITEM_ID, TITLE, PreparedDataset
from tfrec.run_record import CONFIG_FILE

MAX_SECONDS = 15.0  # Of a refresh, beside the loading of the text encoder.
_QUICK = {
    "training.retrieval.max_epochs": 1,
    "training.ranking.max_epochs": 1,
    "ranking.max_training_queries": 200,
    "evaluation.baselines": "[]",
    "evaluation.num_bootstrap": 10,
}


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where the goal is missed with `--check`."""
    options = _parse(argv)
    with tempfile.TemporaryDirectory(prefix="tfrec-refresh-") as temporary:
        folder = Path(temporary)
        run = options.run
        if run is None:
            run = train_shop(
                folder,
                num_items=options.items,
                configs=options.config,
                seed=options.seed,
            )
        result = measure(run, folder, share=options.share, seed=options.seed)
    show(result)
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")
    return int(options.check and result["refresh_seconds"] > MAX_SECONDS)


def train_shop(folder: Path, *, num_items: int, configs: list[Path], seed: int) -> Path:
    """Simulates a shop and trains a run on it, as quickly as can be."""
    shop = simulate(
        SimulatorConfig(
            name="refresh",
            seed=seed,
            num_users=300,
            num_items=num_items,
            num_categories=max(4, num_items // 60),
            truth_share=0.01,
        ),
        folder / "shop",
    )
    command = [sys.executable, "-m", "tfrec.train", "--config", str(shop.config_path)]
    command += [part for path in configs for part in ("--config", str(path))]
    command += [p for n, v in _QUICK.items() for p in (f"--{n}", str(v))]
    subprocess.run([*command, "--run_dir", str(folder / "run")], check=True)
    return folder / "run"


def change_items(
    dataset: PreparedDataset, config: ExperimentConfig, *, share: float, seed: int
) -> tuple[pa.Table, list[str]]:
    """Returns new and renamed items in the columns of the shop, and removed ids."""
    items = dataset.items
    number = max(1, round(share * len(items) / 3))
    drawn = np.random.default_rng(seed).permutation(len(items))[: 3 * number]
    added, renamed = (items.take(pa.array(rows)) for rows in np.split(drawn, 3)[:2])
    rows = pa.concat_tables([added, renamed])
    ids = [f"new {item}" for item in added[ITEM_ID].to_pylist()]
    columns = {
        config.data.item_columns.item_id: [*ids, *renamed[ITEM_ID].to_pylist()],
        **{a.source_column: rows[a.name] for a in config.data.item_attributes},
    }
    if config.data.item_columns.title is not None:
        titles = [f"{title or ''} anew" for title in rows[TITLE].to_pylist()]
        columns[config.data.item_columns.title] = titles
    removed = items[ITEM_ID].take(pa.array(drawn[2 * number :])).to_pylist()
    return pa.table(columns), removed


def measure(run: Path, folder: Path, *, share: float, seed: int) -> dict[str, Any]:
    """Exports the run in full, then refreshes it; each loads what it needs."""
    from export.exporter import export_with_report
    from export.refresh import refresh
    from tfrec.training.run import load_recommender

    config = read_config(run / CONFIG_FILE).model_copy(update={"run_dir": run})
    dataset = PreparedDataset(config.prepared_path)
    items, removed = change_items(dataset, config, share=share, seed=seed)
    pq.write_table(items, folder / "items.parquet")
    (folder / "removed.txt").write_text("".join(f"{item}\n" for item in removed))
    models = folder / "models"
    loaded = load_recommender(run)
    _, full = _timed(lambda: export_with_report(*loaded, model_dir=models))
    with timed_encoder() as encoder:
        report, whole = _timed(
            lambda: refresh(
                run,
                items=folder / "items.parquet",
                removed=folder / "removed.txt",
                model_dir=models,
            )
        )
    change, steps = report.change, report.seconds
    return {
        "config": config.name,
        "encoder": None if config.text is None else config.text.encoder,
        "items": len(dataset.items),
        "added": change.num_added,
        "changed": change.num_changed,
        "removed": change.num_removed,
        "refresh_seconds": round(whole["seconds"] - encoder["seconds"], 2),
        "encoder_seconds": round(encoder["seconds"], 2),
        "refresh_processor_seconds": round(
            whole["processor"] - encoder["processor"], 2
        ),
        "full_export_seconds": round(full["seconds"], 2),
        "full_export_processor_seconds": round(full["processor"], 2),
        "step_seconds": {name: round(spent, 2) for name, spent in steps.items()},
        "cpus": os.cpu_count(),
        "load_average": [round(x, 2) for x in os.getloadavg()],
        "share": share,
        "seed": seed,
    }


@contextlib.contextmanager
def timed_encoder() -> Iterator[dict[str, float]]:
    """Sums the `seconds` and `processor` seconds in which a block loads encoders."""
    from tfrec.text import registry

    spent = {"seconds": 0.0, "processor": 0.0}
    load = registry._load

    def timed(*arguments: Any) -> Any:
        encoder, taken = _timed(lambda: load(*arguments))
        for name, value in taken.items():
            spent[name] += value
        return encoder

    # Behind every way to an encoder; a step of the refresh does more than this.
    with mock.patch.object(registry, "_load", timed):
        yield spent


def _timed(call: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    began, processor = time.monotonic(), time.process_time()
    result = call()
    spent = time.monotonic() - began
    return result, {"seconds": spent, "processor": time.process_time() - processor}


def show(result: dict[str, Any]) -> None:
    """Prints the figures beside the goal."""
    table = Table(
        title=f"{result['config']}: {result['items']:,} items, encoder "
        f"{result['encoder'] or 'none'}; {result['added']} added, {result['changed']} "
        f"changed, {result['removed']} removed"
    )
    for column in ("seconds", "measured", "goal"):
        table.add_column(column, justify="right" if column != "seconds" else "left")
    goal = f"<= {MAX_SECONDS:g}"
    seconds = f"{result['refresh_seconds']:.1f}"
    table.add_row("refresh without loading the text encoder", seconds, goal)
    table.add_row("loading the text encoder", f"{result['encoder_seconds']:.1f}", "")
    for name, seconds in result["step_seconds"].items():
        table.add_row(f"  {name}", f"{seconds:.1f}", "")
    for name, key in (
        ("the same, processor", "refresh_processor_seconds"),
        ("full export without loading", "full_export_seconds"),
        ("full export without loading, processor", "full_export_processor_seconds"),
    ):
        table.add_row(name, f"{result[key]:.1f}", "")
    table.add_row("load average", str(result["load_average"]), "<= 2")
    Console().print(table)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.refresh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    option = parser.add_argument
    option("--run", type=Path, help="A trained run. Default: a simulated shop.")
    option("--items", type=int, default=12_000, help="Of the simulated shop.")
    option(
        "--config",
        type=Path,
        action="append",
        default=[],
        help="YAML file on top of the simulated shop's, such as "
        "benchmarks/texts_minilm.yaml.",
    )
    option("--share", type=float, default=0.01, help="Of changed items.")
    option("--seed", type=int, default=0, help="Of the shop and of what is changed.")
    option("--json", help="File for the figures.")
    option("--check", action="store_true", help="Exit with 1 where the goal is missed.")
    options = parser.parse_args(argv)
    if not 0.0 < options.share <= 1.0:
        parser.error(f"--share must be in (0, 1]. Received: {options.share}.")
    return options


if __name__ == "__main__":
    sys.exit(main())
