"""Joins the seeds of the cold-item benchmark, and says what they show."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.cold_measure import COLD_METRIC, METRICS, WARM_METRIC
from benchmarks.quality_summary import describe_machine, over_seeds
from benchmarks.quality_tables import markdown_table
from tfrec.config import ExperimentConfig

MIN_COLD = 0.115  # HR@10 on cold targets; one positive, so Recall@10 is the same.
MIN_WARM_RATIO = 0.98  # Warm NDCG@10, to that of the run that saw everything.
_NOT_MEASURED = "not measured (give --full_run)"


def summarise(
    config: ExperimentConfig,
    seeds: Sequence[Mapping[str, Any]],
    *,
    share: float,
    num_cold: int,
) -> dict[str, Any]:
    """Joins what `measure_seed` found.

    Returns:
        `groups`: per group, scorer and metric mean, standard deviation and the
        interval of every seed; `ratios` alike per model, empty without full runs.
    """
    first = seeds[0]
    versions = [seed["versions"] for seed in seeds]
    same = ("exclude_seen", "keep_cold_history", "num_items", "num_queries")
    return {
        "config": config.name,
        "protocol": {
            "share": share,
            "num_cold": num_cold,
            "confidence": first["confidence"],
            "num_bootstrap": first["num_bootstrap"],
            **{name: first[name] for name in same},
        },
        "seeds": [seed["seed"] for seed in seeds],
        "models": first["models"],
        "groups": {
            group: {
                name: {
                    metric: _joined([s["groups"][group][name][metric] for s in seeds])
                    for metric in METRICS
                }
                for name in scorers
            }
            for group, scorers in first["groups"].items()
        },
        "ratios": {
            name: _joined([seed["ratios"][name] for seed in seeds])
            for name in first.get("ratios", {})
        },
        "machine": describe_machine(versions),
        "git_commits": sorted({str(v.get("git_commit")) for v in versions}),
        "git_dirty": any(v.get("git_dirty") for v in versions),
    }


def _joined(figures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return over_seeds([f["mean"] for f in figures], [f["interval"] for f in figures])


def verdicts(result: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Compares the best model with the goals; True where one is met.

    Without full runs the warm goal is not measured, which does not meet it.
    """
    cold = {
        n: result["groups"]["cold"][n][COLD_METRIC]["mean"] for n in result["models"]
    }
    best = max(cold, key=lambda name: cold[name])
    warm = f"Warm {WARM_METRIC}, {best}"
    goal = f"goal at least {MIN_WARM_RATIO} of the full run's"
    ratio = result["ratios"].get(best, {}).get("mean")
    return [
        (
            f"Cold {COLD_METRIC}: {best} {cold[best]:.4f}, goal at least {MIN_COLD}",
            cold[best] >= MIN_COLD,
        ),
        (f"{warm}: {goal}, {_NOT_MEASURED}", False)
        if ratio is None
        else (f"{warm}: {ratio:.4f}, {goal}", ratio >= MIN_WARM_RATIO),
    ]


def rows_of(result: Mapping[str, Any], group: str) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of one group."""
    several = len(result["seeds"]) > 1
    rows = [
        [name, *(_figure(figures[metric], several=several) for metric in METRICS)]
        for name, figures in result["groups"][group].items()
    ]
    return [f"{group} targets", *METRICS], rows


def ratio_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the ratios to the full run."""
    several = len(result["seeds"]) > 1
    rows = [[n, _figure(f, several=several)] for n, f in result["ratios"].items()]
    return ["warm targets", f"{WARM_METRIC} / full run's"], rows


def tables(result: Mapping[str, Any]) -> list[tuple[list[str], list[list[str]]]]:
    """Returns all tables that have rows."""
    found = [rows_of(result, group) for group in result["groups"]]
    return [*found, *([ratio_rows(result)] if result["ratios"] else [])]


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = [f"# {result['config']}", "", f"`{result['command']}`", ""]
    lines += [describe(result), ""]
    for header, rows in tables(result):
        lines += [*markdown_table(header, rows), ""]
    lines += [f"- {_verdict(*verdict)}" for verdict in verdicts(result)]
    return "\n".join([*lines, "", _describe_runs(result), ""])


def describe(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    protocol = result["protocol"]
    queries = ", ".join(f"{n:,} {g}" for g, n in protocol["num_queries"].items())
    kept = "earlier events" if protocol["keep_cold_history"] else "earlier warm events"
    seen = "removed" if protocol["exclude_seen"] else "kept"
    return (
        f"Cold are {protocol['num_cold']:,} items, the {protocol['share']:.0%} whose "
        "SHA-256 of the id sorts last; training and validation saw no event of theirs. "
        f"Every user's last event is the target ({queries}), the history is their "
        f"{kept}. Full ranking of {protocol['num_items']:,} items, ties against the "
        f"scorer, history items {seen}. Seeds {result['seeds']}: mean ± standard "
        f"deviation; in brackets the {protocol['confidence']:.0%} bootstrap interval "
        f"over users ({protocol['num_bootstrap']:,} resamples), its limits averaged "
        "over seeds. Ratios are paired by user."
    )


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the tables and what they say."""
    for header, rows in tables(result):
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for place, name in enumerate(header):
            table.add_column(name, justify="right" if place else "left")
        for row in rows:
            table.add_row(*map(escape, row))
        console.print(table)
    lines = [_verdict(*verdict) for verdict in verdicts(result)]
    for line in (*lines, describe(result), _describe_runs(result)):
        console.print(escape(line), highlight=False)


def _verdict(line: str, is_met: bool) -> str:
    if line.endswith(_NOT_MEASURED):
        return line
    return f"{line}: {'met' if is_met else 'missed'}"


def _describe_runs(result: Mapping[str, Any]) -> str:
    commits = ", ".join(commit[:12] for commit in result["git_commits"])
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    return f"On {result['machine']} (shared). Commit {commits}{dirty}."


def _figure(value: Mapping[str, Any], *, several: bool) -> str:
    lows, highs = zip(*value["intervals"], strict=True)
    low, high = sum(lows) / len(lows), sum(highs) / len(highs)
    spread = f" ± {value['sd']:.4f}" if several else ""
    return f"{value['mean']:.4f}{spread} [{low:.4f}, {high:.4f}]"
