"""A small shop, simulated and prepared once, and a run trained on it."""

from pathlib import Path
from typing import Any

import pytest

from tests.synthetic import cycle, write_prepared
from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config
from tfrec.data.prepare import prepare
from tfrec.data.simulator import simulate, sized_config
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


FAST_RETRIEVAL = [
    *("--retrieval.embedding_dim", "8", "--retrieval.feedforward_dim", "8"),
    *("--retrieval.max_history_length", "8", "--training.retrieval.max_epochs", "2"),
    *("--evaluation.num_bootstrap", "20", "--evaluation.baselines", "[pop, repeat]"),
]
FAST_RANKING = [
    # The fusion whose graph is the smallest: it is traced in every test.
    *("--ranking.num_candidates", "20", "--ranking.hidden_dims", "[4]"),
    *("--ranking.fusion", "concat"),
    *("--training.ranking.max_epochs", "2"),
]


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shop")
    config_path = simulate(sized_config("tiny", seed=1), path / "shop").config_path
    prepare(configure_shop(config_path, path / "unused"))
    return config_path


def configure_shop(
    shop: Path, run_dir: Path, *more: str, without_ranking: bool = False
) -> ExperimentConfig:
    """The configuration of a quick run on the simulated shop."""
    fast = FAST_RETRIEVAL + ([] if without_ranking else FAST_RANKING)
    argv = ["--config", str(shop), *fast, *more, "--run_dir", str(run_dir)]
    prepared = ["--data.prepared_dir", str(shop.parent.parent / "prepared")]
    return load_config([*argv, *prepared], description="")
