"""How well the dwell of candidates is predicted, as `metrics.json` holds it."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tfrec.evaluation.intervals import percentile_intervals, resampled_sums
from tfrec.evaluation.result import CONFIDENCE
from tfrec.evaluation.tables import ReportTable


def dwell_report(
    log_dwell: np.ndarray,
    predicted: np.ndarray,
    users: np.ndarray,
    *,
    constant: float,
    num_bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    """Measures predictions of log(1 + seconds) where somebody stayed.

        MSE = mean (log(1 + seconds) - predicted)^2
        explained = 1 - MSE / MSE of the constant

    `explained` is 0 for a head that says the same of every candidate, and below 0 for
    one that had better do so.

    Args:
        log_dwell: float `[num_candidates]`, log(1 + seconds).
        predicted: float, same shape.
        users: int64, same shape, whose candidate.
        constant: The mean of log(1 + seconds) in training.
        num_bootstrap: Resamples of users for the intervals.
        seed: Of the resamples.

    Returns:
        Plain data: `num_candidates`, `metrics` and `intervals` of `MSE`,
        `MSE_constant` and `explained`; the last only where dwells differ.
    """
    _, user = np.unique(users, return_inverse=True)
    errors = (np.square(log_dwell - predicted), np.square(log_dwell - constant))
    columns = [np.bincount(user, values) for values in (*errors, np.ones(len(user)))]
    table = np.stack(columns, axis=1)  # [num_users, 3]
    metrics = _metrics(table.sum(axis=0, keepdims=True))
    known = [name for name, (value,) in metrics.items() if np.isfinite(value)]
    draws = _metrics(resampled_sums(table, num_bootstrap=num_bootstrap, seed=seed))
    drawn = np.stack([draws[name] for name in known], axis=1)
    ends = np.stack(percentile_intervals(drawn, confidence=CONFIDENCE), axis=1)
    return {
        "num_candidates": len(log_dwell),
        "metrics": {name: float(metrics[name][0]) for name in known},
        "intervals": dict(zip(known, ends.tolist(), strict=True)),
    }


def dwell_table(reports: Mapping[str, Any]) -> ReportTable:
    """Builds the table of dwells: a row per sort of candidates.

    Args:
        reports: `heads.dwell` of `metrics.json`.
    """
    headers = ["candidates", "with a dwell", "MSE of log(1 + s)", "of the mean"]
    rows = []
    for name, report in reports.items():
        cells = [
            _figure(report, metric) for metric in ("MSE", "MSE_constant", "explained")
        ]
        rows.append([name, f"{report['num_candidates']:,}", *cells])
    return ReportTable("Dwell", [*headers, "explained"], rows)


def _metrics(sums: np.ndarray) -> dict[str, np.ndarray]:
    """Computes metrics from sums, `[num_rows, 3]`."""
    error, of_constant, count = sums.T
    with np.errstate(invalid="ignore", divide="ignore"):
        explained = 1.0 - error / of_constant
        explained[~np.isfinite(explained)] = np.nan
        return {
            "MSE": error / count,
            "MSE_constant": of_constant / count,
            "explained": explained,
        }


def _figure(report: Mapping[str, Any], name: str) -> str:
    if name not in report["metrics"]:
        return "–"
    low, high = report["intervals"][name]
    return f"{report['metrics'][name]:.4f} [{low:.4f}, {high:.4f}]"
