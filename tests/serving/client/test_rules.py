from typing import Any

import numpy as np
import pytest
from tfrec_client import Event, InvalidRequestError, RankRequest, RecommendationRequest
from tfrec_client.codec import encode_requests
from tfrec_client.contract import CONTRACT, TensorSpec, is_declared, list_differences

from tests.serving.client.test_contract import signatures_of
from tests.serving.toy_schema import SHOP_SCHEMA
from tfrec.schema import RequestRule, Schema

RULED = Schema.from_json(
    SHOP_SCHEMA.to_json() | {"caps": ["brand"], "rules": [*RequestRule]}
)
INPUTS = signatures_of(RULED)["recommend"].inputs
RULES = {
    "order",
    "weight_view",
    "weight_purchase",
    "boost_item_ids",
    "boost_factors",
    "bid_item_ids",
    "bids",
    "cap_brand",
    "must_include_item_ids",
    "diversity",
}


def test_the_client_can_fill_every_rule_of_a_model():
    assert list_differences(signatures_of(RULED), tuple(CONTRACT)) == []
    plain = signatures_of(SHOP_SCHEMA)
    assert set(INPUTS) - set(plain["recommend"].inputs) == RULES
    of_lists = {"cap_brand", "must_include_item_ids", "diversity"}
    ranked = set(signatures_of(RULED)["rank"].inputs)
    assert ranked - set(plain["rank"].inputs) == RULES - of_lists
    assert signatures_of(RULED)["retrieve"] == plain["retrieve"]


def test_what_is_not_said_is_filled_with_nothing_said():
    arrays = encode_requests([RecommendationRequest(), RecommendationRequest()], INPUTS)
    assert set(arrays) == set(INPUTS)
    assert arrays["order"].tolist() == ["", ""]
    assert np.isnan(arrays["weight_view"]).all()
    assert arrays["cap_brand"].tolist() == [0, 0]
    assert arrays["diversity"].tolist() == [0.0, 0.0]
    for name in ("boost_item_ids", "bid_item_ids", "must_include_item_ids"):
        assert arrays[name].tolist() == [[""], [""]]
    for name, spec in INPUTS.items():
        dtype = "object" if spec.dtype == "string" else spec.dtype
        assert (arrays[name].dtype.name, arrays[name].ndim) == (dtype, spec.rank)


def test_what_is_said_stands_in_its_row():
    said = RecommendationRequest(
        [Event("a", "view", 1)],
        order="ads",
        head_weights={"purchase": 2.0},
        boosts={"x": 1.5, "y": 0.0},
        bids={"z": 0.25},
        caps={"brand": 2},
        must_include_item_ids=["p", "q"],
        diversity=0.5,
    )
    arrays = encode_requests([RecommendationRequest(), said], INPUTS)
    assert arrays["order"].tolist() == ["", "ads"]
    np.testing.assert_array_equal(arrays["weight_purchase"], [np.nan, 2.0])
    assert np.isnan(arrays["weight_view"]).all()
    assert arrays["boost_item_ids"].tolist() == [["", ""], ["x", "y"]]
    assert arrays["boost_factors"][1].tolist() == [1.5, 0.0]
    assert arrays["bid_item_ids"].tolist() == [[""], ["z"]]
    assert arrays["bids"][1].tolist() == [0.25]
    assert arrays["cap_brand"].tolist() == [0, 2]
    assert arrays["must_include_item_ids"].tolist() == [["", ""], ["p", "q"]]
    assert arrays["diversity"].tolist() == [0.0, 0.5]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"order": 3}, "`order` must be a string"),
        ({"caps": {"brand": 0}}, "at least 1.*caps.'brand'.=0"),
        ({"caps": {"brand": 1.5}}, "whole numbers"),
        ({"caps": {"brand": True}}, "whole numbers"),
        ({"diversity": 1.5}, "from 0 to 1.*1.5"),
        ({"diversity": float("nan")}, "from 0 to 1.*nan"),
        ({"must_include_item_ids": "a"}, "list or tuple"),
        ({"boosts": {"a": -1.0}}, r"finite numbers, 0 or more.*boosts\['a'\]=-1"),
        ({"boosts": {"": 1.0}}, "key of `boosts`"),
        ({"bids": {"a": float("inf")}}, "finite numbers"),
        ({"bids": {"a": "1"}}, "finite numbers"),
        ({"head_weights": {"view": float("nan")}}, "finite numbers"),
    ],
)
def test_wrong_values_are_refused_when_the_request_is_built(
    said: dict[str, Any], message: str
):
    with pytest.raises(InvalidRequestError, match=message):
        RecommendationRequest(**said)


def test_weights_may_be_negative_and_ranking_checks_its_rules():
    RecommendationRequest(head_weights={"view": -1.0})
    with pytest.raises(InvalidRequestError, match="finite numbers"):
        RankRequest(candidate_item_ids=["a"], bids={"a": -1.0})


def test_names_that_the_model_lacks_are_named():
    mistyped = RecommendationRequest(caps={"brandd": 1})
    with pytest.raises(InvalidRequestError, match="Did you mean 'brand'"):
        encode_requests([mistyped], INPUTS)
    stray = RecommendationRequest(head_weights={"cart": 1.0})
    with pytest.raises(InvalidRequestError, match=r"\['purchase', 'view'\].*'cart'"):
        encode_requests([stray], INPUTS)


def test_rules_of_another_form_cannot_be_filled():
    assert is_declared("recommend", "cap_x", TensorSpec("int32", 1))
    assert not is_declared("recommend", "cap_x", TensorSpec("float32", 1))
    assert not is_declared("rank", "cap_x", TensorSpec("int32", 1))
    assert not is_declared("rank", "diversity", TensorSpec("float32", 1))
    assert not is_declared("recommend", "order", TensorSpec("string", 2))
    assert not is_declared("retrieve", "order", TensorSpec("string", 1))
