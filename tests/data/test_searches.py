"""Searches among the events: which rows they are, and what they do not count for."""

import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.config import ExperimentConfig
from tfrec.data.held_out import HeldOutDataset
from tfrec.data.histories import gather_requests
from tfrec.data.prepare import prepare
from tfrec.data.searches import keep_events, moved_ends, without_searches
from tfrec.data.store import EventSequences, PreparedDataset
from tfrec.data.windows import find_targets
from tfrec.schema import Schema

HEADER = ("user_id", "item_id", "kind", "timestamp", "query")
SCHEMA = Schema(("view", "search"), ("view",), search_event_type="search")
ROWS = [
    ("u", "", "search", 100, "red lamp"),
    ("u", "a", "view", 100, ""),
    ("u", "b", "view", 200, "lamp"),
    ("u", "a", "suche", 300, " Lampe "),  # Its item is not looked at.
    ("u", "a", "view", 400, ""),
    ("v", "c", "view", 500, ""),
    ("v", "", "search", 600, "sofa"),
    ("v", "", "search", 600, "desk"),
]


@pytest.fixture
def prepared(write_csv, make_config):
    """Prepares rows of a log with searches; with a text encoder unless told."""

    def run(rows=ROWS, *, reads_text: bool = True, **data) -> PreparedDataset:
        path = write_csv("events.csv", rows, HEADER)
        return prepare(searching(make_config(path, **log(data)), reads_text))

    return run


def log(data: dict) -> dict:
    columns = {"event_type": "kind", "timestamp": "timestamp", "query": "query"}
    return {
        "event_columns": columns,
        "event_types": ["view"],
        "event_type_names": {"suche": "search"},
        "search_event_type": "search",
        **data,
    }


def searching(config: ExperimentConfig, reads_text: bool) -> ExperimentConfig:
    values = config.model_dump() | {"text": {} if reads_text else None}
    return ExperimentConfig.model_validate(values)


def story(dataset: PreparedDataset, user: int) -> list[str]:
    """Returns a user's events: ids of items, and in quotes what was searched for."""
    sequences = dataset.load_sequences()
    ids = ["", "", *dataset.items["item_id"].to_pylist()]
    return [
        ids[sequences.item_index[event]] or f"'{sequences.query_text[event]}'"
        for event in range(sequences.offsets[user], sequences.offsets[user + 1])
    ]


def test_searches_stand_in_the_sequence_without_an_item(prepared):
    dataset = prepared()
    assert story(dataset, 0) == ["'red lamp'", "a", "b", "'Lampe'", "a"]
    sequences = dataset.load_sequences()
    assert sequences.event_type_index[:5].tolist() == [3, 2, 2, 3, 2]
    assert sequences.item_index[[0, 3]].tolist() == [1, 1]
    assert dataset.schema.event_types == ("view", "search")


def test_events_of_one_time_keep_the_order_of_the_file(prepared):
    dataset = prepared([ROWS[1], ROWS[0], *ROWS[2:]])
    assert story(dataset, 0)[:2] == ["a", "'red lamp'"]
    assert story(dataset, 1) == ["c", "'sofa'", "'desk'"]


@pytest.mark.parametrize("duplicates", ["exact", "same_time"])
def test_two_searches_of_a_second_are_one_only_if_their_texts_are(prepared, duplicates):
    cleaning = {"duplicates": duplicates}
    dataset = prepared([*ROWS, ROWS[-1]], cleaning=cleaning)
    assert story(dataset, 1) == ["c", "'sofa'", "'desk'"]
    assert dataset.manifest["dropped"]["events"]["duplicate"] == 1


@pytest.mark.parametrize("text", ["", "   ", None])
def test_a_search_without_a_text_is_a_reject_that_says_so(prepared, text):
    rows = [*ROWS, ("v", "a", "search", 700, text)]
    dataset = prepared(rows, cleaning={"max_reject_share": 0.2})
    (reason,) = dataset.manifest["rejects"]["events"]["reasons"]
    assert (reason["reason"], reason["count"]) == ("search without a text", 1)
    assert reason["example"]["row"] == len(ROWS) + 2  # The header is line 1.
    assert story(dataset, 1) == ["c", "'sofa'", "'desk'"]


def test_a_view_without_an_item_stays_a_reject(prepared):
    rows = [*ROWS, ("v", "", "view", 700, "lamp")]
    dataset = prepared(rows, cleaning={"max_reject_share": 0.2})
    (reason,) = dataset.manifest["rejects"]["events"]["reasons"]
    assert reason["reason"] == "no item id"


def test_searches_count_for_no_item_and_no_target(prepared):
    dataset = prepared()
    assert sorted(dataset.items["item_id"].to_pylist()) == ["a", "b", "c"]
    sequences = dataset.load_sequences()
    splits = ("train", "validation", "test")
    targets = find_targets(sequences, dataset.schema, splits=splits)
    is_search = sequences.event_type_index == 3
    assert not targets.weights[is_search].any()
    assert (targets.weights[~is_search] > 0).all()
    by_split = dataset.manifest["counts"]["events_by_split"].values()
    assert sum(counts["search"] for counts in by_split) == 4


def test_the_core_counts_events_of_items_and_keeps_the_searches_of_who_stays(prepared):
    rows = [*ROWS, ("w", "", "search", 10, "only"), ("w", "", "search", 11, "looking")]
    dataset = prepared(rows, cleaning={"min_user_events": 2})
    assert dataset.load_sequences().user_ids.tolist() == ["u"]
    assert story(dataset, 0) == ["'red lamp'", "a", "b", "'Lampe'", "a"]
    # All three events of v, and both of w.
    assert dataset.manifest["dropped"]["events"]["too few events (k-core)"] == 5


def test_who_only_searches_is_left_out(prepared):
    dataset = prepared([*ROWS, ("w", "", "search", 10, "only")])
    assert dataset.load_sequences().user_ids.tolist() == ["u", "v"]


def test_without_text_searches_are_dropped_and_counted(prepared):
    dataset = prepared(reads_text=False)
    assert story(dataset, 0) == ["a", "b", "a"]
    reason = "search, which no text encoder reads (set text)"
    assert dataset.manifest["dropped"]["events"][reason] == 4
    assert dataset.schema.search_event_type is None
    assert dataset.manifest["rejects"]["events"]["rejected"] == 0


def test_a_dataset_without_searches_is_not_taken_for_one_with_them(prepared):
    prepared(reads_text=False)
    with pytest.raises(FileExistsError, match="reads_searches: False -> True"):
        prepared(reads_text=True)


def test_a_sequence_without_searches_is_that_of_items():
    sequences = make_sequences(
        [[0, -1, 1, -1], [-1, 2]], event_types=[[0, 1, 0, 0], [1, 0]]
    )
    sequences.query_text[[1, 4]] = ["lamp", "sofa"]
    kept = without_searches(sequences, SCHEMA)
    # The unknown item of the first user is viewed: it stays.
    assert kept.item_index.tolist() == [2, 3, 1, 4]
    assert kept.offsets.tolist() == [0, 3, 4]
    plain = Schema(("view",), ("view",))
    assert without_searches(sequences, plain) is sequences


def test_ends_of_histories_move_with_the_events_that_are_left():
    kept = np.array([True, False, True, False])
    assert moved_ends(kept).tolist() == [0, 1, 1, 2, 2]
    sequences = make_sequences([[0, 1], [2, 3]])
    assert keep_events(sequences, kept).offsets.tolist() == [0, 1, 2]


def request_texts(sequences: EventSequences, **options) -> np.ndarray:
    arrays = gather_requests(
        sequences,
        np.array([0, 1]),
        sequences.offsets[1:],
        request_timestamps=np.zeros(2),
        context={},
        max_history_length=3,
        **options,
    )
    return np.asarray(arrays.search_text)


def test_requests_hold_the_texts_of_searches_and_of_nothing_else():
    sequences = make_sequences([[0, -1, 1, -1], [2]], event_types=[[1, 1, 0, 1], [0]])
    sequences.query_text[:] = ["old", "lamp", "led here", "sofa", "led here"]
    texts = request_texts(sequences, search_type_index=3)
    assert texts.tolist() == [["lamp", "", "sofa"], ["", "", ""]]
    assert request_texts(sequences).tolist() == []


def test_a_model_without_text_compares_on_the_same_data_without_searches(prepared):
    path = prepared().path
    with_searches = HeldOutDataset(path, share=0.01).load_sequences()
    without = HeldOutDataset(path, share=0.01, reads_searches=False).load_sequences()
    assert (with_searches.event_type_index == 3).sum() == 4
    assert not (without.event_type_index == 3).any()
    assert without.num_users == with_searches.num_users


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"event_types": ["search"]}, "must be a type of its own"),
        ({"impression_event_type": "search"}, "must be a type of its own"),
        ({"event_columns": {"event_type": "kind"}}, "event_columns.query"),
        ({"event_columns": {"query": "query"}}, "event_columns.event_type"),
        ({"target_event_types": ["search"]}, "target_event_types"),
    ],
)
def test_a_search_type_that_does_not_fit_is_refused(make_config, changes, message):
    columns = {"timestamp": "timestamp", **changes.pop("event_columns", {})}
    data = log({}) | changes
    if "event_type" in columns or "query" in columns:
        data["event_columns"] = columns
    with pytest.raises(ValueError, match=message):
        make_config("events.csv", **data)
