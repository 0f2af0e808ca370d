"""Formulas and rules of lists as a request asks for them."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from export.exporter import export_with_report
from export.loaded_model import LoadedModel
from export.parity import call_eagerly
from export.requests import RequestSampler, batch_rows
from export.signatures import ServingModule
from export.warmup import read_warmup
from tests.export.conftest import Toy
from tests.export.fakes import BRANDS, CATEGORIES, ITEM_IDS
from tests.export.ruled import make_ruled_toy
from tests.export.test_signatures import HISTORY, found
from tests.export.test_signatures import ask as ask_decoded
from tfrec.config import ExperimentConfig
from tfrec.models.final_order import (
    ScoredCandidates,
    build_final_order,
    own_final_order,
)
from tfrec.schema import SignatureName

PRICES: dict[str, float] = dict(zip(ITEM_IDS, np.linspace(1.0, 7.0, 7), strict=True))
EVERY = HISTORY | {"k": 7}
IN_ORDER = {"candidate_item_ids": list(ITEM_IDS)}


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_ruled_toy(tmp_path_factory.mktemp("ruled"))


@pytest.fixture(scope="module")
def module(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> ServingModule:
    return ServingModule(
        toy.recommender,
        toy.dataset,
        schema=toy.schema,
        asset_dir=tmp_path_factory.mktemp("assets"),
        final_order=build_final_order(toy.config, toy.dataset),
    )


def ask(module: ServingModule, signature: str, *rows: dict[str, Any]) -> dict[str, Any]:
    return ask_decoded(module, signature, *rows)


def listing(module: ServingModule, **said: Any) -> list[str]:
    return found(ask(module, "recommend", EVERY | said))


def test_a_chosen_formula_orders_the_list(module: ServingModule):
    dearest = sorted(ITEM_IDS, key=lambda item_id: -PRICES[item_id])
    outputs = ask(module, "recommend", EVERY | {"order": "dear"})
    assert found(outputs) == dearest
    np.testing.assert_allclose(outputs["scores"][0], sorted(PRICES.values())[::-1])


def test_rank_and_recommend_use_the_same_formula(module: ServingModule):
    row = EVERY | IN_ORDER | {"order": "margin"}
    ranked = ask(module, "rank", row)
    expected = ranked["purchase_probability"][0] * np.sqrt(list(PRICES.values()))
    np.testing.assert_allclose(ranked["scores"][0], expected, rtol=1e-5)
    outputs = ask(module, "recommend", row)
    by_id: dict[str, float] = dict(zip(ITEM_IDS, ranked["scores"][0], strict=True))
    scores = [by_id[item_id] for item_id in found(outputs)]
    np.testing.assert_allclose(outputs["scores"][0], scores, rtol=1e-5)
    assert scores == sorted(scores)[::-1]


def test_ads_take_the_bids_of_the_request(module: ServingModule):
    bids = {"bid_item_ids": ["mug", "sofa", "no such"], "bids": [2.0, 0.25, 99.0]}
    ranked = ask(module, "rank", HISTORY | IN_ORDER | {"order": "ads"} | bids)
    of_item: dict[str, float] = {"mug": 2.0, "sofa": 0.25}
    # The catalogue of the toy has no bids: the configured value of what is missing.
    expected = [
        probability * of_item.get(item_id, 0.5)
        for item_id, probability in zip(
            ITEM_IDS, ranked["view_probability"][0], strict=True
        )
    ]
    np.testing.assert_allclose(ranked["scores"][0], expected, rtol=1e-5)


def test_weights_and_boosts_change_the_scores_of_the_default(module: ServingModule):
    said = {"weight_view": 0.0, "weight_purchase": 4.0}
    said |= {"boost_item_ids": ["mug"], "boost_factors": [3.0]}
    ranked = ask(module, "rank", HISTORY | IN_ORDER | said)
    factors = [1.0] * 6 + [3.0]
    expected = 4.0 * ranked["purchase_probability"][0] * factors
    np.testing.assert_allclose(ranked["scores"][0], expected, rtol=1e-5)


def test_a_row_without_wishes_keeps_the_scores_of_the_recommender(
    module: ServingModule,
):
    plain = ask(module, "recommend", EVERY)
    both = ask(module, "recommend", EVERY | {"order": "dear", "cap_brand": 1}, EVERY)
    assert found(both, 1) == found(plain)
    for name, values in plain.items():
        if name != "item_ids":  # Sums over another batch differ in the last bit.
            np.testing.assert_allclose(both[name][1], values[0], rtol=1e-5)
    assert found(both, 0) != found(both, 1)


def test_an_unknown_formula_is_an_invalid_argument(module: ServingModule):
    with pytest.raises(tf.errors.InvalidArgumentError, match="`order` must be one of"):
        ask(module, "recommend", EVERY | {"order": "cheap"})


def test_one_number_per_boosted_item_is_demanded(module: ServingModule):
    said = {"boost_item_ids": ["mug", "sofa"], "boost_factors": [3.0]}
    with pytest.raises(tf.errors.InvalidArgumentError, match="one number per id"):
        ask(module, "recommend", EVERY | said)


@pytest.mark.parametrize(
    ("cap", "values"), [("cap_brand", BRANDS), ("cap_category", CATEGORIES)]
)
@pytest.mark.parametrize("limit", [1, 2])
def test_no_value_comes_more_often_than_its_cap(
    module: ServingModule, cap: str, values: tuple[str | None, ...], limit: int
):
    value_of: dict[str, str | None] = dict(zip(ITEM_IDS, values, strict=True))
    everything, capped = listing(module), listing(module, **{cap: limit})
    expected, counts = [], Counter()
    for item_id in everything:
        value = value_of[item_id]
        if value is None or counts[value] < limit:
            expected.append(item_id)
            counts[value] += 1
    assert capped == expected
    assert (capped != everything) == (
        max(Counter(v for v in values if v).values()) > limit
    )


def test_places_that_no_item_may_take_are_missing_places(module: ServingModule):
    outputs = ask(module, "recommend", EVERY | {"cap_brand": 1})
    missing = outputs["item_ids"][0] == ""
    assert missing.any()
    assert np.isneginf(outputs["scores"][0][missing]).all()
    assert np.isneginf(outputs["retrieval_scores"][0][missing]).all()
    assert (outputs["view_probability"][0][missing] == 0).all()


def test_a_promised_item_that_was_not_retrieved_gets_the_last_place(
    toy: Toy, module: ServingModule
):
    plain = found(ask(module, "recommend", EVERY | {"k": 3}))
    retrieved = found(ask(module, "retrieve", EVERY | {"k": 5}))
    (lost, *_) = [item_id for item_id in ITEM_IDS if item_id not in retrieved]
    assert toy.recommender.num_candidates == 5
    said = {"k": 3, "must_include_item_ids": [lost, "no such", lost]}
    outputs = ask(module, "recommend", EVERY | said)
    places = found(outputs)
    others = [item_id for item_id in places if item_id != lost]
    assert len(places) == 3
    assert lost in places
    assert others == plain[:2]
    # It is scored as `rank` scores it.
    ranked = ask(module, "rank", HISTORY | IN_ORDER)
    place = places.index(lost)
    expected = ranked["scores"][0][ITEM_IDS.index(lost)]
    np.testing.assert_allclose(outputs["scores"][0][place], expected, rtol=1e-5)


def test_a_promise_does_not_beat_an_exclusion_or_a_filter(module: ServingModule):
    said = {"k": 3, "must_include_item_ids": ["lamp"]}
    assert "lamp" in listing(module, **said)
    assert "lamp" not in listing(module, **said, exclude_item_ids=["lamp"])
    assert "lamp" not in listing(module, **said, exclude_seen=True)
    assert "lamp" not in listing(module, **said, filter_brand=["Bolt"])


def test_diversity_is_maximal_marginal_relevance_of_candidate_embeddings(
    toy: Toy, module: ServingModule
):
    plain = ask(module, "recommend", EVERY)
    scores = dict(zip(found(plain), plain["scores"][0], strict=True))
    low, high = min(scores.values()), max(scores.values())
    vectors: dict[str, np.ndarray] = dict(
        zip(ITEM_IDS, toy.recommender.candidate_embeddings().numpy(), strict=True)
    )
    chosen: list[str] = []
    while len(chosen) < 7:
        values = {
            c: 0.3 * (scores[c] - low) / (high - low)
            - 0.7 * max((vectors[c] @ vectors[s] for s in chosen), default=-1.0)
            for c in scores
            if c not in chosen
        }
        chosen.append(max(values, key=lambda c: values[c]))
    outputs = ask(module, "recommend", EVERY | {"diversity": 0.7})
    assert found(outputs) == chosen != found(plain)
    # The scores stay those of the items.
    expected = [scores[item_id] for item_id in chosen]
    np.testing.assert_allclose(outputs["scores"][0], expected, rtol=1e-6)


def test_a_batch_without_rows_is_answered(module: ServingModule):
    request = batch_rows(module.schema, SignatureName("rank"), [EVERY | IN_ORDER])
    inputs = {name: values[:0] for name, values in request.inputs.items()}
    outputs = call_eagerly(module, request._replace(inputs=inputs))
    assert outputs["scores"].shape == (0, 7)


def test_a_module_with_rules_needs_formulas(toy: Toy, tmp_path: Path):
    with pytest.raises(ValueError, match="`final_order` must be given"):
        ServingModule(
            toy.recommender, toy.dataset, schema=toy.schema, asset_dir=tmp_path
        )


def test_the_written_model_obeys_every_rule(toy: Toy, module: ServingModule):
    report = export_with_report(toy.recommender, toy.dataset, toy.config)
    assert {gate.name for gate in report.gates} == {"known ops", "parity", "warm-up"}
    said = {"order": "dear", "cap_brand": 1, "must_include_item_ids": ["lamp"]}
    said |= {"diversity": 0.5, "boost_item_ids": ["mug"], "boost_factors": [0.1]}
    rows = [EVERY, EVERY | said, EVERY | {"order": "ads", "k": 2}]
    request = batch_rows(toy.schema, SignatureName.RECOMMEND, rows)
    expected = call_eagerly(module, request)
    with LoadedModel(report.path) as model:
        received = model.call("recommend", request.inputs)
    assert received["item_ids"].tolist() == expected["item_ids"].tolist()
    np.testing.assert_allclose(received["scores"], expected["scores"], rtol=1e-5)
    assert len({tuple(row) for row in received["item_ids"].tolist()}) == 3
    warmed = [
        tf.make_ndarray(record.inputs["order"]).shape
        for record in read_warmup(
            report.path / "assets.extra/tf_serving_warmup_requests"
        )
        if "diversity" in record.inputs
        and (tf.make_ndarray(record.inputs["diversity"]) > 0).all()
    ]
    assert (1,) in warmed
    assert (8,) in warmed
    card = (report.path / "assets.extra/model_card.md").read_text()
    assert "| margin | `purchase * price ** 0.5` |" in card
    assert "| recommend (default) | `weight_view * view" in card


def test_parity_asks_for_every_formula(toy: Toy, module: ServingModule):
    names = ("recommend", "search", "ads", "dear", "margin")
    sampler = RequestSampler(
        toy.schema, toy.dataset, 4, module.filter_examples, order_names=names
    )
    asked = {
        order
        for request in sampler.parity_requests()
        for order in request.inputs.get("order", [])
    }
    assert asked == {"", *names}


def test_another_default_needs_an_order_of_its_own_and_reads_the_catalogue(toy: Toy):
    assert own_final_order(toy.config, toy.dataset) is None
    settings = toy.config.model_dump()
    settings["ranking"]["final_order"]["default"] = "dear"
    order = own_final_order(ExperimentConfig.model_validate(settings), toy.dataset)
    assert order is not None
    index = tf.constant([[8, 2, 1]])  # The last and the first item; an unknown one.
    probabilities = {name: tf.zeros((1, 3)) for name in toy.schema.heads}
    scores = order(ScoredCandidates(index, probabilities, tf.zeros((1, 3))))
    np.testing.assert_allclose(scores, [[7.0, 1.0, 0.0]])
    settings["ranking"] = None
    settings["export"] |= {"rules": ["diversity"]}
    alone = ExperimentConfig.model_validate(settings)
    assert build_final_order(alone, toy.dataset) is None
