"""The clients against the embedded server; `toy_model.py` says what to expect."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tfrec_client import (
    AsyncRecommenderClient,
    DeadlineExceededError,
    Event,
    InvalidRequestError,
    ModelNotReadyError,
    QueryRequest,
    RankRequest,
    RecommendationRequest,
    RecommenderClient,
    SchemaMismatchError,
)
from tfrec_client.__main__ import main

if TYPE_CHECKING:
    from serving.server.server import EmbeddedServer

HISTORY = [Event("item-4", "view", 100, 0.25), Event("item-1", "purchase", 200, 0.5)]


def test_recommend_gives_typed_items_best_first(client: RecommenderClient) -> None:
    found = client.recommend(HISTORY, k=3, context={"hour": 7.0})
    # 6 - j, and 10 for every time in the history.
    expected = [("item-1", 15.0), ("item-4", 12.0), ("item-0", 6.0)]
    assert [(r.item_id, r.score) for r in found] == expected
    assert [r.retrieval_score for r in found] == [1015.0, 1012.0, 1006.0]
    assert all(r.probabilities == {"view": 0.75, "purchase": 7.0} for r in found)


def test_every_argument_reaches_the_model(client: RecommenderClient) -> None:
    def item_ids(**situation: object) -> list[str]:
        return [r.item_id for r in client.recommend(HISTORY, k=6, **situation)]  # pyright: ignore

    assert item_ids() == ["item-1", "item-4", "item-0", "item-2", "item-3", "item-5"]
    assert item_ids(exclude_seen=True) == ["item-0", "item-2", "item-3", "item-5"]
    assert item_ids(exclude_item_ids=["item-1", "item-0"])[0] == "item-4"
    assert item_ids(filters={"brand": ["odd"]}) == ["item-1", "item-3", "item-5"]
    assert len(item_ids(filters={"brand": ["odd", "even"]})) == 6
    assert client.recommend(HISTORY, context={"country": "XX"})[0].score == 0.5


def test_more_than_the_catalogue_gives_the_catalogue(client: RecommenderClient) -> None:
    assert len(client.recommend([], k=1000)) == 6
    assert len(client.recommend([Event("unknown", "unknown", 0)], k=1000)) == 6


def test_a_batch_equals_its_requests_one_by_one(client: RecommenderClient) -> None:
    requests = [
        RecommendationRequest(HISTORY, k=2),
        RecommendationRequest([], k=5, exclude_item_ids=["item-0"]),
        RecommendationRequest(
            HISTORY[:1], exclude_seen=True, filters={"brand": ["odd"]}
        ),
    ]
    together = client.recommend_batch(requests)
    assert together == [client.recommend_batch([r])[0] for r in requests]
    assert [len(row) for row in together] == [2, 5, 3]
    retrieved = client.retrieve_batch(requests)
    assert [[(i.item_id, i.score) for i in row] for row in retrieved] == [
        [(r.item_id, r.score) for r in row] for row in together
    ]


def test_rank_keeps_the_order_given(client: RecommenderClient) -> None:
    ranked = client.rank(HISTORY, ["item-5", "item-1", "nothing"])
    assert [(r.item_id, r.score) for r in ranked] == [
        ("item-5", 1.0),
        ("item-1", 15.0),
        ("nothing", 0.0),
    ]
    assert ranked[0].probabilities == {"view": 0.75, "purchase": -1.0}
    both = client.rank_batch(
        [
            RankRequest([], candidate_item_ids=["item-0"]),
            RankRequest(HISTORY, candidate_item_ids=["item-4", "item-0"]),
        ]
    )
    assert [[r.score for r in row] for row in both] == [[6.0], [12.0, 6.0]]


def test_similar_items_leave_out_the_item_itself(client: RecommenderClient) -> None:
    assert [i.item_id for i in client.similar_items("item-0", 2)] == [
        "item-1",
        "item-2",
    ]
    rows = client.similar_items_batch(["item-1", "item-0"], 1)
    assert [[i.item_id for i in row] for row in rows] == [["item-0"], ["item-1"]]


def test_queries_and_texts_are_embedded(client: RecommenderClient) -> None:
    vector = client.embed_query(HISTORY, query_text="lamp", context={"country": "DE"})
    assert (vector.dtype, vector.tolist()) == (np.float32, [2.0, 4.0])
    assert client.embed_query().tolist() == [0.0, 0.0]
    queries = [QueryRequest(HISTORY[:1]), RecommendationRequest(query_text="灯", k=3)]
    assert client.embed_query_batch(queries).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert client.embed_text(["lamp", "", "灯"]).tolist() == [
        [0.0, 4.0],
        [0.0, 0.0],
        [0.0, 1.0],
    ]


def test_arrays_of_every_dtype_come_back_unchanged(client: RecommenderClient) -> None:
    arrays = {
        "strings": np.array([["ä", "", "漢字"]], object),
        "longs": np.array([[2**62, -1, 0]], np.int64),
        "integers": np.array([[2**31 - 1, -(2**31), 0]], np.int32),
        "floats": np.array([[0.1, -np.inf, np.nan]], np.float32),
        "booleans": np.array([[True, False, True]]),
    }
    for shape in ((1, 3), (3, 1), (0, 3), (3, 0)):
        sent = {n: np.resize(a, shape) for n, a in arrays.items()}
        received = client.predict("echo", sent)
        assert set(received) == set(sent)
        for name, array in sent.items():
            assert received[name].dtype == array.dtype
            np.testing.assert_array_equal(received[name], array)


def test_only_the_outputs_asked_for_come_back(client: RecommenderClient) -> None:
    inputs = {"item_ids": np.array(["item-0"], object), "k": np.array([1], np.int32)}
    found = client.predict("similar_items", inputs, output_names=["scores"])
    assert {n: a.tolist() for n, a in found.items()} == {"scores": [[5.0]]}


def test_the_async_client_gives_the_same_answers(
    server: "EmbeddedServer", client: RecommenderClient
) -> None:
    async def ask() -> list[object]:
        async with AsyncRecommenderClient(
            server.target, model_name="toy", timeout_seconds=20
        ) as asynchronous:
            calls = [asynchronous.recommend(HISTORY, k=k) for k in (1, 2, 3)]
            return [
                *(await asyncio.gather(*calls)),
                await asynchronous.retrieve(HISTORY, k=2),
                await asynchronous.rank(HISTORY, ["item-2", "item-1"]),
                await asynchronous.similar_items("item-3", 2),
                (await asynchronous.embed_query(HISTORY, query_text="a")).tolist(),
                (await asynchronous.embed_text(["red", ""])).tolist(),
                await asynchronous.status(),
                await asynchronous.metadata(),
            ]

    assert asyncio.run(ask()) == [
        *(client.recommend(HISTORY, k=k) for k in (1, 2, 3)),
        client.retrieve(HISTORY, k=2),
        client.rank(HISTORY, ["item-2", "item-1"]),
        client.similar_items("item-3", 2),
        client.embed_query(HISTORY, query_text="a").tolist(),
        client.embed_text(["red", ""]).tolist(),
        client.status(),
        client.metadata(),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model_name": "nobody"}, r"NOT_FOUND: .*Latest\(nobody\)"),
        ({"model_name": "toy", "version": 7}, r"NOT_FOUND: .*Specific\(toy, 7\)"),
    ],
)
def test_an_unknown_model_or_version_is_not_ready(
    server: "EmbeddedServer", options: dict[str, Any], message: str
) -> None:
    client = RecommenderClient(server.target, timeout_seconds=20, **options)
    with pytest.raises(ModelNotReadyError, match=message):
        client.recommend([])
    client.close()


def test_an_unknown_signature_is_named_and_where_to_find_the_others(
    server: "EmbeddedServer", client: RecommenderClient
) -> None:
    inputs = {"k": np.array([1], np.int32)}
    expected = pytest.raises(SchemaMismatchError, match=r'"nope" not found.*metadata')
    with expected:
        client.predict("nope", inputs)

    async def ask() -> None:
        async with AsyncRecommenderClient(
            server.target, model_name="toy", timeout_seconds=20
        ) as asking:
            await asking.predict("nope", inputs)

    with expected:
        asyncio.run(ask())


def test_versions_and_labels_choose_the_version(server: "EmbeddedServer") -> None:
    choices: list[dict[str, Any]] = [{"version": 1}, {"label": "stable"}]
    for choice in choices:
        with RecommenderClient(
            server.target, model_name="toy", timeout_seconds=20, **choice
        ) as client:
            assert client.recommend([], k=1)[0].retrieval_score == 1006.0
    unknown = RecommenderClient(server.target, model_name="toy", label="canary")
    with pytest.raises(InvalidRequestError, match="version label: canary"):
        unknown.recommend([])
    unknown.close()


def test_a_deadline_passes_while_the_model_computes(client: RecommenderClient) -> None:
    start = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        client.predict(
            "slow", {"steps": np.array([3000], np.int32)}, timeout_seconds=0.02
        )
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("k", np.array([1], np.int64), "`k` .* must have dtype int32. Received: int64"),
        ("k", np.array([[1]], np.int32), r"`k` .* must have shape \[-1\].*\[1, 1\]"),
        ("j", np.array([1], np.int32), "Sent extra: {j}. Missing but required: {k}"),
    ],
)
def test_a_wrong_dtype_shape_or_name_is_an_invalid_request(
    client: RecommenderClient, name: str, array: np.ndarray, message: str
) -> None:
    inputs = {"item_ids": np.array(["item-0"], object), name: array}
    with pytest.raises(InvalidRequestError, match=message):
        client.predict("similar_items", inputs)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([3], r"`inputs\['k'\]` must be a NumPy array. Received: list"),
        (np.array(["a", None], object), "must hold str or bytes. Received: None"),
        (np.array([1j]), "must have one of the dtypes"),
    ],
)
def test_what_is_no_array_of_the_protocol_is_an_invalid_request(
    client: RecommenderClient, value: Any, message: str
) -> None:
    inputs = {"item_ids": np.array(["item-0"], object), "k": value}
    with pytest.raises(InvalidRequestError, match=message):
        client.predict("similar_items", inputs)


def test_the_command_line_prints_ranked_items(
    server: "EmbeddedServer", capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--target", server.target, "--model", "toy", "--timeout_seconds", "20"]
    shopper = ["--history", "item-4:view:100:0.25", "item-1:purchase:200:0.5"]
    options = ["--k", "2", "--context", "hour=7", "--filter", "brand=odd"]
    assert main(["recommend", *where, *shopper, *options]) == 0
    assert capsys.readouterr().out.split("\n")[:4] == [
        "item_id    score  retrieval_score  purchase    view",
        "-------  -------  ---------------  --------  ------",
        "item-1   15.0000        1015.0000    7.0000  0.7500",
        "item-3    3.0000        1003.0000    7.0000  0.7500",
    ]
    assert main(["retrieve", *where, *shopper, "--k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"item_id": "item-1", "score": 15.0}]
    assert main(["rank", *where, *shopper, "--candidates", "item-0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["score"] == 6.0
    assert main(["similar-items", "item-0", *where, "--k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"item_id": "item-1", "score": 5.0}]
    search = ["--query", "red lamp", "--context", "hour=7"]
    assert main(["embed-query", *where, *shopper, *search, "--json"]) == 0
    expected = [{"query": "red lamp", "embedding": [2.0, 8.0]}]
    assert json.loads(capsys.readouterr().out) == expected
    assert main(["embed-text", "red", "lamps", *where]) == 0
    assert "lamps  [0.000 5.000] of 2" in capsys.readouterr().out
    assert main(["status", *where]) == 0
    assert "AVAILABLE" in capsys.readouterr().out
    assert main(["metadata", *where]) == 0
    assert "context_country" in capsys.readouterr().out
    assert main(["recommend", *where, "--k", "0"]) == 1
    assert "InvalidRequestError: `k` must be" in capsys.readouterr().err
