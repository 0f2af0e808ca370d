"""A tiny log that is prepared once, and the configuration of a search on it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import make_config
from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare

NUM_ITEMS, NUM_USERS, LENGTH = 8, 40, 8
FIRST_SECOND = 1_700_000_000
SPACE = {
    "retrieval.dropout": {"low": 0.0, "high": 0.5},
    "training.retrieval.optimizer.learning_rate": {
        "low": 1e-3,
        "high": 3e-2,
        "log": True,
    },
    "retrieval.num_layers": {"choices": [1, 2]},
}


@pytest.fixture(scope="session")
def log_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every user walks the ring of items; the last two events are held out."""
    folder = tmp_path_factory.mktemp("log")
    lines = ["user_id,item_id,timestamp"]
    for user in range(NUM_USERS):
        for step in range(LENGTH):
            item = (user + step) % NUM_ITEMS
            lines.append(f"u{user},i{item},{FIRST_SECOND + 60 * step}")
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
    prepare(tuning_config(folder, folder / "unused"))
    return folder


def tuning_config(log_folder: Path, path: Path, **tune: Any) -> ExperimentConfig:
    """Two epochs a trial, three settings searched."""
    return make_config(
        path,
        data={
            "events": {"paths": [str(log_folder / "events.csv")]},
            "prepared_dir": log_folder / "prepared",
        },
        training={
            "retrieval": {
                "max_epochs": 2,
                "patience": 2,
                "optimizer": {"learning_rate": 0.01, "warmup_steps": 0},
                "min_steps_per_epoch": 2,
            },
            "ranking": {"max_epochs": 2, "min_steps_per_epoch": 2},
        },
        tune={"space": SPACE, "trials": 2, **tune},
    )


@pytest.fixture
def configure(log_folder: Path, tmp_path: Path) -> Callable[..., ExperimentConfig]:
    def build(**tune: Any) -> ExperimentConfig:
        return tuning_config(log_folder, tmp_path, **tune)

    return build
