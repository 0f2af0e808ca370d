import io
from typing import Any

import pytest
from rich.console import Console

from benchmarks.rivals.turn_server import Turn
from benchmarks.speed_tables import markdown, print_tables, summarise, verdicts


def rounds(*, others: float | None = 0.01) -> list[dict[str, Turn]]:
    """Ours learns 1,000 and 500 targets a second; the machine halves its pace too."""

    def turn(targets: int, steps: int, seconds: float, *, flops: float = 0.0) -> Turn:
        return Turn(targets, steps, seconds, 2 * seconds, flops, others)

    return [
        {
            "product": turn(0, 10, 1.0, flops=100e9),
            "tfrec": turn(2000, 2, 2.0, flops=180e9),
            "recbole": turn(100, 1, 2.0),
        },
        {
            "product": turn(0, 10, 1.0, flops=50e9),
            "tfrec": turn(2000, 4, 4.0, flops=180e9),
            "recbole": turn(100, 1, 5.0),
        },
    ]


def result(**changes: Any) -> dict[str, Any]:
    found = summarise(rounds())
    for name, one in found["trainers"].items():
        one |= {"epoch_targets": 60, "num_items": 7}
        one["versions"] = {"torch": "2"} if name == "recbole" else {}
    shapes = {"embedding_dim": 64, "num_layers": 1, "num_heads": 2, "num_threads": 2}
    shapes |= {"max_history_length": 50, "batch_targets": 9, "batch_prefixes": 9}
    shapes |= {"batch_histories": 3}
    shapes |= {"feedforward_dim": 256}
    about = {
        "config": "small",
        "command": "python -m benchmarks.speed",
        "shapes": shapes,
        "rounds": 2,
        "seconds": 2.0,
        "titles": {"tfrec": "tfrec", "recbole": "RecBole", "rectools": "RecTools"},
        "goals": {"recbole": 15.0},
        "missing": {},
        "machine": "2 cores",
        "git_commit": "abc",
        "git_dirty": False,
    }
    return {**about, **found, **changes}


def test_ratios_are_formed_within_a_round() -> None:
    found = summarise(rounds())
    # 1,000 / 50 and 500 / 20; the ratio of medians would be 750 / 35 = 21.4.
    assert found["speedup"]["recbole"] == {"median": 22.5, "low": 20.0, "high": 25.0}
    # 90 of 100 and 45 of 50 GFLOP/s.
    share = found["trainers"]["tfrec"]["share_of_product"]
    assert share["median"] == pytest.approx(0.9)
    assert found["product_gflops"]["median"] == 75.0


def test_means_of_a_step_are_over_all_steps() -> None:
    ours = summarise(rounds())["trainers"]["tfrec"]
    assert ours["targets_per_step"] == pytest.approx(4000 / 6)
    assert ours["step_seconds"] == 1.0
    assert ours["cores_used"] == 2.0
    assert ours["targets_per_cpu_second"] == pytest.approx(4000 / 12)


def test_only_counted_trainers_have_a_share() -> None:
    assert "share_of_product" not in summarise(rounds())["trainers"]["recbole"]


def test_goals_are_met_and_missed() -> None:
    assert [met for _, met in verdicts(result())] == [True, True]
    higher = result(goals={"recbole": 23.0})
    assert [met for _, met in verdicts(higher)] == [False, True]


def test_share_has_another_goal_with_two_blocks() -> None:
    lower = result()
    lower["trainers"]["tfrec"]["share_of_product"]["median"] = 0.7
    assert verdicts(lower)[-1][1] is False
    lower["shapes"]["num_layers"] = 2
    assert verdicts(lower)[-1][1] is True


@pytest.mark.parametrize("others", [0.06, 0.9, None])
def test_busy_or_unknown_machine_decides_nothing(others: float | None) -> None:
    busy = result(others_share=summarise(rounds(others=others))["others_share"])
    assert busy["others_share"] == (None if others is None else pytest.approx(others))
    assert [met for _, met in verdicts(busy)] == [None, None]
    page = markdown(busy)
    assert ": met" not in page
    assert page.count("not decided, the machine was not idle") == 2


def test_the_most_disturbed_trainer_decides_whether_the_machine_was_idle() -> None:
    found = rounds()
    for one in found:
        one["recbole"] = one["recbole"]._replace(others_share=0.5)
    assert summarise(found)["others_share"] == 0.5


def test_page_has_a_row_for_each_and_says_how_targets_are_counted() -> None:
    page = markdown(result())
    assert "| RecBole | 35 | 20-50 | 100 | 3.500 | 2.0 | 22.5 × |  |  |" in page
    assert "| tfrec | 750 |" in page
    assert "RecBole makes a row for every event but the first" in page
    assert "RecTools" not in page
    assert "22.5 × RecBole, goal at least 15 ×: met" in page


def test_missing_rival_is_named_beside_the_others_and_misses_its_goal() -> None:
    goals = {"recbole": 15.0, "rectools": 25.0}
    lost = result(missing={"rectools": "pip failed."}, goals=goals)
    page = markdown(lost)
    assert "| RecTools | missing |" in page
    assert "- Missing: pip failed." in page
    assert "| RecBole | 35 |" in page
    assert dict(verdicts(lost))["RecTools: not measured, goal at least 25 ×"] is False


def test_console_shows_the_table_and_the_verdicts() -> None:
    console = Console(file=io.StringIO(), width=120)
    print_tables(result(), console)
    text = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "tfrec faster" in text
    assert "90% of the matrix product's rate, goal at least 85%: met" in text
