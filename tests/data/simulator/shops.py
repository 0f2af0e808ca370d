"""A simulated shop on disk with its log in memory, for the tests beside."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrec.data.simulator import ShopSummary, SimulatorConfig, simulate


@dataclass(frozen=True)
class Shop:
    """A shop: its folder, and its log as plain columns."""

    config: SimulatorConfig
    summary: ShopSummary
    events: dict[str, Any]  # Arrays; Any, since text and numbers differ in type.
    items: pa.Table

    def rows(self, event_type: str) -> np.ndarray:
        return np.flatnonzero(self.events["event_type"] == event_type)

    def item_column(self, name: str, rows: np.ndarray) -> np.ndarray:
        """Returns a column of the catalogue for the items of log rows."""
        values = self.items[name].to_pylist()
        by_id = dict(zip(self.items["item_id"].to_pylist(), values, strict=True))
        return np.array([by_id[item] for item in self.events["item_id"][rows]])


def read_columns(path: Path) -> dict[str, np.ndarray]:
    table = pq.read_table(path)
    return {
        name: table[name].to_numpy(zero_copy_only=False) for name in table.column_names
    }


def open_shop(config: SimulatorConfig, folder: Path) -> Shop:
    summary = simulate(config, folder)
    events = read_columns(summary.events_path)
    return Shop(config, summary, events, pq.read_table(summary.items_path))
