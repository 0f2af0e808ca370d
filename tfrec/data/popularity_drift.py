"""How fast what is popular changes in a log, and which events are too old to count."""

from collections.abc import Sequence

import numpy as np

from tfrec.data.store import TRAIN, EventSequences
from tfrec.schema import NUM_SPECIAL_INDICES, OOV_INDEX

HALF_LIVES_DAYS = (180.0, 90.0, 42.0, 21.0, 7.0)
LEAST_GAIN = 0.1  # Nats an event; below, old events are worth as much as new ones.
_ENOUGH = 0.85  # Of the greatest gain: the longest such half-life keeps more events.
_NEWEST_SHARE = 0.1  # Of the training events: what popularity is to foretell.
_EVEN_SHARE = 0.1  # Of the foretold probability, for items that were not seen yet.


def choose_half_life_days(sequences: EventSequences) -> float | None:
    """Returns the half-life by which the log's own drift says to weigh events.

    Where the shop of last month is no longer that of today, recent popularity
    foretells the newest events better than that of all times. Where that gains
    less than `LEAST_GAIN`, nothing is to be weighed: each event is as good as another.

    Args:
        sequences: Of a prepared dataset; only its training events are read.

    Returns:
        Days, one of `HALF_LIVES_DAYS`; None for no weights, as in a log without times.
    """
    gains = half_life_gains(sequences)
    if not gains or max(gains.values()) < LEAST_GAIN:
        return None
    enough = _ENOUGH * max(gains.values())
    return max(days for days, gain in gains.items() if gain >= enough)


def half_life_gains(
    sequences: EventSequences, half_lives_days: Sequence[float] = HALF_LIVES_DAYS
) -> dict[float, float]:
    """Returns how much better decayed popularity foretells the newest events.

        p_h(i) = .9 sum_{e: item(e) = i} 2 ** (-age(e) / h) / sum_e 2 ** (-age(e) / h)
                 + .1 / num_items
        gain_h = mean over the newest tenth of log p_h(item) - log p_infinity(item)

    Args:
        sequences: Of a prepared dataset; only its training events are read.
        half_lives_days: h, in days.

    Returns:
        Nats an event, by half-life; empty for a log without times, or without two
        times that differ.
    """
    is_known = (sequences.split == TRAIN) & (sequences.item_index > OOV_INDEX)
    times, items = sequences.timestamps[is_known], sequences.item_index[is_known]
    if not len(times) or times.min() == times.max():
        return {}
    cut = np.quantile(times, 1.0 - _NEWEST_SHARE)
    is_old = times < cut
    if not is_old.any():
        return {}
    age_days = (cut - times[is_old]) / 86_400.0
    columns = items - NUM_SPECIAL_INDICES
    num_items = int(columns.max()) + 1

    def mean_log_probability(weights: np.ndarray) -> float:
        popularity = np.bincount(columns[is_old], weights, minlength=num_items)
        share = (1.0 - _EVEN_SHARE) * popularity / popularity.sum()
        foretold = share + _EVEN_SHARE / num_items
        return float(np.log(foretold[columns[~is_old]]).mean())

    plain = mean_log_probability(np.ones(len(age_days)))
    # Relative to the newest old event, or a long pause would round all weights to 0.
    age_days -= age_days.min()
    return {
        days: mean_log_probability(np.exp2(-age_days / days)) - plain
        for days in half_lives_days
    }
