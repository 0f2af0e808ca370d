import io

import numpy as np
import pytest
from rich.console import Console

from benchmarks.serving_calls import take_turns
from benchmarks.text_serving import show, summarise


def latencies(id_ms: float, text_ms: float, search_ms: float) -> dict[str, np.ndarray]:
    kinds = {"id": id_ms, "id + text": text_ms, "id + text, searching": search_ms}
    return {
        f"{kind}, {place}": np.full(20, ms + extra)
        for place, extra in (("in process", 0.0), ("gRPC", 1.0))
        for kind, ms in kinds.items()
    }


def test_ratio_and_cost_of_a_search_are_those_of_the_medians() -> None:
    result = summarise(latencies(2.0, 2.06, 11.06))
    # 2.06 / 2 and, a millisecond later, 3.06 / 3; a search takes 9 ms more.
    assert result["text_over_id_p50"] == {"in process": 1.03, "gRPC": 1.02}
    assert result["search_adds_ms_p50"] == {"in process": 9.0, "gRPC": 9.0}
    assert result["passed"]


def test_noise_that_comes_and_goes_meets_both_models() -> None:
    measured = latencies(2.0, 2.0, 6.0)
    # In the second turn the machine is busy, and only one of the calls is not hit.
    for name in measured:
        measured[name] = np.concatenate([measured[name], 5 * measured[name][:10]])
        measured[name][-1] = 0.1
    assert summarise(measured)["text_over_id_p50"]["in process"] == 1.0


@pytest.mark.parametrize(("text_ms", "search_ms"), [(2.2, 3.0), (2.0, 17.5)])
def test_each_goal_can_be_missed(text_ms: float, search_ms: float) -> None:
    assert not summarise(latencies(2.0, text_ms, search_ms))["passed"]


def test_table_names_every_kind_of_call_and_both_goals() -> None:
    measured = summarise(latencies(2.0, 2.06, 11.06))
    about = {"calls": 20, "k": 10, "history_length": 50, "encoder": "minilm"}
    console = Console(file=io.StringIO(), width=120)
    show({**about, **measured}, console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert text.count("id + text, searching") == 2
    assert "1.030 times" in text
    assert "a search adds 9.0 ms (goal: at most 15)" in text


def test_calls_take_turns_and_requests_come_round() -> None:
    asked: dict[str, list[int]] = {"a": [], "b": []}
    order: list[str] = []

    def ask(name: str, index: int) -> None:
        asked[name].append(index)
        order.append(name)

    calls = {n: lambda i, n=n: ask(n, i) for n in asked}
    found = take_turns(calls, num_calls=20, num_requests=7)
    assert {name: len(values) for name, values in found.items()} == {"a": 20, "b": 20}
    # Behind the calls that warm up, ten of the one and ten of the other; then the
    # other begins.
    assert order[-40:] == ["a"] * 10 + ["b"] * 20 + ["a"] * 10
    assert asked["a"][-20:] == [i % 7 for i in range(20)]
