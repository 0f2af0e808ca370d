"""Searches of the past, as a client sends them."""

from typing import Any

import pytest
from tfrec_client import Event, InvalidRequestError, RecommendationRequest
from tfrec_client.codec import encode_requests
from tfrec_client.command_line import parse_history
from tfrec_client.contract import CONTRACT, RECOMMEND


def test_a_search_travels_in_the_place_of_an_item():
    history = [Event("a", "view", 5), Event.search("red lamp: 40 W", 7)]
    request = RecommendationRequest(history, request_timestamp=9)
    arrays = encode_requests([request], CONTRACT[RECOMMEND].inputs)
    assert arrays["history_item_ids"].tolist() == [["a", "red lamp: 40 W"]]
    assert arrays["history_event_types"].tolist() == [["view", "search"]]
    assert arrays["history_timestamps"].tolist() == [[5, 7]]
    assert arrays["query_text"].tolist() == [""]


def test_a_shop_names_its_searches_as_it_likes():
    assert Event.search("灯", 7, event_type="suche") == Event("灯", "suche", 7)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not be blank"), (" \t", "not be blank"), (None, "`text` must be a string")],
)
def test_a_search_for_nothing_is_refused(text: Any, message: str):
    with pytest.raises(InvalidRequestError, match=message):
        Event.search(text, 7)


def test_a_typed_history_may_hold_searches():
    (event,) = parse_history(["red lamp: 40 W:search:7"])
    assert event == Event("red lamp: 40 W", "search", 7)
