"""Histories as padded arrays, for evaluation, mining and ranking."""

from typing import Any, NamedTuple

import numpy as np

from tfrec.data.store import EventSequences


class RequestArrays(NamedTuple):
    """The numpy twin of `tfrec.features.request.Request`."""

    item_index: np.ndarray
    event_type_index: np.ndarray
    timestamps: np.ndarray
    dwell_seconds: np.ndarray
    request_timestamp: np.ndarray
    context: dict[str, np.ndarray]
    query_text: np.ndarray | tuple[()] = ()
    history_text: np.ndarray | tuple[()] = ()
    search_text: np.ndarray | tuple[()] = ()
    searches: Any = ()


def gather_requests(
    sequences: EventSequences,
    user_rows: np.ndarray,
    history_ends: np.ndarray,
    *,
    request_timestamps: np.ndarray,
    context: dict[str, np.ndarray],
    max_history_length: int,
    query_text: np.ndarray | tuple[()] = (),
    search_type_index: int | None = None,
) -> RequestArrays:
    """Lays out the newest events of histories, padded on the right.

    Args:
        sequences: All events.
        user_rows: int `[num_requests]`, whose history.
        history_ends: int64 `[num_requests]`, absolute, exclusive.
        request_timestamps: int64 `[num_requests]`, unix seconds.
        context: Per context attribute `[num_requests]`.
        max_history_length: Events that are kept.
        query_text: float32 `[num_requests, text_dim]`, encoded searches; `()` for
            none.
        search_type_index: Event type of the events that are searches; None leaves
            `search_text` out.

    Returns:
        Arrays `[num_requests, history_length]`, as long as the longest history,
        at least 1 and at most `max_history_length`.
    """
    begins = sequences.offsets[user_rows]
    starts = np.maximum(begins, history_ends - max_history_length)
    lengths = history_ends - starts
    width = max(int(lengths.max(initial=0)), 1)
    place = np.arange(width)
    real = place < lengths[:, None]
    event = np.where(real, starts[:, None] + place, 0)

    def lay(values: np.ndarray) -> np.ndarray:
        return np.where(real, values[event], np.zeros((), values.dtype))

    search_text: np.ndarray | tuple[()] = ()
    if search_type_index is not None:
        searches = real & (sequences.event_type_index[event] == search_type_index)
        search_text = np.where(searches, sequences.query_text[event], "")
    return RequestArrays(
        lay(sequences.item_index),
        lay(sequences.event_type_index),
        lay(sequences.timestamps),
        lay(sequences.dwell_seconds),
        request_timestamps.astype(np.int64),
        context,
        query_text,
        search_text=search_text,
    )


def newest(values: np.ndarray, item_index: np.ndarray, length: int) -> np.ndarray:
    """Returns the values `[num_requests, at most length]` of the newest events.

    Args:
        values: `[num_requests, history_length]`, padding on the right.
        item_index: int32, same shape; 0 is padding.
        length: Events that are kept.
    """
    if values.shape[1] <= length:
        return values
    starts = np.maximum((item_index != 0).sum(axis=1) - length, 0)
    return np.take_along_axis(values, starts[:, None] + np.arange(length), axis=1)
