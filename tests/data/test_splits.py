import datetime
from collections.abc import Callable
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from tfrec.config import SplitConfig
from tfrec.data.splits import find_boundaries
from tfrec.data.store import PreparedDataset

Prepare = Callable[..., PreparedDataset]
DAY = 86_400


def test_boundaries_are_midnights_behind_the_last_day() -> None:
    # Day 100 ends at 101 days; two days of test, three of validation before it.
    split = SplitConfig(validation_days=3, test_days=2)
    boundaries = find_boundaries(100 * DAY + 5, split, time_zone="UTC")

    assert boundaries.end == 101 * DAY
    assert boundaries.test_start == 99 * DAY
    assert boundaries.validation_start == 96 * DAY


def test_boundaries_stay_at_midnight_when_the_clocks_change() -> None:
    # Clocks in Berlin went forward on 2019-03-31: that day had 23 hours.
    zone = ZoneInfo("Europe/Berlin")
    last = int(datetime.datetime(2019, 4, 1, 15, tzinfo=zone).timestamp())
    split = SplitConfig(validation_days=1, test_days=1)

    found = find_boundaries(last, split, time_zone="Europe/Berlin")

    for seconds, day in ((found.test_start, 1), (found.end, 2)):
        expected = datetime.datetime(2019, 4, day, tzinfo=zone)
        assert seconds == int(expected.timestamp())
    assert found.test_start - found.validation_start == 23 * 3600
    text = found.to_json("Europe/Berlin")["validation_start_iso"]
    assert text == "2019-03-31T00:00:00+01:00"


def test_one_time_cuts_all_users(prepare_rows: Prepare) -> None:
    # The log ends on day 10: test is day 9 and 10, validation day 8.
    days = [1.0, 7.999, 8.0, 8.999, 9.0, 10.5]
    rows = [(f"u{i % 2}", f"i{i}", day * DAY) for i, day in enumerate(days)]

    dataset = prepare_rows(
        rows, split={"protocol": "by_time", "validation_days": 1, "test_days": 2}
    )

    sequences = dataset.load_sequences()
    found = dict(
        zip(sequences.timestamps.tolist(), sequences.split.tolist(), strict=True)
    )
    expected = [0, 0, 1, 1, 2, 2]
    assert found == {int(d * DAY): s for d, s in zip(days, expected, strict=True)}
    boundaries = dataset.manifest["split"]["boundaries"]
    assert boundaries["validation_start"] == 8 * DAY
    assert boundaries["test_start_iso"] == "1970-01-10T00:00:00+00:00"


def test_leave_one_out_holds_out_the_last_two_targets_and_what_follows(
    prepare_rows: Prepare,
) -> None:
    # Target types are b; v are views.
    histories = {"u1": "vbvbvvbv", "u2": "bbv", "u3": "vvv", "u4": "bbb"}
    rows = [
        (user, f"i{t}", t + 1, what)
        for user, types in histories.items()
        for t, what in enumerate(types)
    ]

    dataset = prepare_rows(
        rows,
        header=("user_id", "item_id", "timestamp", "what"),
        event_columns={"timestamp": "timestamp", "event_type": "what"},
        event_types=["v", "b"],
        target_event_types=["b"],
    )

    sequences = dataset.load_sequences()
    parts = np.split(sequences.split, sequences.offsets[1:-1])
    found = {
        u: "".join(map(str, p)) for u, p in zip(sequences.user_ids, parts, strict=True)
    }
    # Fewer than three targets: wholly training.
    assert found == {"u1": "00011122", "u2": "000", "u3": "000", "u4": "012"}


def test_leave_one_out_breaks_ties_by_file_order(prepare_rows: Prepare) -> None:
    rows = [("u", f"i{i}", 7) for i in (4, 2, 9, 1)]

    sequences = prepare_rows(rows).load_sequences()

    assert sequences.split.tolist() == [0, 0, 1, 2]


def test_a_log_without_training_is_an_error_that_names_the_days(
    prepare_rows: Prepare,
) -> None:
    rows = [("u", "a", 5 * DAY), ("u", "b", 6 * DAY)]
    with pytest.raises(ValueError, match="validation_days=7.0, test_days=7.0"):
        prepare_rows(rows, split={"protocol": "by_time"})


def test_a_log_without_target_events_is_an_error(prepare_rows: Prepare) -> None:
    with pytest.raises(ValueError, match="`data.target_event_types` must occur"):
        prepare_rows(
            [("u", "a", 1, "v")],
            header=("user_id", "item_id", "timestamp", "what"),
            event_columns={"timestamp": "timestamp", "event_type": "what"},
            event_types=["v", "b"],
            target_event_types=["b"],
        )


def test_users_too_short_to_be_tested_are_a_warning(prepare_rows: Prepare) -> None:
    warnings = prepare_rows([("u", "a", 1), ("u", "b", 2)]).manifest["warnings"]
    assert [w for w in warnings if "no user has events in test" in w]
    assert [w for w in warnings if "no user has events in validation" in w]


def test_no_event_is_lost_or_split_twice(prepare_rows: Prepare) -> None:
    rng = np.random.default_rng(0)
    rows = [
        (f"u{rng.integers(5)}", f"i{rng.integers(9)}", int(rng.integers(1, 30 * DAY)))
        for _ in range(200)
    ]
    dataset = prepare_rows(
        rows, split={"protocol": "by_time", "validation_days": 3, "test_days": 3}
    )

    sequences = dataset.load_sequences()
    assert len(sequences.split) == len(set(rows))
    for user in range(sequences.num_users):
        part = slice(sequences.offsets[user], sequences.offsets[user + 1])
        assert (np.diff(sequences.split[part]) >= 0).all()
        assert (np.diff(sequences.timestamps[part]) >= 0).all()
