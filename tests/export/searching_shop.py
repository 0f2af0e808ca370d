"""A small shop whose shoppers search before they look: searches are events of it."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.export.small_shop import (
    COLOURS,
    KINDS,
    NUM_ITEMS,
    item_row,
    shop_config,
    write_items,
    write_shop,
)
from tfrec.config import ExperimentConfig

NOW = 1_700_500_000
Event = tuple[str, str]  # Item id, or what was searched for, and event type.


def write_searching_shop(folder: Path) -> None:
    """Writes searches for a colour and a kind, each followed by a view of such an item.

    The views do not say what was searched for: only the event before does.
    """
    write_shop(folder)  # For the word vectors.
    write_items(folder / "items.csv", [item_row(i) for i in range(NUM_ITEMS)])
    random = np.random.default_rng(1)
    with (folder / "events.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("user_id", "item_id", "event_type", "timestamp", "query"))
        for user in range(80):
            time = 1_700_000_000 + 1_000 * user
            for item in random.choice(NUM_ITEMS, 5, replace=False):
                writer.writerow((f"u{user}", "", "search", time, text_for(item)))
                writer.writerow((f"u{user}", f"i{item}", "view", time + 5, ""))
                time += 60


def text_for(item: int) -> str:
    """What is searched for before the item, and one other item, is viewed."""
    return f"{COLOURS[item % 4]} {KINDS[item % 3]}"


def searching_config(
    folder: Path,
    *,
    sequence: str = "none",
    sequence_unit: str = "event",
    transitions: bool = False,
    max_epochs: int = 16,
    **data: Any,
) -> ExperimentConfig:
    """The configuration of a run; `sequence` and its unit as in `TextConfig`."""
    values = shop_config(folder, has_text=True).model_dump()
    values["run_dir"] = folder / f"run_{sequence}_{sequence_unit}"
    values["data"] |= {
        "event_types": ["view"],
        "search_event_type": "search",
        "event_type_names": {"pv": "view", "suche": "search"},
        "event_columns": {
            "timestamp": "timestamp",
            "event_type": "event_type",
            "query": "query",
        },
        **data,
    }
    values["text"] |= {
        "sequence": sequence,
        "sequence_unit": sequence_unit,
        "pseudo_search_share": 0.0,
    }
    values["retrieval"]["transitions"] = transitions
    values["ranking"]["fusion"] = "concat"  # Learns most within one short epoch.
    values["training"]["retrieval"]["max_epochs"] = max_epochs
    return ExperimentConfig.model_validate(values)


def raw_history(events: Sequence[Event]) -> dict[str, Any]:
    """The inputs of a signature for events a minute apart, the last a minute ago."""
    return {
        "history_item_ids": [item for item, _ in events],
        "history_event_types": [kind for _, kind in events],
        "history_dwell_seconds": [0.0] * len(events),
        "history_timestamps": [NOW - 60 * n for n in range(len(events), 0, -1)],
        "request_timestamp": NOW,
    }
