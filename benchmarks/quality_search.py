"""What the searches of a configuration say: words against history, order, BM25."""

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.quality_tables import column_title, columns, count_wins

_WORDS = "bm25"
_WITHOUT_HISTORY = "{}, without history"
_BY_ORDER = "{}, order search"


def search_verdicts(result: Mapping[str, Any]) -> list[str]:
    """Says whether the reference beats BM25, and itself without the history.

    One beats the other if the paired interval lies above 0 with every seed.

    Args:
        result: That of all runs, with `search`; without it there is nothing to say.
    """
    if "search" not in result:
        return []
    searches = {**result, **result["search"]}
    model = searches["reference"]
    plain, ordered = _WITHOUT_HISTORY.format(model), _BY_ORDER.format(model)
    questions = (
        (_WORDS, f"{model} beats {_WORDS}", count_wins),
        (plain, f"{model} with history beats {plain}", count_wins),
        (ordered, f"{ordered} beats {model} by the default order", _count_losses),
    )
    return [
        _verdict(searches, rival, question, count)
        for rival, question, count in questions
        if rival in searches["differences"]
    ]


def _verdict(
    searches: Mapping[str, Any],
    rival: str,
    question: str,
    count: Callable[[Mapping[str, Any]], int],
) -> str:
    num_seeds, shown = len(searches["seeds"]), columns(searches)
    differences = searches["differences"][rival]
    wins = [(g, m, count(differences[g][m])) for g, m in shown]
    rest = [
        f"{column_title(searches, group, metric)} with {won} of {num_seeds}"
        for group, metric, won in wins
        if won < num_seeds
    ]
    answer = "no" if rest else "yes"
    return (
        f"Searches, {question} with every seed: {answer}, in {len(wins) - len(rest)} "
        f"of {len(wins)} columns" + (f"; {', '.join(rest)}" if rest else "")
    )


def _count_losses(value: Mapping[str, Any]) -> int:
    """Counts the seeds whose interval lies below 0."""
    return sum(high < 0 for _, high in value["intervals"])
