"""The toy of the export tests, exported with every rule about the order."""

from pathlib import Path

from export.exporter import export_schema
from tests.export.conftest import Toy
from tests.export.fakes import FakeRecommender, make_config, write_dataset
from tfrec.config import ExperimentConfig
from tfrec.schema import RequestRule

RULES = [rule.value for rule in RequestRule]
FORMULAS = {"dear": "price", "margin": "purchase * price ** 0.5"}


def make_ruled_config(root: Path) -> ExperimentConfig:
    """Returns a configuration with caps, rules and two formulas of its own."""
    config = make_config(root, has_text=False).model_dump()
    config["export"] |= {"caps": ["brand", "category"], "rules": RULES}
    config["ranking"]["final_order"] |= {
        "formulas": FORMULAS,
        "missing_values": {"bid": 0.5},
    }
    return ExperimentConfig.model_validate(config)


def make_ruled_toy(root: Path) -> Toy:
    """Returns a toy whose candidates are all of its seven items."""
    config = make_ruled_config(root)
    dataset = write_dataset(root, config)
    schema = export_schema(dataset, config)
    recommender = FakeRecommender(schema, num_items=7)
    recommender.num_candidates = 5
    return Toy(config, dataset, schema, recommender)
