"""The heads of a configuration over seeds: order, calibration, and the goal of it."""

from collections.abc import Mapping
from typing import Any

MAX_CALIBRATION_ERROR = 0.01  # ECE of every head, with every seed.
# Header, metric, decimal places.
_COLUMNS = (
    ("AUC", "AUC", 4),
    ("GAUC", "GAUC", 4),
    ("NDCG", "NDCG", 4),
    ("MAP", "MAP", 4),
    ("log loss", "log_loss", 5),
    ("ECE before calibration", "ECE_uncalibrated", 5),
    ("ECE", "ECE", 5),
    ("ECE by chance", "ECE_noise", 5),
    ("predicted / real", "ratio", 2),
)
_TRUTH = ("ECE to truth", "ECE_truth", 5)


def head_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of all heads."""
    heads = result["heads"]["heads"]
    has_truth = any(_TRUTH[1] in head["metrics"] for head in heads.values())
    shown = (*_COLUMNS, _TRUTH) if has_truth else _COLUMNS
    several = len(result["seeds"]) > 1
    rows = []
    for name, head in heads.items():
        about = f"{head['population']}, {' or '.join(head['calibrators'])}"
        cells = [
            _figure(head["metrics"].get(metric), places=places, varies=several)
            for _, metric, places in shown
        ]
        rows.append([name, about, _counts(head), *cells])
    return ["head", "of", "events", *(header for header, _, _ in shown)], rows


def head_verdicts(result: Mapping[str, Any]) -> list[str]:
    """Compares the calibration error of every head with the goal; none without heads.

    It is met if the error of every head is below it with every seed.
    """
    if "heads" not in result:
        return []
    errors = {n: h["metrics"].get("ECE") for n, h in result["heads"]["heads"].items()}
    goal = f"Calibration error (ECE) of every head, goal under {MAX_CALIBRATION_ERROR}"
    missing = [name for name, error in errors.items() if error is None]
    found = {name: error for name, error in errors.items() if error is not None}
    above = [n for n, error in found.items() if error["max"] >= MAX_CALIBRATION_ERROR]
    if missing and not above:
        return [f"{goal}: not decided, no figure of {', '.join(missing)}"]
    worst = max(found, key=lambda name: found[name]["max"])
    figures = (
        f"the largest is that of {worst}, {found[worst]['mean']:.5f}, with its worst "
        f"seed {found[worst]['max']:.5f}"
    )
    if above:
        return [f"{goal}: missed by {', '.join(above)}; {figures}"]
    return [f"{goal}: met; {figures}"]


def describe_heads(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    heads = result["heads"]
    return (
        f"On {heads['split']}, of served probabilities. Retrieved: the best "
        f"{heads['num_retrieved']:,} candidates of every request before a target "
        "event; shown: the lists of the log. AUC over all candidates; GAUC, NDCG and "
        f"MAP within lists. ECE: expected calibration error, {heads['num_bins']} bins "
        "of equal mass; by chance: that of a head that is right among so few events. "
        "Of a rare event ECE is small whatever the head says: predicted / real tells "
        f"it. In brackets the {heads['confidence']:.0%} bootstrap interval over users "
        f"({heads['num_bootstrap']:,} resamples), its limits averaged over seeds; that "
        "of ECE lies high, since resampling adds noise."
    )


def _counts(head: Mapping[str, Any]) -> str:
    """Writes events and candidates, averaged over seeds: candidates are a model's."""
    events, candidates = (
        sum(head[name]) / len(head[name]) for name in ("num_events", "num_candidates")
    )
    return f"{events:,.0f} in {candidates:,.0f}" if candidates else "none"


def _figure(value: Mapping[str, Any] | None, *, places: int, varies: bool) -> str:
    """Writes a mean with its deviation, where it varies, and its interval, if any."""
    if value is None:
        return "–"
    text = f"{value['mean']:.{places}f}"
    if varies:
        text += f" ± {value['sd']:.{places}f}"
    if not value["intervals"]:
        return text
    low, high = (
        sum(limits) / len(limits) for limits in zip(*value["intervals"], strict=True)
    )
    return f"{text} [{low:.{places}f}, {high:.{places}f}]"
