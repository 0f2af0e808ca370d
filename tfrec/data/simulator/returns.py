"""When shoppers come back, on which device, and how tastes drift meanwhile."""

from enum import IntEnum

import numpy as np

from tfrec.data.simulator.catalogue import NUM_BRAND_FAMILIES, NUM_PRICE_LEVELS
from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.shoppers import DEVICES, Shoppers

_SWITCH_PROBABILITY = 0.15  # A session on another than the usual device.
_SESSION_LENGTH_FACTOR = np.array([0.9, 1.2, 1.0])  # By device.
_LEVEL_DRIFT = 0.01  # The price level moves by one, per session.
_SESSION_PAUSE_SECONDS = 3_600  # Sessions of one shopper lie at least this far apart.
_LAST_VIEW_MARGIN_SECONDS = 3 * 3_600  # What follows a view ends within this.
# Relative traffic of each hour of the day, UTC.
_HOUR_WEIGHTS = (2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15)
_HOUR_WEIGHTS += (13, 9, 5)
_DAY_CURVE = np.concatenate([[0.0], np.cumsum(_HOUR_WEIGHTS)]) / sum(_HOUR_WEIGHTS)


class _Return(IntEnum):
    """Draws of a session's end, in this order."""

    GAP = 0
    TIME_OF_DAY = 1
    DEVICE = 2
    DRIFT = 3
    PLACE = 4
    LEAF = 5
    LEVEL = 6


NUM_RETURN_DRAWS = len(_Return)


def second_of_day(draw: np.ndarray) -> np.ndarray:
    """Returns seconds after midnight, UTC, with the traffic of the day curve."""
    return np.interp(draw, _DAY_CURVE, np.arange(25) * 3_600.0)


def begin_next_sessions(
    shoppers: Shoppers,
    rows: np.ndarray,
    *,
    draws: np.ndarray,
    demand: Demand,
    config: SimulatorConfig,
) -> None:
    """Sends shoppers at `rows` away until their next session.

    Tastes drift while they are away.

    Args:
        shoppers: The shoppers.
        rows: int `[m]`, distinct.
        draws: float64 `[NUM_RETURN_DRAWS, m]`.
        demand: The tables.
        config: Rates.
    """
    now = shoppers.time[rows]
    later = now - shoppers.mean_gap[rows] * np.log1p(-draws[_Return.GAP])
    day = (later - config.start_seconds) // SECONDS_PER_DAY
    start = config.start_seconds + (
        day * SECONDS_PER_DAY + second_of_day(draws[_Return.TIME_OF_DAY])
    ).astype(np.int64)
    start += SECONDS_PER_DAY * (start < now + _SESSION_PAUSE_SECONDS)
    shoppers.time[rows] = np.maximum(start, now + _SESSION_PAUSE_SECONDS)
    shoppers.session[rows] += 1
    shoppers.at_session_start[rows] = True
    switch = draws[_Return.DEVICE] < _SWITCH_PROBABILITY
    other = (shoppers.main_device[rows] + 1) % len(DEVICES)
    shoppers.device[rows] = np.where(switch, other, shoppers.main_device[rows])
    _drift(shoppers, rows, draws=draws, demand=demand, config=config)


def _drift(
    shoppers: Shoppers,
    rows: np.ndarray,
    *,
    draws: np.ndarray,
    demand: Demand,
    config: SimulatorConfig,
) -> None:
    drifts = draws[_Return.DRIFT] < config.drift_probability
    place = (draws[_Return.PLACE, drifts] * config.num_favourites).astype(np.int64)
    leaf = demand.draw_leaves(draws[_Return.LEAF, drifts])
    shoppers.favourites[rows[drifts], place] = leaf
    level, family = np.divmod(shoppers.segment[rows], NUM_BRAND_FAMILIES)
    draw = draws[_Return.LEVEL]
    level += (draw < _LEVEL_DRIFT).astype(np.int16)
    level -= (draw >= 1.0 - _LEVEL_DRIFT).astype(np.int16)
    level = np.clip(level, 0, NUM_PRICE_LEVELS - 1)
    shoppers.segment[rows] = level * NUM_BRAND_FAMILIES + family


def session_end_probability(shoppers: Shoppers, config: SimulatorConfig) -> np.ndarray:
    """Returns float64 `[n]`: chance that a session ends after a view."""
    views = config.mean_session_views * _SESSION_LENGTH_FACTOR[shoppers.device]
    return 1.0 / np.maximum(views, 1.0)


def last_view_seconds(config: SimulatorConfig) -> int:
    """Returns the time after which no organic view happens, unix seconds."""
    return config.end_seconds - _LAST_VIEW_MARGIN_SECONDS
