"""The truth on disk: demand tables and the latent state of every organic view."""

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tfrec.data.simulator.choice import MET_LENGTH, LatentState
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.rows import user_names
from tfrec.data.simulator.steps import ChunkLog

STATES_FILE = "states.parquet"
DEMAND_FILE = "demand.npz"
CONFIG_FILE = "simulator.json"
ITEMS_FILE = "items.json"
_USER_ID = "user_id"
_TIMESTAMP = "timestamp"


class TruthWriter:
    """Writes the truth folder of a shop; a context manager.

    Args:
        path: The folder; it is created.
        config: Settings of the shop.
        demand: Its tables.
        item_ids: Its items, in the order of the tables.
    """

    def __init__(
        self,
        path: Path,
        config: SimulatorConfig,
        *,
        demand: Demand,
        item_ids: Sequence[str],
    ) -> None:
        path.mkdir()
        (path / CONFIG_FILE).write_text(config.model_dump_json(indent=2))
        (path / ITEMS_FILE).write_text(json.dumps(list(item_ids)))
        tables = {f.name: getattr(demand, f.name) for f in fields(Demand)}
        np.savez_compressed(path / DEMAND_FILE, **tables)
        schema = _states_schema(config.num_favourites)
        self._writer = pq.ParquetWriter(
            path / STATES_FILE, schema, compression="zstd", store_schema=False
        )
        self._schema = schema

    def __enter__(self) -> Self:
        """Returns the open writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._writer.close()

    def write(self, log: ChunkLog) -> None:
        """Adds the latent states of a chunk."""
        state = log.truth
        columns = {_USER_ID: user_names(pa.array(log.truth_users))}
        columns[_TIMESTAMP] = pa.array(state.time)
        for name, dtype in _SCALARS.items():
            columns[name] = pa.array(getattr(state, name), dtype)
        for name in ("favourites", "met"):
            values = getattr(state, name)
            columns[name] = pa.FixedSizeListArray.from_arrays(
                pa.array(values.ravel(), pa.int32()), values.shape[1]
            )
        self._writer.write_table(pa.table(columns, self._schema))


_SCALARS = {
    "profile": pa.int32(),
    "continue_probability": pa.float32(),
    "last_item": pa.int32(),
    "due_item": pa.int32(),
    "complement": pa.int32(),
    "segment": pa.int16(),
}


def _states_schema(num_favourites: int) -> pa.Schema:
    return pa.schema(
        [
            (_USER_ID, pa.string()),
            (_TIMESTAMP, pa.int64()),
            *_SCALARS.items(),
            ("favourites", pa.list_(pa.int32(), num_favourites)),
            ("met", pa.list_(pa.int32(), MET_LENGTH)),
        ]
    )


def load_demand(path: Path) -> Demand:
    """Reads the tables of a truth folder."""
    with np.load(path / DEMAND_FILE, allow_pickle=False) as tables:
        values = {name: tables[name] for name in tables.files}
    return Demand(**{**values, "num_profiles": int(values["num_profiles"])})


def load_config(path: Path) -> SimulatorConfig:
    """Reads the settings of a truth folder."""
    return SimulatorConfig.model_validate_json((path / CONFIG_FILE).read_text())


def load_item_ids(path: Path) -> list[str]:
    """Reads the items of a truth folder, in the order of its tables."""
    return json.loads((path / ITEMS_FILE).read_text())


def load_states(path: Path) -> tuple[pa.Array, LatentState]:
    """Reads the latent states of a truth folder.

    Returns:
        The user ids, dictionary-encoded, and the states, both in file order.
    """
    table = pq.read_table(path / STATES_FILE, read_dictionary=[_USER_ID])
    users = table[_USER_ID].unify_dictionaries().combine_chunks()

    def lists(name: str) -> np.ndarray:
        column = table[name].combine_chunks()
        return column.flatten().to_numpy().reshape(len(table), -1)

    scalars = {name: table[name].to_numpy() for name in _SCALARS}
    return users, LatentState(
        time=table[_TIMESTAMP].to_numpy(),
        favourites=lists("favourites"),
        met=lists("met"),
        **scalars,
    )
