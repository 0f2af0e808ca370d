"""Measures what can be known of a simulated shop's shoppers, beside a trained run.

    make demo
    python -m benchmarks.observer --run runs/demo --out docs/results/observer.json

The oracle knows what each shopper has in mind, and no model can. The observer of
`benchmarks.observer_filter` knows how shoppers choose, the true probabilities and
tables of the shop, but has to infer intents and tastes from the log. A model has to
learn those, too; so the observer is a bound that can be reached with endless data. The
second table says by the kind of the target where the rest is.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.observer_filter import CART, CLICK, PURCHASE, VIEW
from benchmarks.observer_scorer import ObserverScorer, item_columns
from benchmarks.quality import command_line, write_result
from benchmarks.quality_summary import describe_machine
from benchmarks.quality_tables import markdown_table
from benchmarks.ranking_tables import print_table
from tfrec.data.simulator import Oracle
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.truth import load_demand
from tfrec.data.store import EventSequences
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.evaluation.result import EvaluationResult
from tfrec.quiet import start_tensorflow_quietly
from tfrec.run_record import VERSIONS_FILE
from tfrec.schema import NUM_SPECIAL_INDICES

_PROGRAM = "python -m benchmarks.observer"
_METRICS = ("HR@10", "NDCG@10")
KINDS = {
    "due": "a consumable that is used up",
    "linked": "linked from the newest item",
    "met": "met before",
    "other": "all others",
}


def target_kinds(
    demand: Demand,
    oracle: Oracle,
    sequences: EventSequences,
    queries: EvaluationQueries,
    columns: np.ndarray,
) -> np.ndarray:
    """Returns object `[num_queries]`: of `KINDS`, the first that the target is."""
    rows = np.arange(queries.num_queries)
    due_item = oracle.states_of(sequences, queries, rows).due_item
    kinds = np.full(queries.num_queries, "other", object)
    for row in rows.tolist():
        begin = sequences.offsets[queries.user_rows[row]]
        history = sequences.item_index[begin : queries.history_ends[row]]
        history = columns[history[history >= NUM_SPECIAL_INDICES] - NUM_SPECIAL_INDICES]
        target = queries.positive_items[queries.positive_offsets[row]]
        target = columns[target - NUM_SPECIAL_INDICES]
        if target == due_item[row]:
            kinds[row] = "due"
        elif len(history) and target in demand.related[history[-1]]:
            kinds[row] = "linked"
        elif target in history:
            kinds[row] = "met"
    return kinds


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = _parse(arguments)
    console = Console()
    try:
        result = _measure(options.run, console)
    except (OSError, ValueError) as error:
        print(f"{_PROGRAM}: error: {error}", file=sys.stderr)
        return 1
    result["command"] = command_line(_PROGRAM, arguments)
    write_result(options.out, result, page=_page(result))
    for title, header, rows in _tables(result):
        print_table(title, header, rows, console=console)
    console.print(f"Written: {options.out} and {options.out.with_suffix('.md')}")
    return 0


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        _PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--run",
        type=Path,
        required=True,
        help="Folder of a run on a simulated shop.",
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="JSON to write; a page beside it."
    )
    return parser.parse_args(argv)


def _measure(run: Path, console: Console) -> dict[str, Any]:
    with console.status("Starting TensorFlow"):
        start_tensorflow_quietly()
    from tfrec.evaluation.evaluate import evaluate
    from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
    from tfrec.evaluation.protocols import build_queries
    from tfrec.training.run import load_recommender

    recommender, dataset, config = load_recommender(run)
    truth_dir = config.evaluation.oracle_dir
    if truth_dir is None:
        raise ValueError(
            "The observer needs the truth of a simulated shop. Received: "
            f"`evaluation.oracle_dir` of '{run}' is null. Name a run on a shop of "
            "`python -m tfrec.simulate`, such as `make demo` leaves."
        )
    _check_types(config.experiment_schema.event_types, run)
    sequences = dataset.load_sequences()
    queries = build_queries(
        sequences,
        config.experiment_schema,
        split="test",
        targets=config.evaluation.targets,
    )
    oracle = Oracle(truth_dir, item_ids=dataset.item_vocabulary.tokens)
    scorers = [ObserverScorer(truth_dir, dataset), oracle, RetrievalScorer(recommender)]
    if recommender.ranking is not None:
        scorers.insert(2, PipelineScorer(recommender, exclude_seen=False))
    found = evaluate(
        scorers,
        sequences,
        queries,
        train_counts=dataset.item_vocabulary.counts,
        num_bootstrap=config.evaluation.num_bootstrap,
        seed=config.seed,
    )
    kinds = target_kinds(
        load_demand(truth_dir),
        oracle,
        sequences,
        queries,
        item_columns(truth_dir, dataset),
    )
    return {
        "config": config.name,
        "num_queries": queries.num_queries,
        "scorers": {name: _figures(found, name) for name in found.scorers},
        "kinds": {
            kind: {
                "queries": int((kinds == kind).sum()),
                **{
                    name: _mean(found.query_values(name, "NDCG@10")[kinds == kind])
                    for name in found.scorers
                },
            }
            for kind in KINDS
        },
        "versions": json.loads((run / VERSIONS_FILE).read_text(encoding="utf-8")),
    }


def _check_types(event_types: Sequence[str], run: Path) -> None:
    missing = [t for t in (VIEW, CLICK, CART, PURCHASE) if t not in event_types]
    if missing:
        raise ValueError(
            "The observer reads views, clicks, carts and purchases. Received: the run "
            f"in '{run}' knows {list(event_types)}, without {missing}."
        )


def _figures(found: EvaluationResult, name: str) -> dict[str, float]:
    return {metric: found.mean(name, metric) for metric in _METRICS}


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _tables(result: Mapping[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Returns title, header and rows of each table."""
    scorers = result["scorers"]
    best = scorers["oracle"]["NDCG@10"]
    rows = [
        [
            name,
            *(f"{values[m]:.4f}" for m in _METRICS),
            f"{values['NDCG@10'] / best:.1%}",
        ]
        for name, values in scorers.items()
    ]
    by_kind = [
        [KINDS[kind], f"{values['queries']:,}", *(_text(values[n]) for n in scorers)]
        for kind, values in result["kinds"].items()
    ]
    return [
        ("All targets", ["scorer", *_METRICS, "of the oracle"], rows),
        (
            "NDCG@10 by the kind of the target",
            ["target", "queries", *scorers],
            by_kind,
        ),
    ]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _page(result: Mapping[str, Any]) -> str:
    lines = [
        f"# What can be known: {result['config']}",
        "",
        f"`{result['command']}`",
        "",
        f"{result['num_queries']:,} queries of the test split, full ranking, ties "
        "against the scorer. The oracle knows what each shopper has in mind; the "
        "observer knows how shoppers choose, and infers the rest from the log.",
    ]
    for title, header, rows in _tables(result):
        lines += ["", f"**{title}**", "", *markdown_table(header, rows)]
    return "\n".join([*lines, "", describe_machine([result["versions"]]), ""])


if __name__ == "__main__":
    sys.exit(main())
