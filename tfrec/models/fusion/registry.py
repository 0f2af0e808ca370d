"""Fusions by name."""

from collections.abc import Callable, Mapping

from tfrec.config import RankingConfig
from tfrec.models.fusion.additive import AdditiveFusion
from tfrec.models.fusion.bilinear import BilinearFusion
from tfrec.models.fusion.concat import ConcatFusion
from tfrec.models.fusion.cross import CrossFusion
from tfrec.models.fusion.fusion import Fusion
from tfrec.models.fusion.gated import GatedFusion
from tfrec.models.fusion.weighted import WeightedFusion

FUSIONS: Mapping[str, Callable[[RankingConfig, int], Fusion]] = {
    "concat": lambda config, _: ConcatFusion(config.dropout),
    "weighted": lambda config, _: WeightedFusion(config.dropout),
    "additive": lambda config, heads: AdditiveFusion(config.dropout, num_heads=heads),
    "gated": lambda config, _: GatedFusion(config.dropout),
    "cross": lambda config, _: CrossFusion(
        config.dropout,
        num_layers=config.cross_layers,
        projection_dim=config.cross_dim,
    ),
    "bilinear": lambda config, _: BilinearFusion(
        config.dropout, interaction_dim=config.attribute_dim
    ),
}


def build_fusion(config: RankingConfig, *, num_heads: int) -> Fusion:
    """Builds the fusion that a configuration names.

    Args:
        config: The model's configuration.
        num_heads: Heads of the model, for fusions that give logits.
    """
    return FUSIONS[config.fusion](config, num_heads)
