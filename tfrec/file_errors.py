"""Says what to do about a full disk or a folder that may not be written."""

import errno
import os
from pathlib import Path

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM)


def explain_error(error: BaseException, folder: Path) -> str:
    """Returns the text of an error for people.

    Args:
        error: Whatever ended a command. Libraries wrap the system's error in their
            own; then its text is looked for in theirs.
        folder: Where the command writes, for errors that name no file.

    Returns:
        For a full disk and for a closed folder: where, and what to do. For all others
        their own text.
    """
    name = getattr(error, "filename", None) or folder
    if _is_one_of(error, _FULL):
        return (
            f"There must be room for what is written. Received: no space left for "
            f"'{name}'. Make room, or choose a folder on another disk (`run_dir`, "
            "`data.prepared_dir`); the same command then goes on."
        )
    if _is_one_of(error, _CLOSED):
        return (
            "Files must be readable, and the run's folder writable. Received: "
            f"'{name}' ({os.strerror(_number(error, _CLOSED))}). Change that, or "
            "choose another folder (`run_dir`, `data.prepared_dir`)."
        )
    return str(error)


def _is_one_of(error: BaseException, numbers: tuple[int, ...]) -> bool:
    return _number(error, numbers) != 0


def _number(error: BaseException, numbers: tuple[int, ...]) -> int:
    found = getattr(error, "errno", None)
    if found in numbers:
        return int(found)
    text = str(error)
    return next((n for n in numbers if os.strerror(n) in text), 0)
