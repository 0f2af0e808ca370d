"""Joins the rows of the ranking table over seeds, with paired intervals."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.quality_summary import describe_machine, over_seeds
from benchmarks.ranking_store import StoredRow, load_row
from tfrec.evaluation.intervals import bootstrap_means, percentile_intervals

_COMMON = ("num_queries", "num_items", "k", "exclude_seen", "targets")
Column = tuple[str, str]  # Group and metric.


def summarise(
    seeds: Mapping[int, Path],
    names: Sequence[str],
    *,
    metrics: Sequence[str],
    references: Sequence[str],
) -> dict[str, Any]:
    """Joins the rows of all seeds.

    Args:
        seeds: Per seed the folder of its rows.
        names: Rows that are finished in all of them.
        metrics: Which are reported, the first for all comparisons.
        references: Rows that the others are compared with.

    Returns:
        `scorers`: per row, group and metric mean, deviation and the interval of every
        seed; `differences`: per reference the same of each row minus the reference,
        paired by query; beside them protocol, seconds, machine and commits.

    Raises:
        ValueError: If rows were not evaluated alike.
    """
    rows = {seed: {n: load_row(p / n) for n in names} for seed, p in seeds.items()}
    every = [row for of_seed in rows.values() for row in of_seed.values()]
    _check_alike(every)
    columns = _columns(every[0], metrics)
    means = {s: _resampled(of_seed, columns, seed=s) for s, of_seed in rows.items()}
    versions = [row.versions for row in every]
    return {
        "protocol": dict(every[0].protocol),
        "seeds": list(seeds),
        "columns": [list(column) for column in columns],
        "scorers": {name: _joined(rows, means, columns, names, name) for name in names},
        "differences": {
            reference: {
                name: _joined(rows, means, columns, names, name, against=reference)
                for name in names
                if name != reference
            }
            for reference in references
            if reference in names
        },
        "seconds": [
            round(sum(row.seconds for row in of_seed.values()), 1)
            for of_seed in rows.values()
        ],
        "details": {name: _details([r[name] for r in rows.values()]) for name in names},
        "machine": describe_machine(versions),
        "git_commits": sorted({str(v.get("git_commit")) for v in versions}),
        "git_dirty": any(v.get("git_dirty") for v in versions),
    }


def _check_alike(rows: Sequence[StoredRow]) -> None:
    for row in rows:
        names = [n for n in _COMMON if row.protocol[n] != rows[0].protocol[n]]
        if names:
            raise ValueError(
                f"All rows must be evaluated alike. Received: {names} differ. Delete "
                "the folder of the rows and run again."
            )


def _columns(row: StoredRow, metrics: Sequence[str]) -> list[Column]:
    """Returns groups and metrics; with history items left out one group says all."""
    alone = row.protocol["exclude_seen"] or "novel" not in row.values
    groups = ("all",) if alone else ("all", "novel")
    return [(group, metric) for group in groups for metric in dict.fromkeys(metrics)]


def _resampled(
    rows: Mapping[str, StoredRow], columns: Sequence[Column], *, seed: int
) -> np.ndarray:
    """Returns means `[num_bootstrap, num_rows, num_columns]` of the same resamples."""
    values = np.stack(
        [row.column(*column) for row in rows.values() for column in columns], axis=1
    )
    num_bootstrap = next(iter(rows.values())).protocol["num_bootstrap"]
    means = bootstrap_means(values, num_bootstrap=num_bootstrap, seed=seed)
    return means.reshape(num_bootstrap, len(rows), len(columns))


def _joined(
    rows: Mapping[int, Mapping[str, StoredRow]],
    means: Mapping[int, np.ndarray],
    columns: Sequence[Column],
    names: Sequence[str],
    name: str,
    *,
    against: str | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns per group and metric a row, or its difference from another, by seed."""
    place = list(names).index(name)
    found: dict[str, dict[str, Any]] = {}
    for i, (group, metric) in enumerate(columns):
        values, intervals = [], []
        for seed, of_seed in rows.items():
            own, drawn = of_seed[name].column(group, metric), means[seed][:, place, i]
            if against is not None:
                own = own - of_seed[against].column(group, metric)
                drawn = drawn - means[seed][:, list(names).index(against), i]
            low, high = percentile_intervals(drawn[:, np.newaxis])
            values.append(float(np.nanmean(own)))
            intervals.append([float(low[0]), float(high[0])])
        found.setdefault(group, {})[metric] = over_seeds(values, intervals)
    return found


def _details(rows: Sequence[StoredRow]) -> dict[str, Any]:
    """Returns minutes and the further figures of a row, one a seed."""
    details: dict[str, Any] = {"minutes": [round(r.seconds / 60, 2) for r in rows]}
    for name in rows[0].details:
        details[name] = [row.details[name] for row in rows]
    return details
