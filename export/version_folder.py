"""Version folders that appear whole or not at all."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Draft:
    """A version that is being written.

    Attributes:
        path: Where to write; a folder that exists and is empty.
        version: The number it will have.
        final_path: Where it will be once it is whole.
    """

    path: Path
    version: int
    final_path: Path


@contextlib.contextmanager
def new_version(parent: Path, version: int | None = None) -> Iterator[Draft]:
    """Gives a folder to write to, and makes it a version when the block ends well.

    The folder stands beside the versions under a name that is no number, which
    model servers pass over. It is synced to disk, then renamed. If the block
    raises, nothing is left of it.

    Args:
        parent: Folder of all versions, created if it is missing.
        version: The number, at least 1; `None` for the highest there is plus 1.

    Raises:
        ValueError: If `version` is less than 1.
        FileExistsError: If the version exists; nothing is changed.
    """
    version = _checked(parent, version)
    final_path = parent / str(version)
    created = [p for p in (parent, *parent.parents) if not p.exists()]
    parent.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=f".{version}-unfinished-", dir=parent))
    path.chmod(0o755)  # `mkdtemp` lets only this user in; servers read it too.
    try:
        yield Draft(path, version, final_path)
        _sync(path)
        _refuse_existing(final_path)
        path.rename(final_path)
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        for folder in created:
            with contextlib.suppress(OSError):  # Somebody else may use it by now.
                folder.rmdir()
        raise
    _sync_one(parent)


def list_versions(parent: Path) -> list[int]:
    """Returns the versions in a folder, ascending; empty if it does not exist."""
    names = [p.name for p in parent.iterdir()] if parent.is_dir() else []
    return sorted(int(n) for n in names if n.isascii() and n.isdigit())


def _checked(parent: Path, version: int | None) -> int:
    if version is None:
        return max(list_versions(parent), default=0) + 1
    if version < 1:
        raise ValueError(f"`version` must be at least 1. Received: version={version}.")
    _refuse_existing(parent / str(version))
    return version


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise FileExistsError(
            f"Version {path.name} must be new, but '{path}' exists; nothing was "
            "changed. Leave `version` out to get the next free one."
        )


def _sync(path: Path) -> None:
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            _sync_one(Path(folder, name))
        _sync_one(Path(folder))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
