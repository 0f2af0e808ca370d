"""Cells of the tables of an evaluation, not yet drawn."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

ORACLE = "oracle"  # A scorer of this name knows the simulator's truth.
_SLICE_TITLES = {
    "item_popularity": "By popularity of the item",
    "history_length": "By length of the history",
    "seen_before": "By whether the history holds the item",
}


@dataclass(frozen=True)
class ReportTable:
    """A table of text.

    Attributes:
        title: What the table shows.
        headers: One per column; the first column names the row.
        rows: Cells.
        best: Row and column of the cells to stand out.
    """

    title: str
    headers: list[str]
    rows: list[list[str]]
    best: set[tuple[int, int]] = field(default_factory=set)


def main_k(metrics: Mapping[str, Any]) -> int:
    """Returns the list length that tables show: 10, or else the longest."""
    return 10 if 10 in metrics["k"] else max(metrics["k"])


def main_table(metrics: Mapping[str, Any]) -> ReportTable:
    """Builds the table of all scorers: metrics, interval, coverage, time.

    Where a scorer named `oracle` takes part, a column shows the share of its
    NDCG that others reach; it is never the best itself.
    """
    k, longest = main_k(metrics), max(metrics["k"])
    names = [f"HR@{k}", f"NDCG@{k}", f"MRR@{k}"]
    if metrics["targets"] == "window" or longest != k:
        names.append(f"Recall@{longest}")
    scorers = metrics["scorers"]
    values = [[s["metrics"][name] for name in names] for s in scorers.values()]
    has_oracle = ORACLE in scorers
    headers = ["scorer", *names, "of oracle"] if has_oracle else ["scorer", *names]
    headers += [f"coverage @{k}", "time"]
    rows = []
    for name, scorer in scorers.items():
        cells = [_figure(scorer, n, interval=n == f"NDCG@{k}") for n in names]
        if has_oracle:
            share = _ratio(scorer, scorers[ORACLE], f"NDCG@{k}")
            cells.append("–" if share is None else f"{share:.0%}")
        coverage = f"{scorer['metrics'][f'coverage@{k}']:.1%}"
        rows.append([name, *cells, coverage, f"{scorer['seconds']:.1f} s"])
    return ReportTable(
        f"Evaluation on {metrics['split']}", headers, rows, _best(values, list(scorers))
    )


def group_table(metrics: Mapping[str, Any]) -> ReportTable:
    """Builds the table of novel and repeat positives, with intervals."""
    k, longest = main_k(metrics), max(metrics["k"])
    groups = [g for g in ("novel", "repeat") if g in metrics["groups"]]
    names = dict.fromkeys([f"Recall@{longest}", f"NDCG@{k}"])
    columns = [(group, name) for group in groups for name in names]
    rows, values = [], []
    for scorer_name, scorer in metrics["scorers"].items():
        parts = scorer["groups"]
        cells = [_figure(parts[g], name, interval=True) for g, name in columns]
        rows.append([scorer_name, *cells])
        values.append([parts[g]["metrics"][name] for g, name in columns])
    return ReportTable(
        "Repeat and novel items",
        ["scorer", *(f"{group} {name}" for group, name in columns)],
        rows,
        _best(values, list(metrics["scorers"])),
    )


def difference_table(metrics: Mapping[str, Any]) -> ReportTable:
    """Builds the table of differences to the first scorer, NDCG of each group."""
    k = main_k(metrics)
    groups = list(metrics["groups"])
    reference = metrics["scorers"][metrics["reference"]]
    rows = []
    for name, scorer in metrics["scorers"].items():
        if name == metrics["reference"]:
            continue
        cells = []
        for group in groups:
            part, other = scorer["groups"][group], reference["groups"][group]
            gap = part["metrics"][f"NDCG@{k}"] - other["metrics"][f"NDCG@{k}"]
            low, high = part["differences"][f"NDCG@{k}"]
            cells.append(f"{gap:+.4f} [{low:+.4f}, {high:+.4f}]")
        rows.append([name, *cells])
    return ReportTable(
        f"Difference to {metrics['reference']}, NDCG@{k}", ["scorer", *groups], rows
    )


def slice_tables(metrics: Mapping[str, Any]) -> list[ReportTable]:
    """Builds one table per kind of slice: NDCG of every scorer in every slice."""
    metric = f"NDCG@{main_k(metrics)}"
    tables = []
    for kind, sizes in metrics["slices"].items():
        parts = [name for name, size in sizes.items() if size]
        values = [
            [scorer["slices"][kind][part][metric] for part in parts]
            for scorer in metrics["scorers"].values()
        ]
        rows = [
            [name, *(f"{value:.4f}" for value in row)]
            for name, row in zip(metrics["scorers"], values, strict=True)
        ]
        headers = [f"{p.replace('_', ' ')} ({sizes[p]:,})" for p in parts]
        tables.append(
            ReportTable(
                _SLICE_TITLES[kind],
                ["scorer", *headers],
                rows,
                _best(values, list(metrics["scorers"])),
            )
        )
    return tables


def _figure(part: Mapping[str, Any], name: str, *, interval: bool) -> str:
    text = f"{part['metrics'][name]:.4f}"
    if not interval:
        return text
    low, high = part["intervals"][name]
    return f"{text} [{low:.4f}, {high:.4f}]"


def _ratio(
    scorer: Mapping[str, Any], oracle: Mapping[str, Any], name: str
) -> float | None:
    reached, possible = scorer["metrics"][name], oracle["metrics"][name]
    return reached / possible if possible else None


def _best(
    values: Sequence[Sequence[float]], names: Sequence[str]
) -> set[tuple[int, int]]:
    """Finds the best cells of each column, the oracle aside; column 0 is the name."""
    rivals = [row for row, name in enumerate(names) if name != ORACLE]
    if len(rivals) < 2:
        return set()
    best = set()
    for column in range(len(values[0])):
        top = max(values[row][column] for row in rivals)
        if top > 0:
            best |= {(r, column + 1) for r in rivals if values[r][column] == top}
    return best
