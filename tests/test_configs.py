"""Every file in configs/ must be usable and say what it is for."""

from pathlib import Path

import pytest

from tfrec.config_file import load_config

ROOT = Path(__file__).parent.parent
PATHS = sorted((ROOT / "configs").glob("*.yaml"))
# Files that change another configuration need one to change.
LOG = ["--data.events.paths", "[log.csv]", "--data.event_columns.timestamp=t"]
BASE = {
    "demo": [*LOG, "--data.item_attributes", "[{name: brand}, {name: category}]"],
    "beauty_text": [*LOG, "--data.item_attributes", "[{name: attributes}]"],
    "beauty_ids": LOG,
}


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_configuration_is_valid(path: Path) -> None:
    argv = ["--config", str(path), *BASE.get(path.stem, [])]
    assert load_config(argv, description="").name == path.stem


@pytest.mark.parametrize("path", PATHS, ids=lambda p: p.stem)
def test_header_gives_the_command(path: Path) -> None:
    lines = path.read_text().splitlines()
    header = [line for line in lines[:12] if line.startswith("#")]
    command = [line for line in header if line.startswith("# Command: ")]
    assert len(command) == 1
    assert f"configs/{path.name}" in command[0] or "make demo" in command[0]
