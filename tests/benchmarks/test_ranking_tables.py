"""Tables of `benchmarks.ranking` on values written by hand; nothing is trained."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ranking_store import is_done, load_row, store_result
from benchmarks.ranking_summary import summarise
from benchmarks.ranking_tables import markdown, verdicts
from tfrec.evaluation.result import EvaluationResult, ScorerResult
from tfrec.run_record import write_json

METRICS = ("HR@10", "Recall@10", "NDCG@10", "MRR@10")
# NDCG@10 of four queries; the other metrics are twice as large.
VALUES = {
    "default": [0.5, 0.3, 0.4, 0.6],
    "cross": [0.6, 0.4, 0.5, 0.7],
    "retrieval": [0.4, 0.2, 0.3, 0.3],
    "oracle": [0.5, 0.5, 0.5, 0.5],
    "lightgbm": [0.5, 0.1, 0.5, 0.5],
}


def write_row(path: Path, ndcg: list[float], **changes: Any) -> None:
    values = np.array(ndcg)[:, np.newaxis] * [2.0, 2.0, 1.0, 2.0]
    groups = {"all": values, "novel": values / 2.0}
    groups["novel"][0] = np.nan  # A query without a novel positive.
    scorer = ScorerResult(groups, {}, {}, 1.0)
    settings: dict[str, Any] = {
        "split": "test",
        "targets": "next",
        "ks": (10,),
        "exclude_seen": False,
        "num_bootstrap": 200,
        "seed": 0,
        "num_queries": len(ndcg),
        "num_positives": len(ndcg),
        "num_items": 99,
        **changes,
    }
    path.mkdir(parents=True)
    write_json(
        path / "versions.json",
        {
            "git_commit": "abcdef1234567890",
            "git_dirty": False,
            "num_cpus": "2",
            "platform": "Linux",
            "python": "3.11.7",
            "tensorflow": "2.21",
        },
    )
    is_row = path.name in ("default", "cross")
    # `cross` is ahead by .3 with seed 0 and behind by .1 with seed 1.
    ahead = {"0": 0.3, "1": -0.1}.get(path.parent.name, 0.1)
    details = {"validation": 0.4 + ahead * (path.name == "cross")} if is_row else {}
    result = EvaluationResult(scorers={"ranking": scorer}, **settings)
    store_result(path, result, seconds=120.0 * is_row, details=details)


@pytest.fixture
def folders(tmp_path: Path) -> dict[int, Path]:
    """Two seeds; the second is .1 better everywhere but for what has no seed."""
    for seed in range(2):
        for name, values in VALUES.items():
            gain = 0.1 * seed * (name in ("default", "cross"))
            write_row(tmp_path / str(seed) / name, [v + gain for v in values])
    return {seed: tmp_path / str(seed) for seed in range(2)}


def joined(folders: dict[int, Path]) -> dict[str, Any]:
    found = summarise(
        folders,
        list(VALUES),
        metrics=("NDCG@10", "NDCG@10"),
        references=("retrieval", "lightgbm", "default"),
    )
    rows = {
        "default": {"part": "default", "changes": {}},
        "cross": {"part": "fusion", "changes": {"fusion": "cross"}},
    }
    return {
        "config": "toy",
        "command": "python -m benchmarks.ranking",
        **found,
        "protocol": {"split": {"protocol": "by_time"}, **found["protocol"]},
        "selection_metric": "NDCG@10",
        "rows": rows,
        "failed": {},
    }


def test_a_row_comes_back_as_it_was_stored(tmp_path: Path) -> None:
    path = tmp_path / "cross"
    assert not is_done(path)
    write_row(path, [0.1, 0.7])
    assert is_done(path)
    row = load_row(path)
    assert row.metric_names == METRICS
    np.testing.assert_array_equal(row.column("all", "NDCG@10"), [0.1, 0.7])
    np.testing.assert_array_equal(row.column("novel", "HR@10"), [np.nan, 0.7])
    assert (row.seconds, row.details["validation"]) == (120.0, 0.5)


def test_rows_are_joined_over_seeds_and_paired_with_their_reference(folders) -> None:
    result = joined(folders)
    own = result["scorers"]["default"]["all"]["NDCG@10"]
    # .45 and .55: deviations .05, squares .005, n - 1 = 1.
    assert own["mean"] == pytest.approx(0.5)
    assert own["sd"] == pytest.approx(0.005**0.5, abs=1e-5)
    # Better by .1 for every query, whichever are drawn: the interval has no width.
    gap = result["differences"]["default"]["cross"]["all"]["NDCG@10"]
    assert gap["mean"] == pytest.approx(0.1)
    np.testing.assert_allclose(gap["intervals"], 0.1, atol=1e-5)
    # .45 and .55 against .4, query by query .0, .2, -.1, .1 and .1 more.
    gap = result["differences"]["lightgbm"]["default"]["all"]["NDCG@10"]
    assert gap["mean"] == pytest.approx(0.1)
    (low, high), (later_low, _) = gap["intervals"]
    assert -0.1 <= low < 0.05 < high <= 0.2
    assert later_low == pytest.approx(low + 0.1, abs=0.1)
    # Novel: queries 2 to 4 of half the value.
    novel = result["scorers"]["retrieval"]["novel"]["NDCG@10"]["mean"]
    assert novel == pytest.approx((0.2 + 0.3 + 0.3) / 6, abs=1e-6)


def test_history_items_left_out_leave_one_group(tmp_path: Path) -> None:
    write_row(tmp_path / "default", [0.1, 0.7], exclude_seen=True)
    found = summarise(
        {0: tmp_path}, ["default"], metrics=("NDCG@10", "HR@10"), references=()
    )
    assert found["columns"] == [["all", "NDCG@10"], ["all", "HR@10"]]


def test_rows_that_were_not_evaluated_alike_are_refused(folders) -> None:
    write_row(folders[0] / "gated", [0.1], num_queries=1)
    with pytest.raises(ValueError, match=r"num_queries.*differ"):
        summarise(
            {0: folders[0]}, ["default", "gated"], metrics=("NDCG@10",), references=()
        )


def test_verdicts_choose_by_validation_and_compare_the_default(folders) -> None:
    lines = verdicts(joined(folders))
    assert lines[0] == (
        "Validation NDCG@10: best row cross 0.5000, default 0.4000 "
        "(+0.1000 1/2 of the seeds)"
    )
    # .5 against .3 of retrieval and .5 of the oracle.
    assert "default +66.7% on retrieval order (goal 15%: met)" in lines[1]
    assert "default 100.0% of the oracle (goal 85%: met)" in lines[2]
    assert "default − lightgbm +0.1000, interval above 0 with" in lines[3]
    assert lines[3].endswith("of 2 seeds, below with 0")


def test_failed_rows_are_told(folders) -> None:
    result = {**joined(folders), "failed": {"ple": "Loss of ranking is NaN."}}
    assert "Failed, not in the table: ple: Loss of ranking is NaN." in verdicts(result)


def test_page_names_changes_protocol_and_commit(folders) -> None:
    page = markdown(joined(folders))
    assert "| cross | fusion=cross | 0.5000 ± 0.2828 | +0.1000 1/2 | 0.6000 ±" in page
    assert "4 queries" in page
    assert "Commit abcdef123456." in page
    assert "took 4, 4 minutes a seed" in page
    assert "| cross | +0.1000 [+0.1000, +0.1000] 2/2 |" in page
