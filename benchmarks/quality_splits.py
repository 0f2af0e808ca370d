"""Joins the results of one configuration under several splits on one page."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.quality_page import markdown_body
from benchmarks.quality_tables import columns, markdown_table

_COMPARED = (
    "The same configuration under each split. Figures of different splits are of other "
    "questions and are not compared as such; the order of the scorers is."
)


def splits_result(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Returns what is written as JSON: the result of each split by its name."""
    return {
        "config": results[0]["config"],
        "command": results[0]["command"],
        "splits": {_split(result): dict(result) for result in results},
    }


def splits_markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """Renders the page: the splits beside one another, then each by itself."""
    lines = [f"# {results[0]['config']}", "", f"`{results[0]['command']}`", ""]
    if len(results) > 1:
        lines += [_COMPARED, "", *markdown_table(*compared_rows(results)), ""]
    for result in results:
        lines += [f"## {_split(result)}", "", *markdown_body(result)]
    return "\n".join(lines)


def compared_rows(
    results: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[list[str]]]:
    """Returns header and rows: of every scorer NDCG and place, by split."""
    header = ["scorer"]
    rows = {name: [name] for result in results for name in result["scorers"]}
    for result in results:
        group, metric = next(c for c in columns(result) if c[1].startswith("NDCG"))
        header += [f"{_split(result)} {metric}", "place"]
        means = {n: s[group][metric]["mean"] for n, s in result["scorers"].items()}
        for name, row in rows.items():
            if name not in means:  # A baseline without the data that it needs.
                row += ["–", "–"]
                continue
            place = 1 + sum(mean > means[name] for mean in means.values())
            row += [f"{means[name]:.4f}", str(place)]
    return header, list(rows.values())


def _split(result: Mapping[str, Any]) -> str:
    return result["protocol"]["split"]["protocol"]
