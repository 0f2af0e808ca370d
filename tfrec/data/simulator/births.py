"""How shoppers come to be: activity, device, tastes, first visit."""

from enum import IntEnum

import numpy as np
from scipy.special import ndtri

from tfrec.data.simulator.catalogue import NUM_BRAND_FAMILIES, NUM_PRICE_LEVELS
from tfrec.data.simulator.choice import MET_LENGTH
from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.random_streams import stream_keys, uniforms
from tfrec.data.simulator.returns import last_view_seconds, second_of_day
from tfrec.data.simulator.shoppers import Shoppers

_DEVICE_SHARES = (0.6, 0.3, 0.1)  # In the order of `DEVICES`.
_HOME_PROBABILITY = 0.7  # A favourite comes from the home department.


class _Birth(IntEnum):
    """Draws of step 0."""

    ACTIVITY = 0
    JOIN = 1
    JOIN_TIME = 2
    TIME_OF_DAY = 3
    DEVICE = 4
    LEVEL = 5
    FAMILY = 6
    HOME = 7
    FAVOURITES = 8  # Two each, to the end.


def create_shoppers(
    config: SimulatorConfig, demand: Demand, *, users: np.ndarray
) -> Shoppers:
    """Draws shoppers; each depends on seed and user number only."""
    num_users, num_favourites = len(users), config.num_favourites
    key = stream_keys(config.seed, users)
    steps = np.zeros(num_users, np.int64)
    draws = uniforms(key, steps, num_draws=_Birth.FAVOURITES + 2 * num_favourites)
    family = (draws[_Birth.FAMILY] * NUM_BRAND_FAMILIES).astype(np.int16)
    level = (draws[_Birth.LEVEL] * NUM_PRICE_LEVELS).astype(np.int16)
    device = np.searchsorted(np.cumsum(_DEVICE_SHARES)[:-1], draws[_Birth.DEVICE])
    mean_gap, time = _first_visit(config, draws)

    def constant(value: int, dtype: type) -> np.ndarray:
        return np.full(num_users, value, dtype)

    return Shoppers(
        user=users.astype(np.int64),
        key=key,
        step=constant(1, np.int64),
        time=time,
        session=constant(0, np.int32),
        at_session_start=constant(1, np.bool_),
        main_device=device.astype(np.int8),
        device=device.astype(np.int8),
        mean_gap=mean_gap,
        profile=constant(-1, np.int32),
        age=constant(0, np.int32),
        finished=constant(0, np.bool_),
        last_item=constant(-1, np.int32),
        complement=constant(-1, np.int32),
        restock_item=constant(-1, np.int32),
        restock_due=constant(0, np.int64),
        segment=level * np.int16(NUM_BRAND_FAMILIES) + family,
        favourites=_draw_favourites(demand, draws, count=num_favourites),
        met=np.full((num_users, MET_LENGTH), -1, np.int32),
        num_lists=constant(0, np.int32),
    )


def _first_visit(
    config: SimulatorConfig, draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Known shoppers come within their mean gap, new ones at any time."""
    period = config.num_days * SECONDS_PER_DAY
    spread = config.activity_sigma
    activity = np.exp(
        spread * ndtri(np.clip(draws[_Birth.ACTIVITY], 1e-4, 1 - 1e-4)) - spread**2 / 2
    )
    mean_gap = period / (config.mean_sessions * activity)
    is_new = draws[_Birth.JOIN] < config.new_user_share
    horizon = np.where(is_new, period, np.minimum(mean_gap, period))
    day = (draws[_Birth.JOIN_TIME] * horizon) // SECONDS_PER_DAY
    seconds = day * SECONDS_PER_DAY + second_of_day(draws[_Birth.TIME_OF_DAY])
    time = config.start_seconds + seconds.astype(np.int64)
    return mean_gap, np.minimum(time, last_view_seconds(config))


def _draw_favourites(demand: Demand, draws: np.ndarray, *, count: int) -> np.ndarray:
    """Most favourites come from one department, the rest from anywhere."""
    num_departments = int(demand.leaf_department.max()) + 1
    home = (draws[_Birth.HOME] * num_departments).astype(np.int64)
    columns = []
    for place in range(count):
        source, draw = draws[_Birth.FAVOURITES + 2 * place :][:2]
        anywhere = demand.draw_leaves(draw)
        near = _draw_leaves_of_department(demand, home, draw=draw)
        at_home = (source < _HOME_PROBABILITY) & (near >= 0)
        columns.append(np.where(at_home, near, anywhere))
    return np.stack(columns, axis=1).astype(np.int32)


def _draw_leaves_of_department(
    demand: Demand, department: np.ndarray, *, draw: np.ndarray
) -> np.ndarray:
    """Draws a leaf of a department each; -1 where it has none in this shop."""
    result = np.full(len(draw), -1)
    for index in np.unique(department):
        leaves = np.flatnonzero(demand.leaf_department == index)
        if len(leaves):
            rows = np.flatnonzero(department == index)
            running = np.cumsum(demand.leaf_weight[leaves])
            place = np.searchsorted(running, draw[rows] * running[-1], side="right")
            result[rows] = leaves[np.minimum(place, len(leaves) - 1)]
    return result
