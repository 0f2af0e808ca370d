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

    An item with several events has the sum of their weights.

    Returns:
        float32 `[len(rows), num_items]`; an empty history is an empty row.
    """
    offsets, events = history_events(sequences, queries, rows, max_length=max_length)
    lengths = np.diff(offsets)
    batch_rows = np.repeat(np.arange(len(rows)), lengths)
    ages = np.repeat(offsets[1:] - 1, lengths) - np.arange(len(events))
    columns = item_columns(sequences, events)
    known = columns >= 0
    weights = np.float32(decay) ** ages[known]
    return sparse.csr_array(
        (weights.astype(np.float32), (batch_rows[known], columns[known])),
        shape=(len(rows), num_items),
    )
