from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.repeat import Repeat
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema


def order_of(scores: np.ndarray) -> list[int]:
    return np.argsort(-scores, kind="stable").tolist()


def test_own_items_by_count_then_recency_then_popularity(
    schema: Schema, make_items: Callable[..., pa.Table]
) -> None:
    # Type 1 is the target. User 0 bought item 1 twice, 4 and then 2 once, and
    # only viewed 0 (last). Others bought 5 more often than 3.
    sequences = make_sequences(
        [[1, 4, 1, 2, 0, 6], [5, 5, 3]],
        event_types=[[1, 1, 1, 1, 0, 1], [1, 1, 1]],
        splits=[[0, 0, 0, 0, 0, 2], [0, 0, 0]],
    )
    queries = build_queries(sequences, schema, split="test", targets="next")
    scorer = Repeat().fit(sequences, make_items(7), schema, split="test")
    scores = scorer.score(sequences, queries, np.array([0]))
    assert order_of(scores[0]) == [1, 2, 4, 0, 5, 3, 6]


def test_unknown_items_and_empty_histories_give_popularity(
    single_type: Schema, make_items: Callable[..., pa.Table]
) -> None:
    sequences = make_sequences(
        [[-1, 0], [1], [2, 2, 0]], splits=[[0, 2], [2], [0, 0, 0]]
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = Repeat().fit(sequences, make_items(3), single_type, split="test")
    scores = scorer.score(sequences, queries, np.arange(2))
    assert [order_of(row) for row in scores] == [[2, 0, 1]] * 2
