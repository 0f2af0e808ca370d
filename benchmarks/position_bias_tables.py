"""Joins the seeds of the position bias benchmark, and says what they show."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from benchmarks.click_measure import RETRIEVED, SHOWN
from benchmarks.position_bias_measure import MODELS, UNBIASED, SeedFigures
from benchmarks.quality_summary import describe_machine, over_seeds
from benchmarks.quality_tables import markdown_table, score_text
from benchmarks.ranking_tables import print_table
from tfrec.config import ExperimentConfig
from tfrec.evaluation.intervals import bootstrap_means, percentile_intervals
from tfrec.evaluation.result import CONFIDENCE

MIN_ORDER_SHARE, MIN_REVENUE_SHARE = 0.95, 0.98
_LOG, _OBSERVER = "retrieval order", "observer"
_COLUMNS = (
    "order",
    "of unbiased",
    "revenue of best",
    "of observer",
    "predicted / true clicks",
)
_ORDERS = {
    "popularity": "shows popular items first",
    "random": "shows the items of a list in an order drawn by chance",
}
Ratio = tuple[np.ndarray, np.ndarray]  # Values and what they are divided by, per list.


def summarise(
    config: ExperimentConfig, seeds: Sequence[SeedFigures], *, list_order: str
) -> dict[str, Any]:
    """Joins what `measure_seed` found.

    Args:
        config: Of the models.
        seeds: What was found, seed by seed.
        list_order: Of the shop, see `SimulatorConfig`.

    Returns:
        `kinds`: per kind of candidates, model and column mean, deviation and the
        bootstrap interval over shoppers of every seed. All are ratios of sums over
        lists.
    """
    versions = [figures.versions for figures in seeds]
    kinds = {
        kind: {
            name: {
                column: _joined(seeds, lambda f, r=ratio: r(f.values))
                for column, ratio in _ratios(kind, name).items()
            }
            for name in (*MODELS, _LOG, _OBSERVER)
        }
        for kind in (SHOWN, RETRIEVED)
    }
    return {
        "config": config.name,
        "list_order": list_order,
        "seeds": [figures.seed for figures in seeds],
        "num_lists": len(seeds[0].user_ids),
        "num_users": len(set(seeds[0].user_ids)),
        "num_bootstrap": seeds[0].num_bootstrap,
        "confidence": CONFIDENCE,
        "kinds": kinds,
        "machine": describe_machine(versions),
        "git_commits": sorted({str(v.get("git_commit")) for v in versions}),
        "git_dirty": any(v.get("git_dirty") for v in versions),
    }


def _ratios(
    kind: str, name: str
) -> dict[str, Callable[[Mapping[str, Mapping[str, np.ndarray]]], Ratio]]:
    """Returns what is divided by what, from the values of all models."""
    if name == _LOG:
        return {
            "order": lambda v: _mean(v[UNBIASED][f"{kind}_retrieval_order"]),
            "of unbiased": lambda v: (
                v[UNBIASED][f"{kind}_retrieval_order"],
                v[UNBIASED][f"{kind}_order"],
            ),
        }
    # The observer was measured beside the first model.
    source, prefix = (name, kind)
    if name == _OBSERVER:
        source, prefix = UNBIASED, f"{kind}_observer"
    return {
        "order": lambda v: _mean(v[source][f"{prefix}_order"]),
        "of unbiased": lambda v: (
            v[source][f"{prefix}_order"],
            v[UNBIASED][f"{kind}_order"],
        ),
        "revenue of best": lambda v: (
            v[source][f"{prefix}_revenue"],
            v[source][f"{kind}_best"],
        ),
        "of observer": lambda v: (
            v[source][f"{prefix}_revenue"],
            v[UNBIASED][f"{kind}_observer_revenue"],
        ),
        "predicted / true clicks": lambda v: (
            v[source][f"{prefix}_clicks"],
            v[source][f"{kind}_true_clicks"],
        ),
    }


def _mean(values: np.ndarray) -> Ratio:
    return values, np.ones_like(values)


def _joined(
    seeds: Sequence[SeedFigures], ratio: Callable[[SeedFigures], Ratio]
) -> dict[str, Any]:
    means, intervals = [], []
    for figures in seeds:
        above, below = ratio(figures)
        _, user = np.unique(figures.user_ids.astype(str), return_inverse=True)
        sums = np.stack([np.bincount(user, above), np.bincount(user, below)], axis=1)
        drawn = bootstrap_means(
            sums, num_bootstrap=figures.num_bootstrap, seed=figures.seed
        )
        low, high = percentile_intervals(drawn[:, :1] / drawn[:, 1:])
        means.append(float(above.sum() / below.sum()))
        intervals.append([float(low[0]), float(high[0])])
    return over_seeds(means, intervals)


def rows_of(result: Mapping[str, Any], kind: str) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of one kind of candidates."""
    several = len(result["seeds"]) > 1
    rows = [
        [
            name,
            *(
                score_text(figures[column], varies=several) if column in figures else ""
                for column in _COLUMNS
            ),
        ]
        for name, figures in result["kinds"][kind].items()
    ]
    return [f"{kind} items, trained on", *_COLUMNS], rows


def verdicts(result: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """Compares with the goals, by kind of candidates; True where one is met."""
    return [line for kind in result["kinds"] for line in _of_kind(result, kind)]


def _of_kind(result: Mapping[str, Any], kind: str) -> list[tuple[str, bool]]:
    found = result["kinds"][kind]
    # Where places are drawn, lists may be taken as they are.
    judged = MODELS[2:] if result["list_order"] == "popularity" else MODELS[1:]
    lines = []
    for name in judged:
        share = found[name]["of unbiased"]["mean"]
        lines.append(
            (
                f"{kind} items, position_bias={name}: {share:.1%} of the order that "
                f"unbiased lists teach, goal at least {MIN_ORDER_SHARE:.0%}",
                share >= MIN_ORDER_SHARE,
            )
        )
    for name in judged:
        share = found[name]["of observer"]["mean"]
        best = found[name]["revenue of best"]["mean"]
        lines.append(
            (
                f"{kind} items, ads, position_bias={name}: {share:.1%} of the expected "
                f"revenue of the observer ({best:.1%} of that of the truth), goal at "
                f"least {MIN_REVENUE_SHARE:.0%}",
                share >= MIN_REVENUE_SHARE,
            )
        )
    return lines


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = ["# Position bias and ads revenue", "", f"`{result['command']}`", ""]
    lines += [f"- {_verdict(*verdict)}" for verdict in verdicts(result)]
    lines += ["", describe(result), ""]
    for kind in result["kinds"]:
        lines += [*markdown_table(*rows_of(result, kind)), ""]
    return "\n".join([*lines, _describe_runs(result), ""])


def describe(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    return (
        f"{result['num_lists']:,} lists of {result['num_users']:,} shoppers in the "
        f"test week of a simulated shop that {_ORDERS[result['list_order']]}. "
        "`shown`: their items; `retrieved`: the candidates of retrieval then. `order`: "
        "NDCG@10 of the order by click probability, true interest as gain. `revenue "
        "of best`: expected revenue of ten places in the order `ads`, over that of "
        "true probabilities times bids. The truth knows what the shopper has in mind, "
        "which no history tells in full: 100 % is a bound, not within reach. The "
        "`observer` knows how shoppers choose, and infers from the same history what "
        "they have in mind: `of observer` is revenue over that of its order. "
        "`predicted / true clicks` of items once seen. Ratios of sums over lists, "
        f"seeds {result['seeds']}: mean ± standard deviation; in brackets the "
        f"{result['confidence']:.0%} bootstrap interval over shoppers "
        f"({result['num_bootstrap']:,} resamples), its limits averaged over seeds."
    )


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the tables and what they say."""
    for kind in result["kinds"]:
        print_table(result["config"], *rows_of(result, kind), console=console)
    lines = [_verdict(*verdict) for verdict in verdicts(result)]
    for line in (*lines, describe(result), _describe_runs(result)):
        console.print(escape(line), highlight=False)


def _verdict(line: str, is_met: bool) -> str:
    return f"{line}: {'met' if is_met else 'missed'}"


def _describe_runs(result: Mapping[str, Any]) -> str:
    commits = ", ".join(commit[:12] for commit in result["git_commits"])
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    return f"On {result['machine']} (shared). Commit {commits}{dirty}."
