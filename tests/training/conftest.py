"""A small shop, simulated and prepared once, and a run trained on it."""

from pathlib import Path
from typing import Any

import pytest

from tests.synthetic import cycle, write_prepared
from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset


def make_config(path: Path, **changes: object) -> ExperimentConfig:
    """The configuration of a run in `path` on a dataset that is already prepared."""
    values: dict[str, Any] = {
        "name": "toy",
        "run_dir": path / "run",
        "data": {
            "events": {"paths": ["events.csv"]},
            "prepared_dir": path / "prepared",
            "event_types": ["event"],
            "event_columns": {"timestamp": "timestamp"},
            "split": {"protocol": "leave_one_out"},
        },
        "retrieval": {
            "embedding_dim": 16,
            "feedforward_dim": 16,
            "dropout": 0.0,
            "max_history_length": 5,
        },
        "ranking": {"num_candidates": 4, "hidden_dims": [4], "attribute_dim": 2},
        "training": {
            "retrieval": {
                "max_epochs": 30,
                "patience": 30,
                "optimizer": {"learning_rate": 0.01, "warmup_steps": 0},
                "min_steps_per_epoch": 8,
            },
            "ranking": {"max_epochs": 2, "min_steps_per_epoch": 2},
        },
        "evaluation": {"selection_metric": "NDCG@5", "k": [1, 5], "baselines": ["pop"]},
    }
    for section, fields in changes.items():
        old = values.get(section)
        if isinstance(old, dict) and isinstance(fields, dict):
            fields = {**old, **fields}
        values[section] = fields
    return ExperimentConfig.model_validate(values)


@pytest.fixture(scope="session")
def cycle_dataset(tmp_path_factory: pytest.TempPathFactory) -> PreparedDataset:
    path = tmp_path_factory.mktemp("cycle") / "prepared"
    return write_prepared(path, cycle(num_users=60, length=10))
