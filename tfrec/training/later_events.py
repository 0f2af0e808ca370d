"""What happened to candidates after their request: dwell, and false negatives."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from tfrec.data.store import VALIDATION, EventSequences
from tfrec.models.ranking_model import UNDEFINED_LABEL
from tfrec.schema import NUM_SPECIAL_INDICES, Schema
from tfrec.training.ranking_lists import RankingLists

SECONDS_PER_DAY = 86_400
_ROWS_AT_ONCE = 100_000  # Bounds the memory of a comparison.


def drop_false_negatives(
    lists: RankingLists, sequences: EventSequences, schema: Schema, *, days: float
) -> RankingLists:
    """Takes back the label 0 of what the shopper wanted soon after.

    A candidate that was not bought through this list but is bought the week after
    was no bad proposal. Its label of a head becomes undefined if an event of the
    head's type, or a stronger one, follows on it within `days` of the request.
    Events of the test split are never looked at.
    """
    rows, events = _events_until(lists, sequences, days=days)
    labels = lists.labels.copy()
    heads = schema.head_event_types or schema.target_event_types
    types = sequences.event_type_index[events]
    for h, head in enumerate(heads):
        reached = types >= schema.event_type_index(head)
        wanted = np.zeros(labels.shape[:2], bool)
        for row, place, _ in _places(lists, rows[reached], events[reached], sequences):
            wanted[row, place] = True
        labels[..., h][wanted & (labels[..., h] == 0)] = UNDEFINED_LABEL
    return replace(lists, labels=labels)


def add_dwell(
    lists: RankingLists, sequences: EventSequences, *, last_split: int = VALIDATION
) -> RankingLists:
    """Adds how long the shopper stayed on each candidate: the first known dwell.

    It is searched for in what is left of the session that the request begins in.

    Args:
        lists: Of any split up to the last one.
        sequences: All events.
        last_split: Events of later splits are never looked at.
    """
    rows, events = _events_until(lists, sequences, days=None, last_split=last_split)
    known = sequences.dwell_seconds[events] > 0.0
    dwell = np.zeros(lists.candidate_index.shape, np.float32)
    found = list(_places(lists, rows[known], events[known], sequences))
    # The last to be written is the first event.
    for row, place, event in reversed(found):
        dwell[row[::-1], place[::-1]] = sequences.dwell_seconds[event[::-1]]
    return replace(lists, dwell_seconds=dwell)


def _events_until(
    lists: RankingLists,
    sequences: EventSequences,
    *,
    days: float | None,
    last_split: int = VALIDATION,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns pairs of list and event, in the order of lists and time.

    The events begin with the request; None for `days` ends with the session.
    """
    starts = lists.history_ends
    stops = sequences.offsets[lists.user_rows + 1]
    lengths = np.zeros(lists.num_lists, np.int64)
    for i, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        if start < stop and days is None:
            session = sequences.session_index[start:stop]
            lengths[i] = np.searchsorted(session, session[0], side="right")
        elif start < stop and days is not None:
            last = lists.request_timestamps[i] + days * SECONDS_PER_DAY
            lengths[i] = np.searchsorted(
                sequences.timestamps[start:stop], last, side="right"
            )
    rows = np.repeat(np.arange(lists.num_lists), lengths)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    events = starts[rows] + within
    kept = sequences.split[events] <= last_split
    return rows[kept], events[kept]


def _places(
    lists: RankingLists,
    rows: np.ndarray,
    events: np.ndarray,
    sequences: EventSequences,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields rows, places and events where an event's item is a candidate."""
    known = sequences.item_index[events] >= NUM_SPECIAL_INDICES
    rows, events = rows[known], events[known]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        items = sequences.item_index[events[part], np.newaxis]
        pair, place = np.nonzero(lists.candidate_index[rows[part]] == items)
        yield rows[part][pair], place, events[part][pair]
