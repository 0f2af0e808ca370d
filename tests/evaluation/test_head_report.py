import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from scipy.special import expit

from tfrec.evaluation import reliability_plot
from tfrec.evaluation.head_report import HeadOutcomes, head_report
from tfrec.evaluation.head_tables import (
    brief_head_table,
    describe_heads,
    head_slice_tables,
    head_table,
)
from tfrec.evaluation.reliability_plot import plot_reliability

NUM_USERS, NUM_CANDIDATES = 60, 30


def made(*, seed: int = 0, knows_truth: bool = True) -> HeadOutcomes:
    """Two lists a user; served probabilities are the truth, raw ones far too large."""
    random = np.random.default_rng(seed)
    num_lists = 2 * NUM_USERS
    lists = np.repeat(np.arange(num_lists), NUM_CANDIDATES)
    logits = random.normal(-2.0, 1.0, len(lists)).astype(np.float32)
    truth = expit(logits.astype(np.float64))
    is_new = np.arange(num_lists) % 4 == 0
    return HeadOutcomes(
        labels=random.random(len(lists)) < truth,
        raw=logits + 1,
        calibrated=logits,
        lists=lists,
        users=np.arange(num_lists) // 2 + 7,
        slices={"shopper": {"new": is_new, "known": ~is_new, "none": is_new & False}},
        truth=truth if knows_truth else None,
    )


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    return head_report(made(), num_bootstrap=200, seed=1)


@pytest.fixture
def heads(report: dict[str, Any]) -> dict[str, Any]:
    about = {"population": "shown", "calibrator": "platt"}
    return {
        "split": "test",
        "num_bins": 20,
        "num_bootstrap": 200,
        "seed": 1,
        "confidence": 0.95,
        "num_retrieved": NUM_CANDIDATES,
        "heads": {
            "click": {**about, **report},
            "purchase": {"population": "shown", "calibrator": "none"},
        },
    }


def test_report_is_plain_data_with_counts(report: dict[str, Any]) -> None:
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    outcomes = made()
    assert report["num_lists"] == 2 * NUM_USERS
    assert report["num_candidates"] == len(outcomes.labels)
    assert report["num_events"] == outcomes.labels.sum()


def test_intervals_lie_around_their_metrics(report: dict[str, Any]) -> None:
    metrics, intervals = report["metrics"], report["intervals"]
    for name in ("AUC", "GAUC", "NDCG", "MAP", "log_loss", "ratio"):
        low, high = intervals[name]
        assert low < metrics[name] < high, name
        assert high - low < 0.3 * metrics[name], name
    assert set(intervals) == {
        *("AUC", "GAUC", "NDCG", "MAP", "log_loss", "ratio"),
        *("ECE", "ECE_uncalibrated", "ECE_truth"),
    }


def test_interval_of_a_mean_is_that_of_resampled_users(report: dict[str, Any]) -> None:
    """Independent of the code: the standard error by the formula for clusters."""
    outcomes = made()
    losses = np.logaddexp(0, outcomes.calibrated) - (
        outcomes.calibrated * outcomes.labels
    )
    user = outcomes.users[outcomes.lists] - 7
    by_user = np.bincount(user, losses) / np.bincount(user)
    error = by_user.std(ddof=1) / np.sqrt(NUM_USERS)
    low, high = report["intervals"]["log_loss"]
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.2)


def test_interval_of_the_area_is_that_of_exact_areas(report: dict[str, Any]) -> None:
    from sklearn.metrics import roc_auc_score

    outcomes, random = made(), np.random.default_rng(5)
    user = outcomes.users[outcomes.lists] - 7
    areas = []
    for _ in range(200):
        drawn = random.integers(NUM_USERS, size=NUM_USERS)
        weights = np.bincount(drawn, minlength=NUM_USERS)[user]
        areas.append(
            roc_auc_score(outcomes.labels, outcomes.calibrated, sample_weight=weights)
        )
    low, high = np.quantile(areas, [0.025, 0.975])
    found = report["intervals"]["AUC"]
    assert found == pytest.approx([low, high], abs=0.25 * (high - low))


def test_wrong_probabilities_are_told_from_right_ones(report: dict[str, Any]) -> None:
    metrics = report["metrics"]
    assert metrics["ECE"] < 0.03 < 0.1 < metrics["ECE_uncalibrated"]
    assert metrics["log_loss"] < metrics["log_loss_uncalibrated"]
    assert metrics["ratio"] == pytest.approx(1.0, abs=0.1)
    outcomes = made()
    expected = expit(outcomes.raw).mean() / outcomes.labels.mean()
    assert metrics["ratio_uncalibrated"] == pytest.approx(expected)
    # Served probabilities are the truth itself.
    assert metrics["ECE_truth"] == pytest.approx(0.0, abs=1e-9)
    assert metrics["absolute_error_truth"] == pytest.approx(0.0, abs=1e-9)
    gap = (expit(outcomes.raw) - expit(outcomes.calibrated)).mean()
    assert metrics["ECE_truth_uncalibrated"] == pytest.approx(gap, rel=1e-5)


def test_slices_are_measured_alone_and_empty_ones_left_out(
    report: dict[str, Any],
) -> None:
    parts = report["slices"]["shopper"]
    assert set(parts) == {"new", "known"}
    outcomes = made()
    of_new = outcomes.slices["shopper"]["new"][outcomes.lists]
    assert parts["new"]["num_candidates"] == of_new.sum()
    expected = outcomes.labels[of_new].sum()
    assert parts["new"]["num_events"] == expected
    assert parts["known"]["num_events"] == outcomes.labels.sum() - expected
    assert "slices" not in parts["new"]


def test_metrics_without_a_value_are_left_out() -> None:
    outcomes = made(knows_truth=False)
    nothing = HeadOutcomes(
        np.zeros(len(outcomes.labels), bool),
        outcomes.raw,
        outcomes.calibrated,
        outcomes.lists,
        outcomes.users,
    )
    found = head_report(nothing, num_bootstrap=10, seed=0)
    json.dumps(found, allow_nan=False)
    assert set(found["metrics"]) == {
        *("log_loss", "log_loss_uncalibrated", "ECE", "ECE_uncalibrated", "ECE_noise")
    }
    assert set(found["intervals"]) == {"log_loss", "ECE", "ECE_uncalibrated"}


def placed(counted: list[bool] | None) -> HeadOutcomes:
    """Two lists of three and two candidates, of which one each was clicked."""
    return HeadOutcomes(
        labels=np.array([False, True, False, True, False]),
        raw=np.array([3.0, 2.0, 1.0, 1.0, 2.0], np.float32),
        calibrated=np.array([2.0, 1.0, 0.0, 0.0, 1.0], np.float32),
        lists=np.array([0, 0, 0, 1, 1]),
        users=np.array([0, 1]),
        slices={"shopper": {"first": np.array([True, False])}},
        counted=None if counted is None else np.array(counted),
    )


def test_order_is_that_of_whole_lists_and_probability_of_the_best_place() -> None:
    outcomes = placed([True, False, False, True, False])
    found = head_report(outcomes, num_bootstrap=10, seed=0)
    json.dumps(found, allow_nan=False)
    metrics = found["metrics"]
    # Both clicks are at rank 2, behind one of one or two that were not clicked.
    assert metrics["NDCG"] == pytest.approx(1 / np.log2(3))
    assert metrics["MAP"] == pytest.approx(1 / 2)
    assert metrics["GAUC"] == pytest.approx((3 * 1 / 2 + 2 * 0) / 5)
    # Of six pairs one is in order and two are equal.
    assert metrics["AUC"] == pytest.approx((1 + 2 / 2) / 6)
    # In the best place: 2 without a click, 0 with one.
    expected = (np.log(1 + np.exp(2.0)) + np.log(2.0)) / 2
    assert metrics["log_loss"] == pytest.approx(expected)
    assert metrics["ratio"] == pytest.approx(expit(2.0) + 0.5)
    assert metrics["ECE"] == pytest.approx((expit(2.0) + 0.5) / 2)
    assert (found["num_lists"], found["num_candidates"]) == (2, 2)
    assert found["num_events"] == 1
    counts = {"num_lists": 2, "num_candidates": 5, "num_events": 2}
    assert found["whole_lists"] == counts
    assert sum(p["candidates"] for p in found["reliability"]["calibrated"]) == 2
    first = found["slices"]["shopper"]["first"]
    assert first["metrics"]["log_loss"] == pytest.approx(np.log(1 + np.exp(2.0)))
    assert first["metrics"]["MAP"] == pytest.approx(1 / 2)


def test_where_all_count_lists_and_probability_are_of_the_same() -> None:
    found, same = (
        head_report(placed(counted), num_bootstrap=10, seed=0)
        for counted in (None, [True] * 5)
    )
    assert found == same
    assert "whole_lists" not in found


def test_where_none_counts_the_order_is_measured_alone(tmp_path: Path) -> None:
    found = head_report(placed([False] * 5), num_bootstrap=10, seed=0)
    json.dumps(found, allow_nan=False)
    assert set(found["metrics"]) == {"AUC", "GAUC", "NDCG", "MAP"}
    assert found["reliability"] == {"uncalibrated": [], "calibrated": []}
    about = {"population": "shown", "calibrator": "none", **found}
    plot_reliability({"heads": {"click": about}}, tmp_path / "reliability.png")


def test_lists_of_one_candidate_show_no_order(heads: dict[str, Any]) -> None:
    outcomes = replace(placed(None), lists=np.arange(5), users=np.arange(5), slices={})
    found = head_report(outcomes, num_bootstrap=10, seed=0)
    assert not {"GAUC", "NDCG", "MAP"} & set(found["metrics"])
    heads["heads"] = {"click": {"population": "shown", "calibrator": "bent", **found}}
    table = head_table(heads)
    for name in ("GAUC", "NDCG", "MAP"):
        assert table.rows[0][table.headers.index(name)] == "–"


def test_tables_show_before_and_after(heads: dict[str, Any]) -> None:
    table = head_table(heads)
    assert [row[0] for row in table.rows] == ["click", "purchase"]
    metrics = heads["heads"]["click"]["metrics"]
    cell = table.rows[0][table.headers.index("ECE")]
    before, after = metrics["ECE_uncalibrated"], metrics["ECE"]
    assert cell.startswith(f"{before:.5f} → {after:.5f} [")
    assert table.rows[0][1] == "shown, platt"
    # A head that could not be measured is shown, with nothing in its cells.
    assert set(table.rows[1][3:]) == {"–"}
    for found in (table, brief_head_table(heads), *head_slice_tables(heads)):
        assert {len(row) for row in found.rows} == {len(found.headers)}
    (slices,) = head_slice_tables(heads)
    assert [row[0] for row in slices.rows] == ["shopper new", "shopper known"]
    assert "20 bins of equal mass" in describe_heads(heads)


def test_plot_draws_both_curves_of_every_measured_head(
    heads: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Figure] = []
    save = reliability_plot.save_figure

    def keep(figure: Figure, path: Path) -> None:
        figures.append(figure)
        save(figure, path)

    monkeypatch.setattr(reliability_plot, "save_figure", keep)
    plot_reliability(heads, tmp_path / "reliability.png")
    drawn = [axes for axes in figures[0].axes if axes.get_visible()]
    assert [axes.get_title(loc="left").split()[0] for axes in drawn] == ["click"]
    points = heads["heads"]["click"]["reliability"]["calibrated"]
    expected = [p["observed"] for p in points if p["observed"] > 0]
    np.testing.assert_array_equal(drawn[0].lines[1].get_ydata(), expected)
    assert imread(tmp_path / "reliability.png").std() > 0
    with pytest.raises(ValueError, match="at least one head that was measured"):
        plot_reliability({"heads": {}}, tmp_path / "nothing.png")
