"""Locks between processes of one machine that a kill gives back by itself."""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from optuna.storages.journal import JournalFileOpenLock


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Lets one process at a time into the block; the others wait.

    Args:
        path: A file that only serves as the lock; it is created and stays.
    """
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class JournalLock(JournalFileOpenLock):
    """Guards the journal of a study.

    Optuna's own locks are files that exist; one left by a kill stops all others for
    half a minute. The system gives this one back with the process.

    Args:
        path: As for `locked`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stack = contextlib.ExitStack()

    def acquire(self) -> bool:
        """Waits until no other process is inside."""
        self._stack.enter_context(locked(self._path))
        return True

    def release(self) -> None:
        """Lets the next one in."""
        self._stack.close()


class LifeSign:
    """Tells other processes that this one lives, for as long as it does.

    To be entered, and looked at by `is_alive`, with the same lock held.

    Held is the lock of a file of its own. A process that ends, in whatever way, loses
    it; numbers of processes, in contrast, are given to others in time.

    Args:
        folder: Where the signs of all workers lie.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._path = folder / self.name

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        self._path.unlink()
        self._file.close()


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process that holds the sign `name` still runs."""
    try:
        descriptor = os.open(folder / name, os.O_WRONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        (folder / name).unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)
