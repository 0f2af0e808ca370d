"""The leakage check on logs written by hand."""

from io import StringIO
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tests.synthetic import make_sequences
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.leakage import describe_leakage, leakage_table, measure_leakage
from tfrec.evaluation.protocols import build_queries
from tfrec.evaluation.report import print_report, render_markdown
from tfrec.schema import Schema


@pytest.fixture
def timed() -> Schema:
    return Schema(
        event_types=("view", "purchase"),
        target_event_types=("purchase",),
        has_timestamps=True,
    )


def measure(schema: Schema, targets: Any = "next", **log: Any) -> dict[str, Any]:
    log.setdefault("event_types", [[1] * len(h) for h in log["histories"]])
    sequences = make_sequences(**log)
    queries = build_queries(sequences, schema, split="test", targets=targets)
    return measure_leakage(sequences, queries, schema)


def test_leave_one_out_is_shown_to_know_the_future(timed: Schema) -> None:
    # Training ends at 50. Targets: item 2 at 30 (before it), item 3 at 60 (nobody met
    # it before), item 0 at 70 (old). The second user's training event makes the cut.
    found = measure(
        timed,
        histories=[[0, 1, 2], [1, 2, 3], [2, 1, 0]],
        timestamps=[[10, 20, 30], [40, 50, 60], [15, 45, 70]],
        splits=[[0, 0, 2], [0, 0, 2], [0, 0, 2]],
    )
    assert found["cut"] == 50
    assert found["before_cut"] == pytest.approx(1 / 3)
    assert found["younger_items"] == pytest.approx(1 / 3)
    assert found["unknown_items"] == 0
    assert found["users_on_both_sides"] == 1
    assert (found["num_positives"], found["num_users"]) == (3, 3)
    said = describe_leakage(found, split="test")
    assert "33.3% of the test targets are earlier" in said


def test_cut_in_time_leaks_nothing_and_new_users_are_counted(timed: Schema) -> None:
    # Cut at 50: the third user is new, and item 4 is met by nobody before 55.
    found = measure(
        timed,
        histories=[[0, 1, 2], [1, 4], [4, 0]],
        timestamps=[[10, 50, 60], [20, 55], [60, 61]],
        splits=[[0, 0, 2], [0, 2], [2, 2]],
    )
    # Targets: 2 at 60 (first met then), 4 at 55, 4 at 60; none of them is old.
    assert found["before_cut"] == 0
    assert found["younger_items"] == 1
    assert found["users_on_both_sides"] == pytest.approx(2 / 3)
    assert "knew nothing of the time" in describe_leakage(found, split="test")


def test_item_met_in_the_moment_of_the_cut_is_not_younger(timed: Schema) -> None:
    found = measure(
        timed,
        histories=[[0, 1], [1, 1]],
        timestamps=[[10, 50], [50, 50]],
        splits=[[0, 0], [0, 2]],
    )
    assert found["younger_items"] == 0
    assert found["before_cut"] == 0  # At the cut is not before it.


def test_validation_events_are_no_training_events(timed: Schema) -> None:
    found = measure(
        timed,
        histories=[[0, 1, 2], [3, 0]],
        timestamps=[[10, 40, 50], [45, 46]],
        splits=[[0, 1, 2], [1, 2]],
    )
    assert found["cut"] == 10
    # Items 2 and 0: 0 is old; the second user has validation events only.
    assert found["younger_items"] == 0.5
    assert found["users_on_both_sides"] == 0.5


def test_items_outside_of_the_catalogue_have_no_age(timed: Schema) -> None:
    found = measure(
        timed,
        histories=[[0, -1], [0, 1]],
        timestamps=[[10, 20], [12, 20]],
        splits=[[0, 2], [0, 2]],
    )
    assert found["unknown_items"] == 0.5
    assert found["younger_items"] == 0.5


def test_window_takes_the_time_of_each_target_and_only_of_targets(
    timed: Schema,
) -> None:
    # Training ends at 40, by the second user. The first user's window: item 1 is
    # viewed at 30 and bought at 50, item 2 is bought at 35 and again at 60.
    found = measure(
        timed,
        targets="window",
        histories=[[0, 1, 2, 1, 2], [0]],
        event_types=[[1, 0, 1, 1, 1], [1]],
        timestamps=[[10, 30, 35, 50, 60], [40]],
        splits=[[0, 2, 2, 2, 2], [0]],
    )
    assert found["num_positives"] == 2
    assert found["before_cut"] == 0.5  # Item 2 alone: a view is no target.
    # Item 1 was viewed at 30 and item 2 bought at 35: both were known by 40.
    assert found["younger_items"] == 0


def test_log_without_times_or_targets_says_what_it_cannot_know() -> None:
    timeless = Schema(
        event_types=("event",), target_event_types=("event",), has_timestamps=False
    )
    found = measure(timeless, histories=[[0, 1, 2]], event_types=[[0, 0, 0]])
    assert found["before_cut"] is found["younger_items"] is found["cut"] is None
    assert found["users_on_both_sides"] == 1
    assert "has no times" in describe_leakage(found, split="test")
    assert leakage_table(found).rows[0][1] == "–"
    empty = measure(timeless, histories=[[0, 1]], event_types=[[0, 0]], splits=[[0, 0]])
    assert empty["users_on_both_sides"] is None


def test_every_report_shows_the_leakage(timed: Schema, fixed_scorer: Any) -> None:
    sequences = make_sequences(
        [[0, 1, 2], [1, 2, 0]],
        event_types=[[1] * 3] * 2,
        timestamps=[[10, 20, 30], [40, 50, 60]],
        splits=[[0, 0, 2], [0, 0, 2]],
    )
    queries = build_queries(sequences, timed, split="test", targets="next")
    result = evaluate(
        [fixed_scorer(np.eye(2, 3, dtype=np.float32))],
        sequences,
        queries,
        train_counts=np.array([1, 2, 1]),
        ks=(1,),
        num_bootstrap=10,
        progress=False,
    )
    leakage = measure_leakage(sequences, queries, timed)
    metrics = {**result.to_json(), "leakage": leakage}
    page = render_markdown(metrics)
    assert "## Leakage\n\n50.0% of the test targets are earlier" in page
    newest = "targets earlier than the newest training event of anybody"
    assert f"| {newest} | 50.0% | 2 |" in page
    text = StringIO()
    print_report(metrics, console=Console(file=text, width=120))
    assert "Leakage: 50.0% of the test targets" in " ".join(text.getvalue().split())
    # Results of before the check are still shown.
    assert "Leakage" not in render_markdown(result.to_json())
