"""A small shop with a trained run, and its signatures before and after a refresh."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from export.parity import call_eagerly
from export.requests import batch_rows
from export.signatures import ServingModule
from tfrec.config import ExperimentConfig
from tfrec.data.refreshed import RefreshedDataset, change_catalogue
from tfrec.data.store import PreparedDataset
from tfrec.models.recommender import TrainedRecommender
from tfrec.schema import ITEM_IDS, SCORES, SignatureName
from tfrec.training.refreshed import refresh_recommender

KINDS = ("lamp", "sofa", "mug")
COLOURS = ("red", "blue", "green", "black")
NUM_ITEMS = 24
# One vector a word; words of one sort are not alike, so titles tell items apart.
WORDS = (*KINDS, *COLOURS, *(f"no{i}" for i in range(40)))


def item_row(number: int, *, kind: str | None = None) -> dict[str, Any]:
    kind = kind or KINDS[number % 3]
    title = f"{COLOURS[number % 4]} {kind} no{number}"
    return {"item_id": f"i{number}", "title": title, "kind": kind, "price": 3 + number}


def write_shop(folder: Path) -> None:
    random = np.random.default_rng(0)
    write_items(folder / "items.csv", [item_row(i) for i in range(NUM_ITEMS)])
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("user_id", "item_id", "timestamp"))
        for user in range(60):
            pool = np.arange(user % 3, NUM_ITEMS, 3)
            for step, item in enumerate(random.choice(pool, 6, replace=False)):
                time = 1_700_000_000 + 1000 * user + 60 * step
                writer.writerow((f"u{user}", f"i{item}", time))
    lines = np.eye(len(WORDS), dtype=int)
    text = "".join(
        f"{word} {' '.join(map(str, line))}\n"
        for word, line in zip(WORDS, lines, strict=True)
    )
    (folder / "words.txt").write_text(text)


def write_items(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["item_id", "title", "kind", "price"])
        writer.writeheader()
        writer.writerows(rows)
    return path


def shop_config(folder: Path, *, has_text: bool) -> ExperimentConfig:
    words = {"encoder": "word_vectors", "model": str(folder / "words.txt")}
    optimizer = {"warmup_steps": 0, "learning_rate": 0.01}
    stage = {"min_steps_per_epoch": 20, "optimizer": optimizer}
    return ExperimentConfig.model_validate(
        {
            "name": "toy",
            "run_dir": folder / ("run_text" if has_text else "run"),
            "data": {
                "events": {"paths": [str(folder / "events.csv")]},
                "items": {"paths": [str(folder / "items.csv")]},
                "item_columns": {"title": "title"},
                "item_attributes": [
                    {"name": "kind"},
                    {"name": "price", "kind": "numeric"},
                ],
                "event_columns": {"timestamp": "timestamp"},
                "split": {"protocol": "leave_one_out"},
                "prepared_dir": folder / "prepared",
                "num_shards": 1,
            },
            "text": words if has_text else None,
            "retrieval": {
                "embedding_dim": 16,
                "feedforward_dim": 8,
                "num_layers": 1,
                "dropout": 0.0,
                "id_dropout": 0.3,
                "max_history_length": 6,
            },
            "ranking": {"num_candidates": 8, "hidden_dims": [4], "attribute_dim": 2}
            if has_text
            else None,
            "training": {
                "retrieval": {**stage, "max_epochs": 6},
                "ranking": {**stage, "max_epochs": 1},
            },
            "evaluation": {
                "k": [5],
                "selection_metric": "NDCG@5",
                "baselines": [],
                "num_bootstrap": 10,
            },
            "export": {"model_name": "toy", "filters": ["kind"]},
        }
    )


class Run(NamedTuple):
    """A trained run, loaded."""

    path: Path
    recommender: TrainedRecommender
    dataset: PreparedDataset
    config: ExperimentConfig


class Served:
    """The signatures of a recommender, called eagerly.

    Args:
        run: The run.
        assets: An empty folder.
        rows: Items that were changed or added; None for the model as trained.
        removed: Ids of removed items.
    """

    def __init__(
        self,
        run: Run,
        assets: Path,
        rows: Sequence[dict[str, Any]] | None = None,
        *,
        removed: Sequence[str] = (),
    ) -> None:
        self.dataset = run.dataset
        self.recommender = run.recommender
        self.differs = np.zeros(NUM_ITEMS, bool)
        if rows is not None:
            names = ("item_id", "title", "kind", "price")
            given = pa.table({name: [row[name] for row in rows] for name in names})
            change = change_catalogue(run.dataset.items, given, removed=removed)
            self.dataset = RefreshedDataset(run.dataset, change.items)
            self.differs = self.dataset.differs
            self.recommender = refresh_recommender(
                run.recommender, self.dataset, run.config
            )
        assets.mkdir()
        self.module = ServingModule(
            self.recommender,
            self.dataset,
            schema=run.config.experiment_schema,
            asset_dir=assets,
        )

    def call(self, signature: SignatureName, **row: Any) -> dict[str, np.ndarray]:
        request = batch_rows(self.module.schema, signature, [row])
        outputs = call_eagerly(self.module, request)
        return {name: value[0] for name, value in outputs.items()}

    def ranked(self, signature: SignatureName, **row: Any) -> dict[str, float]:
        found = self.call(signature, k=100, **row)
        ids = [item.decode() for item in found[ITEM_IDS]]
        return {i: s for i, s in zip(ids, found[SCORES].tolist(), strict=True) if i}


def history(*numbers: int) -> dict[str, Any]:
    return {
        "history_item_ids": [f"i{number}" for number in numbers],
        "history_event_types": ["event"] * len(numbers),
        "history_dwell_seconds": [0.0] * len(numbers),
        "history_timestamps": [1_700_000_000 + 60 * n for n in range(len(numbers))],
    }
