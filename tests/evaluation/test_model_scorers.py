import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_recommender import make_ranking_model
from tests.models.toys import NUM_ITEMS, SCHEMA, request, toy_model
from tests.synthetic import make_sequences
from tfrec.evaluation.model_scorers import (
    PipelineScorer,
    RetrievalScorer,
    request_spec,
)
from tfrec.evaluation.protocols import build_queries
from tfrec.formula import parse_formula
from tfrec.models.final_order import FinalOrder
from tfrec.models.recommender import TrainedRecommender

SEQUENCES = make_sequences([[0, 1, 2, 3], [4, 5, 4, 6, 7], [3, 3, 1]])


def make_recommender() -> TrainedRecommender:
    return TrainedRecommender(toy_model(), make_ranking_model(), num_candidates=3)


@pytest.fixture(scope="module")
def recommender() -> TrainedRecommender:
    return make_recommender()


def test_retrieval_scores_of_a_query_are_those_of_its_request(
    recommender: TrainedRecommender,
):
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    scores = RetrievalScorer(recommender).score(SEQUENCES, queries, np.arange(3))
    end = int(queries.history_ends[1])
    start = int(SEQUENCES.offsets[1])
    expected = recommender.retrieval_scores(
        request(
            [SEQUENCES.item_index[start:end].tolist()],
            timestamps=[SEQUENCES.timestamps[start:end].tolist()],
            now=[int(SEQUENCES.timestamps[end])],
        )
    )
    np.testing.assert_allclose(scores[1:2], expected, atol=1e-5)


def test_pipeline_puts_retrieved_candidates_first_in_the_order_of_ranking(
    recommender: TrainedRecommender,
):
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    rows = np.arange(3)
    retrieval = RetrievalScorer(recommender).score(SEQUENCES, queries, rows)
    pipeline = PipelineScorer(recommender).score(SEQUENCES, queries, rows)
    scorer = PipelineScorer(recommender)
    request_ = scorer.requests(SEQUENCES, queries, rows)
    for row in rows:
        order = np.argsort(-retrieval[row], kind="stable")
        one = tf.nest.map_structure(lambda t, r=row: t[r : r + 1], request_)
        ranked = recommender.rank(
            one, tf.constant([order[:3] + 2], tf.int32), retrieval[row, order[:3]][None]
        )
        best = np.argsort(-ranked.scores.numpy()[0], kind="stable")
        expected = [*order[:3][best], *order[3:]]
        assert np.argsort(-pipeline[row], kind="stable").tolist() == expected


def test_pipeline_follows_the_order_that_it_is_given(recommender: TrainedRecommender):
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    rows = np.arange(3)
    retrieval = RetrievalScorer(recommender).score(SEQUENCES, queries, rows)
    # Candidates of one final score keep the order of retrieval, as served.
    for sign, text in ((1, "retrieval"), (-1, "-retrieval"), (1, "0 * retrieval")):
        order = FinalOrder(
            {"mine": parse_formula(text)},
            default="mine",
            weights=dict.fromkeys(SCHEMA.head_names, 1.0),
            numbers={},
            missing_values={},
        )
        scorer = PipelineScorer(recommender, final_order=order)
        assert scorer.name == "ranking, order mine"
        scores = scorer.score(SEQUENCES, queries, rows)
        for row in rows:  # Three candidates, turned round where the sign is.
            best = np.argsort(-retrieval[row], kind="stable")
            expected = [*best[:3][::sign], *best[3:]]
            assert np.argsort(-scores[row], kind="stable").tolist() == expected


def test_seen_items_give_up_their_places_among_the_candidates(
    recommender: TrainedRecommender,
):
    sequences = make_sequences([list(range(NUM_ITEMS - 3)) + [6, 7]])
    queries = build_queries(sequences, SCHEMA, split="test", targets="next")
    scorer = PipelineScorer(recommender, exclude_seen=True)
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    seen = set(sequences.item_index[: queries.history_ends[0]].tolist())
    unseen = [i for i in range(NUM_ITEMS) if i + 2 not in seen]
    assert len(unseen) == 2
    # Places given by rank are above 0: both unseen items have one of the three.
    assert set(unseen) <= set(np.flatnonzero(scores > 0))


def test_hidden_items_stay_behind_whatever_ranking_makes_of_their_scores():
    sequences = make_sequences([list(range(NUM_ITEMS - 3)) + [6, 7]])
    queries = build_queries(sequences, SCHEMA, split="test", targets="next")
    recommender = make_recommender()
    assert recommender.ranking is not None
    # A model that likes low retrieval scores would put a hidden item first.
    recommender.ranking.retrieval_weight.assign(
        tf.fill(recommender.ranking.retrieval_weight.shape, -0.1)
    )
    scorer = PipelineScorer(recommender, exclude_seen=True)
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    seen = set(sequences.item_index[: queries.history_ends[0]].tolist())
    unseen = {i for i in range(NUM_ITEMS) if i + 2 not in seen}
    assert set(np.argsort(-scores)[:2].tolist()) == unseen


def test_each_query_is_scored_alone_whatever_stands_beside_it(
    recommender: TrainedRecommender,
):
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    for scorer in (RetrievalScorer(recommender), PipelineScorer(recommender)):
        together = scorer.score(SEQUENCES, queries, np.array([2, 0, 1]))
        alone = [scorer.score(SEQUENCES, queries, np.array([row])) for row in (2, 0, 1)]
        assert together.shape == (3, NUM_ITEMS)
        assert together.dtype == np.float32
        np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-5)


def test_only_the_newest_events_of_a_long_history_are_read(
    recommender: TrainedRecommender,
):
    history = [0, 1, 2, 3, 4, 5, 6, 7, 3, 5, 0]
    changed = [7, 7, 7, 7, *history[4:]]  # The model reads six events of nine.
    assert recommender.max_history_length == 6
    scores = []
    for items in (history, changed):
        sequences = make_sequences([items])
        queries = build_queries(sequences, SCHEMA, split="test", targets="next")
        rows = np.array([0])
        requests = RetrievalScorer(recommender).requests(sequences, queries, rows)
        assert (requests.item_index - 2).tolist() == [history[4:10]]
        scores.append(RetrievalScorer(recommender).score(sequences, queries, rows))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_context_of_a_query_is_part_of_its_request(recommender: TrainedRecommender):
    sequences = make_sequences(
        [[0, 1, 2], [3, 4, 5]],
        context={
            "country": np.array([2, 3, 4, 5, 6, 7], np.int32),
            "hour": np.array([0, 1, 2, 3, 4, 5], np.float32),
        },
    )
    queries = build_queries(sequences, SCHEMA, split="test", targets="next")
    scorer = RetrievalScorer(recommender)
    request_ = scorer.requests(sequences, queries, np.array([1, 0]))
    # The test event is the last of each user.
    np.testing.assert_array_equal(request_.context["country"], [7, 4])
    np.testing.assert_array_equal(request_.context["hour"], [5, 2])
    spec = request_spec(queries.context)
    assert spec.context["country"].dtype == tf.int32
    assert spec.context["hour"].dtype == tf.float32


def test_specs_accept_every_batch_of_requests(recommender: TrainedRecommender):
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    requests = RetrievalScorer(recommender).requests(SEQUENCES, queries, np.arange(3))
    pairs = zip(
        tf.nest.flatten(request_spec(queries.context)),
        tf.nest.flatten(requests),
        strict=True,
    )
    for spec, array in pairs:
        assert spec.is_compatible_with(tf.convert_to_tensor(array))
