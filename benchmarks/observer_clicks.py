"""How likely a click is, for all that a simulated shopper's history tells."""

import numpy as np

from benchmarks.observer_filter import Belief, liked_leaves
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.impressions import interest


def expected_interest(
    belief: Belief, candidates: np.ndarray, *, demand: Demand, config: SimulatorConfig
) -> np.ndarray:
    """Returns float64 `[num_candidates]`: expected chance of a click once seen.

    It is the mean of `tfrec.data.simulator.impressions.interest` over the intents that
    a shopper may have. Favourites are taken for draws that know nothing of one another.

    Args:
        belief: Of the shopper, after the last event.
        candidates: int `[num_candidates]`, items of the shop.
        demand: The shop's tables.
        config: The shop's probabilities.
    """
    running = belief.mass[:, :, :-1].sum(axis=(0, 2))  # [num_leaves * profiles]
    leaf = demand.leaf[candidates]
    profiles = leaf[:, None] * demand.num_profiles + np.arange(demand.num_profiles)
    chance = interest(
        demand,
        np.repeat(candidates, demand.num_profiles),
        profile=profiles.ravel(),
        favourites=np.full((profiles.size, 1), -1),
    ).reshape(profiles.shape)
    none = np.full(len(candidates), -1)
    liked, other = (
        interest(demand, candidates, profile=none, favourites=leaves[:, None])
        for leaves in (leaf, none)
    )
    share = liked_leaves(belief, demand)[leaf]
    is_liked = 1.0 - (1.0 - share) ** config.num_favourites
    elsewhere = is_liked * liked + (1.0 - is_liked) * other
    wanted = running[profiles]
    return (wanted * chance).sum(axis=1) + (1.0 - wanted.sum(axis=1)) * elsewhere
