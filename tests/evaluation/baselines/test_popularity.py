from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from tests.synthetic import make_sequences
from tfrec.evaluation.baselines.popularity import Popularity, RecentPopularity
from tfrec.evaluation.protocols import EvaluatedSplit, build_queries
from tfrec.schema import Schema

DAY = 86_400
MakeItems = Callable[..., pa.Table]


def test_popularity_counts_target_events_before_the_split(
    schema: Schema, make_items: MakeItems
) -> None:
    # Type 1 is the target; the last two events are validation and test.
    sequences = make_sequences(
        [[0, 0, 1, 2, 3]], event_types=[[1, 1, 0, 1, 1]], splits=[[0, 0, 0, 1, 2]]
    )
    expectations: dict[EvaluatedSplit, list[int]] = {
        "validation": [2, 0, 0, 0],
        "test": [2, 0, 1, 0],
    }
    for split, expected in expectations.items():
        queries = build_queries(sequences, schema, split=split, targets="next")
        scorer = Popularity().fit(sequences, make_items(4), schema, split=split)
        scores = scorer.score(sequences, queries, np.array([0]))
        assert scores.dtype == np.float32
        assert scores.tolist() == [expected]


def test_recent_window_ends_where_the_past_of_a_time_split_ends(
    single_type: Schema, make_items: MakeItems
) -> None:
    # Training ends on day 50: with 10 days only the events after day 40 count.
    sequences = make_sequences(
        [[0, 0, 0, 1, 1, 2], [2, 0]],
        timestamps=[[d * DAY for d in (10, 11, 12, 41, 50, 51)], [45 * DAY, 58 * DAY]],
        splits=[[0, 0, 0, 0, 0, 2], [0, 2]],
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = RecentPopularity(window_days=10).fit(
        sequences, make_items(4), single_type, split="test"
    )
    scores = scorer.score(sequences, queries, np.array([1, 0]))
    assert np.floor(scores).tolist() == [[0, 2, 1, 0]] * 2
    # Item 0 was never seen in the window, but often before: it beats item 3.
    assert (scores[:, 0] > scores[:, 3]).all()


def test_recent_window_never_reaches_the_day_of_an_earlier_request(
    single_type: Schema, make_items: MakeItems
) -> None:
    # Leave-one-out: user 0 is asked about on day 20, user 1 trains on day 90.
    sequences = make_sequences(
        [[0, 3], [1, 1, 1, 3]],
        timestamps=[[15 * DAY, 20 * DAY], [20 * DAY, 90 * DAY, 91 * DAY, 92 * DAY]],
        splits=[[0, 2], [0, 0, 0, 2]],
    )
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = RecentPopularity().fit(sequences, make_items(4), single_type, split="test")
    scores = np.floor(scorer.score(sequences, queries, np.arange(2)))
    assert scores.tolist() == [[1, 0, 0, 0], [0, 2, 0, 0]]


def test_recent_popularity_without_any_past_scores_zero(
    single_type: Schema, make_items: MakeItems
) -> None:
    sequences = make_sequences([[0]], splits=[[2]])
    queries = build_queries(sequences, single_type, split="test", targets="next")
    scorer = RecentPopularity().fit(sequences, make_items(2), single_type, split="test")
    assert scorer.score(sequences, queries, np.array([0])).tolist() == [[0, 0]]


def test_window_must_be_positive() -> None:
    with pytest.raises(ValueError, match=r"`window_days` must be positive.*-1"):
        RecentPopularity(window_days=-1)
