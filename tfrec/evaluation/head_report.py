"""Metrics of the heads with intervals, by slice, as `metrics.json` holds them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import expit

from tfrec.evaluation.head_metrics import (
    NUM_BINS,
    area_under_curve,
    bin_sums,
    calibration_error,
    calibration_noise,
    equal_mass_bins,
    list_metrics,
    log_losses,
)
from tfrec.evaluation.intervals import percentile_intervals, resampled_sums
from tfrec.evaluation.result import CONFIDENCE

_NUM_AREA_BINS = 400  # Of scores, for the intervals of AUC alone.


@dataclass(frozen=True)
class HeadOutcomes:
    """Candidates of many lists: what was predicted of a head, and what happened.

    Attributes:
        labels: bool `[num_candidates]`.
        raw: float32 `[num_candidates]`, logits as trained.
        calibrated: float32 `[num_candidates]`, logits as served.
        lists: int64 `[num_candidates]`, which list.
        users: int64 `[num_lists]`, whose list.
        slices: Kind, slice, bool `[num_lists]`.
        truth: float64 `[num_candidates]`, the true probability; None if unknown.
        counted: bool `[num_candidates]`, which the probability is about: those in the
            best place, where places are taken out of it. Order is that of all. None:
            all.
    """

    labels: np.ndarray
    raw: np.ndarray
    calibrated: np.ndarray
    lists: np.ndarray
    users: np.ndarray
    slices: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    truth: np.ndarray | None = None
    counted: np.ndarray | None = None

    def take(self, of_list: np.ndarray) -> "HeadOutcomes":
        """Returns the candidates of some lists, without slices."""
        return self._some(of_list[self.lists])

    def of_probability(self) -> "HeadOutcomes":
        """Returns the candidates that the probability is about, without slices."""
        return self if self.counted is None else self._some(self.counted)

    def _some(self, kept: np.ndarray) -> "HeadOutcomes":
        truth = None if self.truth is None else self.truth[kept]
        counted = None if self.counted is None else self.counted[kept]
        parts = (self.labels, self.raw, self.calibrated, self.lists)
        return HeadOutcomes(
            *(p[kept] for p in parts), self.users, truth=truth, counted=counted
        )


def head_report(
    outcomes: HeadOutcomes, *, num_bootstrap: int, seed: int
) -> dict[str, Any]:
    """Measures one head.

    Args:
        outcomes: What it said, and what happened.
        num_bootstrap: Resamples of users for the intervals.
        seed: Of the resamples.

    Returns:
        Plain data: counts, of what the probability is about, `metrics`, `intervals`,
        `reliability` before and after calibration, and per slice the first three. A
        metric without a value (no event, say) is left out. `whole_lists` has the
        counts of what the metrics of order are about, where these are more.
    """
    found = _measure(outcomes, num_bootstrap=num_bootstrap, seed=seed)
    counted = outcomes.of_probability()
    found["reliability"] = {
        "uncalibrated": _curve(counted.labels, counted.raw),
        "calibrated": _curve(counted.labels, counted.calibrated),
    }
    found["slices"] = {
        kind: {
            name: _measure(
                outcomes.take(of_list), num_bootstrap=num_bootstrap, seed=seed
            )
            for name, of_list in parts.items()
            if of_list[outcomes.lists].any()
        }
        for kind, parts in outcomes.slices.items()
    }
    return found


def _measure(
    outcomes: HeadOutcomes, *, num_bootstrap: int, seed: int
) -> dict[str, Any]:
    counted = outcomes.of_probability()
    metrics = {**_order_metrics(outcomes), **_probability_metrics(counted)}
    parts = {
        **_UserTable(outcomes).order_sums(),
        **_UserTable(counted).probability_sums(),
    }
    draws = _resampled(parts, num_bootstrap=num_bootstrap, seed=seed)
    intervals = {}
    for name, values in draws.items():
        if not np.isnan(values).all():
            low, high = percentile_intervals(values[:, None], confidence=CONFIDENCE)
            intervals[name] = [float(low[0]), float(high[0])]
    has_more = len(counted.labels) < len(outcomes.labels)
    return {
        **_counts(counted),
        **({"whole_lists": _counts(outcomes)} if has_more else {}),
        "metrics": {n: v for n, v in metrics.items() if np.isfinite(v)},
        "intervals": {n: v for n, v in intervals.items() if np.isfinite(metrics[n])},
    }


def _counts(outcomes: HeadOutcomes) -> dict[str, int]:
    return {
        "num_lists": len(np.unique(outcomes.lists)),
        "num_candidates": len(outcomes.labels),
        "num_events": int(outcomes.labels.sum()),
    }


def _order_metrics(outcomes: HeadOutcomes) -> dict[str, float]:
    labels, logits = outcomes.labels, outcomes.calibrated
    by_list = list_metrics(
        labels, logits, outcomes.lists, num_lists=len(outcomes.users)
    )
    found = {"AUC": area_under_curve(labels, logits)}
    for name, (values, weights) in by_list.items():
        total = weights.sum()
        found[name] = float(values @ weights / total) if total else float("nan")
    return found


def _probability_metrics(outcomes: HeadOutcomes) -> dict[str, float]:
    """Returns the metrics of candidates that count; nothing without any."""
    labels, raw, logits = outcomes.labels, outcomes.raw, outcomes.calibrated
    if not len(labels):
        return {}
    predicted, happened = expit(logits.astype(np.float64)), float(labels.mean())
    found = {"log_loss": float(log_losses(labels, logits).mean())}
    found["log_loss_uncalibrated"] = float(log_losses(labels, raw).mean())
    found["ECE"] = float(calibration_error(bin_sums(labels, logits)))
    found["ECE_noise"] = calibration_noise(logits)
    found["ECE_uncalibrated"] = float(calibration_error(bin_sums(labels, raw)))
    ratios = (predicted.mean(), expit(raw.astype(np.float64)).mean())
    for name, mean in zip(("ratio", "ratio_uncalibrated"), ratios, strict=True):
        found[name] = float(mean / happened) if happened else float("nan")
    if outcomes.truth is not None:
        truth = outcomes.truth
        found["ECE_truth"] = float(calibration_error(bin_sums(truth, logits)))
        found["ECE_truth_uncalibrated"] = float(calibration_error(bin_sums(truth, raw)))
        found["absolute_error_truth"] = float(np.abs(predicted - truth).mean())
    return found


class _UserTable:
    """Sums by user from which metrics can be computed for a resample of users.

    The bins of AUC and ECE are those of all users. AUC is that of 400 bins.
    """

    def __init__(self, outcomes: HeadOutcomes) -> None:
        self.outcomes = outcomes
        _, self.user_of_list = np.unique(outcomes.users, return_inverse=True)
        self.num_users = int(self.user_of_list.max(initial=-1)) + 1
        self.user = self.user_of_list[outcomes.lists]

    def order_sums(self) -> dict[str, np.ndarray]:
        """Returns per metric of the order float64 `[num_columns, num_users]`."""
        outcomes = self.outcomes
        labels, logits = outcomes.labels, outcomes.calibrated
        lists = list_metrics(
            labels, logits, outcomes.lists, num_lists=len(outcomes.users)
        )
        parts = {"AUC": self._areas(labels, logits)}
        for name, (values, weights) in lists.items():
            columns = (weights, values * weights)
            parts[name] = np.stack([self._sum(self.user_of_list, c) for c in columns])
        return parts

    def probability_sums(self) -> dict[str, np.ndarray]:
        """Returns per metric of the probability float64 `[num_columns, num_users]`."""
        outcomes = self.outcomes
        labels, raw, logits = outcomes.labels, outcomes.raw, outcomes.calibrated
        if not len(labels):
            return {}
        parts = {
            "log_loss": self._by_user(np.ones(len(labels)), log_losses(labels, logits)),
            "ECE": self._bins(labels, logits),
            "ECE_uncalibrated": self._bins(labels, raw),
        }
        if outcomes.truth is not None:
            parts["ECE_truth"] = self._bins(outcomes.truth, logits)
        return parts

    def _sum(self, user: np.ndarray, values: np.ndarray) -> np.ndarray:
        return np.bincount(user, values, minlength=self.num_users)

    def _by_user(self, *columns: np.ndarray) -> np.ndarray:
        return np.stack([self._sum(self.user, column) for column in columns])

    def _cells(self, bins: np.ndarray, num_bins: int, values: np.ndarray) -> np.ndarray:
        flat = np.bincount(
            bins * self.num_users + self.user,
            values,
            minlength=num_bins * self.num_users,
        )
        return flat.reshape(num_bins, self.num_users)

    def _bins(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Candidates, probabilities and events of bins, `[3 * NUM_BINS, num_users]`."""
        bins = equal_mass_bins(logits)
        columns = (np.ones(len(bins)), expit(logits.astype(np.float64)), labels)
        return np.concatenate([self._cells(bins, NUM_BINS, c) for c in columns])

    def _areas(self, labels: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Non-events and events of bins, lowest first; half of them by events."""
        half = _NUM_AREA_BINS // 2
        shares = np.linspace(0, 1, half + 1)[1:-1]
        edges = [np.quantile(p, shares) for p in (logits, logits[labels]) if len(p)]
        edges = np.unique(np.concatenate(edges)) if edges else np.zeros(0)
        bins = np.searchsorted(edges, logits, side="right")
        columns = (~labels, labels)
        return np.concatenate([self._cells(bins, _NUM_AREA_BINS, c) for c in columns])


def _resampled(
    parts: dict[str, np.ndarray], *, num_bootstrap: int, seed: int
) -> dict[str, np.ndarray]:
    """Returns per metric float64 `[num_bootstrap]`; all are of the same resamples."""
    sizes = np.cumsum([len(part) for part in parts.values()])
    drawn = resampled_sums(
        np.concatenate(list(parts.values())).T, num_bootstrap=num_bootstrap, seed=seed
    )
    split = dict(zip(parts, np.split(drawn, sizes[:-1], axis=1), strict=True))
    found = {name: _statistic(name, sums) for name, sums in split.items()}
    if "ECE" in split:
        found["ratio"] = _predicted_to_happened(split["ECE"])
    return found


def _statistic(name: str, sums: np.ndarray) -> np.ndarray:
    """Computes a metric of resamples from float `[num_bootstrap, num_columns]`."""
    with np.errstate(invalid="ignore", divide="ignore"):
        if name.startswith("ECE"):
            return calibration_error(sums.reshape(len(sums), 3, NUM_BINS))
        if name == "AUC":
            missed, happened = np.split(sums, 2, axis=1)
            below = np.cumsum(missed, axis=1) - missed / 2
            pairs = happened.sum(axis=1) * missed.sum(axis=1)
            return (happened * below).sum(axis=1) / pairs
        return sums[:, 1] / sums[:, 0]


def _predicted_to_happened(sums: np.ndarray) -> np.ndarray:
    _, predicted, happened = sums.reshape(len(sums), 3, NUM_BINS).sum(axis=2).T
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = predicted / happened
    return np.where(np.isfinite(ratio), ratio, np.nan)


def _curve(labels: np.ndarray, logits: np.ndarray) -> list[dict[str, float]]:
    """Returns a point of the reliability plot a bin."""
    count, predicted, happened = bin_sums(labels, logits)
    return [
        {"predicted": float(p / n), "observed": float(h / n), "candidates": int(n)}
        for n, p, h in zip(count, predicted, happened, strict=True)
        if n
    ]
