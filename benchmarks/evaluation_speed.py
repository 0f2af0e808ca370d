"""Measures a full-ranking test evaluation, metrics and intervals included.

    python -m benchmarks.evaluation_speed [--size ml-1m|beauty|all] [--json out.json]

Synthetic events of the size of two public sets (leave-one-out, Zipf-like
popularity); the scorer is one matrix product, so that the time is that of ranking,
metrics at k = 1, 5, 10 and 20, coverage, slices and 1,000 bootstrap resamples.
Goals on 2 cores: 20 s for the size of MovieLens-1M, 60 s for that of Beauty.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from tfrec.data.store import TEST, VALIDATION, EventSequences
from tfrec.evaluation.evaluate import evaluate
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.schema import NUM_SPECIAL_INDICES, Schema

SCHEMA = Schema(event_types=("event",), target_event_types=("event",))


class Size(NamedTuple):
    """How large a set is, and how long its evaluation may take."""

    num_users: int
    num_items: int
    num_events: int
    max_seconds: float


SIZES = {
    "ml-1m": Size(6_040, 3_416, 999_611, 20.0),
    "beauty": Size(22_363, 12_101, 198_502, 60.0),
}


class MatmulScorer:
    """Scores with one product of random query and item embeddings."""

    def __init__(self, size: Size, *, embedding_dim: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        shape = (size.num_users, embedding_dim)
        self.name = f"matmul{embedding_dim}"
        self._users = random.standard_normal(shape, np.float32)
        shape = (embedding_dim, size.num_items)
        self._items = random.standard_normal(shape, np.float32)

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Multiplies."""
        return self._users[queries.user_rows[rows]] @ self._items


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark; returns 1 where a goal is missed with `--check`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=[*SIZES, "all"], default="all")
    parser.add_argument("--seed", type=int, default=0, help="of events and scores")
    parser.add_argument("--json", help="file to write the figures to")
    parser.add_argument("--check", action="store_true", help="1 if a goal is missed")
    options = parser.parse_args(argv)
    names = list(SIZES) if options.size == "all" else [options.size]
    results = {name: measure(SIZES[name], seed=options.seed) for name in names}
    show(results)
    if options.json:
        report = {"seed": options.seed, "cores": os.cpu_count(), "sizes": results}
        Path(options.json).write_text(json.dumps(report, indent=2) + "\n")
    is_missed = any(r["seconds"] > r["max_seconds"] for r in results.values())
    return int(options.check and is_missed)


def measure(size: Size, *, seed: int) -> dict[str, Any]:
    """Evaluates one scorer over all users of a set of this size."""
    sequences = simulate_sequences(size, seed=seed)
    scorer = MatmulScorer(size, embedding_dim=64, seed=seed)
    columns = sequences.item_index[sequences.split == 0] - NUM_SPECIAL_INDICES
    train_counts = np.bincount(columns, minlength=size.num_items)
    start = time.perf_counter()
    queries = build_queries(sequences, SCHEMA, split="test", targets="next")
    result = evaluate(
        [scorer], sequences, queries, train_counts=train_counts, exclude_seen=True
    )
    ranked = time.perf_counter()
    metrics = result.to_json()["scorers"][scorer.name]["metrics"]
    end = time.perf_counter()
    return {
        "num_queries": queries.num_queries,
        "num_items": size.num_items,
        "scoring_seconds": result.scorers[scorer.name].seconds,
        "ranking_seconds": ranked - start - result.scorers[scorer.name].seconds,
        "interval_seconds": end - ranked,
        "seconds": end - start,
        "max_seconds": size.max_seconds,
        "HR@10": metrics["HR@10"],
    }


def simulate_sequences(size: Size, *, seed: int) -> EventSequences:
    """Draws events; every user has at least three, the last two are held out."""
    random = np.random.default_rng(seed)
    spare = size.num_events - 3 * size.num_users
    shares = random.dirichlet(np.full(size.num_users, 0.8))
    lengths = 3 + random.multinomial(spare, shares)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    popularity = 1 / np.arange(1, size.num_items + 1) ** 0.8
    items = random.choice(
        size.num_items, size.num_events, p=popularity / popularity.sum()
    )
    split = np.zeros(size.num_events, np.int8)
    split[offsets[1:] - 1] = TEST
    split[offsets[1:] - 2] = VALIDATION
    return EventSequences(
        user_ids=np.array([str(u) for u in range(size.num_users)], object),
        offsets=offsets,
        item_index=(items + NUM_SPECIAL_INDICES).astype(np.int32),
        event_type_index=np.full(size.num_events, NUM_SPECIAL_INDICES, np.int32),
        timestamps=np.zeros(size.num_events, np.int64),
        dwell_seconds=np.zeros(size.num_events, np.float32),
        session_index=np.zeros(size.num_events, np.int32),
        split=split,
        query_text=np.full(size.num_events, "", object),
        context={},
    )


def show(results: dict[str, dict[str, Any]]) -> None:
    """Prints one row per size."""
    table = Table(title=f"Full-ranking evaluation, {os.cpu_count()} cores")
    headers = ("size", "queries", "items", "scoring", "ranking", "intervals")
    for header in (*headers, "total", "goal"):
        table.add_column(header, justify="left" if header == "size" else "right")
    for name, result in results.items():
        table.add_row(
            name,
            f"{result['num_queries']:,}",
            f"{result['num_items']:,}",
            *(
                f"{result[f'{part}seconds']:.2f} s"
                for part in ("scoring_", "ranking_", "interval_", "", "max_")
            ),
        )
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())
