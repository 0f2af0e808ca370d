"""Asks a served model many times and prints latency, throughput and errors.

    python -m serving.load_test --target 127.0.0.1:8500 --prepared runs/demo/prepared \
        --requests 2000 --concurrency 4

Works against the embedded server and against tensorflow_model_server. Without
`--prepared` the shoppers are new: their histories are empty.
"""

import argparse
import itertools
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table
from tfrec_client import (
    Event,
    RecommendationRequest,
    RecommenderClient,
    RecommenderError,
)

from tfrec.data.store import PreparedDataset

_NUM_WARMUP_REQUESTS = 20
_NUM_SHOPPERS = 200
_SECONDS_BETWEEN_EVENTS = 60


@dataclass(frozen=True)
class LoadTestResult:
    """What a load test measured; latencies are of the answered requests.

    Attributes:
        p50_ms: Median latency; NaN if nothing was answered, as the next ones.
        p90_ms: Latency that nine of ten requests stay under.
        p99_ms: Latency that 99 of 100 requests stay under.
        requests: How many were sent, failed ones included.
        errors: How many failed.
        requests_per_second: Answered ones over the whole time.
        seconds: The whole time.
        error_messages: How often each error came.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    requests: int
    errors: int
    requests_per_second: float
    seconds: float
    error_messages: dict[str, int] = field(default_factory=dict)


@dataclass
class _Record:
    """What the workers measured so far; one per thread, so without a lock."""

    latencies: list[float] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)


def run_load_test(
    target: str,
    *,
    model_name: str,
    requests: Sequence[RecommendationRequest],
    num_requests: int = 1000,
    concurrency: int = 4,
    max_seconds: float = 60.0,
    timeout_seconds: float = 5.0,
    on_progress: Callable[[], object] | None = None,
) -> LoadTestResult:
    """Sends `recommend` requests from several threads over one channel.

    Args:
        target: `host:port` of the server.
        model_name: Name of the model.
        requests: What to send, in turn.
        num_requests: How many to send; a few more come before, to warm up.
        concurrency: How many wait for an answer at a time.
        max_seconds: No further request is sent after this time.
        timeout_seconds: Deadline of one request; there are no retries.
        on_progress: Called after every request, from any thread.

    Raises:
        ValueError: If an argument is out of its range.
        RecommenderError: If the model cannot be asked at all.
    """
    if not requests or num_requests < 1 or concurrency < 1 or max_seconds <= 0:
        raise ValueError(
            "`requests` must not be empty; `num_requests`, `concurrency` and "
            f"`max_seconds` must be positive. Received: {len(requests)} requests, "
            f"num_requests={num_requests}, concurrency={concurrency}, "
            f"max_seconds={max_seconds}."
        )
    client = RecommenderClient(
        target,
        model_name=model_name,
        timeout_seconds=timeout_seconds,
        max_retries=0,
        signatures=("recommend",),
    )
    with client:
        for request in itertools.islice(
            itertools.cycle(requests), _NUM_WARMUP_REQUESTS
        ):
            client.recommend_batch([request])
        start = time.perf_counter()
        source = _Source(requests, num_requests, start + max_seconds)
        with ThreadPoolExecutor(concurrency) as pool:
            jobs = [
                pool.submit(_work, client, source, on_progress)
                for _ in range(concurrency)
            ]
        seconds = time.perf_counter() - start
        return _summarise([job.result() for job in jobs], seconds)


class _Source:
    """Hands out requests to many threads, until the count or the time is up."""

    def __init__(
        self, requests: Sequence[RecommendationRequest], count: int, end: float
    ) -> None:
        self._iterator = itertools.islice(itertools.cycle(requests), count)
        self._end = end
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[RecommendationRequest]:
        while time.perf_counter() < self._end:
            with self._lock:
                request = next(self._iterator, None)
            if request is None:
                return
            yield request


def _work(
    client: RecommenderClient,
    source: _Source,
    on_progress: Callable[[], object] | None,
) -> _Record:
    record = _Record()
    for request in source:
        start = time.perf_counter()
        try:
            client.recommend_batch([request])
            record.latencies.append(time.perf_counter() - start)
        except RecommenderError as error:
            record.errors[f"{type(error).__name__}: {error}"] += 1
        if on_progress is not None:
            on_progress()
    return record


def _summarise(records: Sequence[_Record], seconds: float) -> LoadTestResult:
    milliseconds = 1000 * np.concatenate([r.latencies for r in records])
    errors = sum((r.errors for r in records), Counter())
    answered = len(milliseconds)
    p50, p90, p99 = (
        np.percentile(milliseconds, [50, 90, 99]).tolist() if answered else [np.nan] * 3
    )
    return LoadTestResult(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        requests=answered + errors.total(),
        errors=errors.total(),
        requests_per_second=answered / seconds,
        seconds=seconds,
        error_messages=dict(errors),
    )


def draw_requests(
    prepared: Path, *, k: int, history_length: int, seed: int
) -> list[RecommendationRequest]:
    """Returns shoppers with random histories over a prepared dataset's catalogue."""
    dataset = PreparedDataset(prepared)
    generator = np.random.default_rng(seed)
    item_ids = dataset.items["item_id"].to_pylist()
    now = int(time.time())
    return [
        RecommendationRequest(
            [
                Event(
                    item_ids[generator.integers(len(item_ids))],
                    str(generator.choice(dataset.schema.item_event_types)),
                    now - _SECONDS_BETWEEN_EVENTS * (history_length - position),
                )
                for position in range(history_length)
            ],
            k=k,
        )
        for _ in range(_NUM_SHOPPERS)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the load test; returns 0, or 1 if any request failed."""
    options = build_parser().parse_args(arguments)
    requests = [RecommendationRequest((), k=options.k)]
    console = Console()
    try:
        if options.prepared is not None:
            requests = draw_requests(
                options.prepared,
                k=options.k,
                history_length=options.history_length,
                seed=options.seed,
            )
        with Progress(console=console, transient=True) as progress:
            task: TaskID = progress.add_task("Asking", total=options.requests)
            result = run_load_test(
                options.target,
                model_name=options.model,
                requests=requests,
                num_requests=options.requests,
                concurrency=options.concurrency,
                max_seconds=options.max_seconds,
                timeout_seconds=options.timeout_seconds,
                on_progress=lambda: progress.advance(task),
            )
    except (RecommenderError, ValueError, FileNotFoundError) as error:
        print(f"load_test: {error}", file=sys.stderr)
        return 1
    console.print(_as_table(result))
    for message, count in result.error_messages.items():
        console.print(f"{count} x {message}", highlight=False, markup=False)
    return int(result.errors > 0)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m serving.load_test",
        description="Asks a served model many times; prints latency, throughput "
        "and errors. Ends after --requests or --max_seconds, whatever comes first.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--target", default="127.0.0.1:8500", help="host:port")
    parser.add_argument("--model", default="tfrec", help="name of the model")
    parser.add_argument("--requests", type=int, default=1000, help="how many")
    parser.add_argument("--concurrency", type=int, default=4, help="how many at a time")
    parser.add_argument("--max_seconds", type=float, default=60.0, help="time limit")
    parser.add_argument(
        "--timeout_seconds", type=float, default=5.0, help="deadline of one request"
    )
    parser.add_argument("--k", type=int, default=10, help="items to ask for")
    parser.add_argument(
        "--prepared",
        type=Path,
        help="prepared dataset to draw histories from, e.g. runs/demo/prepared",
    )
    parser.add_argument(
        "--history_length", type=int, default=20, help="events, with --prepared"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the histories")
    return parser


def _as_table(result: LoadTestResult) -> Table:
    table = Table(title="Load test")
    names = ("p50 ms", "p90 ms", "p99 ms", "requests/s", "requests", "errors")
    for name in names:
        table.add_column(name, justify="right")
    table.add_row(
        f"{result.p50_ms:.2f}",
        f"{result.p90_ms:.2f}",
        f"{result.p99_ms:.2f}",
        f"{result.requests_per_second:.0f}",
        str(result.requests),
        str(result.errors),
    )
    return table


if __name__ == "__main__":
    sys.exit(main())
