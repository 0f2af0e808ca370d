from collections.abc import Callable
from typing import Any

import pytest

from tfrec.data.store import PreparedDataset

Prepare = Callable[..., PreparedDataset]
Histories = Callable[[PreparedDataset], dict[str, list[str]]]


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ({"drop": "starts_with", "value": "C"}, ["5", "-1", "0", "", "x", "NaN"]),
        ({"drop": "missing"}, ["5", "C5", "-1", "0", "x"]),
        ({"drop": "not_matches", "value": r"^-?\d"}, ["5", "-1", "0"]),
        ({"drop": "equals", "value": "x"}, ["5", "C5", "-1", "0", "", "NaN"]),
        ({"drop": "equals", "value": 0}, ["5", "C5", "-1", "", "x", "NaN"]),
        ({"drop": "at_most", "value": 0}, ["5", "C5", "", "x", "NaN"]),
        ({"drop": "below", "value": 0}, ["5", "C5", "0", "", "x", "NaN"]),
    ],
)
def test_rows_that_meet_a_condition_are_dropped_and_counted(
    prepare_rows: Prepare, condition: dict[str, Any], kept: list[str]
) -> None:
    values = ["5", "C5", "-1", "0", "", "x", "NaN"]
    dataset = prepare_rows(
        [("u", f"item {value}", i + 1, value) for i, value in enumerate(values)]
        + [("v", f"item {value}", i + 1, value) for i, value in enumerate(values)],
        header=("user_id", "item_id", "timestamp", "flag"),
        cleaning={"drop_rows": [{"column": "flag", "reason": "why not", **condition}]},
    )

    sequences = dataset.load_sequences()
    # The timestamp of a value is its place, from 1.
    expected = [values.index(value) + 1 for value in kept]
    assert sequences.timestamps.tolist() == expected * 2
    dropped = 2 * (len(values) - len(kept))
    assert dataset.manifest["dropped"]["events"]["why not"] == dropped
    assert dataset.manifest["rejects"]["events"]["rejected"] == 0


def test_the_first_condition_that_is_met_counts(prepare_rows: Prepare) -> None:
    dataset = prepare_rows(
        [("", "C1", 1), ("", "2", 2), ("u", "C3", 3), ("u", "4", 4)],
        cleaning={
            "drop_rows": [
                {
                    "column": "item_id",
                    "drop": "starts_with",
                    "value": "C",
                    "reason": "a",
                },
                {"column": "user_id", "drop": "missing"},
            ]
        },
    )
    dropped = dataset.manifest["dropped"]["events"]
    assert (dropped["a"], dropped["user_id missing"]) == (2, 1)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("keep", [1, 1, 1, 2]), ("exact", [1, 1, 2]), ("same_time", [1, 2])],
)
def test_duplicates_are_removed_by_the_rule(
    prepare_rows: Prepare, rule: str, kept: list[int]
) -> None:
    # The third row differs from the first two by its quantity alone; the last
    # column has no role.
    rows = [("u", "a", 1, 5, "x"), ("u", "a", 1, 5, "y"), ("u", "a", 1, 6, "x")]
    dataset = prepare_rows(
        [*rows, ("u", "a", 2, 5, "x")],
        header=("user_id", "item_id", "timestamp", "quantity", "note"),
        event_columns={"timestamp": "timestamp", "quantity": "quantity"},
        cleaning={"duplicates": rule},
    )

    assert dataset.load_sequences().timestamps.tolist() == kept
    removed = dataset.manifest["dropped"]["events"].get("duplicate", 0)
    assert removed == 4 - len(kept)


def test_the_core_is_found_by_repeating_both_limits(
    prepare_rows: Prepare, histories: Histories
) -> None:
    # d is rare, so w is left with one event, so c is left with one, so x goes.
    rows = [("u", "a"), ("u", "b"), ("v", "a"), ("v", "b"), ("w", "c"), ("w", "d")]
    rows += [("x", "c"), ("x", "a")]
    dataset = prepare_rows(
        [(user, item, t + 1) for t, (user, item) in enumerate(rows)],
        cleaning={"min_user_events": 2, "min_item_events": 2},
    )

    assert histories(dataset) == {"u": ["a", "b"], "v": ["a", "b"]}
    assert dataset.manifest["dropped"]["events"]["too few events (k-core)"] == 4


def test_an_empty_core_is_an_error_that_names_the_limits(prepare_rows: Prepare) -> None:
    with pytest.raises(ValueError, match="min_user_events=3"):
        prepare_rows([("u", "a", 1), ("v", "a", 2)], cleaning={"min_user_events": 3})
