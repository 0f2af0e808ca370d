"""Joins the rounds of the speed benchmark, and says what they show."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.quality_tables import markdown_table
from benchmarks.rivals.turn_server import Turn

MAX_OTHERS_SHARE = 0.05  # Of the machine: above, no goal is decided.
OURS = "tfrec"  # Ids alone, as the rivals: all ratios are to it.
PRODUCT = "product"
_SHARE_GOALS = {1: 0.85}  # Of the product's rate, by blocks; more blocks:
_DEEPER_SHARE_GOAL = 0.6
_ONE_DIGIT_FROM = 10.0  # Ratios below are printed with two.


def summarise(rounds: Sequence[Mapping[str, Turn]]) -> dict[str, Any]:
    """Joins the turns.

    Args:
        rounds: The turns of each; all of the same trainers, and the product.

    Returns:
        `product_gflops`, and per trainer `targets_per_second`, the length of a step,
        and where products are counted `gflops` and `share_of_product`. `speedup` is
        ours over the rival's targets a second. All are medians over rounds with the
        lowest and highest; ratios are formed within a round.
    """
    rates = {name: _rates(rounds, name) for name in rounds[0]}
    product = _gflops(rounds, PRODUCT)
    trainers: dict[str, Any] = {}
    for name in rounds[0]:
        if name == PRODUCT:
            continue
        found = {
            "targets_per_second": _spread(rates[name]),
            "targets_per_step": _mean(rounds, name, "targets"),
            "step_seconds": _mean(rounds, name, "seconds"),
            "steps": sum(one[name].steps for one in rounds),
            "cores_used": _total(rounds, name, "cpu_seconds")
            / _total(rounds, name, "seconds"),
            "targets_per_cpu_second": _total(rounds, name, "targets")
            / _total(rounds, name, "cpu_seconds"),
        }
        if rounds[0][name].flops:
            found["gflops"] = _spread(_gflops(rounds, name))
            found["share_of_product"] = _spread(_gflops(rounds, name) / product)
        trainers[name] = found
    ratios = {n: _spread(rates[OURS] / rates[n]) for n in trainers if n != OURS}
    return {
        "product_gflops": _spread(product),
        "trainers": trainers,
        "speedup": ratios,
        "others_share": _others_share(rounds),
    }


def _others_share(rounds: Sequence[Mapping[str, Turn]]) -> float | None:
    """Returns what others had of the machine, in the turns of whom it met most."""
    shares = []
    for name in rounds[0]:
        of_rounds = [one[name].others_share for one in rounds]
        known = [share for share in of_rounds if share is not None]
        if len(known) < len(of_rounds):
            return None
        shares.append(sum(known) / len(known))
    return max(shares)


def is_idle(result: Mapping[str, Any]) -> bool:
    """Whether nothing else ran to speak of; not known is not idle."""
    share = result["others_share"]
    return share is not None and share <= MAX_OTHERS_SHARE


def _rates(rounds: Sequence[Mapping[str, Turn]], name: str) -> np.ndarray:
    return np.asarray([one[name].targets / one[name].seconds for one in rounds])


def _gflops(rounds: Sequence[Mapping[str, Turn]], name: str) -> np.ndarray:
    return np.asarray([one[name].flops / one[name].seconds / 1e9 for one in rounds])


def _mean(rounds: Sequence[Mapping[str, Turn]], name: str, field: str) -> float:
    """Returns the mean of a step over all turns."""
    return _total(rounds, name, field) / _total(rounds, name, "steps")


def _total(rounds: Sequence[Mapping[str, Turn]], name: str, field: str) -> float:
    return sum(getattr(one[name], field) for one in rounds)


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "median": float(np.median(values)),
        "low": float(values.min()),
        "high": float(values.max()),
    }


def verdicts(result: Mapping[str, Any]) -> list[tuple[str, bool | None]]:
    """Compares with the goals.

    Returns:
        Per goal a line, and whether it is met: a missing rival misses its goal, and
        None says that a busy machine decides nothing.
    """
    idle = is_idle(result)
    lines: list[tuple[str, bool | None]] = []
    for name, goal in result["goals"].items():
        title = result["titles"][name]
        if name in result["missing"]:
            lines.append((f"{title}: not measured, goal at least {goal:g} ×", False))
            continue
        found = result["speedup"][name]["median"]
        line = f"{_times(found)} {title}, goal at least {goal:g} ×"
        lines.append((line, found >= goal if idle else None))
    share = result["trainers"][OURS]["share_of_product"]["median"]
    goal = _SHARE_GOALS.get(result["shapes"]["num_layers"], _DEEPER_SHARE_GOAL)
    line = f"{share:.0%} of the matrix product's rate, goal at least {goal:.0%}"
    return [*lines, (line, share >= goal if idle else None)]


def rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the table."""
    header = [
        "SASRec of",
        "targets/s",
        "range",
        "targets/step",
        "s/step",
        "cores used",
        "tfrec faster",
        "GFLOP/s",
        "of product",
    ]
    found = []
    for name, one in result["trainers"].items():
        rate = one["targets_per_second"]
        speedup = result["speedup"].get(name)
        counted = "gflops" in one
        found.append(
            [
                result["titles"][name],
                f"{rate['median']:,.0f}",
                f"{rate['low']:,.0f}-{rate['high']:,.0f}",
                f"{one['targets_per_step']:,.0f}",
                f"{one['step_seconds']:.3f}",
                f"{one['cores_used']:.1f}",
                _times(speedup["median"]) if speedup else "",
                f"{one['gflops']['median']:,.1f}" if counted else "",
                f"{one['share_of_product']['median']:.0%}" if counted else "",
            ]
        )
    for name in result["missing"]:
        found.append([result["titles"][name], "missing", *[""] * 7])
    return header, found


def markdown(result: Mapping[str, Any]) -> str:
    """Renders the page."""
    lines = [f"# Speed of training, {result['config']}", ""]
    lines += [f"`{result['command']}`", "", describe(result), ""]
    lines += [*markdown_table(*rows(result)), ""]
    lines += [f"- {_verdict(*verdict)}" for verdict in verdicts(result)]
    lines += ["", *[f"- Missing: {text}" for text in result["missing"].values()]]
    lines += ["How targets are counted, and what is alike:", "", *_counting(result)]
    return "\n".join([*lines, "", _describe_run(result), ""])


def describe(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    product, shapes = result["product_gflops"], result["shapes"]
    return (
        f"d={shapes['embedding_dim']}, {shapes['num_layers']} block(s) of "
        f"{shapes['num_heads']} heads, L={shapes['max_history_length']}, exact softmax "
        f"over {result['trainers'][OURS]['num_items']:,} items, "
        f"{shapes['batch_targets']:,} targets a step, fp32, {shapes['num_threads']} "
        f"threads each. {result['rounds']} rounds in which all take turns of at least "
        f"{result['seconds']:g} s; medians, ratios within a round. A product of two "
        f"large fp32 matrices ran at {product['median']:,.1f} GFLOP/s "
        f"({product['low']:,.1f} to {product['high']:,.1f}). {_others(result)}"
    )


def _counting(result: Mapping[str, Any]) -> list[str]:
    shapes = result["shapes"]
    lines = [
        "- A target is a position whose next item enters the loss; padding is none.",
        "- tfrec learns every event of a history, the first from the start token, in "
        "batches of histories of like length. What makes its batches runs in its turn.",
        "- Training steps alone are timed, for all: no validation, no checkpoints, no "
        "logs of an epoch.",
    ]
    if "recbole" in result["trainers"]:
        lines.append(
            "- RecBole makes a row for every event but the first, and learns one "
            f"target from each: {shapes['batch_prefixes']:,} rows a step, as many as "
            "targets or as 4 GB hold."
        )
    if "rectools" in result["trainers"]:
        lines.append(
            "- RecTools learns all positions of the last L + 1 events, "
            f"{shapes['batch_histories']:,} padded histories a step; its logits of "
            "padding cost time and count for nothing. Its feed-forward net is as wide "
            f"as d, not {shapes['feedforward_dim']}: less work than the others do."
        )
    found = result["trainers"].items()
    epochs = ", ".join(
        f"{result['titles'][name]} {one['epoch_targets']:,} over "
        f"{one['num_items']:,} items"
        for name, one in found
    )
    lines.append(f"- Targets of an epoch: {epochs}.")
    lines.append(
        "- GFLOP/s count the products of the softmax and of the transformer, forward "
        "and backward; what else a step does takes time and counts for nothing."
    )
    return lines


def print_tables(result: Mapping[str, Any], console: Console) -> None:
    """Prints the table and what it says."""
    header, found = rows(result)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(header):
        table.add_column(name, justify="right" if place else "left")
    for row in found:
        table.add_row(*map(escape, row))
    console.print(table)
    lines = [_verdict(*verdict) for verdict in verdicts(result)]
    for line in (*lines, describe(result), _describe_run(result)):
        console.print(escape(line), highlight=False)


def _verdict(line: str, is_met: bool | None) -> str:
    if is_met is None:
        return f"{line}: not decided, the machine was not idle"
    return f"{line}: {'met' if is_met else 'missed'}"


def _others(result: Mapping[str, Any]) -> str:
    share = result["others_share"]
    if share is None:
        return "What else ran on the machine cannot be read here."
    if is_idle(result):
        return f"Other processes had {share:.0%} of the machine."
    return (
        f"Other processes had {share:.0%} of the machine (at most "
        f"{MAX_OTHERS_SHARE:.0%} for a verdict): that starves some trainings more than "
        "others. These ratios are no result; run it on an idle machine."
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f} ×" if ratio >= _ONE_DIGIT_FROM else f"{ratio:.2f} ×"


def _describe_run(result: Mapping[str, Any]) -> str:
    commit = str(result["git_commit"])[:12]
    dirty = ", with uncommitted changes" if result["git_dirty"] else ""
    installed = [
        f"{name} {number}"
        for one in result["trainers"].values()
        for name, number in one.get("versions", {}).items()
    ]
    libraries = ", ".join(dict.fromkeys(installed))
    return f"On {result['machine']}; {libraries or 'no rival'}. Commit {commit}{dirty}."
