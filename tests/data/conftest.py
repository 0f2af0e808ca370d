import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tfrec.config import ExperimentConfig
from tfrec.data.prepare import prepare
from tfrec.data.store import PreparedDataset

Rows = Sequence[Sequence[Any]]


@pytest.fixture
def write_csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows as a CSV file, compressed if its name ends in .gz."""

    def write(name: str, rows: Rows, header: Sequence[str] = ()) -> Path:
        path = tmp_path / name
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "wt", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            if header:
                writer.writerow(header)
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., ExperimentConfig]:
    """Returns a configuration that prepares into the test's folder."""

    def make(path: Path | str, /, **data: Any) -> ExperimentConfig:
        settings = {
            "prepared_dir": tmp_path / "prepared",
            "event_columns": {"timestamp": "timestamp"},
            "split": {"protocol": "leave_one_out"},
            "num_shards": 2,
            **data,
        }
        table = {"paths": [str(path)], **settings.pop("events", {})}
        return ExperimentConfig.model_validate(
            {"name": "test", "data": {"events": table, **settings}}
        )

    return make


@pytest.fixture
def prepare_rows(
    write_csv: Callable[..., Path], make_config: Callable[..., ExperimentConfig]
) -> Callable[..., PreparedDataset]:
    """Prepares rows of `user_id, item_id, timestamp` or of a given header."""

    def run(
        rows: Rows,
        header: Sequence[str] = ("user_id", "item_id", "timestamp"),
        **data: Any,
    ) -> PreparedDataset:
        return prepare(make_config(write_csv("events.csv", rows, header), **data))

    return run


@pytest.fixture
def histories() -> Callable[[PreparedDataset], dict[str, list[str]]]:
    """Returns the item ids of every user, "?" for items outside the catalogue."""

    def read(dataset: PreparedDataset) -> dict[str, list[str]]:
        sequences = dataset.load_sequences()
        names = ["", "?", *dataset.items["item_id"].to_pylist()]
        bounds = sequences.offsets
        return {
            user: [names[i] for i in sequences.item_index[bounds[u] : bounds[u + 1]]]
            for u, user in enumerate(sequences.user_ids)
        }

    return read
