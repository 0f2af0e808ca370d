"""Histories as weighted sums of items."""

import numpy as np
from scipy import sparse

from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.base import item_columns
from tfrec.evaluation.protocols import EvaluationQueries, history_events


def decayed_histories(
    sequences: EventSequences,
    queries: EvaluationQueries,
    rows: np.ndarray,
    *,
    num_items: int,
    decay: float,
    max_length: int,
) -> sparse.csr_array:
    """Weighs the events of each history by `decay ** age`, age 0 the newest.

    The age counts the later moments of the history, not the later events: events
    of one time, such as the lines of an invoice, have no order and share an age.
    Without times every event is a moment. An item with several events has the sum
    of their weights.

    Returns:
        float32 `[len(rows), num_items]`; an empty history is an empty row.
    """
    offsets, events = history_events(sequences, queries, rows, max_length=max_length)
    batch_rows = np.repeat(np.arange(len(rows)), np.diff(offsets))
    ages = _ages(sequences.timestamps[events], batch_rows)
    columns = item_columns(sequences, events)
    known = columns >= 0
    weights = np.float32(decay) ** ages[known]
    return sparse.csr_array(
        (weights.astype(np.float32), (batch_rows[known], columns[known])),
        shape=(len(rows), num_items),
    )


def _ages(timestamps: np.ndarray, batch_rows: np.ndarray) -> np.ndarray:
    """Counts the later moments of the same row for every event."""
    is_same_row = np.diff(batch_rows) == 0
    is_same_time = (np.diff(timestamps) == 0) & (timestamps[1:] > 0)
    moments = np.concatenate([[0], np.cumsum(~(is_same_row & is_same_time))])
    last = np.searchsorted(batch_rows, batch_rows, side="right") - 1
    return moments[last] - moments[: len(batch_rows)]
