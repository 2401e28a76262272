"""The C library keeps the buffers of uploads, in processes that serve."""

import platform
import subprocess
import sys

import pytest

from config import memory

PROGRAM = """
import resource, sys
from config.memory import keep_buffers

if sys.argv[1] == "keep":
    keep_buffers()

def churn():
    for _ in range(500):
        pieces = [bytes(256 * 1024) for _ in range(4)]

import threading
thread = threading.Thread(target=churn)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread.start()
thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


ARENAS = """
import ctypes, sys, threading
from config.memory import keep_buffers

if sys.argv[1] == "keep":
    keep_buffers()

together = threading.Barrier(17)

def hold():
    piece = bytes(100_000)
    together.wait()
    together.wait()

threads = [threading.Thread(target=hold) for _ in range(16)]
for thread in threads:
    thread.start()
together.wait()
libc = ctypes.CDLL(None)
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
libc.malloc_info(0, libc.fdopen(1, b"w"))
libc.fflush(None)
together.wait()
"""


def arenas(argument: str) -> int:
    """In how many places the memory of sixteen threads lies."""
    ran = subprocess.run([sys.executable, "-c", ARENAS, argument], capture_output=True, text=True, check=True)
    return ran.stdout.count("<heap nr=")


def faults(argument: str) -> int:
    """How many pages the kernel had to hand out while buffers came and went."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, argument], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
def test_buffers_are_used_again_and_not_fetched_from_the_kernel_each_time() -> None:
    assert faults("keep") * 10 < faults("leave")


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
def test_threads_share_what_is_kept() -> None:
    assert arenas("keep") == memory._ARENAS < arenas("leave")
