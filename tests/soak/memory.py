"""Memory of the service's processes by their age, as the kernel tells it."""

import contextlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

WARM_UP = 20.0  # seconds of a process's life until its libraries, pools and caches are there
_PAGE = os.sysconf("SC_PAGE_SIZE")  # bytes
MIB = 1024 * 1024


@dataclass(frozen=True)
class Sample:
    pid: int
    age: float  # seconds
    resident: int  # bytes


@dataclass(frozen=True)
class Growth:
    """Of one process: from the lowest of the second third of its life after warming up to the lowest of the
    last one. In the first, threads are started and buffers grow to what is sent; and the lowest, because what
    requests under way hold is given back."""

    pid: int
    age: float  # seconds
    before: int  # bytes
    after: int

    @property
    def size(self) -> int:
        return self.after - self.before


class Watch:
    """Samples of processes, by when each was first seen."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._born: dict[int, float] = {}

    def look(self, pids: Iterable[int]) -> None:
        now = time.monotonic()
        for pid in pids:
            with contextlib.suppress(OSError):  # it has just been killed
                resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
                born = self._born.setdefault(pid, now)
                self.samples.append(Sample(pid, now - born, resident))

    def write(self, path: Path) -> None:
        """Process, age in seconds, bytes."""
        path.write_text("".join(f"{each.pid},{each.age:.1f},{each.resident}\n" for each in self.samples))


def growths(samples: Iterable[Sample], warm_up: float = WARM_UP) -> list[Growth]:
    """Of each process that lived on for at least as long again as it took to warm up, the oldest first."""
    by_pid: dict[int, list[Sample]] = {}
    for sample in samples:
        if sample.age >= warm_up:
            by_pid.setdefault(sample.pid, []).append(sample)
    found = []
    for pid, lived in by_pid.items():
        end = max(sample.age for sample in lived)
        if end < 2 * warm_up:
            continue
        third = (end - warm_up) / 3
        early = [each.resident for each in lived if warm_up + third <= each.age < end - third]
        late = [each.resident for each in lived if each.age >= end - third]
        if early and late:
            found.append(Growth(pid, end, min(early), min(late)))
    return sorted(found, key=lambda growth: -growth.age)
