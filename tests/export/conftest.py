from dataclasses import dataclass
from pathlib import Path

import pytest

from export.exporter import ExportReport, export_schema, export_with_report
from export.requests import RequestSampler
from export.signatures import ServingModule
from tests.export.fakes import FakeRecommender, make_config, write_dataset
from tfrec.config import ExperimentConfig
from tfrec.data.store import PreparedDataset
from tfrec.schema import Schema


@dataclass(frozen=True)
class Toy:
    """A trained run, as far as the export cares."""

    config: ExperimentConfig
    dataset: PreparedDataset
    schema: Schema
    recommender: FakeRecommender


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def wordless(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The same without a language model."""
    return make_toy(tmp_path_factory.mktemp("wordless"), has_text=False)


def make_toy(root: Path, *, has_text: bool = True) -> Toy:
    config = make_config(root, has_text=has_text)
    dataset = write_dataset(root, config)
    schema = export_schema(dataset, config)
    return Toy(config, dataset, schema, FakeRecommender(schema, num_items=7))


@pytest.fixture(scope="session")
def module(toy: Toy, tmp_path_factory: pytest.TempPathFactory) -> ServingModule:
    return ServingModule(
        toy.recommender,
        toy.dataset,
        schema=toy.schema,
        asset_dir=tmp_path_factory.mktemp("assets"),
    )


@pytest.fixture(scope="session")
def sampler(toy: Toy, module: ServingModule) -> RequestSampler:
    return RequestSampler(toy.schema, toy.dataset, 4, module.filter_examples)


@pytest.fixture(scope="session")
def exported(toy: Toy) -> ExportReport:
    return export_with_report(toy.recommender, toy.dataset, toy.config)
