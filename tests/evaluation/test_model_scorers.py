import numpy as np
import tensorflow as tf

from tests.models.test_recommender import make_ranking_model
from tests.models.toys import NUM_ITEMS, SCHEMA, request, toy_model
from tests.synthetic import make_sequences
from tfrec.evaluation.model_scorers import PipelineScorer, RetrievalScorer
from tfrec.evaluation.protocols import build_queries
from tfrec.models.recommender import TrainedRecommender

SEQUENCES = make_sequences([[0, 1, 2, 3], [4, 5, 4, 6, 7], [3, 3, 1]])


def make_recommender() -> TrainedRecommender:
    return TrainedRecommender(toy_model(), make_ranking_model(), num_candidates=3)


def test_retrieval_scores_of_a_query_are_those_of_its_request():
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    recommender = make_recommender()
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


def test_pipeline_puts_retrieved_candidates_first_in_the_order_of_ranking():
    queries = build_queries(SEQUENCES, SCHEMA, split="test", targets="next")
    recommender = make_recommender()
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


def test_seen_items_give_up_their_places_among_the_candidates():
    sequences = make_sequences([list(range(NUM_ITEMS - 3)) + [6, 7]])
    queries = build_queries(sequences, SCHEMA, split="test", targets="next")
    recommender = make_recommender()
    scorer = PipelineScorer(recommender, exclude_seen=True)
    scores = scorer.score(sequences, queries, np.array([0]))[0]
    seen = set(sequences.item_index[: queries.history_ends[0]].tolist())
    unseen = [i for i in range(NUM_ITEMS) if i + 2 not in seen]
    assert len(unseen) == 2
    # Places given by rank are above 0: both unseen items have one of the three.
    assert set(unseen) <= set(np.flatnonzero(scores > 0))
