from typing import Any

import numpy as np
import pytest
from tfrec_client import Event, InvalidRequestError, RankRequest, RecommendationRequest

HISTORY = (Event("a", "view", 100), Event("b", "cart", 100), Event("a", "view", 101))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"item_id": ""}, "`item_id` must be a string that is not empty"),
        ({"item_id": 7}, r"item_id=7 \(int\)"),
        ({"event_type": None}, "`event_type` must be a string"),
        ({"timestamp": 1.5}, r"`timestamp` must be whole unix seconds.*1.5 \(float\)"),
        ({"timestamp": True}, "`timestamp` must be whole unix seconds"),
        ({"timestamp": "2024-01-01"}, r"\(str\)"),
        ({"timestamp": -1}, "0 or later. Received: timestamp=-1"),
        ({"timestamp": 1_700_000_000_000}, "milliseconds: divide by 1000"),
        ({"dwell_seconds": -0.5}, "`dwell_seconds` must be a number of seconds"),
        ({"dwell_seconds": float("nan")}, "Received: dwell_seconds=nan"),
        ({"dwell_seconds": "1"}, "Received: dwell_seconds='1'"),
        ({"dwell_seconds": 1e40}, "fit into float32"),
    ],
)
def test_a_bad_event_names_field_and_value(
    changes: dict[str, Any], message: str
) -> None:
    fields = {"item_id": "a", "event_type": "view", "timestamp": 1, **changes}
    with pytest.raises(InvalidRequestError, match=message):
        Event(**fields)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"`k` must be a whole number, 1 to 2147483647. Received: k=0"),
        ({"k": -3}, "Received: k=-3"),
        ({"k": 2**31}, "Received: k=2147483648"),
        ({"k": 2.0}, r"k=2.0 \(float\)"),
        ({"k": True}, r"k=True \(bool\)"),
        ({"history": "abc"}, "`history` must be a list or tuple of Event"),
        ({"history": [("a", "view", 1)]}, r"`history\[0\]` must be an Event"),
        ({"history": HISTORY[::-1]}, r"history\[1\].timestamp=100 after 101. Sort it"),
        ({"query_text": None}, "`query_text` must be a string"),
        ({"query_text": "lamp \ud800"}, "must be text that UTF-8 can write"),
        ({"request_timestamp": 1e9}, "`request_timestamp` must be whole unix seconds"),
        ({"exclude_seen": 1}, "`exclude_seen` must be True or False"),
        ({"exclude_item_ids": "sku"}, "Put one value in a list"),
        ({"exclude_item_ids": ["a", ""]}, r"`exclude_item_ids\[1\]`"),
    ],
)
def test_a_bad_request_names_argument_and_value(
    changes: dict[str, Any], message: str
) -> None:
    arguments = {"history": HISTORY, **changes}
    with pytest.raises(InvalidRequestError, match=message) as caught:
        RecommendationRequest(**arguments)
    assert isinstance(caught.value, ValueError)


def test_candidates_must_be_given() -> None:
    with pytest.raises(InvalidRequestError, match="at least one item"):
        RankRequest(HISTORY, candidate_item_ids=[])


def test_numbers_of_numpy_are_numbers() -> None:
    event = Event("a", "view", np.int64(5), np.float32(1.5))  # pyright: ignore
    request = RecommendationRequest([event], k=np.int32(3))  # pyright: ignore
    assert (request.k, request.history[0].timestamp) == (3, 5)
