"""The observer of a simulated shop, asked about prepared data."""

from pathlib import Path

import numpy as np

from benchmarks.observer_clicks import expected_interest
from benchmarks.observer_filter import Observer
from tfrec.data.simulator.oracle import find_items
from tfrec.data.simulator.truth import load_config, load_demand, load_item_ids
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.schema import NUM_SPECIAL_INDICES


class ObserverScorer:
    """The observer as a scorer of items, and as a judge of shown ones.

    Args:
        truth_dir: The folder `truth` of the simulated shop.
        dataset: The prepared log.
    """

    name = "observer"

    def __init__(self, truth_dir: Path, dataset: PreparedDataset) -> None:
        self._demand = load_demand(truth_dir)
        self._config = load_config(truth_dir)
        self._observer = Observer(self._demand, self._config)
        self._columns = item_columns(truth_dir, dataset)
        self._types = ("", "", *dataset.schema.event_types)

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        """Returns float32 `[len(rows), num_items]`, probabilities."""
        scores = [self._score(sequences, queries, row) for row in rows.tolist()]
        return np.stack(scores).astype(np.float32)

    def _score(
        self, sequences: EventSequences, queries: EvaluationQueries, row: int
    ) -> np.ndarray:
        history = self._history(
            sequences, int(queries.user_rows[row]), int(queries.history_ends[row])
        )
        now = int(queries.request_timestamps[row])
        return self._observer.predict(*history, now=now)[self._columns]

    def expected_interest(
        self,
        sequences: EventSequences,
        user_rows: np.ndarray,
        history_ends: np.ndarray,
        items: np.ndarray,
    ) -> np.ndarray:
        """Returns float64, shape of `items`: expected chance of a click once seen.

        Args:
            sequences: The events.
            user_rows: int `[num_lists]`.
            history_ends: int `[num_lists]`, absolute, exclusive.
            items: int `[num_lists, num_candidates]`, item indices; 0 is padding, of
                which the chance is 0.
        """
        found = np.zeros(items.shape)
        for row in range(len(items)):
            real = items[row] >= NUM_SPECIAL_INDICES
            history = self._history(
                sequences, int(user_rows[row]), int(history_ends[row])
            )
            candidates = self._columns[items[row, real] - NUM_SPECIAL_INDICES]
            belief, _ = self._observer.follow(*history)
            found[row, real] = expected_interest(
                belief, candidates, demand=self._demand, config=self._config
            )
        return found

    def _history(
        self, sequences: EventSequences, user_row: int, history_end: int
    ) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
        """Returns items, types and times of events, and whether they were searched."""
        events = np.arange(int(sequences.offsets[user_row]), history_end)
        # Searches are read from the view that they led to.
        events = events[sequences.item_index[events] >= NUM_SPECIAL_INDICES]
        column = sequences.item_index[events] - NUM_SPECIAL_INDICES
        return (
            self._columns[column],
            [self._types[i] for i in sequences.event_type_index[events]],
            sequences.timestamps[events],
            sequences.query_text[events] != "",
        )


def item_columns(truth_dir: Path, dataset: PreparedDataset) -> np.ndarray:
    """Returns int64 `[num_items]`: place of each prepared item in the shop's tables."""
    ids = dataset.item_vocabulary.tokens
    return find_items(load_item_ids(truth_dir), ids, truth_dir)
