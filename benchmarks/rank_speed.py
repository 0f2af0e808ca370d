"""Measures `rank` by the length of the history, and by how it is attended to.

    python -m benchmarks.rank_speed [--json rank_speed.json] [--check]

A simulated shop, models that are not trained (weights do not change how long a sum
takes), and the signature `rank` in process, one request at a time: 500 candidates, 50
past events and 1,000. Attention sees all events, the 50 nearest to the query
(`history_search: request`), or each candidate's nearest 50 (`candidate`); retrieval
reads 50 in any case. The kinds of call take turns, so that all of them see the same
noise of the machine. Goals: with the search per request p50 under 10 ms at 50 events,
and at 1,000 at most 1.5 times that.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.serving_calls import CALLS_A_TURN, Call, take_turns
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.prepare import prepare
from tfrec.data.simulator import simulate, sized_config
from tfrec.data.store import PreparedDataset
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import library_versions, write_json

MAX_P50_MS = 10.0
MAX_RATIO = 1.5
ATTENTION_LENGTH = 50
SEARCHES = ("all", "request", "candidate")
_NUM_REQUESTS = 20
_NOW = 1_700_000_000  # Unix seconds; any time will do.
_SECONDS_BETWEEN_EVENTS = 3_600


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where a goal is missed with `--check`."""
    options = _parse(argv)
    start_tensorflow_quietly()
    calls: dict[str, Call] = {}
    with TemporaryDirectory() as assets:
        for search in SEARCHES:
            folder = Path(assets) / search
            folder.mkdir()
            calls |= _calls(_configure(options, search), options, search, folder)
        latencies = take_turns(
            calls, num_calls=options.calls, num_requests=_NUM_REQUESTS
        )
    result = {
        **{n: getattr(options, n) for n in ("size", "fusion", "calls", "candidates")},
        "lengths": [options.short, options.long],
        "attention_length": ATTENTION_LENGTH,
        "versions": library_versions(),
        **summarise(latencies, short=options.short, long=options.long),
    }
    show(result, Console())
    if options.json:
        write_json(options.json, result)
    return int(options.check and not result["passed"])


def _configure(options: argparse.Namespace, search: str) -> ExperimentConfig:
    shop = options.work_dir / "shop"
    if not shop.is_dir():
        simulate(sized_config(options.size, seed=0), shop, show_progress=True)
    argv = ["--config", str(shop / "config.yaml"), "--name", "rank_speed"]
    argv += ["--run_dir", str(options.work_dir / "run")]
    argv += ["--data.prepared_dir", str(options.work_dir / "prepared")]
    argv += ["--retrieval.max_history_length", str(options.short)]
    argv += ["--ranking.max_history_length", str(options.long)]
    argv += ["--ranking.fusion", options.fusion, "--ranking.time_decay", "true"]
    if search != "all":
        argv += ["--ranking.attention_length", str(ATTENTION_LENGTH)]
        argv += ["--ranking.history_search", search]
    return load_config(argv, description="")


def _calls(
    config: ExperimentConfig, options: argparse.Namespace, search: str, assets: Path
) -> dict[str, Call]:
    """Returns the calls of one model, one per length of the history."""
    import tensorflow as tf

    from export.exporter import export_schema
    from export.requests import batch_rows
    from export.signatures import ServingModule
    from tfrec.schema import SignatureName

    dataset = prepare(config)
    schema = export_schema(dataset, config)
    module = ServingModule(
        _untrained(config, dataset), dataset, schema=schema, asset_dir=assets
    )
    rank = module.concrete_functions()[SignatureName.RANK]

    def call_of(length: int) -> Call:
        rows = _rows(dataset, length=length, num_candidates=options.candidates)
        requests = [
            {
                name: tf.constant(values)
                for name, values in batch_rows(
                    schema, SignatureName.RANK, [row]
                ).inputs.items()
            }
            for row in rows
        ]
        return lambda index: {
            name: values.numpy() for name, values in rank(**requests[index]).items()
        }

    return {_name(search, n): call_of(n) for n in (options.short, options.long)}


def _untrained(config: ExperimentConfig, dataset: PreparedDataset) -> Any:
    """Returns a recommender as it is before training, with true statistics."""
    from tfrec.features.item_statistics import measure_items
    from tfrec.features.item_table import build_item_table
    from tfrec.models.recommender import TrainedRecommender
    from tfrec.training.ranking import build_ranking_model
    from tfrec.training.retrieval import build_retrieval_model

    if config.ranking is None:
        raise SystemExit("The shop's configuration must have `ranking`. Received: null")
    item_table = build_item_table(dataset)
    retrieval = build_retrieval_model(config, dataset, item_table)
    ranking = build_ranking_model(config, config.ranking, dataset, item_table)
    statistics = measure_items(
        dataset.load_sequences(), config.experiment_schema, item_table.num_items
    )
    ranking.set_frozen(retrieval.item_vectors(), statistics)
    return TrainedRecommender(
        retrieval, ranking, num_candidates=config.ranking.num_candidates
    )


def _rows(
    dataset: PreparedDataset, *, length: int, num_candidates: int
) -> list[dict[str, Any]]:
    """Returns requests with random histories and candidates over the catalogue."""
    from tfrec.schema import (
        CANDIDATE_ITEM_IDS,
        HISTORY_DWELL_SECONDS,
        HISTORY_EVENT_TYPES,
        HISTORY_ITEM_IDS,
        HISTORY_TIMESTAMPS,
        REQUEST_TIMESTAMP,
    )

    rng = np.random.default_rng(length)
    item_ids = dataset.items["item_id"].to_pylist()
    types = dataset.schema.event_types
    return [
        {
            HISTORY_ITEM_IDS: rng.choice(item_ids, length),
            HISTORY_EVENT_TYPES: rng.choice(types, length),
            HISTORY_TIMESTAMPS: _NOW
            - _SECONDS_BETWEEN_EVENTS * np.arange(length, 0, -1),
            HISTORY_DWELL_SECONDS: rng.uniform(1.0, 60.0, length),
            REQUEST_TIMESTAMP: _NOW,
            CANDIDATE_ITEM_IDS: rng.choice(item_ids, num_candidates),
        }
        for _ in range(_NUM_REQUESTS)
    ]


def _name(search: str, length: int) -> str:
    return f"{search}, {length} events"


def summarise(
    latencies: dict[str, np.ndarray], *, short: int, long: int
) -> dict[str, Any]:
    """Returns percentiles, and per kind of search the ratio of long to short.

    A ratio is the median over turns of that of the medians of a turn: kinds that took
    the same turn met the same noise.
    """
    percentiles = {
        name: {f"p{q}_ms": round(float(np.percentile(v, q)), 3) for q in (50, 90, 99)}
        for name, v in latencies.items()
    }
    p50 = {
        name: np.median(values.reshape(-1, CALLS_A_TURN), axis=1)
        for name, values in latencies.items()
    }
    ratios = {
        search: round(
            float(np.median(p50[_name(search, long)] / p50[_name(search, short)])), 3
        )
        for search in SEARCHES
    }
    p50_ms = percentiles[_name("request", short)]["p50_ms"]
    return {
        "latency": percentiles,
        "long_over_short_p50": ratios,
        "passed": p50_ms < MAX_P50_MS and ratios["request"] <= MAX_RATIO,
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Prints the table and the ratios beside their goal."""
    table = Table(
        title=f"`rank`, {result['candidates']} candidates, {result['calls']} calls "
        f"each, fusion `{result['fusion']}`"
    )
    table.add_column("attention, history")
    for name in ("p50 ms", "p90 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for name, row in result["latency"].items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    short, long = result["lengths"]
    for search, ratio in result["long_over_short_p50"].items():
        goal = f" (goal: at most {MAX_RATIO})" if search == "request" else ""
        console.print(
            f"{search}: {long} events take {ratio:.2f} times {short} events{goal}"
        )
    console.print(
        f"Goal: p50 under {MAX_P50_MS:.0f} ms at {short} events, `request`: "
        f"{'all goals reached' if result['passed'] else 'a goal is missed'}"
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rank_speed",
        description="`rank` by the length of the history.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--work_dir",
        type=Path,
        default=Path("runs/rank_speed"),
        metavar="DIR",
        help="shop and prepared data; what is there is used again",
    )
    parser.add_argument("--size", default="demo", help="of the simulated shop")
    parser.add_argument("--fusion", default="cross", help="`ranking.fusion`")
    parser.add_argument("--calls", type=int, default=300, help="of each kind")
    parser.add_argument("--candidates", type=int, default=500, help="a request")
    parser.add_argument("--short", type=int, default=50, help="past events")
    parser.add_argument("--long", type=int, default=1000, help="past events")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 where a goal is missed"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
