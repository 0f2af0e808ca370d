from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.markov import Markov
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema

MakeItems = Callable[..., pa.Table]


def test_scores_are_transition_shares_of_the_newest_item(
    single_type: Schema, make_items: MakeItems
) -> None:
    # From 0: twice to 1, once to 2. Not learned: 0 -> 3, the test event itself,
    # and 0 -> 4, the end of one user and the start of the next.
    sequences = make_sequences(
        [[0, 1], [0, 1, 4], [0, 2], [2, 0], [4, 0, 3]],
        splits=[[0, 0], [0, 0, 0], [0, 0], [0, 0], [0, 0, 2]],
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = Markov().fit(sequences, make_items(5), single_type, split="test")
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    # The filler stays below half of the smallest share, 1 / 3.
    assert 2 / 3 <= scores[1] < 2 / 3 + 1 / 6
    assert 1 / 3 <= scores[2] < 1 / 3 + 1 / 6
    # The rest by popularity: 0 has five events, 4 two, 3 none.
    assert 1 / 6 > scores[0] > scores[4] > scores[3] == 0


def test_only_target_events_are_learned_as_followers(
    schema: Schema, make_items: MakeItems
) -> None:
    sequences = make_sequences(
        [[0, 1, 2], [0, 2, 0, 3]],
        event_types=[[0, 0, 1], [0, 1, 0, 1]],
        splits=[[0, 0, 0], [0, 0, 0, 2]],
    )
    queries = build_queries(sequences, schema, split="test", targets="next")
    scorer = Markov().fit(sequences, make_items(4), schema, split="test")
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    # 0 -> 1 is a view; the purchase 0 -> 2 is all that follows item 0.
    assert scores[2] >= 1
    assert scores[1] < 0.5


def test_unknown_last_item_falls_back_to_the_one_before(
    single_type: Schema, make_items: MakeItems
) -> None:
    sequences = make_sequences(
        [[0, 1], [0, -1, 2], [2]], splits=[[0, 0], [0, 0, 2], [2]]
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = Markov().fit(sequences, make_items(3), single_type, split="test")
    scores = scorer.score(sequences, queries, np.arange(2))
    assert scores[0].argmax() == 1
    # An empty history gets popularity: item 0 has two events, 1 one, 2 none.
    assert scores[1, 0] > scores[1, 1] > scores[1, 2]
