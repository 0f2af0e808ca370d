"""Environments of the rivals: each library in a virtual environment of its own."""

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchmarks.speed_turns import RivalError, clean_environment, last_lines

_DRIVERS = Path(__file__).parent / "rivals"
_STAMP = "installed.json"  # Written last: without it an environment is half made.
_INSTALL_SECONDS = 3600.0
_PROBE_SECONDS = 60.0
_PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2], sep='.')"


@dataclass(frozen=True)
class Rival:
    """A library that is measured beside ours.

    Attributes:
        name: On the command line, and of its folder.
        title: In tables.
        requirements: What pip installs.
        pythons: Versions of Python that it installs on, the preferred one first.
        goal: How many times as many targets a second ours shall learn.
    """

    name: str
    title: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...]
    goal: float

    @property
    def driver(self) -> Path:
        """The script that trains it."""
        return _DRIVERS / f"{self.name}_sasrec.py"


# One PyTorch for both: their difference is not that of its versions.
_TORCH = "torch==2.13.*"
RIVALS = {
    rival.name: rival
    for rival in (
        Rival(
            "recbole",
            "RecBole 1.2.1",
            # It declares no upper bounds, and fails on what came after these.
            (
                "recbole==1.2.1",
                "numpy<2",
                "scipy<1.14",
                "pandas<2.2",
                "setuptools<80",
                _TORCH,
            ),
            ("3.11",),  # Its ray has no wheel for later ones.
            goal=15.0,
        ),
        Rival(
            "rectools",
            "RecTools 0.19",
            ("rectools[torch]==0.19.*", _TORCH),
            ("3.11", "3.12", "3.13"),
            goal=25.0,
        ),
    )
}


def ensure_environment(rival: Rival, parent: Path) -> Path:
    """Installs a rival unless it is there; returns the Python of its environment.

    Args:
        rival: The library.
        parent: Folder of the environments.

    Raises:
        RivalError: If no fitting Python is found or pip fails.
    """
    folder = parent / rival.name
    python = folder / "bin" / "python"
    stamp = folder / _STAMP
    wanted = json.dumps({"requirements": rival.requirements})
    if stamp.is_file() and stamp.read_text() == wanted and python.exists():
        return python
    base = find_python(rival)
    parent.mkdir(parents=True, exist_ok=True)
    log = parent / f"{rival.name}-install.log"
    pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check"]
    commands = (
        [base, "-m", "venv", "--clear", str(folder)],
        [*pip, *rival.requirements],
    )
    with log.open("w") as output:
        for command in commands:
            _run(rival, command, log=log, output=output)
    stamp.write_text(wanted)
    return python


def find_python(rival: Rival) -> str:
    """Returns a Python that the rival installs on: this one, or one of the path.

    Raises:
        RivalError: If there is none.
    """
    candidates = [sys.executable, *(f"python{version}" for version in rival.pythons)]
    for candidate in candidates:
        found = shutil.which(candidate)
        if found and _version(found) in rival.pythons:
            return found
    this = f"{sys.version_info[0]}.{sys.version_info[1]}"
    raise RivalError(
        f"{rival.title} installs on Python {' or '.join(rival.pythons)} only. "
        f"Received: Python {this} here, and no other on the path. Install "
        f"python{rival.pythons[0]} with its venv module, or leave the rival out with "
        "--rivals."
    )


def _version(python: str) -> str | None:
    """Asks it, since a name on the path may be a shim with nothing behind it."""
    try:
        asked = subprocess.run(
            [python, "-c", _PROBE],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            env=clean_environment(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def _run(rival: Rival, command: Sequence[str], *, log: Path, output: IO[str]) -> None:
    try:
        subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_INSTALL_SECONDS,
            env=clean_environment(),
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise RivalError(
            f"{rival.title} could not be installed ({type(error).__name__}): "
            f"{last_lines(log)} The whole log: '{log}'. Is a package index reached? "
            f"By hand: {' '.join(command)}"
        ) from error
