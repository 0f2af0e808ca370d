"""Lists that the shop shows: a logging policy, position bias, clicks.

The place p of a list is examined with probability 1 / p^eta, which is logged
as `propensity`; an examined item is clicked if it interests:

    P(click) = 1 / p^eta · interest(item)

Places are drawn, or go by popularity (`list_order`): then what is popular is seen,
and clicked, more than it interests.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np

from tfrec.data.simulator.catalogue import Catalogue
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.demand import Demand

_SHARES = (0.5, 0.3, 0.2)  # Of same category, popular, random.
_FAVOURITE_INTEREST = 0.06
_OTHER_INTEREST = 0.01


@dataclass(frozen=True)
class Shelf:
    """Tables of the logging policy.

    Attributes:
        order: int64 `[num_items]`, items by launch time.
        launch: int64 `[num_items]`, sorted.
        popular: float64 `[num_items + 1]`, running popularity in `order`.
        in_leaf: float64 `[num_items + 1]`, running root of popularity in
            catalogue order, where the items of a leaf follow one another.
        popularity: float64 `[num_items]`, in catalogue order.
    """

    order: np.ndarray
    launch: np.ndarray
    popular: np.ndarray
    in_leaf: np.ndarray
    popularity: np.ndarray

    @classmethod
    def build(cls, catalogue: Catalogue) -> Self:
        """Builds the tables."""
        order = np.argsort(catalogue.launch, kind="stable")

        def running(values: np.ndarray) -> np.ndarray:
            return np.concatenate([[0.0], np.cumsum(values)])

        return cls(
            order=order,
            launch=catalogue.launch[order],
            popular=running(catalogue.popularity[order]),
            in_leaf=running(np.sqrt(catalogue.popularity)),
            popularity=catalogue.popularity,
        )

    def draw(
        self, demand: Demand, leaf: np.ndarray, *, time: np.ndarray, draws: np.ndarray
    ) -> np.ndarray:
        """Draws lists; an item may come twice.

        Args:
            demand: Tables of the catalogue.
            leaf: int `[n]`, category of the page.
            time: int64 `[n]`, unix seconds.
            draws: float64 `[2, list_length, n]`: source, item.

        Returns:
            int32 `[n, list_length]`, launched items.
        """
        source, draw = draws
        launched = np.searchsorted(self.launch, time, side="right")
        popular = np.searchsorted(self.popular, draw * self.popular[launched], "right")
        popular = self.order[np.clip(popular - 1, 0, launched - 1)]
        anything = self.order[(draw * launched).astype(np.int64)]
        begin = demand.leaf_offsets[leaf]
        end = begin + demand.num_available(leaf, time)
        low, high = self.in_leaf[begin], self.in_leaf[end]
        same = np.searchsorted(self.in_leaf, low + draw * (high - low), "right")
        same = np.clip(same - 1, begin, end - 1)
        items = np.where(source < _SHARES[0] + _SHARES[1], popular, anything)
        return np.where(source < _SHARES[0], same, items).T.astype(np.int32)


@dataclass(frozen=True)
class Lists:
    """Shown items, flat, list by list from the first place on.

    Attributes:
        row: int64 `[num_shown]`, which of the n lists.
        item: int32 `[num_shown]`.
        position: int32 `[num_shown]`, from 1.
        propensity: float32 `[num_shown]`.
        clicked: bool `[num_shown]`.
    """

    row: np.ndarray
    item: np.ndarray
    position: np.ndarray
    propensity: np.ndarray
    clicked: np.ndarray


def interest(
    demand: Demand,
    items: np.ndarray,
    *,
    profile: np.ndarray,
    favourites: np.ndarray,
) -> np.ndarray:
    """Returns float64 `[n]`: chance that an examined item is clicked.

    0.15 + 0.6 match in the intent's category, 0.06 in a favourite one,
    0.01 elsewhere
    """
    leaf = demand.leaf[items]
    liked = (favourites == leaf[:, None]).any(axis=1)
    wanted = (profile >= 0) & (leaf == profile // demand.num_profiles)
    elsewhere = np.where(liked, _FAVOURITE_INTEREST, _OTHER_INTEREST)
    return np.where(wanted, 0.15 + 0.6 * demand.match(profile, items), elsewhere)


def show_lists(
    shelf: Shelf,
    demand: Demand,
    *,
    config: SimulatorConfig,
    page_item: np.ndarray,
    time: np.ndarray,
    profile: np.ndarray,
    favourites: np.ndarray,
    draws: np.ndarray,
) -> Lists:
    """Shows a list on each of n item pages and draws the clicks.

    Args:
        shelf: Logging policy.
        demand: Tables of the catalogue.
        config: Position bias and order.
        page_item: int32 `[n]`, never shown in its own list.
        time: int64 `[n]`, unix seconds.
        profile: int32 `[n]`, running intents.
        favourites: int32 `[n, num_favourites]`.
        draws: float64 `[3 * list_length, n]`.
    """
    draws = draws.reshape(3, -1, len(page_item))
    items = shelf.draw(demand, demand.leaf[page_item], time=time, draws=draws[:2])
    if config.list_order == "popularity":
        order = np.argsort(-shelf.popularity[items], axis=1, kind="stable")
        items = np.take_along_axis(items, order, axis=1)
    keep = items != page_item[:, None]
    for place in range(1, items.shape[1]):
        keep[:, place] &= (items[:, :place] != items[:, place, None]).all(axis=1)
    row, place = np.nonzero(keep)
    position = np.cumsum(keep, axis=1)[row, place].astype(np.int32)
    item = items[row, place]
    propensity = position ** -float(config.position_bias)
    chance = propensity * interest(
        demand, item, profile=profile[row], favourites=favourites[row]
    )
    return Lists(
        row=row,
        item=item,
        position=position,
        propensity=propensity.astype(np.float32),
        clicked=draws[2][place, row] < chance,
    )
