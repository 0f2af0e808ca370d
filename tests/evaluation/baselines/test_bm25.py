import dataclasses
from collections.abc import Callable
from math import log

import numpy as np
import pyarrow as pa

from tests.synthetic import make_sequences
from tfrec.data.store import EventSequences
from tfrec.evaluation.baselines.bm25 import Bm25
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import AttributeKind, AttributeSpec, Schema

MakeItems = Callable[..., pa.Table]


def searching(sequences: EventSequences, *texts: str) -> EventSequences:
    """Says what was searched for before the last event of each user."""
    query_text = sequences.query_text.copy()
    query_text[sequences.offsets[1:] - 1] = texts
    return dataclasses.replace(sequences, query_text=query_text)


def scores_of(sequences: EventSequences, items: pa.Table, schema: Schema) -> np.ndarray:
    queries = build_queries(sequences, schema, split="test", targets="next")
    scorer = Bm25().fit(sequences, items, schema, split="test")
    return scorer.score(sequences, queries, np.arange(queries.num_queries))


def bm25(count: int, *, length: int, average: float, having: int, num: int) -> float:
    """The formula of Lucene, with k1 = 1.5 and b = 0.75."""
    inverse_frequency = log(1 + (num - having + 0.5) / (having + 0.5))
    return (
        inverse_frequency * count / (count + 1.5 * (1 - 0.75 + 0.75 * length / average))
    )


def test_score_is_the_sum_of_the_formula_over_the_words_of_the_search(
    single_type: Schema, make_items: MakeItems
) -> None:
    items = make_items(4, ["red lamp", "red red sofa", "blue chair", None])
    sequences = searching(make_sequences([[3, 3, 0]]), "RED lamp, please")
    (scores,) = scores_of(sequences, items, single_type)
    # An item without words counts as one empty word: 2 + 3 + 2 + 1 words in 4 items.
    red = {"average": 8 / 4, "having": 2, "num": 4}
    lamp = {"average": 8 / 4, "having": 1, "num": 4}
    expected = [
        bm25(1, length=2, **red) + bm25(1, length=2, **lamp),
        bm25(2, length=3, **red),
        0.0,
    ]
    np.testing.assert_allclose(scores[:3], expected, rtol=1e-5)
    assert 0 < scores[3] < 1e-4  # Nothing but how often it was chosen.


def test_values_of_attributes_are_words_but_numbers_are_not(
    make_items: MakeItems,
) -> None:
    schema = Schema(
        ("event",),
        ("event",),
        item_attributes=(
            AttributeSpec("brand", AttributeKind.CATEGORICAL),
            AttributeSpec("price", AttributeKind.NUMERIC),
        ),
    )
    items = make_items(3, ["lamp", "lamp", "lamp"], brand=["Lumo", None, "Bolt"])
    items = items.append_column("price", pa.array([7.0, 8.0, 9.0]))
    sequences = searching(make_sequences([[2, 2, 0], [2, 2, 0]]), "lumo", "8")
    by_brand, by_price = scores_of(sequences, items, schema)
    assert by_brand.argmax() == 0
    assert by_price.max() < 1e-4


def test_unknown_words_and_no_search_leave_the_order_of_popularity(
    single_type: Schema, make_items: MakeItems
) -> None:
    items = make_items(3, ["lamp", "lamp", "lamp"])
    sequences = searching(make_sequences([[1, 2, 0], [2, 2, 0]]), "灯 zzz", "")
    for scores in scores_of(sequences, items, single_type):
        # Before the test item 2 was chosen three times, item 1 once.
        assert scores[2] > scores[1] > scores[0]


def test_equal_words_are_ordered_by_popularity(
    single_type: Schema, make_items: MakeItems
) -> None:
    items = make_items(3, ["red lamp", "red lamp", "sofa"])
    sequences = searching(make_sequences([[1, 1, 0]]), "lamp")
    (scores,) = scores_of(sequences, items, single_type)
    assert scores[1] > scores[0] > scores[2]
