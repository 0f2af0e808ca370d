"""What a preparation says of its result: checks, counts and warnings."""

import time
from collections.abc import Sequence
from typing import Any

from ibis.backends.duckdb import Backend

from tfrec.config import DataConfig
from tfrec.data.engine import Table, count_rows
from tfrec.data.loading import LoadReport
from tfrec.data.splits import MIN_TARGETS, Boundaries
from tfrec.data.store import SPLIT_INDEX, TRAIN
from tfrec.data.writer import Statistics
from tfrec.schema import Schema

SECONDS_PER_DAY = 86_400


def check_splits(
    engine: Backend,
    events: Table,
    target_indices: list[int],
    boundaries: Boundaries | None,
    data: DataConfig,
) -> None:
    """Checks that there is something to learn from.

    Raises:
        ValueError: If no target event is in training.
    """
    is_target = events["type_index"].isin(target_indices)
    training = events.filter(is_target & (events["split"] == TRAIN))
    if count_rows(engine, training):
        return
    targets = list(data.target_event_types or data.event_types)
    if boundaries is None:
        raise ValueError(
            f"`data.target_event_types` must occur in training. Received: {targets}, "
            "of which the log has none. Check `data.event_type_names`."
        )
    cut = boundaries.to_json(data.time_zone)
    raise ValueError(
        "`data.split` must leave events to train on. Received: no event of the types "
        f"{targets} before {cut['validation_start_iso']}, where validation starts "
        f"(validation_days={data.split.validation_days}, test_days="
        f"{data.split.test_days}, the log ends before {cut['end_iso']}). Shorten them, "
        "correct a last timestamp that lies in the future, or use `leave_one_out`."
    )


def build_summary(
    schema: Schema,
    reports: dict[str, LoadReport],
    statistics: Statistics,
    *,
    split: str,
    boundaries: dict[str, Any] | None,
    num_items: int,
    notes: Sequence[str],
    impressions: dict[str, int] | None,
    seconds: dict[str, float],
) -> dict[str, Any]:
    """Returns the part of the manifest that describes the data."""
    by_split = {
        name: dict(zip(schema.event_types, map(int, statistics.events[i]), strict=True))
        for name, i in SPLIT_INDEX.items()
    }
    repeats = statistics.train_repeats / max(statistics.train_targets, 1)
    return {
        "counts": {
            "users": statistics.num_users,
            "items": num_items,
            "events": int(statistics.events.sum()),
            "events_by_split": by_split,
            "users_by_split": {
                name: int(statistics.users[i]) for name, i in SPLIT_INDEX.items()
            },
            "train_target_events": statistics.train_targets,
            "impressions": impressions,
        },
        "repeat_share_train": repeats,
        "split": {"protocol": split, "boundaries": boundaries},
        "rejects": {name: r.summary.to_json() for name, r in reports.items()},
        "dropped": {name: r.dropped for name, r in reports.items()},
        "warnings": [
            *(
                f"{name}: {n:,} x {kind}"
                for name, report in reports.items()
                for kind, n in report.warnings.items()
            ),
            *(note for r in reports.values() for note in r.notes),
            *_notes(statistics, protocol=split),
            *notes,
            *_future(boundaries),
        ],
        "seconds": seconds,
    }


def _notes(statistics: Statistics, *, protocol: str) -> list[str]:
    notes = [
        f"no user has events in {name}: nothing can be measured there"
        for name, index in SPLIT_INDEX.items()
        if not statistics.users[index]
    ]
    if notes:
        needs = {
            "leave_one_out": f"users with {MIN_TARGETS} target events",
            "by_time": "events in every window",
        }
        notes.append(f"{protocol} needs {needs[protocol]}")
    return notes


def _future(boundaries: dict[str, Any] | None) -> list[str]:
    """Warns where the newest event of a split by time is yet to come."""
    if boundaries is None or boundaries["end"] <= time.time() + 2 * SECONDS_PER_DAY:
        return []
    return [
        f"the newest event lies in the future, before {boundaries['end_iso']}, and the "
        "splits are counted back from it: correct such times, or drop their rows by "
        "`data.cleaning.drop_rows`"
    ]
