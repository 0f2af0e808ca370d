"""Calls that take turns, and a server in a process of its own, for benchmarks."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from rich.progress import track

CALLS_A_TURN = 10
_WARMUP_CALLS = 30
_START_SECONDS = 120.0

Call = Callable[[int], object]


def take_turns(
    calls: Mapping[str, Call], *, num_calls: int, num_requests: int
) -> dict[str, np.ndarray]:
    """Times kinds of call, ten of each in turn, so that all see the same noise.

    Each turn starts with another kind: what a call leaves behind in the caches of
    the processor meets all of the others.

    Args:
        calls: Per kind, what takes the number of a request and asks it.
        num_calls: Calls of each kind; a last turn that is not full is left out.
        num_requests: Requests there are; they come round.

    Returns:
        Per kind float `[num_calls]`, milliseconds.
    """
    latencies: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        for index in range(_WARMUP_CALLS):
            call(index % num_requests)
    names = list(calls)
    for turn in track(range(num_calls // CALLS_A_TURN), "Asking", transient=True):
        first = turn % len(names)
        for name in (*names[first:], *names[:first]):
            for step in range(CALLS_A_TURN):
                index = (turn * CALLS_A_TURN + step) % num_requests
                start = time.perf_counter()
                calls[name](index)
                latencies[name].append(1000 * (time.perf_counter() - start))
    return {name: np.array(values) for name, values in latencies.items()}


@contextmanager
def serve(model_path: Path, model_name: str) -> Iterator[str]:
    """Runs the embedded server in its own process; gives `host:port`."""
    command = [sys.executable, "-m", "serving.server", "--port", "0"]
    command += ["--model_name", model_name, "--model_base_path", str(model_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline() if process.stdout else ""
        if not line.startswith("LISTENING"):
            raise SystemExit(
                f"The server did not start for '{model_path}'. Run `make demo` first, "
                "or give another run with --run_dir."
            )
        _, host, port = line.split()
        yield f"{host}:{port}"
    finally:
        process.terminate()
        process.wait(_START_SECONDS)


def newest_version(model_path: Path) -> Path:
    """Returns the folder of the version with the greatest number."""
    return max(
        (p for p in model_path.iterdir() if p.name.isdecimal()),
        key=lambda p: int(p.name),
    )
