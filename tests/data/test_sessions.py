from collections.abc import Callable

from tfrec.data.store import PreparedDataset

Prepare = Callable[..., PreparedDataset]
HEADER = ("user_id", "item_id", "timestamp", "session")
COLUMNS = {"timestamp": "timestamp", "session_id": "session"}


def test_a_session_starts_after_the_gap_and_per_user(prepare_rows: Prepare) -> None:
    # A gap of exactly ten minutes continues the session, a second more does not.
    times = [1, 601, 1202, 1203]
    rows = [("u", f"i{t}", t) for t in times] + [("v", "a", 5)]

    dataset = prepare_rows(rows, session_gap_minutes=10)

    assert dataset.load_sequences().session_index.tolist() == [0, 0, 1, 1, 0]


def test_session_ids_count_in_the_order_of_their_first_event(
    prepare_rows: Prepare,
) -> None:
    # z and a interleave: coming back to z is no new session.
    rows = [("u", 1, 1, "z"), ("u", 2, 2, "a"), ("u", 3, 3, "z"), ("u", 4, 9999, "b")]
    rows += [("v", 1, 1, "a")]

    dataset = prepare_rows(rows, header=HEADER, event_columns=COLUMNS)

    assert dataset.load_sequences().session_index.tolist() == [0, 1, 0, 2, 0]


def test_events_without_a_session_id_follow_the_gap(prepare_rows: Prepare) -> None:
    rows = [("u", 1, 1, ""), ("u", 2, 2, "z"), ("u", 3, 3, ""), ("u", 4, 9999, "")]

    dataset = prepare_rows(rows, header=HEADER, event_columns=COLUMNS)

    assert dataset.load_sequences().session_index.tolist() == [0, 1, 0, 2]


def test_without_times_a_user_has_one_session(prepare_rows: Prepare) -> None:
    dataset = prepare_rows([("u", 1), ("u", 2)], header=HEADER[:2], event_columns={})
    assert dataset.load_sequences().session_index.tolist() == [0, 0]
