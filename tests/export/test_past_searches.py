"""Searches of the past, from the log to the served answer."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfrec_client import Event, RecommendationRequest, RecommenderClient

from export.exporter import export_model
from export.loaded_model import LoadedModel
from export.requests import batch_rows
from serving.server.model_config import ServedModel
from serving.server.server import EmbeddedServer
from tests.export.searching_shop import (
    NOW,
    raw_history,
    searching_config,
    text_for,
    write_searching_shop,
)
from tests.export.small_shop import NUM_ITEMS, Run, Served
from tests.training.conftest import configure_shop
from tests.training.test_text_run import TEXT_OPTIONS
from tfrec.data.simulator import simulate, sized_config
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.evaluation.model_scorers import RetrievalScorer
from tfrec.evaluation.protocols import EvaluationQueries, build_queries
from tfrec.schema import ITEM_IDS, SCORES, SignatureName
from tfrec.training.run import load_recommender, train

pytestmark = pytest.mark.slow

BROWSED = [("i3", "view"), ("i8", "view")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shop")
    write_searching_shop(folder)
    return folder


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    config = searching_config(folder, transitions=True)
    train(config)
    return Run(config.run_path, *load_recommender(config.run_path))


@pytest.fixture(scope="module")
def served(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return Served(run, tmp_path_factory.mktemp("served") / "assets")


@pytest.fixture(scope="module")
def version(run: Run) -> Path:
    """An exported version: it has passed the gates, searches in histories included."""
    return export_model(run.recommender, run.dataset, run.config)


def best_two(scores: dict[str, float]) -> set[str]:
    return set(sorted(scores, key=lambda item: -scores[item])[:2])


def test_a_history_that_ends_in_a_search_asks_for_what_was_searched_for(served):
    before = served.ranked(SignatureName.RETRIEVE, **raw_history(BROWSED))
    found = risen = 0
    for item in range(12):  # Item n and item n + 12 answer to the same text.
        events = [*BROWSED, (text_for(item), "search")]
        after = served.ranked(SignatureName.RETRIEVE, **raw_history(events))
        wanted = {f"i{item}", f"i{item + 12}"}
        risen += sum(after[i] > before[i] for i in wanted)
        found += best_two(after) == wanted
    assert risen >= 20  # Of 24; half of them by chance.
    assert found >= 7  # By chance two of 24 items are right once in 276 times.


def test_ranking_answers_to_the_search_before_it(served):
    events = [*BROWSED, (text_for(5), "search")]
    found = served.ranked(SignatureName.RECOMMEND, **raw_history(events))
    assert {"i5", "i17"} <= set(sorted(found, key=lambda i: -found[i])[:4])


def test_requests_may_spell_event_types_as_the_log_does(version: Path, served):
    def scores(view: str, search: str) -> list[float]:
        events = [("i3", view), (text_for(5), search)]
        schema, rows = served.module.schema, [{**raw_history(events), "k": 5}]
        request = batch_rows(schema, SignatureName.RECOMMEND, rows)
        return model.call("recommend", request.inputs)[SCORES][0].tolist()

    with LoadedModel(version) as model:
        expected = scores("view", "search")
        assert scores("pv", "suche") == expected
        assert scores("pv", "SUCHE") != expected  # An unknown type, no search.


@pytest.mark.parametrize(
    "text",
    [
        {"sequence": "none"},
        {"sequence": "multi"},
        {"sequence": "multi", "sequence_unit": "session"},
        {"sequence": "single"},
    ],
    ids=lambda text: "-".join(text.values()),
)
def test_an_evaluated_history_scores_as_it_would_be_served(text, folder, run, tmp_path):
    if text["sequence"] != "none":
        config = searching_config(folder, max_epochs=1, **text)
        config = config.model_copy(update={"ranking": None})
        train(config)
        run = Run(config.run_path, *load_recommender(config.run_path))
    served = Served(run, tmp_path / "assets")
    sequences, queries = evaluated(run)
    scorer = RetrievalScorer(run.recommender)
    expected = scorer.score(sequences, queries, np.arange(4))
    for row in range(4):
        asked = as_served(run.dataset, sequences, queries, row)
        assert asked["history_event_types"][-1] == "search"
        found = served.ranked(SignatureName.RETRIEVE, **asked)
        scores = [found[item] for item in run.dataset.item_vocabulary.tokens]
        np.testing.assert_allclose(scores, expected[row], atol=1e-4)


def evaluated(run: Run) -> tuple[EventSequences, EvaluationQueries]:
    sequences, schema = run.dataset.load_sequences(), run.config.experiment_schema
    return sequences, build_queries(sequences, schema, split="test", targets="next")


def as_served(
    dataset: PreparedDataset,
    sequences: EventSequences,
    queries: EvaluationQueries,
    row: int,
) -> dict[str, Any]:
    """The inputs of a signature for an evaluated query."""
    ids = dataset.item_vocabulary.tokens
    start = sequences.offsets[queries.user_rows[row]]
    past = range(start, queries.history_ends[row])
    is_search = [sequences.event_type_index[event] == 3 for event in past]
    return {
        "history_item_ids": [
            sequences.query_text[e] if s else ids[sequences.item_index[e] - 2]
            for e, s in zip(past, is_search, strict=True)
        ],
        "history_event_types": ["search" if s else "view" for s in is_search],
        "history_dwell_seconds": [0.0] * len(is_search),
        "history_timestamps": sequences.timestamps[list(past)],
        "request_timestamp": queries.request_timestamps[row],
    }


def test_an_exported_mixture_scores_as_the_trained_one(run, version):
    sequences, queries = evaluated(run)
    searched = [text_for(7), "", ""]
    queries = dataclasses.replace(
        queries.take(np.arange(3)), query_text=np.array(searched, object)
    )
    scorer = RetrievalScorer(run.recommender, searches=True)
    request = scorer.requests(sequences, queries, np.arange(3))
    encoded = run.recommender.encode(request)
    retrieved = run.recommender.scores_of(encoded)
    unmixed = run.recommender.scores_of(encoded._replace(transitions=None))
    # In every row, or nothing would be missed if transitions were left behind.
    assert np.abs(retrieved - unmixed).max(axis=1).min() > 0.1
    every_item = tf.tile(tf.range(2, NUM_ITEMS + 2)[tf.newaxis], [3, 1])
    ranked = run.recommender.rank(request, every_item, retrieved, encoded=encoded)
    rows = [
        as_served(run.dataset, sequences, queries, row)
        | {"query_text": text, "k": NUM_ITEMS}
        for row, text in enumerate(searched)
    ]
    schema, ids = run.config.experiment_schema, run.dataset.item_vocabulary.tokens
    with LoadedModel(version) as model:
        for signature, expected in (
            (SignatureName.RETRIEVE, retrieved.numpy()),
            (SignatureName.RECOMMEND, ranked.scores.numpy()),
        ):
            asked = batch_rows(schema, signature, rows)
            found = model.call(signature.value, asked.inputs)
            for row, listed in enumerate(found[ITEM_IDS]):
                columns = [ids.index(item.decode()) for item in listed]
                assert sorted(columns) == list(range(NUM_ITEMS))
                np.testing.assert_allclose(
                    found[SCORES][row], expected[row, columns], atol=1e-4
                )


def test_a_search_spelled_like_an_item_is_none(served):
    asked = {**raw_history([*BROWSED, ("i5", "search")]), "exclude_seen": True}
    found = served.ranked(SignatureName.RETRIEVE, **asked)
    assert "i5" in found
    assert not {"i3", "i8"} & set(found)
    assert len(found) == NUM_ITEMS - 2


def test_requests_beside_one_another_answer_as_if_alone(run, version):
    schema = run.config.experiment_schema
    rows = [
        raw_history([*BROWSED, (text_for(5), "search")]),
        raw_history(BROWSED),
        raw_history([(text_for(2), "search"), ("i2", "view"), (text_for(5), "search")]),
        raw_history([]),
    ]
    rows = [{**row, "k": 6} for row in rows]
    with LoadedModel(version) as model:

        def ask(*asked: dict) -> dict[str, np.ndarray]:
            request = batch_rows(schema, SignatureName.RETRIEVE, asked)
            return model.call("retrieve", request.inputs)

        together = ask(*rows)
        for place, row in enumerate(rows):
            alone = ask(row)
            assert together[ITEM_IDS][place].tolist() == alone[ITEM_IDS][0].tolist()
            np.testing.assert_allclose(
                together[SCORES][place], alone[SCORES][0], atol=1e-4
            )
    assert together[ITEM_IDS][0].tolist() != together[ITEM_IDS][1].tolist()


def test_the_client_sends_searches_of_the_past(served, version):
    events = [*BROWSED, (text_for(5), "search")]
    expected = served.ranked(SignatureName.RECOMMEND, **raw_history(events))
    viewed = [
        Event(item, kind, NOW - 60 * (3 - place))
        for place, (item, kind) in enumerate(BROWSED)
    ]
    history = [*viewed, Event.search(text_for(5), NOW - 60)]
    model = ServedModel(name="toy", base_path=version.parent)
    with (
        EmbeddedServer([model]) as server,
        RecommenderClient(
            server.target, model_name="toy", timeout_seconds=20
        ) as client,
    ):
        answer, without = client.recommend_batch(
            [
                RecommendationRequest(past, k=5, request_timestamp=NOW)
                for past in (history, viewed)
            ]
        )
    assert [item.item_id for item in answer] == list(expected)[:5]
    np.testing.assert_allclose(
        [item.score for item in answer], list(expected.values())[:5], atol=1e-4
    )
    assert [item.item_id for item in without] != [item.item_id for item in answer]


def test_a_simulated_shop_that_logs_searches_is_trained_and_exported(tmp_path):
    settings = sized_config("tiny", seed=4, num_users=60, log_searches=True)
    shop = simulate(settings, tmp_path / "shop")
    options = [*TEXT_OPTIONS, "--training.retrieval.max_epochs", "1"]
    config = configure_shop(
        shop.config_path, tmp_path / "run", *options, without_ranking=True
    )
    config = config.model_copy(update={"ranking": None})
    metrics = train(config)
    assert metrics["search"]["num_queries"] > 0
    recommender, dataset, config = load_recommender(config.run_path)
    counts = dataset.manifest["counts"]["events_by_split"].values()
    assert sum(by_type["search"] for by_type in counts) == shop.event_counts["search"]
    assert export_model(recommender, dataset, config).is_dir()


def test_the_model_card_says_how_searches_are_sent(version):
    (card,) = version.glob("**/*.md")
    assert "search: `history_item_ids` holds what was searched for" in card.read_text()
