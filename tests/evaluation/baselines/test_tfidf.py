from collections.abc import Callable
from math import log

import numpy as np
import pyarrow as pa

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.tfidf import (
    TfIdf,
    item_words,
    split_words,
    tfidf_vectors,
)
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import AttributeKind, AttributeSpec, Schema

MakeItems = Callable[..., pa.Table]


def test_words_are_lower_case_and_chinese_comes_in_pairs() -> None:
    assert split_words("Crème_brûlée, 50ml (BIG)") == ["crème", "brûlée", "50ml", "big"]
    assert split_words("LED台灯 红") == ["led", "台灯", "红"]
    assert split_words("") == []


def test_attribute_values_are_words_of_their_own(make_items: MakeItems) -> None:
    schema = Schema(
        ("event",),
        ("event",),
        item_attributes=(
            AttributeSpec("brand", AttributeKind.CATEGORICAL),
            AttributeSpec("category", AttributeKind.PATH),
            AttributeSpec("price", AttributeKind.NUMERIC),
        ),
    )
    items = make_items(
        2,
        ["Red Lamp", None],
        brand=["Big Light", None],
        category=["Home/Lamps", None],
        price=[1.0, 2.0],
    )
    assert item_words(items, schema) == [
        ["red", "lamp", "brand=big light", "category=home", "category=home/lamps"],
        [],
    ]


def test_vectors_weigh_by_count_and_rarity() -> None:
    vectors = tfidf_vectors([["a", "b", "b"], ["a"], []]).toarray()
    # Of 3 documents, 2 have "a", 1 has "b".
    a, b = log(4 / 3) + 1, (1 + log(2)) * (log(4 / 2) + 1)
    length = (a**2 + b**2) ** 0.5
    np.testing.assert_allclose(
        vectors, [[a / length, b / length], [1, 0], [0, 0]], rtol=1e-6
    )


def test_items_like_the_newest_of_the_history_come_first(
    single_type: Schema, make_items: MakeItems
) -> None:
    items = make_items(
        5, ["red lamp", "blue chair", "green lamp", "white chair", "soap"]
    )
    sequences = make_sequences([[1, 0, 4], [0, 1, 4]])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = TfIdf().fit(sequences, items, single_type, split="test")
    scores = scorer.score(sequences, queries, np.arange(2))
    assert scores[0, 2] > scores[0, 3] > scores[0, 4]
    assert scores[1, 3] > scores[1, 2] > scores[1, 4]


def test_equal_titles_are_ordered_by_popularity(
    single_type: Schema, make_items: MakeItems
) -> None:
    items = make_items(3, ["lamp", "lamp", "lamp"])
    sequences = make_sequences([[0, 2, 1], [2, 2, 1]])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = TfIdf().fit(sequences, items, single_type, split="test")
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    assert scores[2] > scores[0] > scores[1]
