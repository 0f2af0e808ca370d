"""How an organic view is drawn, and its exact probability: one model, both ways.

    p(i) =  r [i = due]                                     restock
         + (1 - r) ρ  q(i | met)                            repeat
         + (1 - r)(1 - ρ) k λ R(i | last)                   related
         + (1 - r)(1 - ρ) k (1 - λ) W(i | z)                same intent
         + (1 - r)(1 - ρ)(1 - k) Σ_c p(c) Σ_z' p(z' | c, segment) W(i | z')

A share is 0 where its condition fails: nothing due, fewer than two items met,
no related item launched, no intent.
"""

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Self

import numpy as np

from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.demand import Demand

MET_LENGTH = 16  # Items met that a shopper may return to.
_MET_DECAY = 0.75  # Weight of an item met per step further back.
_FAVOURITE_DECAY = 0.7  # Weight of a favourite per step down the list.


class Branch(IntEnum):
    """Why an item is viewed."""

    RESTOCK = 0
    REPEAT = 1
    RELATED = 2
    INTENT = 3
    NEW_INTENT = 4


@dataclass(frozen=True)
class LatentState:
    """What decides the next organic view of n shoppers, before its draws.

    Attributes:
        time: int64 `[n]`, when the view will happen, unix seconds.
        profile: int32 `[n]`, the running intent; -1 none.
        continue_probability: float32 `[n]`, that the intent goes on.
        last_item: int32 `[n]`, last item met in the intent's leaf; -1 none.
        due_item: int32 `[n]`, consumable to restock now; -1 none.
        complement: int32 `[n]`, leaf that complements the last cart; -1 none.
        segment: int16 `[n]`, price level and brand family.
        favourites: int32 `[n, num_favourites]`, leaves, the best first.
        met: int32 `[n, MET_LENGTH]`, items met, newest first; -1 none.
    """

    time: np.ndarray
    profile: np.ndarray
    continue_probability: np.ndarray
    last_item: np.ndarray
    due_item: np.ndarray
    complement: np.ndarray
    segment: np.ndarray
    favourites: np.ndarray
    met: np.ndarray

    def take(self, rows: np.ndarray) -> Self:
        """Returns the states at `rows`."""
        return type(self)(*(getattr(self, f.name)[rows] for f in fields(self)))


@dataclass(frozen=True)
class Views:
    """Drawn views: `branch` int `[n]`, `item` int32, `new_profile` int32 or -1."""

    branch: np.ndarray
    item: np.ndarray
    new_profile: np.ndarray


NUM_VIEW_DRAWS = 5  # Branch, item, source of the leaf, leaf, profile.


def favourite_weights(num_favourites: int) -> np.ndarray:
    """Returns float64 `[num_favourites]`: weight of each place; sums to 1."""
    weights = _FAVOURITE_DECAY ** np.arange(num_favourites)
    return weights / weights.sum()


def met_weights(met: np.ndarray) -> np.ndarray:
    """Returns float64 `[n, MET_LENGTH]`: chance to return to each item met.

    The newest is the item on screen: one does not return to it. Rows with
    fewer than two items are all zero.
    """
    weights = _MET_DECAY ** np.arange(met.shape[1]) * (met >= 0)
    weights[:, 0] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def related_weights(
    demand: Demand, last_item: np.ndarray, *, time: np.ndarray
) -> np.ndarray:
    """Returns float64 `[n, NUM_RELATED]`: chance of each link of `last_item`.

    Rows without a last item (-1) or without a launched link are all zero.
    """
    links = demand.related[last_item]
    weights = demand.related_weight[last_item] * (
        (links >= 0) & (demand.launch[links] <= time[:, None])
    )
    weights[last_item < 0] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def branch_probabilities(
    latent: LatentState, related: np.ndarray, *, config: SimulatorConfig
) -> np.ndarray:
    """Returns float64 `[len(Branch), n]`; columns sum to 1."""
    restock = config.restock_probability * (latent.due_item >= 0)
    repeat = (1.0 - restock) * config.repeat_probability * (latent.met[:, 1] >= 0)
    rest = 1.0 - restock - repeat
    intent = rest * latent.continue_probability * (latent.profile >= 0)
    link = intent * config.related_probability * (related[:, 0] >= 0)
    link = link * (related.sum(axis=1) > 0)
    return np.stack([restock, repeat, link, intent - link, rest - intent])


def _pick(weights: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """Returns the column drawn from each row of weights that sum to 1."""
    cumulative = np.cumsum(weights, axis=1)
    place = (draw[:, None] * cumulative[:, -1:] >= cumulative).sum(axis=1)
    return np.minimum(place, weights.shape[1] - 1)


def draw_views(
    latent: LatentState,
    draws: np.ndarray,
    *,
    demand: Demand,
    config: SimulatorConfig,
) -> Views:
    """Draws the next organic view of every shopper.

    Args:
        latent: States of n shoppers.
        draws: float64 `[NUM_VIEW_DRAWS, n]` in [0, 1).
        demand: The tables.
        config: The shares.
    """
    related = related_weights(demand, latent.last_item, time=latent.time)
    shares = np.cumsum(branch_probabilities(latent, related, config=config), axis=0)
    branch = (draws[0] >= shares[:-1]).sum(axis=0)
    item = latent.due_item.copy()
    new_profile = np.full(len(item), -1, np.int32)

    rows = np.flatnonzero(branch == Branch.REPEAT)
    place = _pick(met_weights(latent.met[rows]), draws[1, rows])
    item[rows] = latent.met[rows, place]

    rows = np.flatnonzero(branch == Branch.RELATED)
    place = _pick(related[rows], draws[1, rows])
    item[rows] = demand.related[latent.last_item[rows], place]

    rows = np.flatnonzero(branch == Branch.NEW_INTENT)
    new_profile[rows] = _draw_intents(
        latent, rows, draws=draws, demand=demand, config=config
    )

    rows = np.flatnonzero(branch >= Branch.INTENT)
    profile = np.where(new_profile >= 0, new_profile, latent.profile)[rows]
    item[rows] = demand.draw_items(profile, latent.time[rows], draw=draws[1, rows])
    return Views(branch, item, new_profile)


def _draw_intents(
    latent: LatentState,
    rows: np.ndarray,
    *,
    draws: np.ndarray,
    demand: Demand,
    config: SimulatorConfig,
) -> np.ndarray:
    """Draws a leaf, then a profile of it; returns int `[len(rows)]`."""
    source, place = draws[2, rows], draws[3, rows]
    favourites = latent.favourites[rows]
    weights = np.broadcast_to(favourite_weights(favourites.shape[1]), favourites.shape)
    liked = favourites[np.arange(len(rows)), _pick(weights, place)]
    explored = demand.draw_leaves(place)
    complement = latent.complement[rows]
    follow = config.complement_probability * (complement >= 0)
    explore = follow + (1.0 - follow) * config.exploration_probability
    leaf = np.where(source < explore, explored, liked)
    leaf = np.where(source < follow, complement, leaf)
    profiles = demand.segment_profile[leaf, latent.segment[rows]]
    return leaf * demand.num_profiles + _pick(profiles, draws[4, rows])


def leaf_probabilities(
    latent: LatentState, demand: Demand, *, config: SimulatorConfig
) -> np.ndarray:
    """Returns float64 `[n, num_leaves]`: the leaf of a new intent."""
    num_rows, num_favourites = latent.favourites.shape
    rows = np.arange(num_rows)
    follow = config.complement_probability * (latent.complement >= 0)
    explore = config.exploration_probability
    taste = np.tile(explore * demand.leaf_weight, (num_rows, 1))
    weights = (1.0 - explore) * favourite_weights(num_favourites)
    for place in range(num_favourites):  # One by one: a leaf may fill two places.
        taste[rows, latent.favourites[:, place]] += weights[place]
    taste *= (1.0 - follow)[:, None]
    taste[rows, latent.complement] += follow  # Adds 0 where it is -1.
    return taste


def view_probabilities(
    latent: LatentState, demand: Demand, *, config: SimulatorConfig
) -> np.ndarray:
    """Returns float64 `[n, num_items]`: the distribution `draw_views` draws from."""
    rows = np.arange(len(latent.time))
    related = related_weights(demand, latent.last_item, time=latent.time)
    restock, repeat, link, same, new = branch_probabilities(
        latent, related, config=config
    )
    profiles = demand.segment_profile[:, latent.segment]  # [num_leaves, n, profiles]
    mixture = (
        profiles.transpose(1, 0, 2)
        * (new[:, None] * leaf_probabilities(latent, demand, config=config))[:, :, None]
    )
    mixture = mixture.reshape(len(rows), -1)  # [n, Z]
    mixture[rows, latent.profile] += same  # Adds 0 where it is -1.
    times, inverse = np.unique(latent.time, return_inverse=True)
    mass = demand.available_mass(times)
    result = (mixture / mass[inverse]) @ demand.weight_matrix
    result *= demand.launch[None, :] <= latent.time[:, None]
    result[rows, latent.due_item] += restock
    met = met_weights(latent.met) * repeat[:, None]
    for place in range(met.shape[1]):  # One by one: an item may be met twice.
        result[rows, latent.met[:, place]] += met[:, place]
    links = demand.related[latent.last_item]
    for place in range(links.shape[1]):
        result[rows, links[:, place]] += link * related[:, place]
    return result
