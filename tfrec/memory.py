"""Memory of a training process."""

import ctypes
import os
from collections.abc import Mapping

# Parameters of `mallopt`, as in malloc.h of glibc.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
# Threads have heaps of 64 MB: with less padding than that, empty ones are unmapped.
_PADDING = 256 << 20


def keep_freed_memory(environment: Mapping[str, str] = os.environ) -> bool:
    """Has the C library hand out freed memory again, not give it back.

    A training step allocates and frees some hundred megabytes. By default glibc gives
    blocks of more than 32 MB back to the kernel whenever they are freed, and the kernel
    clears every page when it is touched again: up to two thirds of a step's time
    (docs/decisions/0018-freed-memory.md). What is kept is used by later steps, and
    given back when the process ends.

    Args:
        environment: Variables `MALLOC_…` or `GLIBC_TUNABLES` in it are someone's own
            choice, which stays.

    Returns:
        Whether anything was changed: False under another C library than glibc, and
        beside someone's own choice.
    """
    if any(k.startswith(("MALLOC_", "GLIBC_TUNABLES")) for k in environment):
        return False
    try:
        if not (os.confstr("CS_GNU_LIBC_VERSION") or "").startswith("glibc"):
            return False
    except (AttributeError, ValueError):  # Windows; another C library.
        return False
    mallopt = ctypes.CDLL(None).mallopt
    wanted = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1), (_TOP_PAD, _PADDING))
    return all([mallopt(name, value) == 1 for name, value in wanted])
