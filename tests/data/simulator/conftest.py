"""One tiny shop for all tests of the simulator."""

import pytest

from tests.data.simulator.shops import Shop, open_shop
from tfrec.data.simulator import sized_config
from tfrec.data.simulator.world import World


@pytest.fixture(scope="session")
def tiny_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return open_shop(
        sized_config("tiny", seed=3), tmp_path_factory.mktemp("s") / "shop"
    )


@pytest.fixture(scope="session")
def tiny_world() -> World:
    return World.build(sized_config("tiny", seed=3))
