import time

import pytest
from tfrec_client import Event, InvalidRequestError
from tfrec_client.command_line import (
    format_table,
    parse_context,
    parse_filters,
    parse_history,
)
from tfrec_client.contract import TensorSpec


def test_events_are_read_from_the_right() -> None:
    assert parse_history(["a:view:100", "x:y:cart:200:1.5"]) == [
        Event("a", "view", 100),
        Event("x:y", "cart", 200, 1.5),
    ]


def test_events_without_a_time_end_a_minute_ago() -> None:
    now = time.time()
    first, second = parse_history(["a:view", "b:cart"])
    assert second.timestamp - first.timestamp == 60
    assert now - 61 <= second.timestamp <= time.time() - 59


@pytest.mark.parametrize("text", ["a", ":view", "a:", "a:100", "a:view:1.5:2"])
def test_a_malformed_event_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequestError, match="TIME|ITEM:TYPE"):
        parse_history([text])


def test_context_is_a_number_where_the_model_says_so() -> None:
    inputs = {
        "context_hour": TensorSpec("float32", 1),
        "context_zip": TensorSpec("string", 1),
    }
    assert parse_context(["hour=2.5", "zip=123", "other=1"], inputs) == {
        "hour": 2.5,
        "zip": "123",
        "other": "1",
    }
    with pytest.raises(InvalidRequestError, match="hour=.* takes a number"):
        parse_context(["hour=noon"], inputs)
    with pytest.raises(InvalidRequestError, match="Expected NAME=VALUE"):
        parse_context(["hour"], inputs)


def test_filters_of_one_name_are_gathered() -> None:
    assert parse_filters(["a=x", "b=y", "a=z=1"]) == {"a": ["x", "z=1"], "b": ["y"]}


def test_a_table_aligns_numbers_to_the_right() -> None:
    rows = [{"id": "a", "score": 1.5}, {"id": "long", "score": -10.25}]
    assert format_table(rows).split("\n") == [
        "id       score",
        "----  --------",
        "a       1.5000",
        "long  -10.2500",
    ]
    vectors = [{"v": [0.5] * 7}, {"v": [0.25, -1.0]}]
    assert format_table(vectors).split("\n")[2:] == [
        "[0.500 0.500 0.500 0.500 0.500 0.500 …] of 7",
        "[0.250 -1.000] of 2",
    ]
    assert format_table([]) == "(nothing)"


def test_small_probabilities_are_no_zeros() -> None:
    cells = format_table([{"p": 0.00001234}, {"p": 0.0}, {"p": 0.0012}]).split("\n")[2:]
    assert [cell.strip() for cell in cells] == ["1.23e-05", "0.0000", "0.0012"]
