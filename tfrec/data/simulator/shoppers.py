"""Shoppers: who they are and what they have in mind."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from tfrec.data.simulator.choice import Branch, LatentState, Views
from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.demand import Demand

DEVICES = ("mobile", "desktop", "tablet")


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
        self.meet(np.arange(len(self.user)), views.item, demand=demand)

    def meet(self, rows: np.ndarray, items: np.ndarray, *, demand: Demand) -> None:
        """Notes that `items` were viewed or clicked; `rows` are distinct."""
        self.met[rows, 1:] = self.met[rows, :-1]
        self.met[rows, 0] = items
        profile = self.profile[rows]
        inside = (profile >= 0) & (demand.leaf[items] == profile // demand.num_profiles)
        self.last_item[rows[inside]] = items[inside]

    def put_in_cart(
        self, rows: np.ndarray, items: np.ndarray, *, demand: Demand
    ) -> None:
        """Notes that `items` went into the cart."""
        self.complement[rows] = demand.complement[demand.leaf[items]]

    def purchase(
        self, rows: np.ndarray, items: np.ndarray, *, demand: Demand, draw: np.ndarray
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
