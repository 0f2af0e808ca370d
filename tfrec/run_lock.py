"""One process at a time works on the folder of a run."""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

LOCK_FILE = ".lock"


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Holds the folder of a run for the block; a kill gives it back by itself.

    The workers of a cluster (`TF_CONFIG`) have a lock each: they share a run.

    Args:
        folder: It is created. The lock is an empty file in it, and stays.

    Raises:
        ValueError: If another process holds it.
        OSError: If nothing can be written there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{LOCK_FILE}{_task()}"
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(
                f"'{folder}' must not be in use. Received: another process works on "
                "it right now. Wait for that one or end it, or name another `run_dir`."
            ) from None
        yield


def _task() -> str:
    """Returns the name of this worker in its cluster; "" without one."""
    task = json.loads(os.environ.get("TF_CONFIG") or "{}").get("task", {})
    return "".join(f"-{task[key]}" for key in ("type", "index") if key in task)
