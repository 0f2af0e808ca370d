"""Baselines on logs with searches: as if there were none."""

import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.item_events import OfItemEvents, without_searches_of
from tfrec.evaluation.baselines.item_knn import ItemKNN
from tfrec.evaluation.baselines.markov import Markov
from tfrec.evaluation.baselines.popularity import Popularity
from tfrec.evaluation.baselines.repeat import Repeat
from tfrec.evaluation.protocols import build_queries
from tfrec.schema import Schema

PLAIN = Schema(("view",), ("view",))
SEARCHING = Schema(("view", "search"), ("view",), search_event_type="search")


@pytest.mark.parametrize("kind", [Markov, Repeat, ItemKNN, Popularity])
def test_a_search_between_items_changes_no_score(kind, make_items):
    items = make_items(4)
    plain = make_sequences(
        [[0, 1, 2], [0, 1, 3], [1, 0, 1]], splits=[[0, 0, 2], [0, 0, 2], [0, 0, 0]]
    )
    searching = make_sequences(
        [[0, -1, 1, -1, 2], [-1, 0, -1, 1, 3], [1, -1, 0, -1, -1, 1]],
        event_types=[[0, 1, 0, 1, 0], [1, 0, 1, 0, 0], [0, 1, 0, 1, 1, 0]],
        splits=[[0, 0, 0, 2, 2], [0, 0, 0, 0, 2], [0] * 6],
    )
    scores = []
    for sequences, schema in ((plain, PLAIN), (searching, SEARCHING)):
        queries = build_queries(sequences, schema, split="test", targets="next")
        scorer = without_searches_of(kind(), schema)
        scorer.fit(sequences, items, schema, split="test")
        scores.append(scorer.score(sequences, queries, np.arange(2)))
        assert scorer.name == kind.name
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-6)
    assert len(np.unique(scores[0][0])) > 1


def test_a_log_without_searches_keeps_its_baseline_as_it_is():
    assert isinstance(without_searches_of(Markov(), PLAIN), Markov)
    assert isinstance(without_searches_of(Markov(), SEARCHING), OfItemEvents)
