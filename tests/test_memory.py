"""The C library keeps the buffers of uploads, in processes that serve."""

import platform
import subprocess
import sys

import pytest

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


def faults(argument: str) -> int:
    """How many pages the kernel had to hand out while buffers came and went."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, argument], capture_output=True, text=True, check=True
    )
    return int(ran.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the switch is glibc's")
def test_buffers_are_used_again_and_not_fetched_from_the_kernel_each_time() -> None:
    assert faults("keep") * 10 < faults("leave")
