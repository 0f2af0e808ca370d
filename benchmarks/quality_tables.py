"""Rows of the tables of a configuration over seeds, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

MODELS = ("ranking", "retrieval")
ORACLE = "oracle"
_GROUPS = ("all", "novel", "repeat")


def columns(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns group and metric of each column.

    Recall and NDCG at 20 for windows, HR and NDCG at 10 for one positive, or at the
    longest list that was evaluated. Where history items are left out, all positives
    that can be met are novel, and one group says everything.
    """
    protocol = result["protocol"]
    window = protocol["targets"] == "window"
    wanted = 20 if window else 10
    k = wanted if wanted in protocol["k"] else max(protocol["k"])
    names = (f"Recall@{k}" if window else f"HR@{k}", f"NDCG@{k}")
    found = next(iter(result["scorers"].values()))
    groups = ["all"] if protocol["exclude_seen"] else [g for g in _GROUPS if g in found]
    return [(group, name) for group in groups for name in names]


def score_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of all scorers, models first."""
    header = ["scorer", *(column_title(result, *column) for column in columns(result))]
    several = len(result["seeds"]) > 1
    rows = [
        [
            name,
            *(
                score_text(groups[group][metric], varies=several and _is_model(name))
                for group, metric in columns(result)
            ),
        ]
        for name, groups in result["scorers"].items()
    ]
    return header, rows


def _is_model(name: str) -> bool:
    """Whether a scorer is a model, such as `ranking` or `ranking, without history`."""
    return name.split(",")[0] in MODELS


def difference_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows of the reference minus each other scorer."""
    header = [f"{result['reference']} −", *score_rows(result)[0][1:]]
    rows = []
    for name, groups in result["differences"].items():
        cells = [groups[group][metric] for group, metric in columns(result)]
        rows.append([name, *map(difference_text, cells)])
    return header, rows


def verdicts(result: Mapping[str, Any]) -> list[str]:
    """Says per column which baselines the reference beats.

    It beats a baseline if the paired interval lies above 0 with every seed; where it
    does so with some seeds only, or with none, that is said.
    """
    lines = []
    num_seeds = len(result["seeds"])
    rivals = [n for n in result["differences"] if n not in (*MODELS, ORACLE)]
    for group, metric in columns(result):
        wins = {n: count_wins(result["differences"][n][group][metric]) for n in rivals}
        rest = [
            f"{n} with {w} of {num_seeds}" for n, w in wins.items() if w < num_seeds
        ]
        lines.append(
            f"{column_title(result, group, metric)}: {result['reference']} beats "
            f"{len(rivals) - len(rest)} of {len(rivals)} baselines with every seed"
            + (f"; {', '.join(rest)}" if rest else "")
        )
    return [*lines, *_gains(result, rivals), *_oracle_shares(result)]


def _gains(result: Mapping[str, Any], rivals: Sequence[str]) -> list[str]:
    """Compares every model with the best baseline of each column."""
    lines = []
    for group, metric in columns(result) if rivals else ():
        means = {n: s[group][metric]["mean"] for n, s in result["scorers"].items()}
        best = max(rivals, key=lambda name: means[name])
        for model in (m for m in MODELS if m in means):
            title = column_title(result, group, metric)
            lines.append(
                f"{title}: {model} {means[model]:.4f}, best baseline {best} "
                f"{means[best]:.4f}"
                + (f", {means[model] / means[best] - 1:+.1%}" if means[best] else "")
            )
    return lines


def _oracle_shares(result: Mapping[str, Any]) -> list[str]:
    if ORACLE not in result["scorers"]:
        return []
    lines = []
    for group, metric in columns(result):
        means = {n: s[group][metric]["mean"] for n, s in result["scorers"].items()}
        if means[ORACLE]:
            shares = [
                f"{m} {means[m] / means[ORACLE]:.0%}" for m in MODELS if m in means
            ]
            title = column_title(result, group, metric)
            lines.append(f"{title}, share of the oracle's: {', '.join(shares)}")
    return lines


def describe_protocol(result: Mapping[str, Any]) -> str:
    """Returns the sentences without which the figures mean nothing."""
    protocol = result["protocol"]
    given = protocol["split"]
    kept = {k: v for k, v in given.items() if k == "protocol" or _is_by_time(given)}
    split = ", ".join(f"{name} {value}" for name, value in kept.items())
    seen = "removed" if protocol["exclude_seen"] else "kept"
    return (
        f"Split: {split}; targets {protocol['targets']} of the {protocol['evaluated']} "
        f"split. {protocol['ranking'].capitalize()} ranking of "
        f"{protocol['num_items']:,} items, {protocol['num_queries']:,} queries, ties "
        f"{protocol['ties']} the scorer, history items {seen}. Seeds "
        f"{result['seeds']}: models as mean ± standard deviation over seeds; in "
        f"brackets the {protocol['confidence']:.0%} bootstrap interval over users "
        f"({protocol['num_bootstrap']:,} resamples), its limits averaged over seeds."
        + (f" Times: {protocol['times']}." if "times" in protocol else "")
        + "".join(
            f" `{name}` is left out: {reason}."
            for name, reason in protocol.get("skipped", {}).items()
        )
    )


def _is_by_time(split: Mapping[str, Any]) -> bool:
    """Whether the days of a split are used."""
    return split["protocol"] == "by_time"


def column_title(result: Mapping[str, Any], group: str, metric: str) -> str:
    """Returns the header of a column; the group is left out where there is one."""
    return metric if result["protocol"]["exclude_seen"] else f"{group} {metric}"


def score_text(value: Mapping[str, Any], *, varies: bool) -> str:
    """Writes a mean with its interval and, where it varies, its deviation."""
    low, high = _bounds(value)
    spread = f" ± {value['sd']:.4f}" if varies else ""
    return f"{value['mean']:.4f}{spread} [{low:.4f}, {high:.4f}]"


def difference_text(value: Mapping[str, Any]) -> str:
    """Writes a difference, its interval, and how many seeds are sure of its sign."""
    low, high = _bounds(value)
    text = f"{value['mean']:+.4f} [{low:+.4f}, {high:+.4f}]"
    text += f" {count_wins(value)}/{len(value['intervals'])}"
    losses = count_losses(value)
    return f"{text}, {losses} below" if losses else text


def _bounds(value: Mapping[str, Any]) -> tuple[float, float]:
    """Averages the limits over seeds: one seed's need not hold the seeds' mean."""
    lows, highs = zip(*value["intervals"], strict=True)
    return sum(lows) / len(lows), sum(highs) / len(highs)


def count_wins(value: Mapping[str, Any]) -> int:
    """Counts the seeds whose interval lies above 0."""
    return sum(low > 0 for low, _ in value["intervals"])


def count_losses(value: Mapping[str, Any]) -> int:
    """Counts the seeds whose interval lies below 0."""
    return sum(high < 0 for _, high in value["intervals"])


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table, words left and figures right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return [f"| {' | '.join(line)} |" for line in lines]
