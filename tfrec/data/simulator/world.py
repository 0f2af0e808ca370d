"""A shop before its first shopper: catalogue, demand, shelf, search texts."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa

from tfrec.data.simulator.catalogue import Catalogue, build_catalogue
from tfrec.data.simulator.config import SimulatorConfig
from tfrec.data.simulator.demand import Demand, build_demand
from tfrec.data.simulator.impressions import Shelf
from tfrec.data.simulator.names import COLOURS
from tfrec.data.simulator.rows import Labels

NUM_QUERY_KINDS = 3  # Noun; brand and noun; colour and noun.


@dataclass(frozen=True)
class World:
    """Everything about a shop that does not depend on who comes."""

    config: SimulatorConfig
    catalogue: Catalogue
    demand: Demand
    shelf: Shelf
    labels: Labels

    @classmethod
    def build(cls, config: SimulatorConfig) -> Self:
        """Draws the shop from the seed."""
        catalogue = build_catalogue(config)
        demand = build_demand(config, catalogue)
        labels = Labels(
            item_ids=pa.array(catalogue.item_ids),
            prices=catalogue.price,
            queries=pa.array(_query_texts(config, catalogue, demand)),
        )
        return cls(config, catalogue, demand, Shelf.build(catalogue), labels)


def _query_texts(
    config: SimulatorConfig, catalogue: Catalogue, demand: Demand
) -> list[str]:
    """Returns the texts: of profile z and kind q at `z * NUM_QUERY_KINDS + q`."""
    joint = " " if config.language == "en" else ""
    colours = COLOURS[config.language]
    texts = []
    for profile, brand in enumerate(demand.profile_brand):
        noun = catalogue.leaves[profile // demand.num_profiles].noun
        colour = colours[demand.profile_colour[profile]]
        texts.append(noun)
        texts.append(catalogue.brands[brand] + joint + noun)
        texts.append(colour + joint + noun)
    return [text.lower() for text in texts]


def query_index(
    profile: np.ndarray, kind_draw: np.ndarray, searched: np.ndarray
) -> np.ndarray:
    """Returns the text of each search; -1 where nobody searched."""
    kind = (kind_draw * NUM_QUERY_KINDS).astype(np.int64)
    return np.where(searched, profile * NUM_QUERY_KINDS + kind, -1)
