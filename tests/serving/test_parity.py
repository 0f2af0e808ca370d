"""One request through the models, the exported file and the server: one answer."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfrec_client import Event, RecommendationRequest, RecommenderClient

from export.exporter import export_model
from export.loaded_model import LoadedModel
from serving.server.model_config import ServedModel
from serving.server.server import EmbeddedServer
from tests.synthetic import FIRST_TIMESTAMP, cycle, write_prepared
from tests.training.conftest import make_config
from tfrec.features.item_table import build_item_table
from tfrec.features.request import Request
from tfrec.models.recommender import TrainedRecommender
from tfrec.training.ranking import build_ranking_model
from tfrec.training.retrieval import build_retrieval_model

NOW = FIRST_TIMESTAMP + 5_000
HISTORIES = [
    [("item 3", "event", NOW - 900), ("item 4", "event", NOW - 60)],
    [("item 0", "event", NOW - 9), ("no such item", "event", NOW - 2)],
    [],
]
K = 5


@pytest.fixture(scope="module")
def recommender_and_version(tmp_path_factory: pytest.TempPathFactory):
    path = tmp_path_factory.mktemp("parity")
    dataset = write_prepared(path / "prepared", cycle())
    config = make_config(path)
    tf.keras.utils.set_random_seed(0)
    table = build_item_table(dataset)
    retrieval = build_retrieval_model(config, dataset, table)
    assert config.ranking is not None
    ranking = build_ranking_model(config, config.ranking, dataset, table)
    for i, weight in enumerate([*retrieval.weights, *ranking.weights]):
        if weight.dtype == tf.float32:
            noise = tf.random.stateless_normal(tf.shape(weight), (i, 7), stddev=0.2)
            weight.assign_add(noise)
    recommender = TrainedRecommender(retrieval, ranking, num_candidates=4)
    return recommender, dataset, export_model(recommender, dataset, config)


def eager_answer(recommender, dataset, history) -> tuple[list[str], np.ndarray]:
    """What the trained models say, without anything that export adds."""
    index = dataset.item_vocabulary.lookup([item for item, _, _ in history])
    width = max(len(history), 1)
    padded = np.zeros((1, width), np.int32)
    padded[0, : len(history)] = index
    times = np.zeros((1, width), np.int64)
    times[0, : len(history)] = [time for _, _, time in history]
    request = Request(
        tf.constant(padded),
        tf.constant(np.where(padded > 0, 2, 0).astype(np.int32)),
        tf.constant(times),
        tf.zeros((1, width)),
        tf.constant([NOW], tf.int64),
        {},
    )
    scores = recommender.retrieval_scores(request)
    top, column = tf.math.top_k(scores, K)  # As many as asked, more than candidates.
    ranked = recommender.rank(request, column + 2, top)
    order = np.argsort(-ranked.scores.numpy()[0], kind="stable")
    items = [dataset.item_vocabulary.tokens[i] for i in column.numpy()[0][order]]
    return items, ranked.scores.numpy()[0][order]


def test_models_export_and_server_give_the_same_answer(
    recommender_and_version: tuple[TrainedRecommender, object, Path],
):
    recommender, dataset, version = recommender_and_version
    expected = [eager_answer(recommender, dataset, h) for h in HISTORIES]
    loaded = LoadedModel(version)
    model = ServedModel(name="toy", base_path=version.parent)
    with (
        EmbeddedServer([model]) as server,
        RecommenderClient(
            server.target, model_name="toy", timeout_seconds=20
        ) as client,
    ):
        requests = [
            RecommendationRequest(
                history=[Event(*event) for event in history],
                k=K,
                request_timestamp=NOW,
            )
            for history in HISTORIES
        ]
        together = client.recommend_batch(requests)
        for request, history, batched, (items, scores) in zip(
            requests, HISTORIES, together, expected, strict=True
        ):
            served = client.recommend(request.history, k=K, request_timestamp=NOW)
            for answer in (served, batched):
                assert [found.item_id for found in answer] == items
                np.testing.assert_allclose([f.score for f in answer], scores, atol=1e-5)
            padding = len(history) == 0
            raw = loaded.call(
                "recommend",
                {
                    "history_item_ids": [[i for i, _, _ in history] or [""]],
                    "history_event_types": [[t for _, t, _ in history] or [""]],
                    "history_timestamps": np.array(
                        [[t for _, _, t in history] or [0]], np.int64
                    ),
                    "history_dwell_seconds": np.zeros(
                        (1, len(history) + padding), np.float32
                    ),
                    "query_text": [""],
                    "request_timestamp": np.array([NOW], np.int64),
                    "k": np.array([K], np.int32),
                    "exclude_item_ids": [[""]],
                    "exclude_seen": np.array([False]),
                },
            )
            assert [i.decode() for i in raw["item_ids"][0]] == items
            np.testing.assert_allclose(raw["scores"][0], scores, atol=1e-5)
