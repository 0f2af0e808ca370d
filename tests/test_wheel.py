"""The wheel holds the library alone and works away from the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("tfrec", "export", "serving"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    output = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
        + ["--quiet", "--wheel-dir", str(output), str(source)],
        check=True,
    )
    (path,) = output.glob("*.whl")
    return path


def test_wheel_holds_tfrec_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"tfrec"}
    assert "tfrec/py.typed" in names
    missing = [
        path
        for path in (ROOT / "tfrec").rglob("*.py")
        if str(path.relative_to(ROOT)) not in names
    ]
    assert not missing, "a folder without __init__.py is not packaged"


def test_wheel_works_in_another_folder(wheel: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
        + ["--target", str(site), str(wheel)],
        check=True,
    )
    code = (
        "import tfrec.config_file, tfrec.run_record; print(tfrec.__file__); "
        "print(tfrec.run_record.git_state()['git_commit']); "
        "import tfrec.__main__; tfrec.__main__.main([])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[:2] == [str(site / "tfrec" / "__init__.py"), "None"]
    assert "usage: tfrec <command>" in result.stdout
