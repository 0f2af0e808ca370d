from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tests.synthetic import cycle, make_sequences, noise
from tfrec.data.store import EventSequences
from tfrec.evaluation import evaluate as module
from tfrec.evaluation.baselines.markov import Markov
from tfrec.evaluation.evaluate import evaluate, validation_metric
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.evaluation.result import EvaluationResult
from tfrec.schema import Schema

FixedScorer = Callable[..., Any]
COUNTS = np.array([6, 2, 1, 0])


@pytest.fixture
def sequences() -> EventSequences:
    """User 0 buys item 0 again and 2 anew; user 1 the cold 3; user 2 an unknown."""
    return make_sequences(
        [[0, 1, 0, 2], [0, 3], [-1]], splits=[[0, 0, 2, 2], [0, 2], [2]]
    )


@pytest.fixture
def queries(sequences: EventSequences, single_type: Schema) -> EvaluationQueries:
    return build_queries(sequences, single_type, split="test", targets="window")


@pytest.fixture
def table() -> np.ndarray:
    return np.array([[4, 3, 2, 1], [4, 3, 2, 1], [4, 3, 2, 1]], np.float32)


def run(
    scorer: Any,
    sequences: EventSequences,
    queries: EvaluationQueries,
    **options: Any,
) -> EvaluationResult:
    arguments: dict[str, Any] = {
        "train_counts": COUNTS,
        "ks": (1, 2),
        "num_bootstrap": 50,
        "progress": False,
        **options,
    }
    return evaluate([scorer], sequences, queries, **arguments)


def test_groups_rank_what_their_names_say(
    sequences: EventSequences,
    queries: EvaluationQueries,
    table: np.ndarray,
    fixed_scorer: FixedScorer,
) -> None:
    found = run(fixed_scorer(table), sequences, queries)
    # Whole catalogue: user 0 has ranks 1 (item 0) and 3 (item 2), user 1 has 4.
    np.testing.assert_allclose(found.query_values("fixed", "Recall@2"), [1 / 2, 0, 0])
    ideal = 1 + 1 / log2(3)
    np.testing.assert_allclose(found.query_values("fixed", "NDCG@2"), [1 / ideal, 0, 0])
    # Without the history (items 0, 1): item 2 is first. User 1 is left 1, 2, 3.
    novel = found.query_values("fixed", "HR@1", group="novel")
    np.testing.assert_allclose(novel, [1, 0, 0])
    repeat = found.query_values("fixed", "HR@1", group="repeat")
    np.testing.assert_allclose(repeat, [1, np.nan, np.nan])
    assert found.mean("fixed", "Recall@2") == pytest.approx(1 / 6)


def test_excluding_seen_items_makes_repeats_misses(
    sequences: EventSequences,
    queries: EvaluationQueries,
    table: np.ndarray,
    fixed_scorer: FixedScorer,
) -> None:
    found = run(fixed_scorer(table), sequences, queries, ks=(1, 3), exclude_seen=True)
    # User 0 is offered 2 and 3, user 1 is offered 1, 2 and 3.
    np.testing.assert_allclose(found.query_values("fixed", "Recall@1"), [1 / 2, 0, 0])
    np.testing.assert_allclose(found.query_values("fixed", "Recall@3"), [1 / 2, 1, 0])
    np.testing.assert_allclose(found.query_values("fixed", "MRR@3"), [1, 1 / 3, 0])
    assert found.groups == ("all", "novel")
    # Lists of one: user 0 gets item 2, user 1 item 1, user 2 item 0.
    assert found.scorers["fixed"].coverage["coverage@1"] == 3 / 4


def test_slices_hold_their_positives_only(
    sequences: EventSequences,
    queries: EvaluationQueries,
    table: np.ndarray,
    fixed_scorer: FixedScorer,
) -> None:
    found = run(fixed_scorer(table), sequences, queries, ks=(4,))
    slices = found.scorers["fixed"].slices
    # 6 + 2 of 9 events are needed for 80 %: items 0 and 1 are the head.
    assert found.slice_sizes["item_popularity"] == {
        "head": 1,
        "tail": 1,
        "cold": 1,
        "out_of_catalogue": 1,
    }
    assert slices["item_popularity"]["head"]["MRR@4"] == 1
    assert slices["item_popularity"]["tail"]["MRR@4"] == pytest.approx(1 / 3)
    assert slices["item_popularity"]["cold"]["MRR@4"] == 1 / 4
    assert slices["item_popularity"]["out_of_catalogue"]["HR@4"] == 0
    assert slices["history_length"]["0"]["HR@4"] == 0
    assert "50+" not in slices["history_length"]
    assert slices["seen_before"]["repeat"]["MRR@4"] == 1


def test_working_model_solves_the_cycle(
    single_type: Schema, make_items: Callable[..., pa.Table]
) -> None:
    sequences = cycle()
    queries = build_queries(sequences, single_type, split="test", targets="next")
    markov = Markov().fit(sequences, make_items(8), single_type, split="test")
    counts = np.full(8, 10)
    found = run(markov, sequences, queries, train_counts=counts)
    assert found.mean("markov", "HR@1") == 1.0


def test_no_scorer_beats_chance_on_noise(
    single_type: Schema, make_items: Callable[..., pa.Table]
) -> None:
    sequences = noise(num_users=2000)
    queries = build_queries(sequences, single_type, split="test", targets="next")
    markov = Markov().fit(sequences, make_items(8), single_type, split="test")
    found = run(markov, sequences, queries, train_counts=np.full(8, 10))
    # Chance is 2 / 8; four standard deviations of 2,000 draws are 0.039.
    assert found.mean("markov", "HR@2") == pytest.approx(2 / 8, abs=0.039)


def test_constant_scorer_hits_nothing(
    sequences: EventSequences, queries: EvaluationQueries, fixed_scorer: FixedScorer
) -> None:
    found = run(fixed_scorer(np.ones((3, 4))), sequences, queries)
    assert found.mean("fixed", "HR@1") == 0


def test_order_of_users_and_size_of_batches_change_nothing(
    single_type: Schema, monkeypatch: pytest.MonkeyPatch, fixed_scorer: FixedScorer
) -> None:
    random = np.random.default_rng(5)
    histories = [random.integers(0, 8, random.integers(3, 9)) for _ in range(30)]
    table = random.random((30, 8)).astype(np.float32)
    order = random.permutation(30)

    def metrics(rows: np.ndarray) -> dict[str, float]:
        sequences = make_sequences([histories[row] for row in rows])
        queries = build_queries(sequences, single_type, split="test", targets="next")
        found = run(
            fixed_scorer(table[rows]), sequences, queries, train_counts=np.ones(8)
        )
        scorer = found.to_json()["scorers"]["fixed"]
        return {**scorer["metrics"], **scorer["groups"]["novel"]["metrics"]}

    expected = metrics(np.arange(30))
    assert metrics(order) == pytest.approx(expected)
    monkeypatch.setattr(module, "MAX_BATCH_SIZE", 7)
    assert metrics(order) == pytest.approx(expected)
    assert 0 < expected["HR@2"] < 1


@pytest.mark.parametrize("exclude_seen", [False, True])
def test_validation_metric_equals_the_full_evaluation(
    sequences: EventSequences,
    queries: EvaluationQueries,
    table: np.ndarray,
    fixed_scorer: FixedScorer,
    exclude_seen: bool,
) -> None:
    scorer = fixed_scorer(table)
    quick = validation_metric(
        scorer,
        sequences,
        queries,
        "NDCG@2",
        num_items=4,
        exclude_seen=exclude_seen,
    )
    full = run(scorer, sequences, queries, exclude_seen=exclude_seen)
    names = {"HR@2", "Recall@2", "NDCG@2", "MRR@2"}
    assert quick == pytest.approx({name: full.mean("fixed", name) for name in names})
    assert quick["NDCG@2"] > 0


def test_scorers_are_told_apart_by_name(
    sequences: EventSequences, queries: EvaluationQueries, fixed_scorer: FixedScorer
) -> None:
    scorer = fixed_scorer(np.ones((3, 4)))
    with pytest.raises(ValueError, match=r"distinct names.*\['fixed', 'fixed'\]"):
        evaluate([scorer, scorer], sequences, queries, train_counts=COUNTS)


def test_no_query_is_an_error_that_says_where_to_look(
    sequences: EventSequences, single_type: Schema, fixed_scorer: FixedScorer
) -> None:
    empty = build_queries(sequences, single_type, split="validation", targets="next")
    with pytest.raises(ValueError, match=r"at least one query.*'validation'"):
        run(fixed_scorer(np.ones((0, 4))), sequences, empty)


def test_bad_list_length_and_catalogue_are_named(
    sequences: EventSequences,
    queries: EvaluationQueries,
    table: np.ndarray,
    fixed_scorer: FixedScorer,
) -> None:
    with pytest.raises(ValueError, match=r"`ks` must be .*ks=\(0, 5\)"):
        run(fixed_scorer(table), sequences, queries, ks=(0, 5))
    with pytest.raises(ValueError, match=r"num_items=3, largest.*index=5"):
        run(fixed_scorer(table), sequences, queries, train_counts=np.ones(3))


def test_nan_of_a_diverged_model_is_not_ranked(
    sequences: EventSequences, queries: EvaluationQueries, fixed_scorer: FixedScorer
) -> None:
    with pytest.raises(ValueError, match="'fixed' returned NaN"):
        run(fixed_scorer(np.full((3, 4), np.nan)), sequences, queries)
