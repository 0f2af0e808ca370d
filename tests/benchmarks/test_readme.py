"""The page of the benchmarks names each command, and only commands that exist."""

import re
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_page_names_exactly_the_commands_of_the_folder():
    commands = {
        path.stem for path in FOLDER.glob("*.py") if "def main(" in path.read_text()
    }
    page = (FOLDER / "README.md").read_text()
    assert set(re.findall(r"python -m benchmarks\.(\w+)", page)) == commands


def test_files_that_the_page_names_exist():
    page = (FOLDER / "README.md").read_text()
    links = re.findall(r"\]\(([^)#]+)\)", page)
    configs = re.findall(r"`(configs/\w+\.yaml)`", page)
    assert links
    assert configs
    missing = [name for name in links if not (FOLDER / name).exists()]
    missing += [name for name in configs if not (FOLDER.parent / name).exists()]
    assert not missing
