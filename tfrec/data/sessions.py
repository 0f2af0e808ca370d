"""Numbers the sessions of every user."""

from typing import Any

import ibis
from ibis.backends.duckdb import Backend

from tfrec.data.engine import MICROSECONDS, Table, count_rows, materialise

ORDER = ("instant", "row")  # Ties in time keep the order of the files.


def user_order(*, until_now: bool = False) -> Any:
    """Returns the window over a user's events, oldest first."""
    if until_now:
        return ibis.cumulative_window(group_by="user", order_by=ORDER)
    return ibis.window(group_by="user", order_by=ORDER)


def add_sessions(
    engine: Backend, events: Table, *, gap_minutes: float, has_times: bool
) -> Table:
    """Adds `session_index`, which counts a user's sessions from 0.

    A column `session` (a hash of the log's own session id, null where it is
    missing) decides; events without one, and logs without the column, start a
    session after more than `gap_minutes` without an event.
    """
    if "session" not in events.columns:
        return _by_gap(events, gap_minutes, has_times=has_times)
    missing = count_rows(engine, events.filter(events["session"].isnull()))
    if missing:
        events = _by_gap(events, gap_minutes, has_times=has_times)
        index: Any = events["session_index"].cast("uint64")
        key: Any = ibis.coalesce(events["session"], index)
        events = events.mutate(session=key).drop("session_index")
    starts = events.group_by("user", "session").agg(
        first=ibis.struct({c: events[c] for c in ORDER}).min()
    )
    place: Any = ibis.row_number().over(ibis.window(group_by="user", order_by="first"))
    starts = starts.select("user", "session", session_index=place.cast("int32"))
    starts = materialise(engine, "sessions", starts)
    return events.inner_join(starts, ["user", "session"]).drop("session")


def _by_gap(events: Table, gap_minutes: float, *, has_times: bool) -> Table:
    if not has_times:
        return events.mutate(session_index=ibis.literal(0, "int32"))
    gap = round(gap_minutes * 60 * MICROSECONDS)
    previous: Any = events["instant"].lag().over(user_order())
    events = events.mutate(previous=previous)
    starts: Any = ibis.ifelse(events["instant"] - events["previous"] > gap, 1, 0)
    index: Any = starts.sum().over(user_order(until_now=True))
    return events.mutate(session_index=index.cast("int32")).drop("previous")
