import json
import subprocess
from pathlib import Path

import pytest

from tfrec.config import ExperimentConfig
from tfrec.run_record import read_run_record, write_run_record


@pytest.fixture
def config(tmp_path: Path) -> ExperimentConfig:
    data = {"events": {"paths": ["log.csv"]}, "event_columns": {"timestamp": "time"}}
    return ExperimentConfig.model_validate(
        {"name": "shop", "run_dir": tmp_path / "run", "seed": 5, "data": data}
    )


def test_a_record_reads_back_the_same(config: ExperimentConfig) -> None:
    path = write_run_record(config)
    read, schema = read_run_record(path)
    assert read == config
    assert schema == config.experiment_schema


def test_versions_and_commit_are_recorded(config: ExperimentConfig) -> None:
    versions = json.loads((write_run_record(config) / "versions.json").read_text())
    assert versions["python"].startswith("3.")
    assert versions["tensorflow"].startswith("2.21.")
    assert versions["schema_hash"] == config.experiment_schema.schema_hash
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        pytest.skip("This is no git checkout.")
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True
    )
    assert versions["git_commit"] == head.stdout.strip()
    assert versions["git_dirty"] in (True, False)


def test_nothing_but_the_three_files_is_left(config: ExperimentConfig) -> None:
    write_run_record(config)
    path = write_run_record(config)
    names = sorted(p.name for p in path.iterdir())
    assert names == ["config.yaml", "schema.json", "versions.json"]


def test_a_folder_without_a_run_is_explained(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.yaml and schema\.json"):
        read_run_record(tmp_path)
