"""What the kernel says of processes and of the machine: proc(5)."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")  # in a second


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processors that these have taken."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def busy() -> float:
    """Seconds that all processors together have worked, whoever for."""
    fields = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _wait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def processors() -> int:
    return os.cpu_count() or 1


def name() -> str:
    """Of a processor, as it calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def load() -> float:
    """How many processes wanted a processor in the last minute, on average."""
    return os.getloadavg()[0]


def is_disk(folder: Path) -> bool:
    """Whether what is written there reaches a disk, and not memory alone."""
    mounts: list[tuple[str, str]] = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, point, kind, *_ = line.split()
        mounts.append((point, kind))
    above = [each for each in mounts if folder.resolve().is_relative_to(each[0])]
    return max(above, key=lambda each: len(each[0]))[1] not in {"tmpfs", "ramfs"}
