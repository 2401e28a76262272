"""What all benchmarks of one run share: the scale, the folder for scratch, the time that is left."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.table import take_turns

MIB = 1024 * 1024


def sized(mib: int) -> str:
    return f"{mib // 1024} GiB" if mib % 1024 == 0 else f"{mib} MiB"


class NotMeasured(Exception):
    """A benchmark could not find out what it is for; the message says why."""


@dataclass(frozen=True)
class Scale:
    """How much is measured; sizes in MiB, times in seconds."""

    large: int = 1024  # the large upload and download
    huge: int = 2048  # the upload during which memory is watched
    crowd: int = 64  # uploads at once
    crowd_each: int = 64
    rows: int = 100_000
    deep_rows: int = 1_000_000
    deep_page: int = 10_000
    seconds: float = 5  # of one turn that counts requests
    slow_clients: int = 50
    slow_seconds: float = 10  # of one turn beside slow clients
    bucket: int = 256  # the upload into a bucket


FULL = Scale()
# So little that every row can be tried in a minute or two; its figures mean nothing.
QUICK = Scale(
    large=8, huge=16, crowd=8, crowd_each=2, rows=500, deep_rows=1000, deep_page=10,
    seconds=1, slow_clients=10, slow_seconds=2, bucket=12,
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """`until` is when no further round begins, by time.monotonic(); `folder` is a benchmark's own."""

    scale: Scale
    rounds: int
    until: float
    folder: Path

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    def seconds_left(self) -> float:
        return max(1, self.until - time.monotonic())

    def turns[T](
        self, ways: Mapping[str, Callable[[], T]], *, rounds: int | None = None, warm_up: bool = True
    ) -> dict[str, list[T]]:
        return take_turns(
            ways,
            rounds=rounds or self.rounds,
            warm_up=warm_up,
            is_late=lambda: time.monotonic() > self.until,
            say=self.say,
        )
