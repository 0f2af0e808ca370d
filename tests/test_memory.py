import platform
import subprocess
import sys

import pytest

from tfrec.memory import keep_freed_memory

# Frees and takes 100 MB ten times, and counts the pages that the kernel had to bring.
_SCRIPT = """
import ctypes, resource
from tfrec.memory import keep_freed_memory
{}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def turn():
    block = libc.malloc(100 << 20)
    ctypes.memset(block, 1, 100 << 20)
    libc.free(block)
turn()
before = faults()
for _ in range(10):
    turn()
print(faults() - before)
"""


def count_faults(statement: str) -> int:
    script = _SCRIPT.format(statement)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_that_is_freed_is_not_cleared_again() -> None:
    assert count_faults("") > 1_000  # Of 256,000 pages; fewer if they are huge.
    assert count_faults("assert keep_freed_memory({})") < 100


@pytest.mark.parametrize("name", ["MALLOC_ARENA_MAX", "GLIBC_TUNABLES"])
def test_what_the_environment_says_stays(name: str) -> None:
    assert not keep_freed_memory({name: "1"})
