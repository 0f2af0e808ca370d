"""A simulated shop with known truth: log, catalogue, and an oracle."""

from tfrec.data.simulator.config import SIZES, SimulatorConfig, sized_config
from tfrec.data.simulator.oracle import Oracle
from tfrec.data.simulator.shop import ShopSummary, simulate

__all__ = [
    "SIZES",
    "Oracle",
    "ShopSummary",
    "SimulatorConfig",
    "simulate",
    "sized_config",
]
