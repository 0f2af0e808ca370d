"""Formulas and rules of lists over gRPC: the client, the server, the written model."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tfrec_client import (
    Event,
    InvalidRequestError,
    RankRequest,
    Recommendation,
    RecommendationRequest,
    RecommenderClient,
)
from tfrec_client.__main__ import main

from export.exporter import export_model
from serving.server.model_config import ServedModel
from serving.server.server import EmbeddedServer
from tests.export.conftest import Toy, make_toy
from tests.export.fakes import BRANDS, ITEM_IDS
from tests.export.ruled import make_ruled_toy

BRAND: dict[str, str | None] = dict(zip(ITEM_IDS, BRANDS, strict=True))
PRICE: dict[str, float] = dict(zip(ITEM_IDS, np.linspace(1.0, 7.0, 7), strict=True))
HISTORY = [Event("lamp", "view", 100), Event("sofa", "cart", 200)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    models = []
    for name, make in (("ruled", make_ruled_toy), ("plain", _make_plain)):
        toy = make(tmp_path_factory.mktemp(name))
        version = export_model(toy.recommender, toy.dataset, toy.config)
        models.append(ServedModel(name, version.parent))
    with EmbeddedServer(models) as running:
        yield running


def _make_plain(root: Path) -> Toy:
    return make_toy(root, has_text=False)


@pytest.fixture(scope="module")
def client(server: EmbeddedServer) -> Iterator[RecommenderClient]:
    with RecommenderClient(
        server.target, model_name="ruled", timeout_seconds=20
    ) as running:
        yield running


def ids(found: Sequence[Recommendation]) -> list[str]:
    return [item.item_id for item in found]


def recommend(client: RecommenderClient, **said: Any) -> list[str]:
    return ids(client.recommend(HISTORY, k=7, request_timestamp=250, **said))


def test_formulas_are_chosen_by_name(client: RecommenderClient):
    dearest = sorted(ITEM_IDS, key=lambda item_id: -PRICE[item_id])
    assert recommend(client, order="dear") == dearest
    assert recommend(client) != dearest
    with pytest.raises(InvalidRequestError, match="`order` must be one of"):
        recommend(client, order="cheap")


def test_bids_boosts_and_weights_reach_the_formula(client: RecommenderClient):
    items = list(ITEM_IDS)
    bids = {"mug": 3.0, "sofa": 2.0}
    for found in client.rank(HISTORY, items, order="ads", bids=bids):
        # .5 is the configured value of a bid that is missing.
        bid = bids.get(found.item_id, 0.5)
        assert found.score == pytest.approx(found.probabilities["view"] * bid, 1e-5)
    weights = {"view": 0.0, "purchase": 2.0}
    for found in client.rank(HISTORY, items, head_weights=weights, boosts={"mug": 0.5}):
        factor = 1.0 if found.item_id == "mug" else 2.0
        expected = found.probabilities["purchase"] * factor
        assert found.score == pytest.approx(expected, 1e-5)


def test_caps_places_and_diversity_shape_the_list(client: RecommenderClient):
    capped = recommend(client, caps={"brand": 1})
    brands = [BRAND[item_id] for item_id in capped if BRAND[item_id]]
    assert len(brands) == len(set(brands)) == 3
    (last,) = recommend(client)[-1:]
    promised = client.recommend(HISTORY, k=2, must_include_item_ids=[last])
    assert last in ids(promised)
    assert recommend(client, diversity=0.9) != recommend(client)


def test_every_row_of_a_batch_has_its_own_rules(client: RecommenderClient):
    wishes: list[dict[str, Any]] = [
        {},
        {"order": "dear"},
        {"caps": {"brand": 1, "category": 2}, "boosts": {"mug": 9.0}},
        {"must_include_item_ids": ["mug", "sofa"], "diversity": 0.4},
        {"bids": {"mug": 9.0}, "order": "ads"},
    ]
    requests = [
        RecommendationRequest(HISTORY, k=7, request_timestamp=250, **said)
        for said in wishes
    ]
    together = client.recommend_batch(requests)
    for request, found in zip(requests, together, strict=True):
        assert ids(found) == ids(client.recommend_batch([request])[0])
    assert len({tuple(ids(found)) for found in together}) > 2


def test_a_model_without_rules_is_served_and_says_what_it_lacks(
    server: EmbeddedServer,
):
    with RecommenderClient(
        server.target, model_name="plain", timeout_seconds=20
    ) as client:
        assert len(client.recommend(HISTORY, k=3)) == 3
        cases: list[tuple[dict[str, Any], str]] = [
            ({"order": "ads"}, "`order` is not an input"),
            ({"diversity": 0.5}, "`diversity` in `export.rules`"),
            ({"boosts": {"mug": 2.0}}, "`boosts` is not an input"),
            ({"caps": {"brand": 1}}, r"`caps` must only name.*: \[\]"),
            ({"head_weights": {"view": 1.0}}, "`head_weights` must only name"),
        ]
        for said, message in cases:
            with pytest.raises(InvalidRequestError, match=message):
                client.recommend(HISTORY, **said)


def test_retrieval_knows_no_rules(client: RecommenderClient):
    request = RecommendationRequest(HISTORY, diversity=0.5)
    with pytest.raises(InvalidRequestError, match="shaped by `recommend` alone"):
        client.retrieve_batch([request])
    assert len(client.retrieve(HISTORY, k=3)) == 3
    asked = RankRequest(HISTORY, candidate_item_ids=["mug"], order="dear")
    assert client.rank_batch([asked])[0][0].score == pytest.approx(7.0)


def test_the_command_line_takes_rules(
    server: EmbeddedServer, capsys: pytest.CaptureFixture[str]
):
    where = ["--target", server.target, "--model", "ruled", "--json"]
    where += ["--timeout_seconds", "20", "--history", "lamp:view:100", "--k", "7"]
    where += ["--request_timestamp", "250"]

    def run(*options: str) -> list[str]:
        assert main(["recommend", *where, *options]) == 0
        return [row["item_id"] for row in json.loads(capsys.readouterr().out)]

    assert run("--order", "dear")[0] == ITEM_IDS[-1]
    bids = ["--bid", "sofa=500", "--boost", "mug=0", "--weight", "view=1"]
    assert run("--order", "ads", *bids)[0] == "sofa"
    brands = [BRAND[i] for i in run("--order", "dear", "--cap", "brand=1")]
    assert brands == ["Acme", "Rare", "Bolt", None]
    rules = ["--must-include", "lamp", "--diversity", "0.2"]
    assert "lamp" in run("--order", "dear", *rules)
    assert main(["recommend", *where, "--cap", "brand=1.5"]) == 1
    assert "takes a whole number" in capsys.readouterr().err
    assert main(["recommend", *where, "--boost", "mug"]) == 1
    assert "NAME=NUMBER" in capsys.readouterr().err
