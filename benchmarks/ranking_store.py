"""What a row of the ranking table reached, query by query, on disk."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfrec.evaluation.result import CONFIDENCE, EvaluationResult
from tfrec.run_record import VERSIONS_FILE, write_json

RESULT_FILE = "result.json"
VALUES_FILE = "values.npz"


@dataclass(frozen=True)
class StoredRow:
    """A finished row of one seed.

    Attributes:
        protocol: How it was evaluated.
        metric_names: Columns of the values.
        values: Per group float64 `[num_queries, num_metrics]`, NaN for queries
            without a positive in the group.
        seconds: Of training.
        details: Further figures, such as `validation`.
        versions: What it was made with.
    """

    protocol: Mapping[str, Any]
    metric_names: tuple[str, ...]
    values: Mapping[str, np.ndarray]
    seconds: float
    details: Mapping[str, Any]
    versions: Mapping[str, Any]

    def column(self, group: str, metric: str) -> np.ndarray:
        """Returns float64 `[num_queries]`."""
        return self.values[group][:, self.metric_names.index(metric)]


def is_done(path: Path) -> bool:
    """Whether the row was measured to its end: the result is written last."""
    return (path / RESULT_FILE).is_file()


def store_result(
    path: Path,
    result: EvaluationResult,
    *,
    seconds: float,
    details: Mapping[str, Any],
) -> None:
    """Writes what the one scorer of a result got."""
    (scorer,) = result.scorers.values()
    np.savez_compressed(path / VALUES_FILE, **dict[str, Any](scorer.groups))
    protocol = {
        "ranking": "full",
        "ties": "against",
        "evaluated": result.split,
        "targets": result.targets,
        "exclude_seen": result.exclude_seen,
        "k": list(result.ks),
        "num_queries": result.num_queries,
        "num_items": result.num_items,
        "num_bootstrap": result.num_bootstrap,
        "confidence": CONFIDENCE,
    }
    write_json(
        path / RESULT_FILE,
        {
            "protocol": protocol,
            "metric_names": list(result.metric_names),
            "seconds": round(seconds, 1),
            "details": dict(details),
        },
    )


def load_row(path: Path) -> StoredRow:
    """Reads a finished row."""
    found = json.loads((path / RESULT_FILE).read_text("utf-8"))
    with np.load(path / VALUES_FILE, allow_pickle=False) as arrays:
        values = {name: arrays[name] for name in arrays.files}
    return StoredRow(
        protocol=found["protocol"],
        metric_names=tuple(found["metric_names"]),
        values=values,
        seconds=found["seconds"],
        details=found["details"],
        versions=json.loads((path / VERSIONS_FILE).read_text("utf-8")),
    )
