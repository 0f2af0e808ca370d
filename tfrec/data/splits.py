"""Parts events into training, validation and test."""

import datetime
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import ibis

from tfrec.config import SplitConfig
from tfrec.data.engine import MICROSECONDS, Table
from tfrec.data.sessions import user_order
from tfrec.data.store import TEST, TRAIN, VALIDATION

MIN_TARGETS = 3  # One to train on, one to validate, one to test.


@dataclass(frozen=True)
class Boundaries:
    """Where the time split cuts, unix seconds.

    Attributes:
        validation_start: First second of validation.
        test_start: First second of the test.
        end: Midnight after the last event.
    """

    validation_start: int
    test_start: int
    end: int

    def to_json(self, time_zone: str) -> dict[str, Any]:
        """Returns seconds and ISO 8601 text in the zone of the log."""
        zone, result = ZoneInfo(time_zone), {}
        for name in ("validation_start", "test_start", "end"):
            seconds = getattr(self, name)
            result[name] = seconds
            text = datetime.datetime.fromtimestamp(seconds, zone).isoformat()
            result[f"{name}_iso"] = text
        return result


def find_boundaries(
    last_seconds: int, split: SplitConfig, *, time_zone: str
) -> Boundaries:
    """Returns the boundaries of a log whose last event is at `last_seconds`.

    The test ends with the last event's day, at midnight of `time_zone`; days are
    calendar days, so a boundary stays at midnight when the clocks change.
    """
    last = datetime.datetime.fromtimestamp(last_seconds, ZoneInfo(time_zone))
    midnight = last.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    end = midnight + datetime.timedelta(days=1)
    test_start = end - datetime.timedelta(days=split.test_days)
    validation_start = test_start - datetime.timedelta(days=split.validation_days)
    starts = (validation_start, test_start, end)
    return Boundaries(*(round(instant.timestamp()) for instant in starts))


def split_by_time(rows: Table, boundaries: Boundaries) -> Table:
    """Adds `split` by one cut for all users."""
    instant = rows["instant"]
    split: Any = ibis.cases(
        (instant >= boundaries.test_start * MICROSECONDS, TEST),
        (instant >= boundaries.validation_start * MICROSECONDS, VALIDATION),
        else_=TRAIN,
    )
    return rows.mutate(split=split.cast("int8"))


def leave_one_out(events: Table, target_indices: list[int]) -> Table:
    """Adds `split` per user.

    A user's last target event and all from it on are test; the target event
    before, and what follows it, is validation. Users with fewer than three target
    events are wholly training.
    """
    is_target: Any = events["type_index"].isin(target_indices).cast("int32")
    events = events.mutate(
        seen=is_target.sum().over(user_order(until_now=True)),
        total=is_target.sum().over(ibis.window(group_by="user")),
    )
    seen, total = events["seen"], events["total"]
    split: Any = ibis.cases(
        (total < MIN_TARGETS, TRAIN),
        (seen == total, TEST),
        (seen == total - 1, VALIDATION),
        else_=TRAIN,
    )
    return events.mutate(split=split.cast("int8")).drop("seen", "total")
