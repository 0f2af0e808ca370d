import io

import numpy as np
import pytest
from rich.console import Console

from benchmarks.rank_speed import show, summarise


def latencies(short_ms: float, long_ms: float) -> dict[str, np.ndarray]:
    """The search per request as given; the others take twice and thrice that."""
    return {
        f"{search}, {length} events": np.full(20, factor * ms)
        for search, factor in (("all", 2.0), ("request", 1.0), ("candidate", 3.0))
        for length, ms in ((50, short_ms), (1000, long_ms))
    }


def test_ratios_are_those_of_long_to_short_histories() -> None:
    result = summarise(latencies(4.0, 5.0), short=50, long=1000)
    expected = {"all": 1.25, "request": 1.25, "candidate": 1.25}
    assert result["long_over_short_p50"] == expected
    assert result["latency"]["candidate, 50 events"]["p50_ms"] == 12.0
    assert result["passed"]


@pytest.mark.parametrize(("short_ms", "long_ms"), [(10.5, 11.0), (4.0, 6.5)])
def test_each_goal_can_be_missed(short_ms: float, long_ms: float) -> None:
    measured = latencies(short_ms, long_ms)
    assert not summarise(measured, short=50, long=1000)["passed"]


def test_table_names_every_kind_and_the_goal() -> None:
    result = summarise(latencies(4.0, 5.0), short=50, long=1000)
    about = {"candidates": 500, "calls": 20, "fusion": "concat", "lengths": [50, 1000]}
    console = Console(file=io.StringIO(), width=120)
    show({**about, **result}, console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert text.count("1000 events") == 6  # Three rows, three ratios.
    assert "request: 1000 events take 1.25 times 50 events (goal: at most 1.5)" in text
    assert "all goals reached" in text
