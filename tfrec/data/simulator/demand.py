"""What shoppers want, as tables: profiles of intents, related items, tastes.

An intent is a pair (leaf category, profile). A profile weights the items of
its leaf:

    W[z, i] ∝ popularity[i]
              · exp(-(log_price[i] - band[z])² / (2 price_sigma²))
              · exp(brand_strength  · [brand[i] = brand[z]])
              · exp(colour_strength · [colour[i] = colour[z]])
              · exp(style_strength  · <style[i], style[z]>)

over items that are already launched. Items of a leaf are kept in launch order,
so that the available ones are a prefix and cumulative sums serve every time.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import sparse

from tfrec.data.simulator.catalogue import (
    NUM_BRAND_FAMILIES,
    NUM_PRICE_LEVELS,
    STYLE_DIM,
    Catalogue,
)
from tfrec.data.simulator.config import SimulatorConfig

NUM_SEGMENTS = NUM_PRICE_LEVELS * NUM_BRAND_FAMILIES
NUM_RELATED = 6
_DEMAND_STREAM = 2
_PRICE_QUANTILES = (0.2, 0.5, 0.8)
_SEGMENT_PRICE_STRENGTH = 1.5  # Log weight lost per price level of distance.
_SEGMENT_FAMILY_STRENGTH = 1.0
_RELATED_PRICE_STRENGTH = 2.0
_RELATED_BRAND_STRENGTH = 0.7


@dataclass(frozen=True)
class Demand:
    """Tables from which shoppers choose; `Z = num_leaves * num_profiles`.

    Attributes:
        num_profiles: Profiles of a leaf; profile z belongs to leaf
            `z // num_profiles`.
        leaf: int32 `[num_items]`.
        leaf_offsets: int64 `[num_leaves + 1]`.
        launch: int64 `[num_items]`, unix seconds.
        row_offsets: int64 `[Z + 1]`, where a profile's weights begin.
        weights: float64 `[row_offsets[-1]]`, rows sum to 1 over the leaf.
        segment_profile: float64 `[num_leaves, NUM_SEGMENTS, num_profiles]`,
            probability of a profile in a leaf, by segment of the shopper.
        profile_brand: int32 `[Z]`.
        profile_colour: int32 `[Z]`.
        leaf_weight: float64 `[num_leaves]`, how often it is explored; sums to 1.
        related: int32 `[num_items, NUM_RELATED]`; -1 where there are fewer.
        related_weight: float64 `[num_items, NUM_RELATED]`.
        complement: int32 `[num_leaves]`.
        is_consumable: bool `[num_leaves]`.
        leaf_department: int64 `[num_leaves]`.
    """

    num_profiles: int
    leaf: np.ndarray
    leaf_offsets: np.ndarray
    launch: np.ndarray
    row_offsets: np.ndarray
    weights: np.ndarray
    segment_profile: np.ndarray
    profile_brand: np.ndarray
    profile_colour: np.ndarray
    leaf_weight: np.ndarray
    related: np.ndarray
    related_weight: np.ndarray
    complement: np.ndarray
    is_consumable: np.ndarray
    leaf_department: np.ndarray

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.leaf)

    @property
    def num_leaves(self) -> int:
        """Number of leaf categories."""
        return len(self.leaf_weight)

    @cached_property
    def cumulative(self) -> np.ndarray:
        """float64 `[row_offsets[-1] + 1]`: running sum of all weights from 0."""
        return np.concatenate([[0.0], np.cumsum(self.weights)])

    @cached_property
    def largest_weight(self) -> np.ndarray:
        """float64 `[Z]`: weight of the best item of each profile."""
        return np.maximum.reduceat(self.weights, self.row_offsets[:-1])

    @cached_property
    def weight_matrix(self) -> sparse.csr_array:
        """Sparse `[Z, num_items]`: `weights` at their items."""
        sizes = np.diff(self.row_offsets)
        first = self.leaf_offsets[:-1].repeat(self.num_profiles) - self.row_offsets[:-1]
        columns = np.arange(len(self.weights)) + first.repeat(sizes)
        shape = (len(sizes), self.num_items)
        return sparse.csr_array((self.weights, columns, self.row_offsets), shape=shape)

    def draw_leaves(self, draw: np.ndarray) -> np.ndarray:
        """Draws leaves by `leaf_weight`; int64, the shape of `draw`."""
        place = np.searchsorted(np.cumsum(self.leaf_weight), draw, side="right")
        return np.minimum(place, self.num_leaves - 1)

    @cached_property
    def _launch_keys(self) -> np.ndarray:
        return (self.leaf.astype(np.int64) << 40) | self.launch

    def num_available(self, leaf: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Returns int64 `[n]`: how many items of `leaf` are launched at `time`."""
        keys = (leaf.astype(np.int64) << 40) | time
        return (
            np.searchsorted(self._launch_keys, keys, side="right")
            - (self.leaf_offsets[leaf])
        )

    def available_mass(self, time: np.ndarray) -> np.ndarray:
        """Returns float64 `[n, Z]`: weight of each profile's items launched by then."""
        leaves = np.arange(self.num_leaves)
        count = self.num_available(leaves[None, :], time[:, None])
        begin = self.row_offsets[:-1]
        end = begin + np.repeat(count, self.num_profiles, axis=1)
        return self.cumulative[end] - self.cumulative[begin]

    def draw_items(
        self, profile: np.ndarray, time: np.ndarray, *, draw: np.ndarray
    ) -> np.ndarray:
        """Draws an available item each from its profile's weights.

        Args:
            profile: int `[n]`.
            time: int64 `[n]`, unix seconds.
            draw: float64 `[n]` in [0, 1).

        Returns:
            int32 `[n]`.
        """
        leaf = profile // self.num_profiles
        begin = self.row_offsets[profile]
        count = self.num_available(leaf, time)
        low, high = self.cumulative[begin], self.cumulative[begin + count]
        place = np.searchsorted(self.cumulative, low + draw * (high - low), "right")
        place = np.clip(place - 1 - begin, 0, count - 1)
        return (self.leaf_offsets[leaf] + place).astype(np.int32)

    def match(self, profile: np.ndarray, items: np.ndarray) -> np.ndarray:
        """Returns float64 `[n]` in [0, 1]: how well items fit a profile.

        1 is the profile's best item; 0 an item of another leaf, or no profile (-1).
        """
        inside = (profile >= 0) & (self.leaf[items] == profile // self.num_profiles)
        safe = np.where(inside, profile, 0)
        place = np.where(inside, items - self.leaf_offsets[self.leaf[items]], 0)
        weight = self.weights[self.row_offsets[safe] + place]
        return np.where(inside, np.sqrt(weight / self.largest_weight[safe]), 0.0)


def build_demand(config: SimulatorConfig, catalogue: Catalogue) -> Demand:
    """Draws the profiles of every leaf and derives all tables."""
    rng = np.random.default_rng([config.seed, _DEMAND_STREAM])
    num_profiles, num_leaves = config.num_profiles, catalogue.num_leaves
    sizes = np.diff(catalogue.leaf_offsets).repeat(num_profiles)
    num_rows = num_leaves * num_profiles
    brand, colour = np.empty(num_rows, np.int32), np.empty(num_rows, np.int32)
    weights = []
    for row in range(num_rows):
        items = np.arange(*catalogue.leaf_offsets[row // num_profiles :][:2])
        model = rng.choice(items)  # A real item lends brand and colour.
        brand[row], colour[row] = catalogue.brand[model], catalogue.colour[model]
        level = row % num_profiles % NUM_PRICE_LEVELS
        weights.append(_profile_weights(config, catalogue, items, model, level, rng))
    related, related_weight = _related_items(catalogue)
    leaf_weight = rng.lognormal(0.0, 0.4, num_leaves)
    return Demand(
        num_profiles=num_profiles,
        leaf=catalogue.leaf,
        leaf_offsets=catalogue.leaf_offsets,
        launch=catalogue.launch,
        row_offsets=np.concatenate([[0], np.cumsum(sizes)]),
        weights=np.concatenate(weights),
        segment_profile=_segment_profiles(catalogue, brand, num_profiles),
        profile_brand=brand,
        profile_colour=colour,
        leaf_weight=leaf_weight / leaf_weight.sum(),
        related=related,
        related_weight=related_weight,
        complement=catalogue.complement,
        is_consumable=np.array([name.is_consumable for name in catalogue.leaves]),
        leaf_department=np.array([name.department for name in catalogue.leaves]),
    )


def _profile_weights(
    config: SimulatorConfig,
    catalogue: Catalogue,
    items: np.ndarray,
    model: int,
    level: int,
    rng: np.random.Generator,
) -> np.ndarray:
    log_price = catalogue.log_price[items]
    band = np.quantile(log_price, _PRICE_QUANTILES[level])
    style = rng.normal(size=STYLE_DIM)
    style /= np.linalg.norm(style)
    logits = (
        np.log(catalogue.popularity[items])
        - (log_price - band) ** 2 / (2.0 * config.price_sigma**2)
        + config.brand_strength * (catalogue.brand[items] == catalogue.brand[model])
        + config.colour_strength * (catalogue.colour[items] == catalogue.colour[model])
        + config.style_strength * catalogue.style[items] @ style
    )
    # Bounded, so that the few items of the first day never weigh nothing.
    weights = np.exp(np.maximum(logits - logits.max(), -12.0))
    return weights / weights.sum()


def _segment_profiles(
    catalogue: Catalogue, profile_brand: np.ndarray, num_profiles: int
) -> np.ndarray:
    """Segment s = price level * NUM_BRAND_FAMILIES + brand family."""
    num_leaves = catalogue.num_leaves
    level = np.arange(num_profiles) % NUM_PRICE_LEVELS
    family = catalogue.brand_family[profile_brand].reshape(num_leaves, num_profiles)
    segment_level, segment_family = np.divmod(
        np.arange(NUM_SEGMENTS), NUM_BRAND_FAMILIES
    )
    distance = np.abs(segment_level[:, None] - level[None, :])
    logits = -_SEGMENT_PRICE_STRENGTH * distance[None] + _SEGMENT_FAMILY_STRENGTH * (
        family[:, None, :] == segment_family[None, :, None]
    )
    weights = np.exp(logits)  # [num_leaves, NUM_SEGMENTS, num_profiles]
    return weights / weights.sum(axis=2, keepdims=True)


def _related_items(catalogue: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """Links every item to the most similar ones of its leaf."""
    related = np.full((catalogue.num_items, NUM_RELATED), -1, np.int32)
    weight = np.zeros((catalogue.num_items, NUM_RELATED))
    for begin, end in zip(
        catalogue.leaf_offsets[:-1], catalogue.leaf_offsets[1:], strict=True
    ):
        style, price = catalogue.style[begin:end], catalogue.log_price[begin:end]
        brand = catalogue.brand[begin:end]
        similarity = (
            2.0 * style @ style.T
            - _RELATED_PRICE_STRENGTH * np.abs(price[:, None] - price[None, :])
            + _RELATED_BRAND_STRENGTH * (brand[:, None] == brand[None, :])
        )
        np.fill_diagonal(similarity, -np.inf)
        count = min(NUM_RELATED, end - begin - 1)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :count]
        related[begin:end, :count] = begin + nearest
        weight[begin:end, :count] = np.exp(
            np.take_along_axis(similarity, nearest, axis=1)
        )
    return related, weight / weight.sum(axis=1, keepdims=True)
