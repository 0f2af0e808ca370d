import numpy as np

from tfrec.training.list_context import warn_of_unknown_context

DEVICES = np.array([2, 0, 3], np.int32)
HOURS = np.array([7.0, np.nan], np.float32)


def test_context_that_only_events_have_is_named(caplog):
    shown = {"device": np.zeros(2, np.int32), "hour": np.full(2, np.nan, np.float32)}
    warn_of_unknown_context(shown, {"device": DEVICES, "hour": HOURS})
    assert [record.args for record in caplog.records] == [("device",), ("hour",)]
    assert "Rows of impressions have no 'device'" in caplog.text


def test_context_that_is_known_once_or_never_is_no_finding(caplog):
    shown = {
        "device": np.array([0, 2], np.int32),
        "hour": np.array([np.nan, 0.0], np.float32),
        "shop": np.zeros(2, np.int32),
    }
    never = np.zeros(3, np.int32)
    events = {"device": DEVICES, "hour": HOURS, "shop": never}
    warn_of_unknown_context(shown, events)
    # Nor is it one where there is no list.
    warn_of_unknown_context({"device": np.zeros(0, np.int32)}, {"device": DEVICES})
    assert not caplog.records
