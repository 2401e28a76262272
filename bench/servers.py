"""The servers of docs/servers.md, by the commands that stand there: what a page of files costs each, and what
50 slow uploads do to a client that asks for pages.

They take turns, so that what disturbs the machine disturbs all. Requests per second are those of 16 clients.
The cost is processor time of all processes of a server, which others on the machine disturb least.
`make bench-servers` runs it with all that it needs.
"""

import argparse
import contextlib
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median

from bench.load import PAGE, Body, requests_per_second
from bench.run import FULL, Run
from bench.services import Coffer, beside, coffer
from bench.slow import alone_p99, beside_p99
from tests.e2e import server
from tests.long.test_servers import COMMANDS, PRODUCTION

_CLIENTS = 16


def main() -> None:
    given = _arguments()
    chosen = {
        name: command
        for name, command in COMMANDS.items()
        if not given.only or any(word in name for word in given.only)
    }
    scale = replace(FULL, seconds=given.seconds, slow_seconds=given.seconds)
    with tempfile.TemporaryDirectory(prefix="coffer-bench-") as folder, contextlib.ExitStack() as servers:
        run = Run(scale=scale, rounds=given.rounds, until=time.monotonic() + 3600, folder=Path(folder))
        (first, command), *others = chosen.items()
        running = {
            first: servers.enter_context(
                coffer(run, "first", command=command, rows=given.rows, settings=PRODUCTION)
            )
        }
        for name, command in others:
            running[name] = servers.enter_context(beside(running[first], name, command))
        body = Body.query(run.folder / "page.json", PAGE, first=50)
        ways = {name: partial(_turn, run, target, body) for name, target in running.items()}
        _show(run.turns(ways))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="files in the database (default: 100000)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each server (default: 5)")
    parser.add_argument("--seconds", type=float, default=5, help="that a measurement lasts (default: 5)")
    parser.add_argument("--only", nargs="*", help="words of which one is in a server's name")
    return parser.parse_args()


def _turn(run: Run, target: Coffer, body: Body) -> dict[str, float]:
    before = _processor_time(target)
    rate = requests_per_second(run, target, body, _CLIENTS)
    cost = (_processor_time(target) - before) / (rate * run.scale.seconds)
    alone = alone_p99(run, target, body)
    return {"rate": rate, "cost": cost, "alone": alone, "beside": beside_p99(run, target, body)}


def _processor_time(target: Coffer) -> float:
    """Seconds, of a server and all that it has started."""
    ticks = 0
    for each in server._tree(target.service.process.pid):
        ticks += sum(map(int, Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _show(found: dict[str, list[dict[str, float]]]) -> None:
    print("\n| | requests/s | cost, ms | cost, ratio | p99 alone, ms | p99 beside 50 slow, ms | ratio |")
    print("|---|---|---|---|---|---|---|")
    first, *_ = found.values()
    for name, turns in found.items():
        rate, cost, alone, slow = (_median(turns, key) for key in ("rate", "cost", "alone", "beside"))
        print(
            f"| {name} | {rate:.0f} | {cost * 1000:.1f} | {cost / _median(first, 'cost'):.2f} "
            f"| {alone * 1000:.0f} | {slow * 1000:.0f} "
            f"| {median(each['beside'] / each['alone'] for each in turns):.2f} |"
        )


def _median(turns: Sequence[dict[str, float]], key: str) -> float:
    return median(each[key] for each in turns)


if __name__ == "__main__":
    main()
