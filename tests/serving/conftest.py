"""A toy model, a server and a client that the tests of a worker share."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tfrec_client import RecommenderClient

if TYPE_CHECKING:
    from serving.server.server import EmbeddedServer


@pytest.fixture(scope="session")
def toy_base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds version 1 of the toy model and nothing else; never written to."""
    from tests.serving.toy_model import write_toy_model

    path = tmp_path_factory.mktemp("models") / "toy"
    path.mkdir()
    write_toy_model(path, version=1)
    return path


@pytest.fixture(scope="session")
def server(toy_base_path: Path) -> Iterator["EmbeddedServer"]:
    from serving.server.model_config import ServedModel
    from serving.server.server import EmbeddedServer

    model = ServedModel("toy", toy_base_path, version_labels={"stable": 1})
    with EmbeddedServer([model], max_message_bytes=2**20) as running:
        yield running


@pytest.fixture(scope="session")
def client(server: "EmbeddedServer") -> Iterator[RecommenderClient]:
    with RecommenderClient(
        server.target, model_name="toy", timeout_seconds=20
    ) as running:
        yield running
