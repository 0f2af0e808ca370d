import time
from typing import Any

import numpy as np
import pytest
from tfrec_client import (
    Event,
    InvalidRequestError,
    QueryRequest,
    RankRequest,
    Recommendation,
    RecommendationRequest,
)
from tfrec_client.codec import (
    decode_ranked,
    decode_recommendations,
    decode_scored_items,
    encode_queries,
    encode_requests,
    encode_similar_items,
    encode_texts,
)
from tfrec_client.contract import CONTRACT, TensorSpec

SHOP_INPUTS = {
    **CONTRACT["recommend"].inputs,
    "context_country": TensorSpec("string", 1),
    "context_hour": TensorSpec("float32", 1),
    "filter_brand": TensorSpec("string", 2),
}


def test_requests_of_different_length_are_padded_at_the_end() -> None:
    arrays = encode_requests(
        [
            RecommendationRequest(
                [Event("a", "view", 5, 1.5), Event("b", "cart", 6)],
                k=7,
                query_text="lamp",
                request_timestamp=9,
                exclude_item_ids=["x", "y", "z"],
            ),
            RecommendationRequest([], k=2, request_timestamp=8, exclude_seen=True),
        ],
        CONTRACT["recommend"].inputs,
    )
    plain = {name: array.tolist() for name, array in arrays.items()}
    assert plain == {
        "history_item_ids": [["a", "b"], ["", ""]],
        "history_event_types": [["view", "cart"], ["", ""]],
        "history_timestamps": [[5, 6], [0, 0]],
        "history_dwell_seconds": [[1.5, 0.0], [0.0, 0.0]],
        "query_text": ["lamp", ""],
        "request_timestamp": [9, 8],
        "exclude_item_ids": [["x", "y", "z"], ["", "", ""]],
        "exclude_seen": [False, True],
        "k": [7, 2],
    }
    for name, spec in CONTRACT["recommend"].inputs.items():
        dtype = "object" if spec.dtype == "string" else spec.dtype
        assert (arrays[name].dtype.name, arrays[name].ndim) == (dtype, spec.rank)


def test_queries_say_who_asks_but_not_what_may_be_answered() -> None:
    request = QueryRequest(
        [Event("a", "view", 5)],
        query_text="lamp",
        request_timestamp=9,
        context={"country": "DE"},
    )
    inputs = {
        **CONTRACT["embed_query"].inputs,
        "context_country": TensorSpec("string", 1),
    }
    arrays = encode_queries([request], inputs)
    assert set(arrays) == set(inputs)
    assert arrays["query_text"].tolist() == ["lamp"]
    assert arrays["context_country"].tolist() == ["DE"]
    with pytest.raises(InvalidRequestError, match="`requests` must hold at least one"):
        encode_queries([], inputs)


def test_what_is_no_request_is_named() -> None:
    with pytest.raises(InvalidRequestError, match=r"RecommendationRequest.*'A-17'"):
        encode_requests(["A-17"], {})  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("lamp", "`texts` must be a list or tuple.*Received: 'lamp'"),
        ([], "at least one string"),
        (["a", None], r"`texts\[1\]` must be a string.*NoneType"),
    ],
)
def test_texts_to_embed_are_a_list_of_strings(texts: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        encode_texts(texts)
    assert encode_texts(["a", ""])["text"].tolist() == ["a", ""]


def test_lists_have_one_padded_place_at_least() -> None:
    arrays = encode_requests([RecommendationRequest()], SHOP_INPUTS)
    assert arrays["history_item_ids"].tolist() == [[""]]
    assert arrays["exclude_item_ids"].tolist() == [[""]]
    assert arrays["filter_brand"].tolist() == [[""]]


def test_context_and_filters_are_filled_with_nothing_said() -> None:
    arrays = encode_requests(
        [
            RecommendationRequest(
                context={"country": "DE"}, filters={"brand": ["A", "B"]}
            ),
            RecommendationRequest(context={"hour": 3, "country": None}),
        ],
        SHOP_INPUTS,
    )
    assert arrays["context_country"].tolist() == ["DE", ""]
    np.testing.assert_array_equal(
        arrays["context_hour"], np.array([np.nan, 3.0], np.float32)
    )
    assert arrays["filter_brand"].tolist() == [["A", "B"], ["", ""]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": {"contry": "DE"}}, "'contry'. Did you mean 'country'"),
        ({"context": {"country": 3}}, r"`context\['country'\]` must be a string"),
        ({"context": {"hour": "3"}}, r"`context\['hour'\]` must be a number"),
        ({"filters": {"colour": ["red"]}}, r"`filters` must only name.*\['brand'\]"),
        ({"filters": {"brand": "A"}}, "must be a list of at least one string"),
        ({"filters": {"brand": []}}, "Leave the filter out"),
        ({"filters": {"brand": [""]}}, "must be a list of at least one string"),
    ],
)
def test_undeclared_or_mistyped_context_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        encode_requests([RecommendationRequest(**changes)], SHOP_INPUTS)


def test_a_request_without_a_time_is_asked_now() -> None:
    before = int(time.time())
    inputs = CONTRACT["recommend"].inputs
    (now,) = encode_requests([RecommendationRequest()], inputs)["request_timestamp"]
    assert before <= now <= before + 60
    ahead = RecommendationRequest([Event("a", "view", before + 1000)])
    (later,) = encode_requests([ahead], inputs)["request_timestamp"]
    assert later == before + 1000


def test_padded_places_and_those_beyond_a_requests_k_are_dropped() -> None:
    outputs = {
        "item_ids": np.array([["a", "b", "c"], ["d", "", ""]], object),
        "scores": np.array([[3, 2, 1], [9, -np.inf, -np.inf]], np.float32),
        "retrieval_scores": np.array([[30, 20, 10], [90, 0, 0]], np.float32),
        "cart_probability": np.array([[0.5, 0.25, 0], [0.125, 0, 0]], np.float32),
    }
    assert decode_recommendations(outputs, [2, 3]) == [
        [
            Recommendation("a", 3.0, 30.0, {"cart": 0.5}),
            Recommendation("b", 2.0, 20.0, {"cart": 0.25}),
        ],
        [Recommendation("d", 9.0, 90.0, {"cart": 0.125})],
    ]
    dwell = np.array([[5, 6, 7], [8, 0, 0]], np.float32)
    told = decode_recommendations({**outputs, "dwell_seconds": dwell}, [2, 3])
    assert [[i.dwell_seconds for i in row] for row in told] == [[5.0, 6.0], [8.0]]
    first, second = decode_scored_items(outputs, [1, 3])
    assert [(i.item_id, i.score) for i in first] == [("a", 3.0)]
    assert [(i.item_id, i.score) for i in second] == [("d", 9.0)]


def test_candidates_keep_their_order_and_lose_the_padding() -> None:
    requests = [
        RankRequest([], candidate_item_ids=["a", "b"]),
        RankRequest([], candidate_item_ids=["c"]),
    ]
    arrays = encode_requests(requests, CONTRACT["rank"].inputs)
    assert arrays["candidate_item_ids"].tolist() == [["a", "b"], ["c", ""]]
    assert "k" not in arrays
    outputs = {
        "scores": np.array([[1, 2], [-np.inf, 4]], np.float32),
        "view_probability": np.array([[0.5, 0.25], [0.125, 0]], np.float32),
    }
    ranked = decode_ranked(outputs, requests)
    assert [[(r.item_id, r.score, r.probabilities) for r in row] for row in ranked] == [
        [("a", 1.0, {"view": 0.5}), ("b", 2.0, {"view": 0.25})],
        [("c", -np.inf, {"view": 0.125})],
    ]
    assert {item.dwell_seconds for row in ranked for item in row} == {None}
    dwell = np.array([[5, 6], [7, 0]], np.float32)
    told = decode_ranked({**outputs, "dwell_seconds": dwell}, requests)
    assert [[i.dwell_seconds for i in row] for row in told] == [[5.0, 6.0], [7.0]]


def test_no_requests_are_an_error() -> None:
    with pytest.raises(InvalidRequestError, match="`requests` must hold at least one"):
        encode_requests([], {})
    with pytest.raises(InvalidRequestError, match="`item_ids` must name at least one"):
        encode_similar_items([], 3)
    with pytest.raises(InvalidRequestError, match="`k` must be"):
        encode_similar_items(["a"], 0)
