"""Measures a call over gRPC against the same signature called in process.

    make demo
    python -m benchmarks.serving_latency [--json serving_latency.json] [--check]

The server runs in a process of its own. The kinds of call take turns, so that
all of them see the same noise of the machine; the ratio is the result. Goal:
p50 over gRPC at most 1.5 times the call in process.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_text  # noqa: F401  Registers its ops.
from rich.console import Console
from rich.table import Table
from tfrec_client import RecommendationRequest, RecommenderClient
from tfrec_client.codec import encode_requests

from benchmarks.serving_calls import Call, newest_version, serve, take_turns
from serving.load_test import draw_requests

SIGNATURE = "recommend"
MAX_RATIO = 1.5
_NUM_REQUESTS = 50


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where the goal is missed with `--check`."""
    options = _parse(argv)
    model_path = options.run_dir / "model" / options.model
    requests = draw_requests(
        options.run_dir / "prepared",
        k=options.k,
        history_length=options.history_length,
        seed=options.seed,
    )[:_NUM_REQUESTS]
    with serve(model_path, options.model) as target:
        client = RecommenderClient(target, model_name=options.model, timeout_seconds=60)
        with client:
            calls = _calls(client, newest_version(model_path), requests)
            latencies = take_turns(
                calls, num_calls=options.calls, num_requests=_NUM_REQUESTS
            )
    result = {
        "signature": SIGNATURE,
        "calls": options.calls,
        "k": options.k,
        "history_length": options.history_length,
        "seed": options.seed,
        **summarise(latencies),
    }
    show(result, Console())
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=2) + "\n")
    return int(options.check and result["ratio_p50"] > MAX_RATIO)


def _calls(
    client: RecommenderClient, version: Path, requests: list[RecommendationRequest]
) -> dict[str, Call]:
    """Returns the kinds of call; each takes the number of a request."""
    model = tf.saved_model.load(str(version))
    function = model.signatures[SIGNATURE]  # pyright: ignore
    inputs = client.metadata()[SIGNATURE].inputs
    arrays = [encode_requests([request], inputs) for request in requests]
    tensors = [{n: tf.constant(a) for n, a in row.items()} for row in arrays]

    def in_process(index: int) -> object:
        return {n: t.numpy() for n, t in function(**tensors[index]).items()}

    def in_process_from_arrays(index: int) -> object:
        ready = {n: tf.constant(a) for n, a in arrays[index].items()}
        return {n: t.numpy() for n, t in function(**ready).items()}

    _check_same(in_process(0), client.predict(SIGNATURE, arrays[0]))
    return {
        "in process, tensors ready": in_process,
        "in process, from arrays": in_process_from_arrays,
        "gRPC, from arrays": lambda i: client.predict(SIGNATURE, arrays[i]),
        "gRPC, typed request": lambda i: client.recommend_batch([requests[i]]),
    }


def _check_same(in_process: Any, served: dict[str, np.ndarray]) -> None:
    for name, expected in in_process.items():
        if name == "item_ids":
            expected = np.array([[v.decode() for v in row] for row in expected], object)
            np.testing.assert_array_equal(served[name], expected)
        else:
            np.testing.assert_allclose(served[name], expected, rtol=1e-5, atol=1e-6)


def summarise(latencies: dict[str, np.ndarray]) -> dict[str, Any]:
    """Returns percentiles per kind of call, and the ratios of the medians.

    Args:
        latencies: Milliseconds `[num_calls]` per kind, in the order of the table.
    """
    rows = {
        name: {
            f"p{q}_ms": round(float(np.percentile(values, q)), 3) for q in (50, 90, 99)
        }
        for name, values in latencies.items()
    }
    p50 = [row["p50_ms"] for row in rows.values()]
    return {
        "latency": rows,
        "ratio_p50": round(p50[2] / p50[0], 3),
        "ratio_p50_from_arrays": round(p50[2] / p50[1], 3),
    }


def show(result: dict[str, Any], console: Console) -> None:
    """Prints the table, and what the goal is."""
    table = Table(
        title=f"`{SIGNATURE}`, {result['calls']} calls each, k={result['k']}, "
        f"{result['history_length']} events"
    )
    table.add_column("call")
    for name in ("p50 ms", "p90 ms", "p99 ms"):
        table.add_column(name, justify="right")
    for name, row in result["latency"].items():
        table.add_row(name, *(f"{value:.2f}" for value in row.values()))
    console.print(table)
    console.print(
        f"p50 over gRPC / in process: {result['ratio_p50']:.2f} (goal: at most "
        f"{MAX_RATIO}); both from arrays: {result['ratio_p50_from_arrays']:.2f}"
    )


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving_latency",
        description="Latency over gRPC against the same signature in process.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--run_dir",
        type=Path,
        default=Path("runs/demo"),
        help="run with `model/` and `prepared/`",
    )
    parser.add_argument("--model", default="tfrec", help="name of the model")
    parser.add_argument("--calls", type=int, default=1000, help="of each kind")
    parser.add_argument("--k", type=int, default=10, help="items to ask for")
    parser.add_argument("--history_length", type=int, default=50, help="events")
    parser.add_argument("--seed", type=int, default=0, help="of the histories")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 where the goal is missed"
    )
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
