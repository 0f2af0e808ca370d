"""The README's configuration, links and commands must be true."""

import importlib.util
import re
from pathlib import Path

import pytest

from tfrec.config_file import read_config

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
