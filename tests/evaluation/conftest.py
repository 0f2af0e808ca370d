"""Scorers and a catalogue for the tests of evaluation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from tfrec.data.store import EventSequences
from tfrec.evaluation.protocols import EvaluationQueries
from tfrec.schema import Schema


@dataclass
class FixedScorer:
    """Returns rows of a table, one row per query."""

    table: np.ndarray
    name: str = "fixed"

    def score(
        self, sequences: EventSequences, queries: EvaluationQueries, rows: np.ndarray
    ) -> np.ndarray:
        return self.table[rows].copy()


@pytest.fixture
def schema() -> Schema:
    return Schema(event_types=("view", "purchase"), target_event_types=("purchase",))


@pytest.fixture
def single_type() -> Schema:
    return Schema(event_types=("event",), target_event_types=("event",))


@pytest.fixture
def fixed_scorer() -> type[FixedScorer]:
    return FixedScorer


@pytest.fixture
def make_items() -> Callable[..., pa.Table]:
    def make(
        num_items: int, titles: Sequence[str | None] | None = None, **columns: list
    ) -> pa.Table:
        return pa.table(
            {
                "item_id": [f"item {i}" for i in range(num_items)],
                "title": pa.array(titles or [None] * num_items, pa.string()),
                "train_count": np.zeros(num_items, np.int64),
                **columns,
            }
        )

    return make
