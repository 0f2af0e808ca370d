import numpy as np
import pytest

from tests.synthetic import make_sequences
from tfrec.data.popularity_drift import choose_half_life_days, half_life_gains
from tfrec.data.store import EventSequences

DAY = 86_400


def shop(season_days: int | None, *, num_days: int = 300) -> EventSequences:
    """Twenty events a day, of ten items that others replace every season."""
    rng = np.random.default_rng(0)
    days = np.repeat(np.arange(num_days), 20)
    first = 0 if season_days is None else 10 * (days // season_days)
    items = first + rng.integers(10, size=len(days))
    return make_sequences(
        [items.tolist()],
        timestamps=[(days * DAY).tolist()],
        splits=[[0] * len(days)],
    )


def test_an_even_shop_weighs_all_events_alike():
    gains = half_life_gains(shop(None))
    assert max(gains.values()) < 0.01
    assert choose_half_life_days(shop(None)) is None


def test_the_faster_a_shop_changes_the_shorter_is_the_half_life():
    slow, fast = (choose_half_life_days(shop(days)) for days in (100, 20))
    assert slow is not None
    assert fast is not None
    assert fast < slow


def test_the_gain_is_the_difference_of_mean_log_probabilities():
    # Item 0 ten times on day 0, item 1 nine times on day 10, then item 1 three times:
    # the newest tenth are the last three (day 20).
    sequences = make_sequences(
        [[0] * 10 + [1] * 12],
        timestamps=[[0] * 10 + [10 * DAY] * 9 + [20 * DAY] * 3],
        splits=[[0] * 22],
    )
    plain = 0.9 * 9 / 19 + 0.1 / 2
    # Ages 20 and 10 days; only their difference matters. A half-life of 10 days.
    decayed = 0.9 * 9 / (10 / 2 + 9) + 0.1 / 2
    gains = half_life_gains(sequences, [10.0])
    np.testing.assert_allclose(gains[10.0], np.log(decayed / plain), rtol=1e-6)


def test_events_that_are_held_out_are_not_read():
    drifting = shop(20)
    # The last 100 days are held out: what is left has one season of items less.
    held_out = make_sequences(
        [np.r_[np.zeros(2000, int), (drifting.item_index[2000:] - 2)].tolist()],
        timestamps=[drifting.timestamps.tolist()],
        splits=[[0] * 2000 + [1] * (len(drifting.item_index) - 2000)],
    )
    assert choose_half_life_days(held_out) is None


def test_a_pause_of_years_before_the_newest_events_is_no_error():
    sequences = make_sequences(
        [[0, 1] * 10 + [1, 1]],
        timestamps=[[day * DAY for day in range(20)] + [90_000 * DAY] * 2],
        splits=[[0] * 22],
    )
    assert np.isfinite(list(half_life_gains(sequences).values())).all()


@pytest.mark.parametrize("timestamps", [[0, 0, 0], [7, 7, 7]])
def test_without_times_there_is_no_drift(timestamps):
    sequences = make_sequences([[0, 1, 2]], timestamps=[timestamps], splits=[[0, 0, 0]])
    assert half_life_gains(sequences) == {}
    assert choose_half_life_days(sequences) is None


def test_without_training_events_there_is_no_drift():
    sequences = make_sequences([[0, 1]], timestamps=[[1, 2]], splits=[[1, 2]])
    assert choose_half_life_days(sequences) is None
