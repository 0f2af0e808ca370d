"""The catalogue of a simulated shop: what is sold, since when, at which price."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tfrec.data.simulator.config import SECONDS_PER_DAY, SimulatorConfig
from tfrec.data.simulator.names import (
    COLOURS,
    LINES,
    MATERIALS,
    LeafName,
    brand_names,
    choose_leaves,
)

STYLE_DIM = 4
NUM_PRICE_LEVELS = 3  # Budget, middle, premium.
NUM_BRAND_FAMILIES = 4  # Shoppers like brands of one family better than others.
_CATALOGUE_STREAM = 1
_MIN_LEAF_ITEMS = 2
_BRAND_LEVEL_STEP = 0.45  # Log price between budget, middle and premium brands.
_PRICE_NOISE = 0.2


@dataclass(frozen=True)
class Catalogue:
    """Items in internal order: by leaf, then by launch time.

    Attributes:
        leaves: The leaf categories.
        brands: Brand names.
        brand_family: int `[num_brands]`.
        leaf_offsets: int64 `[num_leaves + 1]`; items of leaf c are
            `leaf_offsets[c]:leaf_offsets[c + 1]`.
        leaf: int32 `[num_items]`.
        brand: int32 `[num_items]`.
        colour: int32 `[num_items]`.
        style: float `[num_items, STYLE_DIM]`, unit vectors; never written out.
        popularity: float `[num_items]`.
        launch: int64 `[num_items]`, unix seconds.
        log_price: float `[num_items]`.
        price: float `[num_items]`, two decimals.
        item_ids: Opaque ids; their order says nothing.
        titles: Brand, colour, material, noun, line.
        complement: int32 `[num_leaves]`, the leaf that goes with it.
    """

    leaves: list[LeafName]
    brands: list[str]
    brand_family: np.ndarray
    leaf_offsets: np.ndarray
    leaf: np.ndarray
    brand: np.ndarray
    colour: np.ndarray
    style: np.ndarray
    popularity: np.ndarray
    launch: np.ndarray
    log_price: np.ndarray
    price: np.ndarray
    item_ids: list[str]
    titles: list[str]
    complement: np.ndarray

    @property
    def num_items(self) -> int:
        """Number of items."""
        return len(self.leaf)

    @property
    def num_leaves(self) -> int:
        """Number of leaf categories."""
        return len(self.leaves)

    def to_table(self) -> pa.Table:
        """Returns the table a shop would hand over, sorted by the opaque id."""
        order = np.argsort(np.array(self.item_ids))
        nouns = [self.leaves[self.leaf[i]].noun for i in order]
        return pa.table(
            {
                "item_id": [self.item_ids[i] for i in order],
                "title": [self.titles[i] for i in order],
                "category": [self.leaves[self.leaf[i]].path for i in order],
                "brand": [self.brands[self.brand[i]] for i in order],
                "price": self.price[order],
                "description": [
                    f"{self.titles[i]} | {noun} | {self.price[i]:.2f}"
                    for i, noun in zip(order, nouns, strict=True)
                ],
            }
        )


def build_catalogue(config: SimulatorConfig) -> Catalogue:
    """Draws a catalogue; it depends on seed and sizes only."""
    rng = np.random.default_rng([config.seed, _CATALOGUE_STREAM])
    leaves = choose_leaves(config.num_categories, config.language, rng)
    brands = brand_names(config.num_brands, config.language, rng)
    brand_level = rng.integers(0, NUM_PRICE_LEVELS, config.num_brands)
    leaf, launch = _draw_leaves_and_launches(config, rng)
    brand = _draw_brands(config, leaves, leaf, rng)
    num_items = config.num_items
    colour = rng.integers(0, len(COLOURS["en"]), num_items).astype(np.int32)
    style = rng.normal(size=(num_items, STYLE_DIM))
    base_price = rng.normal(3.3, 0.8, config.num_categories)
    log_price = (
        base_price[leaf]
        + _BRAND_LEVEL_STEP * (brand_level[brand] - 1)
        + _PRICE_NOISE * rng.normal(size=num_items)
    )
    ranks = rng.permutation(num_items) + 1
    counts = np.bincount(leaf, minlength=config.num_categories)
    return Catalogue(
        leaves=leaves,
        brands=brands,
        brand_family=rng.integers(0, NUM_BRAND_FAMILIES, config.num_brands),
        leaf_offsets=np.concatenate([[0], np.cumsum(counts)]),
        leaf=leaf,
        brand=brand,
        colour=colour,
        style=style / np.linalg.norm(style, axis=1, keepdims=True),
        popularity=ranks ** -float(config.popularity_exponent),
        launch=launch,
        log_price=log_price,
        price=np.round(np.exp(log_price), 2),
        item_ids=[f"p{n}" for n in rng.permutation(num_items) + 100_000],
        titles=_titles(config, leaves, brands, leaf, brand, colour, rng),
        complement=_draw_complements(leaves, rng),
    )


def _draw_leaves_and_launches(
    config: SimulatorConfig, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Every leaf has two items from the first day on."""
    num_leaves = config.num_categories
    weights = rng.lognormal(0.0, 0.35, num_leaves)
    fixed = np.repeat(np.arange(num_leaves), _MIN_LEAF_ITEMS)
    free = rng.choice(
        num_leaves, config.num_items - len(fixed), p=weights / weights.sum()
    )
    seconds = rng.uniform(0.0, config.num_days * SECONDS_PER_DAY, len(free))
    late = rng.random(len(free)) < config.launch_share
    launch = np.concatenate([np.zeros(len(fixed)), np.where(late, seconds, 0.0)])
    leaf = np.concatenate([fixed, free])
    order = np.lexsort((launch, leaf))
    start = config.start_seconds
    return leaf[order].astype(np.int32), launch[order].astype(np.int64) + start


def _draw_brands(
    config: SimulatorConfig,
    leaves: list[LeafName],
    leaf: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """A brand sells in its home department; one item in ten is of any brand."""
    departments = np.array([name.department for name in leaves])
    num_departments = departments.max() + 1
    home = np.arange(config.num_brands) % num_departments
    brand = rng.integers(0, config.num_brands, config.num_items)
    for department in range(num_departments):
        local = np.flatnonzero(home == department)
        rows = np.flatnonzero(departments[leaf] == department)
        rows = rows[rng.random(len(rows)) < 0.9]
        if len(local):
            brand[rows] = rng.choice(local, len(rows))
    return brand.astype(np.int32)


def _draw_complements(leaves: list[LeafName], rng: np.random.Generator) -> np.ndarray:
    """Picks another leaf of the same department, or any other if there is none."""
    complements = []
    for index, name in enumerate(leaves):
        others = [i for i in range(len(leaves)) if i != index]
        near = [i for i in others if leaves[i].department == name.department]
        complements.append(int(rng.choice(near or others)))
    return np.array(complements, np.int32)


def _titles(
    config: SimulatorConfig,
    leaves: list[LeafName],
    brands: list[str],
    leaf: np.ndarray,
    brand: np.ndarray,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> list[str]:
    language = config.language
    materials, lines = MATERIALS[language], LINES[language]
    material = rng.integers(0, len(materials), len(leaf))
    line = rng.integers(0, len(lines), len(leaf))
    joint = " " if language == "en" else ""
    return [
        joint.join(
            (
                brands[brand[i]],
                COLOURS[language][colour[i]],
                materials[material[i]],
                leaves[leaf[i]].noun,
                lines[line[i]],
            )
        )
        for i in range(len(leaf))
    ]
