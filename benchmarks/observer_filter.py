"""What can be known of a simulated shopper from the log: a filter over intents.

The oracle knows what each shopper has in mind; no model can. This observer knows how
the shop's shoppers choose (every table and every probability of the simulator) but has
to infer intent, tastes and segment from the events, as a model does. What it reaches is
a fairer measure of what a log tells.

It is a forward filter (Rabiner 1989, https://doi.org/10.1109/5.18626) over intents and
their ages, as `tfrec.data.simulator.choice` draws them. Two parts are simplified, so a
better observer may exist: favourites are the leaves of new intents so far, beside the
leaves' weights, and the segment's posterior treats new intents as independent. Dwell,
lists passed by and the words of searches are not read.
"""

from dataclasses import dataclass, field

import numpy as np

from tfrec.data.simulator.choice import (
    MET_LENGTH,
    met_weights,
    related_weights,
)
from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.demand import Demand
from tfrec.data.simulator.steps import LATER_SEARCH_SHARE

VIEW, CLICK, CART, PURCHASE = "view", "click", "cart", "purchase"
SESSION_PAUSE_SECONDS = 1_800  # Within a session no pause is longer.
_RESTOCK_DAYS = (10.0, 25.0)  # A consumable is used up in between, at any time alike.
_PRIOR_INTENTS = 1.5  # How many new intents the leaves' weights count for.


@dataclass
class Belief:
    """What the observer believes of one shopper.

    Attributes:
        mass: float64 `[2, Z, num_ages + 1]`: probability of a running intent by
            whether a complement is due (1), profile and age, the first view first; the
            last place is an intent that a purchase ended. Sums to 1, or to 0 before
            the first view.
        leaf_counts: float64 `[num_leaves]`, expected new intents so far.
        segment: float64 `[num_segments]`, posterior; sums to 1.
        met: Items viewed or clicked, newest first.
        last: int64 `[num_leaves]`, item met last in each leaf; -1 none.
        complement: Leaf that goes with the last cart; -1 none.
        restock: Consumable bought last, and when; None where there is none.
    """

    mass: np.ndarray
    leaf_counts: np.ndarray
    segment: np.ndarray
    last: np.ndarray
    met: list[int] = field(default_factory=list)
    complement: int = -1
    restock: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Choice:
    """Probabilities of a view's branches, which hold whatever the intent."""

    restock: float
    repeat: float
    met: np.ndarray  # [MET_LENGTH], items; -1 none.
    met_weight: np.ndarray  # [MET_LENGTH], sums to 1 or 0.

    @property
    def rest(self) -> float:
        return (1.0 - self.restock) * (1.0 - self.repeat)


class Observer:
    """Follows one shopper after the other.

    Args:
        demand: The shop's tables.
        config: The shop's probabilities.
    """

    def __init__(self, demand: Demand, config: SimulatorConfig) -> None:
        self._demand = demand
        self._config = config
        ages = np.arange(1, config.max_intent_views + 1)
        keep = np.where(
            ages < config.min_intent_views, 1.0, 1.0 - config.intent_end_probability
        )
        keep[-1] = 0.0
        self._keep = np.append(keep, 0.0)
        # How likely a search (0: none, 1: one) is before a view of each branch.
        begin = config.search_probability
        self._new = (1.0 - begin, begin)
        self._same = (1.0 - LATER_SEARCH_SHARE * begin, LATER_SEARCH_SHARE * begin)
        self._other = (1.0, 0.0)

    def predict(
        self,
        items: np.ndarray,
        event_types: list[str],
        timestamps: np.ndarray,
        searched: np.ndarray,
        *,
        now: int,
    ) -> np.ndarray:
        """Returns float64 `[num_items]`: how likely each item is viewed next.

        Args:
            items: int `[n]`, items of the shop in the order of its tables, oldest
                first.
            event_types: `[n]`, of each event.
            timestamps: int64 `[n]`, unix seconds.
            searched: bool `[n]`, whether a search led to the event.
            now: Unix seconds of the next view.
        """
        belief, before = self.follow(items, event_types, timestamps, searched)
        opens = before is None or now - before > SESSION_PAUSE_SECONDS
        return self._distribution(belief, now, opens=opens)

    def follow(
        self,
        items: np.ndarray,
        event_types: list[str],
        timestamps: np.ndarray,
        searched: np.ndarray,
    ) -> tuple[Belief, int | None]:
        """Returns what is believed after the events, and when the last of them was."""
        demand = self._demand
        belief = self._stranger()
        before = None
        for item, kind, time, search in zip(
            items.tolist(), event_types, timestamps.tolist(), searched, strict=True
        ):
            if kind == VIEW:
                opens = before is None or time - before > SESSION_PAUSE_SECONDS
                self._view(belief, item, time, opens=opens, search=int(search))
            elif kind == CLICK:
                self._meet(belief, item)
            elif kind == CART:
                belief.complement = int(demand.complement[demand.leaf[item]])
                belief.mass[1] += belief.mass[0]
                belief.mass[0] = 0.0
            elif kind == PURCHASE:
                self._purchase(belief, item, time)
            before = time
        return belief, before

    def _stranger(self) -> Belief:
        demand = self._demand
        num_profiles = demand.num_leaves * demand.num_profiles
        num_segments = demand.segment_profile.shape[1]
        return Belief(
            mass=np.zeros((2, num_profiles, len(self._keep))),
            leaf_counts=np.zeros(demand.num_leaves),
            segment=np.full(num_segments, 1.0 / num_segments),
            last=np.full(demand.num_leaves, -1),
        )

    def _choice(self, belief: Belief, time: int, *, opens: bool) -> _Choice:
        due = 0.0
        if opens and belief.restock is not None:
            days = (time - belief.restock[1]) / SECONDS_PER_DAY
            low, high = _RESTOCK_DAYS
            due = float(np.clip((days - low) / (high - low), 0.0, 1.0))
        met = np.full(MET_LENGTH, -1)
        met[: len(belief.met)] = belief.met
        has_met = len(belief.met) > 1
        return _Choice(
            self._config.restock_probability * due,
            self._config.repeat_probability * has_met,
            met,
            met_weights(met[None])[0],
        )

    def _leaf_probabilities(self, belief: Belief) -> np.ndarray:
        """Returns float64 `[2, num_leaves]`, by whether a complement is due."""
        config, weight = self._config, self._demand.leaf_weight
        explored = config.exploration_probability
        taste = explored * weight + (1.0 - explored) * liked_leaves(
            belief, self._demand
        )
        follow = np.zeros_like(taste)
        if belief.complement >= 0:
            follow[belief.complement] = 1.0
        share = config.complement_probability * follow.sum()
        return np.stack([taste, share * follow + (1.0 - share) * taste])

    def _view(
        self, belief: Belief, item: int, time: int, *, opens: bool, search: int
    ) -> None:
        """Updates the belief by an organic view."""
        demand, config = self._demand, self._config
        leaf = int(demand.leaf[item])
        profiles = slice(leaf * demand.num_profiles, (leaf + 1) * demand.num_profiles)
        choice = self._choice(belief, time, opens=opens)
        keep = self._keep * (config.session_continue_probability if opens else 1.0)
        of_profile = self._of_profiles(item, leaf, time)
        related = related_weights(
            demand, belief.last[leaf : leaf + 1], time=np.array([time])
        )[0]
        link = config.related_probability * (related.sum() > 0)
        linked = related[demand.related[belief.last[leaf]] == item].sum()

        restocks = belief.restock is not None and belief.restock[0] == item
        restock = choice.restock * restocks * self._other[search]
        repeat = (1.0 - choice.restock) * choice.repeat * self._other[search]
        repeat *= choice.met_weight[choice.met == item].sum()
        mass = belief.mass * (restock + repeat)
        goes_on = link * linked * self._other[search]
        goes_on = goes_on + (1.0 - link) * of_profile * self._same[search]
        running = belief.mass[:, profiles] * keep * choice.rest * goes_on[:, None]
        mass[:, profiles, 1:-1] += running[:, :, :-2]

        ends = np.array([1.0, 0.0])  # Before the first view nothing goes on.
        if belief.mass.any():
            ends = (belief.mass * (1.0 - keep)).sum(axis=(1, 2))
        leaves = self._leaf_probabilities(belief)[:, leaf]
        tastes = demand.segment_profile[leaf]  # [num_segments, num_profiles]
        new = choice.rest * (ends @ leaves) * self._new[search]
        new = new * (belief.segment @ tastes) * of_profile
        mass[0, profiles, 0] += new
        total = mass.sum()
        if total > 0.0:
            belief.mass = mass / total
            self._learn_tastes(belief, leaf, new / total)
            if restock > 0.5 * total:
                belief.restock = None
        self._meet(belief, item)

    def _learn_tastes(self, belief: Belief, leaf: int, new: np.ndarray) -> None:
        """Counts an intent that began with the probabilities `new` of its profiles."""
        tastes = self._demand.segment_profile[leaf]
        belief.leaf_counts[leaf] += new.sum()
        expected = belief.segment @ tastes
        belief.segment *= 1.0 - new.sum() + (tastes / expected) @ new
        belief.segment /= belief.segment.sum()

    def _of_profiles(self, item: int, leaf: int, time: int) -> np.ndarray:
        """Returns float64 `[num_profiles]`: of the leaf, how likely the item is."""
        demand = self._demand
        profiles = leaf * demand.num_profiles + np.arange(demand.num_profiles)
        begin = demand.row_offsets[profiles]
        count = int(demand.num_available(np.array([leaf]), np.array([time]))[0])
        available = demand.cumulative[begin + count] - demand.cumulative[begin]
        weight = demand.weights[begin + item - demand.leaf_offsets[leaf]]
        return weight / available

    def _meet(self, belief: Belief, item: int) -> None:
        belief.met = [item, *belief.met[: MET_LENGTH - 1]]
        belief.last[self._demand.leaf[item]] = item

    def _purchase(self, belief: Belief, item: int, time: int) -> None:
        """An intent in the item's leaf is served; a consumable will be used up."""
        demand = self._demand
        leaf = int(demand.leaf[item])
        profiles = slice(leaf * demand.num_profiles, (leaf + 1) * demand.num_profiles)
        belief.mass[:, profiles, -1] += belief.mass[:, profiles, :-1].sum(axis=2)
        belief.mass[:, profiles, :-1] = 0.0
        if demand.is_consumable[leaf]:
            belief.restock = (item, time)

    def _distribution(self, belief: Belief, now: int, *, opens: bool) -> np.ndarray:
        demand, config = self._demand, self._config
        choice = self._choice(belief, now, opens=opens)
        keep = self._keep * (config.session_continue_probability if opens else 1.0)
        running = (belief.mass * keep).sum(axis=(0, 2)) * choice.rest  # [Z]
        related = related_weights(
            demand, belief.last, time=np.full(demand.num_leaves, now)
        )
        link = config.related_probability * (related.sum(axis=1) > 0)  # [num_leaves]
        by_leaf = running.reshape(demand.num_leaves, -1)

        ends = np.array([1.0, 0.0])
        if belief.mass.any():
            ends = (belief.mass * (1.0 - keep)).sum(axis=(1, 2))
        leaves = ends @ self._leaf_probabilities(belief)
        tastes = np.einsum("s,lsp->lp", belief.segment, demand.segment_profile)
        profiles = by_leaf * (1.0 - link)[:, None]
        profiles = profiles + choice.rest * leaves[:, None] * tastes
        mass = demand.available_mass(np.array([now]))[0]
        result = (profiles.ravel() / mass) @ demand.weight_matrix
        result = result * (demand.launch <= now)
        shares = (by_leaf.sum(axis=1) * link)[:, None] * related
        known = belief.last >= 0
        np.add.at(result, demand.related[belief.last[known]], shares[known])
        repeat = (1.0 - choice.restock) * choice.repeat
        is_item = choice.met >= 0
        weights = repeat * choice.met_weight[is_item]
        np.add.at(result, choice.met[is_item], weights)
        if belief.restock is not None:
            result[belief.restock[0]] += choice.restock
        return result


def liked_leaves(belief: Belief, demand: Demand) -> np.ndarray:
    """Returns float64 `[num_leaves]`: the leaf of a new intent among favourites."""
    liked = belief.leaf_counts + _PRIOR_INTENTS * demand.leaf_weight
    return liked / liked.sum()
