"""Renditions against sharp and Pillow: the rows of bench.images that have a bar, in the common table.

It is run as a process of its own: the peak of a process's memory begins with that of the one that starts it.
"""

import json
import subprocess
import sys
from typing import Any

from bench.images import MEMORY_BAR
from bench.run import NotMeasured, Run
from bench.services import HERE
from bench.table import Bar, Row, compared

_LONGEST = 600  # seconds


def measure(run: Run) -> list[Row]:
    arguments = [
        "--json",
        "--rounds",
        str(run.rounds),
        "--seconds",
        f"{min(run.seconds_left(), _LONGEST / 2):.0f}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "bench.images", *arguments],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        check=False,
        timeout=_LONGEST,
    )
    if done.returncode != 0:
        raise NotMeasured("bench.images failed")
    found = json.loads(done.stdout)
    return [_time(case) for case in found] + [_memory(found[0])]


def _time(case: dict[str, Any]) -> Row:
    engine, limit = case["bar"] or ("sharp", None)
    ours, theirs = case["engines"]["coffer"]["cpu"], case["engines"][engine]["cpu"]
    return compared(
        f"{case['name']} px: CPU time against {engine}",
        ours,
        theirs,
        by=engine,
        show=lambda ms: f"{ms:.1f} ms",
        bar=Bar(limit) if limit else None,
    )


def _memory(case: dict[str, Any]) -> Row:
    peaks = {name: engine["peak"] for name, engine in case["engines"].items()}
    return Row(
        f"{case['name']} px: growth of memory",
        f"{peaks['coffer']:.1f} MB",
        f"sharp: {peaks['sharp']:.1f} MB",
        peaks["coffer"],
        Bar(MEMORY_BAR, "MB"),
    )
