"""The README's configuration, links and commands must be true."""

import importlib.util
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tfrec.config import ExperimentConfig
from tfrec.config_file import load_config, read_config
from tfrec.data.simulator import simulate, sized_config

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def test_configuration_of_the_readme_is_valid(tmp_path: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", PAGES[0].read_text(), re.S)
    assert len(blocks) == 1
    path = tmp_path / "my_shop.yaml"
    path.write_text(blocks[0])
    config = read_config(path)
    assert config.data.target_event_types == ("cart", "purchase")
    assert str(config.model_path / config.export.model_name) in PAGES[0].read_text()


def configurations(page: Path) -> Iterator[str]:
    """Parts of a configuration that a page shows, indented or between fences."""
    text = page.read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.S)
    blocks += re.findall(r"(?:^    .*\n|^\n(?=    ))+", text, re.M)
    for block in map(textwrap.dedent, blocks):
        try:
            values: Any = yaml.safe_load(block)
        except yaml.YAMLError:
            continue
        if isinstance(values, dict) and set(values) <= set(
            ExperimentConfig.model_fields
        ):
            yield block


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of a simulated shop, with heads that any log has."""
    path = tmp_path_factory.mktemp("shop")
    config = sized_config("tiny", num_users=20)
    values = yaml.safe_load(simulate(config, path / "shop").config_path.read_text())
    values["data"]["head_event_types"] = ["view", "cart", "purchase"]
    (path / "shop.yaml").write_text(yaml.safe_dump(values))
    return path / "shop.yaml"


GUIDES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", GUIDES, ids=lambda p: p.name)
def test_configurations_of_the_docs_are_valid(
    page: Path, shop: Path, tmp_path: Path
) -> None:
    for block in configurations(page):
        path = tmp_path / "block.yaml"
        path.write_text(block)
        load_config(["--config", str(shop), "--config", str(path)], description="")


def test_configurations_are_found_in_the_docs() -> None:
    found = {page.name: len(list(configurations(page))) for page in GUIDES}
    assert found["ranking.md"] == 2
    assert found["calibration.md"] == 1
    assert sum(found.values()) > 10


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    lost = [link for link in links if not (page.parent / link).exists()]
    assert not lost


def test_modules_that_the_readme_runs_exist() -> None:
    modules = set(re.findall(r"python -m ([\w.]+)", PAGES[0].read_text()))
    assert {"export", "serving.server", "tfrec_client"} <= modules
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    assert not missing
