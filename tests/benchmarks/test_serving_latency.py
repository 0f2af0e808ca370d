import io

import numpy as np
from rich.console import Console

from benchmarks.serving_latency import show, summarise

ABOUT = {"signature": "recommend", "calls": 20, "k": 10, "history_length": 50}


def latencies(*milliseconds: float) -> dict[str, np.ndarray]:
    kinds = ("tensors ready", "from arrays", "gRPC, from arrays", "gRPC, typed")
    return {kind: np.full(20, ms) for kind, ms in zip(kinds, milliseconds, strict=True)}


def test_ratios_are_of_medians_over_grpc_to_those_in_process() -> None:
    measured = latencies(2.0, 2.5, 3.0, 3.5)
    # One call in twenty waits for somebody else, which is none of the median's.
    measured["tensors ready"][0] = 90.0
    result = summarise(measured)
    assert result["ratio_p50"] == 1.5
    assert result["ratio_p50_from_arrays"] == 1.2
    assert result["latency"]["tensors ready"]["p50_ms"] == 2.0
    assert result["latency"]["tensors ready"]["p99_ms"] > 50.0


def test_table_names_every_kind_of_call_and_the_goal() -> None:
    console = Console(file=io.StringIO(), width=120)
    show({**ABOUT, **summarise(latencies(2.0, 2.5, 3.0, 3.5))}, console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "`recommend`, 20 calls each, k=10, 50 events" in text
    assert "gRPC, typed" in text
    assert "in process: 1.50 (goal: at most 1.5); both from arrays: 1.20" in text
