"""The experiment configuration that is written beside a simulated shop."""

from pathlib import Path
from typing import Any

import yaml

from tfrec.config import ExperimentConfig
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.rows import (
    CART,
    CLICK,
    EVENT_TYPES,
    IMPRESSION,
    PURCHASE,
    SEARCH,
    VIEW,
)

_HEADER = """\
# Purpose: train and evaluate on the simulated shop beside this file.
# Command: python -m tfrec.train --config {path}
# Expected: `oracle` in the report bounds what any model can reach.
# Paths are relative to the folder in which the shop was simulated.
# Retrieval predicts `target_event_types`; ranking has a head per type of
# `head_event_types`. The oracle knows the next `view` only.
"""


def experiment_text(config: SimulatorConfig, output: Path, events_file: str) -> str:
    """Returns the YAML text of an `ExperimentConfig` for a shop.

    Args:
        config: Settings of the shop.
        output: Folder of the shop, as it will be named.
        events_file: Name of the event log in it.

    Raises:
        pydantic.ValidationError: If it would not be a valid configuration.
    """
    path = output.as_posix()
    experiment = {
        "name": config.name,
        "seed": config.seed,
        "data": _data_section(config, path, events_file=events_file),
        "evaluation": {"targets": "next"},
    }
    ExperimentConfig.model_validate(experiment)
    header = _HEADER.format(path=f"{path}/config.yaml")
    return header + yaml.safe_dump(experiment, sort_keys=False, allow_unicode=True)


def _data_section(
    config: SimulatorConfig, path: str, *, events_file: str
) -> dict[str, Any]:
    suffix = Path(events_file).suffix
    return {
        "events": {"paths": [f"{path}/{events_file}"]},
        "items": {"paths": [f"{path}/items{suffix}"]},
        "event_columns": {
            name: name
            for name in (
                "user_id",
                "item_id",
                "event_type",
                "timestamp",
                "session_id",
                "dwell_seconds",
                "query",
                "position",
                "impression_id",
                "price",
                "propensity",
            )
        },  # fmt: skip
        "item_columns": {"item_id": "item_id", "title": "title"},
        "item_attributes": [
            {"name": "category", "kind": "path", "separator": "/"},
            {"name": "brand", "kind": "categorical"},
            {"name": "price", "kind": "numeric"},
        ],
        "context": [{"name": "device", "kind": "categorical"}],
        "event_types": [EVENT_TYPES[i] for i in (VIEW, CLICK, CART, PURCHASE)],
        "target_event_types": [EVENT_TYPES[VIEW]],
        "head_event_types": [EVENT_TYPES[i] for i in (VIEW, CLICK, CART, PURCHASE)],
        "impression_event_type": EVENT_TYPES[IMPRESSION],
        **({"search_event_type": EVENT_TYPES[SEARCH]} if config.log_searches else {}),
        "timestamp_unit": "seconds",
        "split": {
            "protocol": "by_time",
            "validation_days": float(config.validation_days),
            "test_days": float(config.test_days),
        },
    }
