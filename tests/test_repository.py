"""Hygiene of the repository: pins, addresses and paths."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
INDEX_OPTION = re.compile(r"--(extra-)?index-url|--find-links|--trusted-host")
INDEX_ADDRESS = re.compile(r"https?://\S*/(simple|packages)(/|\b)")
LOCAL_PATH = re.compile(r"(?<![\w.])/(work|root|home)/\w")
SELF = Path(__file__).name


@pytest.fixture(scope="module")
def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("This is no git checkout.")
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]


def texts(paths: list[Path]) -> dict[str, str]:
    found = {}
    for path in paths:
        if path.is_file() and path.name != SELF:
            try:
                found[str(path.relative_to(ROOT))] = path.read_text("utf-8")
            except UnicodeDecodeError:
                continue
    return found


@pytest.mark.parametrize(
    "pattern", [INDEX_OPTION, INDEX_ADDRESS, LOCAL_PATH], ids=lambda p: p.pattern
)
def test_no_file_names_an_index_or_a_path_of_one_machine(
    pattern: re.Pattern[str], tracked: list[Path]
) -> None:
    hits = {
        name: match[0]
        for name, text in texts(tracked).items()
        if (match := pattern.search(text))
    }
    assert not hits


def test_patterns_find_what_they_forbid() -> None:
    assert INDEX_OPTION.search("pip install --index-url x")
    assert INDEX_ADDRESS.search("https://mirror.example.org/simple/")
    assert LOCAL_PATH.search("open('/home/anna/log.csv')")
    assert not LOCAL_PATH.search("category: home/lamps")


def test_no_data_and_no_large_file_is_tracked(tracked: list[Path]) -> None:
    allowed = {".gz", ".parquet", ".csv"}
    assert not [p for p in tracked if p.suffix in allowed and p.is_file()]
    sizes = {str(p): p.stat().st_size for p in tracked if p.is_file()}
    assert {name: size for name, size in sizes.items() if size > 1_000_000} == {}


def test_constraints_are_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    names = [line.split("==")[0] for line in pins]
    assert names == sorted(set(names))
    for line in pins:
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+", line), line


def test_every_dependency_is_pinned_within_its_range() -> None:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line and not line.startswith("#")
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    client = tomllib.loads((ROOT / "serving/client/pyproject.toml").read_text())
    required = [
        *project["dependencies"],
        *project["optional-dependencies"]["serving"],
        *project["optional-dependencies"]["tune"],
        *project["optional-dependencies"]["dev"],
        *client["project"]["dependencies"],
    ]
    for requirement in map(Requirement, required):
        pin = pins.get(canonicalize_name(requirement.name))
        assert pin, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(pin), f"{requirement} excludes {pin}"
