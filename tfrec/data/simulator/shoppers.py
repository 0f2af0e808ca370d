"""Shoppers: who they are, what they have in mind, and when they come back."""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np
from scipy.special import ndtri

from tfrec.data.simulator.catalogue import NUM_BRAND_FAMILIES, NUM_PRICE_LEVELS
from tfrec.data.simulator.choice import MET_LENGTH, Branch, LatentState, Views
from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.random_streams import stream_keys, uniforms

DEVICES = ("mobile", "desktop", "tablet")
_DEVICE_SHARES = (0.6, 0.3, 0.1)
_SWITCH_PROBABILITY = 0.15  # A session on another than the usual device.
_SESSION_LENGTH_FACTOR = np.array([0.9, 1.2, 1.0])  # By device.
_HOME_PROBABILITY = 0.7  # A favourite comes from the home department.
_LEVEL_DRIFT = 0.01  # The price level moves by one, per session.
_SESSION_PAUSE_SECONDS = 3_600  # Sessions of one shopper lie at least this far apart.
_LAST_VIEW_MARGIN_SECONDS = 3 * 3_600  # What follows a view ends within this.
# Relative traffic of each hour of the day, UTC.
_HOUR_WEIGHTS = (2, 1, 1, 1, 1, 2, 4, 6, 7, 8, 8, 9, 10, 9, 8, 8, 9, 10, 12, 14, 15)
_HOUR_WEIGHTS += (13, 9, 5)
_DAY_CURVE = np.concatenate([[0.0], np.cumsum(_HOUR_WEIGHTS)]) / sum(_HOUR_WEIGHTS)


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


@dataclass
class Shoppers:
    """Mutable state of n shoppers, one array each; -1 means none.

    Attributes:
        user: int64, number of the shopper.
        key: uint64, random stream.
        step: int64, organic views so far, plus 1.
        time: int64, next organic view, unix seconds.
        session: int32, counts from 0.
        at_session_start: bool, the next view opens a session.
        main_device: int8.
        device: int8, of the running session.
        mean_gap: float64, seconds between sessions.
        profile: int32, running intent.
        age: int32, views of the running intent.
        finished: bool, the intent ended in a purchase.
        last_item: int32, last item met in the intent's leaf.
        complement: int32, leaf that complements the last cart.
        restock_item: int32, consumable bought last.
        restock_due: int64, when it will be used up, unix seconds.
        segment: int16.
        favourites: int32 `[n, num_favourites]`.
        met: int32 `[n, MET_LENGTH]`, newest first.
        num_lists: int32, lists shown so far.
    """

    user: np.ndarray
    key: np.ndarray
    step: np.ndarray
    time: np.ndarray
    session: np.ndarray
    at_session_start: np.ndarray
    main_device: np.ndarray
    device: np.ndarray
    mean_gap: np.ndarray
    profile: np.ndarray
    age: np.ndarray
    finished: np.ndarray
    last_item: np.ndarray
    complement: np.ndarray
    restock_item: np.ndarray
    restock_due: np.ndarray
    segment: np.ndarray
    favourites: np.ndarray
    met: np.ndarray
    num_lists: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """Returns the shoppers at `rows`."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))

    def latent(self, config: SimulatorConfig) -> LatentState:
        """Returns what decides the next organic view."""
        keep = np.where(
            self.age < config.min_intent_views, 1.0, 1.0 - config.intent_end_probability
        )
        keep[(self.age >= config.max_intent_views) | self.finished] = 0.0
        keep[self.at_session_start] *= config.session_continue_probability
        due = self.at_session_start & (self.restock_due <= self.time)
        return LatentState(
            time=self.time,
            profile=self.profile,
            continue_probability=keep.astype(np.float32),
            last_item=self.last_item,
            due_item=np.where(due, self.restock_item, -1),
            complement=self.complement,
            segment=self.segment,
            favourites=self.favourites,
            met=self.met,
        )

    def apply(self, views: Views, demand: Demand) -> None:
        """Updates the intent after an organic view."""
        new = views.new_profile >= 0
        self.profile = np.where(new, views.new_profile, self.profile).astype(np.int32)
        self.age[
            (views.branch == Branch.RELATED) | (views.branch == Branch.INTENT)
        ] += 1
        self.age[new] = 1
        self.finished[new] = False
        self.complement[new] = -1
        self.restock_item[views.branch == Branch.RESTOCK] = -1
        self.meet(np.arange(len(self.user)), views.item, demand)

    def meet(self, rows: np.ndarray, items: np.ndarray, demand: Demand) -> None:
        """Notes that `items` were viewed or clicked; `rows` are distinct."""
        self.met[rows, 1:] = self.met[rows, :-1]
        self.met[rows, 0] = items
        profile = self.profile[rows]
        inside = (profile >= 0) & (demand.leaf[items] == profile // demand.num_profiles)
        self.last_item[rows[inside]] = items[inside]

    def put_in_cart(self, rows: np.ndarray, items: np.ndarray, demand: Demand) -> None:
        """Notes that `items` went into the cart."""
        self.complement[rows] = demand.complement[demand.leaf[items]]

    def purchase(
        self, rows: np.ndarray, items: np.ndarray, demand: Demand, draw: np.ndarray
    ) -> None:
        """Notes purchases: an intent in the item's leaf is served."""
        leaf = demand.leaf[items]
        served = self.profile[rows] // demand.num_profiles == leaf
        self.finished[rows[served]] = True
        used_up = demand.is_consumable[leaf]
        days = 10.0 + 15.0 * draw[used_up]
        again = rows[used_up]
        self.restock_item[again] = items[used_up]
        self.restock_due[again] = self.time[again] + (days * SECONDS_PER_DAY).astype(
            np.int64
        )


def create_shoppers(
    config: SimulatorConfig, demand: Demand, users: np.ndarray
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
        favourites=_draw_favourites(demand, draws, num_favourites),
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
    seconds = day * SECONDS_PER_DAY + _second_of_day(draws[_Birth.TIME_OF_DAY])
    latest = period - _LAST_VIEW_MARGIN_SECONDS - 1
    time = config.start_seconds + np.minimum(seconds, latest).astype(np.int64)
    return mean_gap, time


def _second_of_day(draw: np.ndarray) -> np.ndarray:
    return np.interp(draw, _DAY_CURVE, np.arange(25) * 3_600.0)


def _draw_favourites(
    demand: Demand, draws: np.ndarray, num_favourites: int
) -> np.ndarray:
    """Most favourites come from one department, the rest from anywhere."""
    num_departments = int(demand.leaf_department.max()) + 1
    home = (draws[_Birth.HOME] * num_departments).astype(np.int64)
    columns = []
    for place in range(num_favourites):
        source, draw = draws[_Birth.FAVOURITES + 2 * place :][:2]
        anywhere = draw_leaves(demand.leaf_weight, draw)
        near = _draw_leaves_of_department(demand, home, draw)
        at_home = (source < _HOME_PROBABILITY) & (near >= 0)
        columns.append(np.where(at_home, near, anywhere))
    return np.stack(columns, axis=1).astype(np.int32)


def draw_leaves(leaf_weight: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Draws a leaf each in proportion to `leaf_weight`, which sums to 1."""
    place = np.searchsorted(np.cumsum(leaf_weight), draw, side="right")
    return np.minimum(place, len(leaf_weight) - 1)


def _draw_leaves_of_department(
    demand: Demand, department: np.ndarray, draw: np.ndarray
) -> np.ndarray:
    """Draws a leaf of a department each; -1 where it has none in this shop."""
    result = np.full(len(draw), -1)
    for index in np.unique(department):
        leaves = np.flatnonzero(demand.leaf_department == index)
        if len(leaves):
            rows = np.flatnonzero(department == index)
            weight = demand.leaf_weight[leaves] / demand.leaf_weight[leaves].sum()
            result[rows] = leaves[draw_leaves(weight, draw[rows])]
    return result


def begin_next_sessions(
    shoppers: Shoppers,
    rows: np.ndarray,
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
        day * SECONDS_PER_DAY + _second_of_day(draws[_Return.TIME_OF_DAY])
    ).astype(np.int64)
    start += SECONDS_PER_DAY * (start < now + _SESSION_PAUSE_SECONDS)
    shoppers.time[rows] = np.maximum(start, now + _SESSION_PAUSE_SECONDS)
    shoppers.session[rows] += 1
    shoppers.at_session_start[rows] = True
    switch = draws[_Return.DEVICE] < _SWITCH_PROBABILITY
    other = (shoppers.main_device[rows] + 1) % len(DEVICES)
    shoppers.device[rows] = np.where(switch, other, shoppers.main_device[rows])
    _drift(shoppers, rows, draws, demand, config)


def _drift(
    shoppers: Shoppers,
    rows: np.ndarray,
    draws: np.ndarray,
    demand: Demand,
    config: SimulatorConfig,
) -> None:
    drifts = draws[_Return.DRIFT] < config.drift_probability
    place = (draws[_Return.PLACE, drifts] * config.num_favourites).astype(np.int64)
    leaf = draw_leaves(demand.leaf_weight, draws[_Return.LEAF, drifts])
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
