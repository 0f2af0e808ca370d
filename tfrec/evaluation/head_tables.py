"""The tables of the heads: order, and calibration before and after."""

from collections.abc import Mapping
from typing import Any

from tfrec.evaluation.tables import ReportTable

_ORDER = ("AUC", "GAUC", "NDCG", "MAP")


def head_table(heads: Mapping[str, Any]) -> ReportTable:
    """Builds the table of all heads.

    Args:
        heads: `heads` of `metrics.json`.
    """
    has_truth = any(
        "ECE_truth" in h.get("metrics", {}) for h in heads["heads"].values()
    )
    headers = [
        "head",
        "of",
        "events",
        *_ORDER,
        "log loss",
        "ECE",
        "predicted / real",
        "ECE by chance",
    ]
    headers += ["ECE to truth"] if has_truth else []
    rows = []
    for name, head in heads["heads"].items():
        about = f"{head['population']}, {head['calibrator']}"
        rows.append([name, about, *_cells(head, has_truth=has_truth)])
    return ReportTable("Heads", headers, rows)


def brief_head_table(heads: Mapping[str, Any]) -> ReportTable:
    """Builds a table of 80 columns for a terminal: no intervals, one figure a cell."""
    columns = {
        "AUC": ("AUC", 3),
        "GAUC": ("GAUC", 3),
        "NDCG": ("NDCG", 3),
        "log loss": ("log_loss", 4),
        "ECE": ("ECE", 4),
        "bias": ("ratio", 2),
    }
    rows = []
    for name, head in heads["heads"].items():
        metrics = head.get("metrics", {})
        cells = [_figure(metrics, {}, n, places=p) for n, p in columns.values()]
        rows.append([name, f"{head.get('num_events', 0):,}", *cells])
    title = f"Heads on {heads['split']} (bias: predicted / real events)"
    return ReportTable(title, ["head", "events", *columns], rows)


def head_slice_tables(heads: Mapping[str, Any]) -> list[ReportTable]:
    """Builds one table per head: a row a slice."""
    tables = []
    for name, head in heads["heads"].items():
        has_truth = "ECE_truth" in head.get("metrics", {})
        headers = [
            "slice",
            "events",
            *_ORDER,
            "log loss",
            "ECE",
            "predicted / real",
            "ECE by chance",
        ]
        headers += ["ECE to truth"] if has_truth else []
        rows = [
            [f"{kind} {part}", *_cells(values, has_truth=has_truth)]
            for kind, parts in head.get("slices", {}).items()
            for part, values in parts.items()
        ]
        if rows:
            tables.append(ReportTable(f"Head {name}", headers, rows))
    return tables


def describe_heads(heads: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    return (
        f"Retrieved: the best {heads['num_retrieved']:,} candidates of every request "
        "before a target event of the split, whether its item is among them or not. "
        "Shown: the lists of the log. AUC over all candidates; GAUC, NDCG and MAP "
        "within lists, in all places. Log loss, ECE (expected calibration error, "
        f"{heads['num_bins']} bins of equal mass) and the ratio of predicted to real "
        "events are those of served probabilities, behind the arrow; in front of it "
        "before calibration. Brackets: "
        f"{heads['confidence']:.0%} bootstrap interval over users "
        f"({heads['num_bootstrap']:,} resamples, seed {heads['seed']}); that of ECE "
        "lies high, since resampling adds noise. By chance: the ECE that a head which "
        "is right would have among so few events."
    )


def _cells(part: Mapping[str, Any], *, has_truth: bool) -> list[str]:
    if "metrics" not in part:
        return ["none", *["–"] * (len(_ORDER) + 4 + has_truth)]
    metrics, intervals = part["metrics"], part["intervals"]
    cells = [f"{part['num_events']:,} in {part['num_candidates']:,}"]
    cells += [_figure(metrics, intervals, name) for name in _ORDER]
    for name, places in (("log_loss", 5), ("ECE", 5), ("ratio", 2)):
        before = metrics.get(f"{name}_uncalibrated")
        after = _figure(metrics, intervals, name, places=places)
        cells.append(after if before is None else f"{before:.{places}f} → {after}")
    cells.append(_figure(metrics, {}, "ECE_noise", places=5))
    if has_truth:
        cells.append(_figure(metrics, intervals, "ECE_truth", places=5))
    return cells


def _figure(
    metrics: Mapping[str, float],
    intervals: Mapping[str, tuple[float, float]],
    name: str,
    *,
    places: int = 4,
) -> str:
    if name not in metrics:
        return "–"
    text = f"{metrics[name]:.{places}f}"
    if name not in intervals:
        return text
    low, high = intervals[name]
    return f"{text} [{low:.{places}f}, {high:.{places}f}]"
