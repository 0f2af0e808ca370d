import json

import numpy as np
import pytest

from tfrec.evaluation.metrics import metric_names
from tfrec.evaluation.result import EvaluationResult, ScorerResult

NUM_METRICS = len(metric_names((10,)))


def make_result(**values: np.ndarray) -> EvaluationResult:
    """Builds a result whose metrics all have the given values per query."""
    num_queries = len(next(iter(values.values())))
    novel = np.arange(num_queries) % 2 == 0
    return EvaluationResult(
        scorers={
            name: ScorerResult(
                groups={
                    "all": np.tile(v[:, None], NUM_METRICS),
                    "novel": np.tile(np.where(novel, v, np.nan)[:, None], NUM_METRICS),
                },
                slices={},
                coverage={"coverage@10": 0.25},
                seconds=1.5,
            )
            for name, v in values.items()
        },
        split="test",
        targets="next",
        ks=(10,),
        exclude_seen=True,
        num_bootstrap=400,
        seed=3,
        num_queries=num_queries,
        num_positives=num_queries,
        num_items=9,
    )


@pytest.fixture
def result() -> EvaluationResult:
    random = np.random.default_rng(0)
    first = random.random(100)
    return make_result(first=first, second=first - 0.1 + random.normal(0, 0.01, 100))


def test_json_has_the_documented_keys_and_survives_a_round_trip(
    result: EvaluationResult,
) -> None:
    found = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert found["protocol"] == "full"
    assert found["groups"] == {"all": 100, "novel": 50}
    assert found["k"] == [10]
    assert found["seed"] == 3
    scorer = found["scorers"]["second"]
    assert set(scorer["metrics"]) == {
        "HR@10",
        "Recall@10",
        "NDCG@10",
        "MRR@10",
        "coverage@10",
    }
    values = result.query_values("second", "NDCG@10")
    assert scorer["metrics"]["NDCG@10"] == pytest.approx(values.mean())
    novel = scorer["groups"]["novel"]["metrics"]["NDCG@10"]
    assert novel == pytest.approx(values[::2].mean())
    low, high = scorer["intervals"]["NDCG@10"]
    assert low < values.mean() < high
    assert scorer["seconds"] == 1.5


def test_difference_is_paired_and_equal_in_both_ways_to_ask(
    result: EvaluationResult,
) -> None:
    found = result.difference("second", "first", "NDCG@10")
    assert found.mean == pytest.approx(-0.1, abs=0.005)
    assert -0.11 < found.low < found.high < -0.09
    scorers = result.to_json()["scorers"]
    in_json = scorers["second"]["groups"]["all"]["differences"]["NDCG@10"]
    assert in_json == pytest.approx([found.low, found.high], abs=1e-5)
    assert "differences" not in scorers["first"]["groups"]["all"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("third", "HR@10", "all"), r"`scorer` must be one of .*'third'"),
        (("first", "HR@5", "all"), r"`metric` must be one of .*'HR@5'"),
        (("first", "HR@10", "repeat"), r"`group` must be one of .*'repeat'"),
    ],
)
def test_unknown_names_are_refused(
    result: EvaluationResult, arguments: tuple[str, str, str], message: str
) -> None:
    scorer, metric, group = arguments
    with pytest.raises(ValueError, match=message):
        result.query_values(scorer, metric, group=group)
