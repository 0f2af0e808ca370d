import math

import numpy as np
import pytest

from tests.models.toys import SCHEMA, plain_item_table
from tests.synthetic import make_sequences
from tfrec.config import RankingConfig
from tfrec.data.store import EventSequences
from tfrec.models.ranking_model import RankingModel
from tfrec.training.ranking_lists import RankingLists
from tfrec.training.ranking_validation import RankingValidator

DIM = 4


def lists_of(
    scores: list[list[float]], relevant: list[list[int]], num_relevant: list[int]
) -> RankingLists:
    num_lists, num_candidates = np.shape(scores)
    candidates = np.tile(np.arange(num_candidates, dtype=np.int32) + 2, (num_lists, 1))
    return RankingLists(
        user_rows=np.zeros(num_lists, np.int32),
        history_ends=np.arange(num_lists) + 1,
        request_timestamps=np.full(num_lists, 10**9),
        context={},
        candidate_index=candidates,
        labels=np.zeros((num_lists, num_candidates, 1), np.int8),
        query_embeddings=np.ones((num_lists, DIM), np.float32),
        retrieval_scores=np.array(scores, np.float32),
        relevant=np.array(relevant, bool),
        num_relevant=np.array(num_relevant, np.int32),
    )


def sequences() -> EventSequences:
    return make_sequences([[0, 1, 2, 3, 4, 5]])


def validator(lists: RankingLists, *, metric: str = "NDCG@2") -> RankingValidator:
    model = RankingModel(
        RankingConfig(hidden_dims=(4,), attribute_dim=2, attention_dim=2),
        SCHEMA,
        plain_item_table(),
        embedding_dim=DIM,
        context_sizes={},
    )
    return RankingValidator(
        sequences(), lists, model, metric=metric, max_history_length=3
    )


def test_order_of_retrieval_is_measured_by_hand_known_values():
    scores = [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]]
    relevant = [[0, 1, 0], [0, 0, 1], [0, 0, 1]]
    found = validator(lists_of(scores, relevant, [1, 1, 1])).retrieval_order()
    # Ranks 2, 3 and 1; only 2 and 1 are within 2.
    assert found["NDCG@2"] == pytest.approx((1 / math.log2(3) + 0 + 1) / 3)
    assert found["HR@2"] == pytest.approx(2 / 3)


def test_positive_that_was_not_retrieved_is_a_miss():
    scores, relevant = [[2.0, 1.0]] * 2, [[1, 0], [0, 0]]
    found = validator(lists_of(scores, relevant, [1, 1])).retrieval_order()
    assert found["HR@2"] == 0.5
    both = validator(lists_of(scores, relevant, [2, 1])).retrieval_order()
    assert both["Recall@2"] == 0.25  # One of two, and none of one.


@pytest.mark.parametrize("constant", [0.0, float("nan")])
def test_equal_scores_and_those_that_are_no_number_never_hit(constant):
    lists = lists_of([[constant] * 3], [[1, 0, 0]], [1])
    assert validator(lists).retrieval_order()["HR@2"] == 0.0


def test_untrained_model_ranks_like_retrieval():
    random = np.random.default_rng(1)
    scores = random.normal(size=(5, 4)).tolist()
    relevant = np.eye(4, dtype=int)[random.integers(0, 4, 5)].tolist()
    wanted = validator(lists_of(scores, relevant, [1] * 5))
    assert wanted() == pytest.approx(wanted.retrieval_order())
    assert 0 < wanted()["NDCG@2"] < 1
