"""What an evaluation found, and how it is written down."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tfrec.evaluation.intervals import (
    Interval,
    bootstrap_means,
    paired_difference,
    percentile_intervals,
)
from tfrec.evaluation.metrics import metric_names

CONFIDENCE = 0.95


@dataclass(frozen=True)
class ScorerResult:
    """What one scorer reached.

    Attributes:
        groups: Per group (`all`, `novel`, `repeat`) float `[num_queries,
            num_metrics]`, columns as `metric_names`; NaN for a query without a
            positive in the group. A group without any positive is left out.
        slices: Per kind of slice and slice, mean of every metric.
        coverage: Per `coverage@k`: share of the catalogue in any top k.
        seconds: Time spent in the scorer.
    """

    groups: dict[str, np.ndarray]
    slices: dict[str, dict[str, dict[str, float]]]
    coverage: dict[str, float]
    seconds: float


@dataclass(frozen=True)
class EvaluationResult:
    """Results of several scorers on the same queries.

    Attributes:
        scorers: Per scorer name its result, in the order they were given; the
            first is the one that others are compared with.
        split: `validation` or `test`.
        targets: `next` or `window`.
        ks: List lengths.
        exclude_seen: Whether the main ranking leaves out history items.
        num_bootstrap: Resamples of the intervals.
        seed: Of the resamples.
        num_queries: Queries, one a user.
        num_positives: Positives of all queries.
        num_items: Size of the catalogue that was ranked.
        slice_sizes: Per kind of slice and slice, the number of positives.
    """

    scorers: dict[str, ScorerResult]
    split: str
    targets: str
    ks: tuple[int, ...]
    exclude_seen: bool
    num_bootstrap: int
    seed: int
    num_queries: int
    num_positives: int
    num_items: int
    slice_sizes: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """Names of the columns of per-query values."""
        return metric_names(self.ks)

    @property
    def groups(self) -> tuple[str, ...]:
        """Groups that have positives, `all` first."""
        return tuple(next(iter(self.scorers.values())).groups)

    def query_values(
        self, scorer: str, metric: str, *, group: str = "all"
    ) -> np.ndarray:
        """Returns float `[num_queries]`, NaN for queries that are not in the group.

        Raises:
            ValueError: If there is no such scorer, metric or group.
        """
        for name, value, choices in (
            ("scorer", scorer, tuple(self.scorers)),
            ("metric", metric, self.metric_names),
            ("group", group, self.groups),
        ):
            if value not in choices:
                raise ValueError(
                    f"`{name}` must be one of {list(choices)}. "
                    f"Received: {name}={value!r}."
                )
        column = self.metric_names.index(metric)
        return self.scorers[scorer].groups[group][:, column]

    def mean(self, scorer: str, metric: str, *, group: str = "all") -> float:
        """Returns the metric, averaged over the queries of the group."""
        return float(np.nanmean(self.query_values(scorer, metric, group=group)))

    def difference(
        self, first: str, second: str, metric: str, *, group: str = "all"
    ) -> Interval:
        """Returns the paired difference `first - second` with its interval."""
        return paired_difference(
            self.query_values(first, metric, group=group),
            self.query_values(second, metric, group=group),
            num_bootstrap=self.num_bootstrap,
            seed=self.seed,
            confidence=CONFIDENCE,
        )

    @cached_property
    def _bootstrap(self) -> np.ndarray:
        """Resampled means `[num_bootstrap, num_scorers, num_groups, num_metrics]`."""
        values = np.concatenate(
            [s.groups[g] for s in self.scorers.values() for g in self.groups], axis=1
        )
        means = bootstrap_means(
            values, num_bootstrap=self.num_bootstrap, seed=self.seed
        )
        shape = (len(self.scorers), len(self.groups), len(self.metric_names))
        return means.reshape(-1, *shape)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data; the layout is described in `docs/evaluation.md`."""
        return {
            "protocol": "full",
            "ties": "against",
            "split": self.split,
            "targets": self.targets,
            "exclude_seen": self.exclude_seen,
            "k": list(self.ks),
            "seed": self.seed,
            "num_bootstrap": self.num_bootstrap,
            "confidence": CONFIDENCE,
            "num_queries": self.num_queries,
            "num_positives": self.num_positives,
            "num_items": self.num_items,
            "groups": self._group_sizes(),
            "slices": self.slice_sizes,
            "reference": next(iter(self.scorers)),
            "scorers": {
                name: self._scorer_json(i, result)
                for i, (name, result) in enumerate(self.scorers.items())
            },
        }

    def _group_sizes(self) -> dict[str, int]:
        groups = next(iter(self.scorers.values())).groups
        return {g: int((~np.isnan(v[:, 0])).sum()) for g, v in groups.items()}

    def _scorer_json(self, row: int, result: ScorerResult) -> dict[str, Any]:
        groups = {
            group: self._group_json(row, i, result)
            for i, group in enumerate(self.groups)
        }
        return {
            "metrics": {**groups["all"]["metrics"], **result.coverage},
            "intervals": groups["all"]["intervals"],
            "groups": groups,
            "slices": result.slices,
            "seconds": round(result.seconds, 3),
        }

    def _group_json(
        self, row: int, group: int, result: ScorerResult
    ) -> dict[str, dict[str, Any]]:
        values = result.groups[self.groups[group]]
        means = np.nanmean(values, axis=0)
        found = {
            "metrics": dict(zip(self.metric_names, means.tolist(), strict=True)),
            "intervals": self._named_intervals(self._bootstrap[:, row, group]),
        }
        if row:
            against = self._bootstrap[:, row, group] - self._bootstrap[:, 0, group]
            found["differences"] = self._named_intervals(against)
        return found

    def _named_intervals(self, means: np.ndarray) -> dict[str, list[float]]:
        low, high = percentile_intervals(means, confidence=CONFIDENCE)
        pairs = np.stack([low, high], axis=1).tolist()
        return dict(zip(self.metric_names, pairs, strict=True))
