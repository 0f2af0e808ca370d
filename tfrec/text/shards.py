"""Numbered files of vectors with their keys; each is whole or not there."""

import os
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

_KEY_BYTES = 32  # SHA-256
_SUFFIX = ".npz"
_PREFIX = "vectors-"


def write_shard(folder: Path, vectors: Mapping[bytes, np.ndarray]) -> Path:
    """Writes vectors as the next free number; two processes never share one.

    Args:
        folder: Is created where it is missing.
        vectors: By key of 32 bytes.

    Returns:
        The file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keys = np.frombuffer(b"".join(vectors), np.uint8).reshape(-1, _KEY_BYTES)
    handle, name = tempfile.mkstemp(prefix=".unfinished-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            np.savez(file, keys=keys, vectors=np.stack(list(vectors.values())))
            file.flush()
            os.fsync(file.fileno())
        return _link_as_next(folder, Path(name))
    finally:
        os.unlink(name)


def read_shards(folder: Path, text_dim: int) -> dict[bytes, np.ndarray]:
    """Returns all vectors of a folder by key.

    A broken file is as good as none: its texts are encoded again.
    """
    vectors: dict[bytes, np.ndarray] = {}
    for path in sorted(folder.glob(f"{_PREFIX}*{_SUFFIX}")):
        vectors |= _read_shard(path, text_dim)
    return vectors


def _read_shard(path: Path, text_dim: int) -> dict[bytes, np.ndarray]:
    try:
        # The checksums of the archive tell a changed byte.
        with np.load(path, allow_pickle=False) as arrays:
            keys, vectors = arrays["keys"], arrays["vectors"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return {}
    whole = keys.dtype == np.uint8 and keys.shape == (len(vectors), _KEY_BYTES)
    if not whole or vectors.shape[1:] != (text_dim,) or vectors.dtype != np.float32:
        return {}
    return dict(zip((key.tobytes() for key in keys), vectors, strict=True))


def _link_as_next(folder: Path, finished: Path) -> Path:
    taken = [_number(path) for path in folder.glob(f"{_PREFIX}*{_SUFFIX}")]
    number = max(taken, default=-1) + 1
    while True:
        path = folder / f"{_PREFIX}{number:06d}{_SUFFIX}"
        try:
            # Unlike a rename a link never replaces another process's file.
            os.link(finished, path)
        except FileExistsError:
            number += 1
        else:
            return path


def _number(path: Path) -> int:
    digits = path.name.removeprefix(_PREFIX).removesuffix(_SUFFIX)
    return int(digits) if digits.isdigit() else -1
