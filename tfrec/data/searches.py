"""Searches among the events of histories: which they are, and events without them."""

import numpy as np

from tfrec.data.store import EventSequences
from tfrec.schema import Schema


def is_search(sequences: EventSequences, schema: Schema) -> np.ndarray:
    """Returns bool `[num_events]`: events that are a search."""
    index = schema.search_event_type_index
    if index is None:
        return np.zeros(len(sequences.event_type_index), bool)
    return sequences.event_type_index == index


def searched_texts(sequences: EventSequences, schema: Schema) -> np.ndarray | None:
    """Returns object `[num_events]` of str, what each search searched for.

    "" for all other events; None where searches are no events of this shop.
    """
    if schema.search_event_type is None:
        return None
    return np.where(is_search(sequences, schema), sequences.query_text, "")


def keep_events(sequences: EventSequences, kept: np.ndarray) -> EventSequences:
    """Returns the events where bool `[num_events]` is True; all users stay."""
    return EventSequences(
        user_ids=sequences.user_ids,
        offsets=moved_ends(kept)[sequences.offsets],
        item_index=sequences.item_index[kept],
        event_type_index=sequences.event_type_index[kept],
        timestamps=sequences.timestamps[kept],
        dwell_seconds=sequences.dwell_seconds[kept],
        session_index=sequences.session_index[kept],
        split=sequences.split[kept],
        query_text=sequences.query_text[kept],
        context={name: values[kept] for name, values in sequences.context.items()},
    )


def moved_ends(kept: np.ndarray) -> np.ndarray:
    """Returns int64 `[num_events + 1]`: how many kept events stand before each place.

    An (exclusive) end of a history among all events is so moved to where it is
    among the kept ones.
    """
    return np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)


def without_searches(sequences: EventSequences, schema: Schema) -> EventSequences:
    """Returns the events that have an item; the same object where all have one."""
    search = is_search(sequences, schema)
    return keep_events(sequences, ~search) if search.any() else sequences
