"""One large upload: its time against the peers and against MD5 alone, and what it has written to disk."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from bench import machine
from bench.load import Body, send
from bench.run import MIB, Run, sized
from bench.services import PEERS, SERVERS, Coffer, Target, coffer, peers
from bench.table import Bar, Row, compared

_APOLLO_BAR = Bar(0.36)
_MD5_BAR = Bar(1.3)  # where a second processor is free
_WRITTEN_BAR = Bar(1.0)
_MD5 = "MD5 alone"


@dataclass(frozen=True)
class Cost:
    """Seconds of one turn, and the processors that others than the server were taking meanwhile."""

    wall: float
    others: float = 0


def measure(run: Run) -> list[Row]:
    body = Body.upload(run.folder / "body.bin", run.scale.large * MIB)
    with coffer(run) as ours, peers(run, ours) as others:
        ways: dict[str, Callable[[], Cost]] = {
            _MD5: partial(_md5, body),
            ours.name: partial(_ours, ours, body),
        }
        ways |= {each.name: partial(_theirs, each, body) for each in others}
        costs = run.turns(ways)
    wall = {name: median(each.wall for each in found) for name, found in costs.items()}
    busy = median(each.others for each in costs[ours.name])
    what = f"{sized(run.scale.large)} upload, MD5 + SHA-256, one client"
    rows = [
        compared(
            f"{what}: wall against {name}",
            wall[ours.name],
            wall[name],
            by=name,
            show=_seconds,
            bar=_APOLLO_BAR if name == "Apollo" else None,
        )
        for name in PEERS
    ]
    beside = f"all but the server took {busy:.2f} of {machine.processors()} processors"
    against = f"{what}: wall against MD5 alone over the same bytes ({beside})"
    rows.append(compared(against, wall[ours.name], wall[_MD5], by=_MD5, show=_seconds, bar=_MD5_BAR))
    return rows


def measure_written(run: Run) -> list[Row]:
    size = run.scale.large * MIB
    body = Body.upload(run.folder / "body.bin", size)
    rows = []
    for name, command in SERVERS.items():
        with coffer(run, name, command=command) as ours:
            written = run.turns({name: partial(_written, ours, body)}, rounds=1)[name][0]
        what = f"disk bytes written per byte uploaded, {sized(run.scale.large)} to a local disk, {name}"
        rows.append(
            Row(what, f"{written / MIB:.1f} MiB", f"{size / MIB:.1f} MiB", written / size, _WRITTEN_BAR)
        )
    return rows


def _md5(body: Body) -> Cost:
    begun = time.perf_counter()
    digest = hashlib.md5(usedforsecurity=False)
    with body.path.open("rb") as file:
        while chunk := file.read(256 * 1024):
            digest.update(chunk)
    return Cost(time.perf_counter() - begun)


def _ours(target: Coffer, body: Body) -> Cost:
    pids = target.service.processes()
    own, busy = machine.cpu(pids), machine.busy()
    wall = send(target, body)
    others = (machine.busy() - busy) - (machine.cpu(pids) - own)
    target.forget_files()
    return Cost(wall, max(0, others / wall))


def _theirs(target: Target, body: Body) -> Cost:
    wall = send(target, body)
    target.forget_files()
    return Cost(wall)


def _written(target: Coffer, body: Body) -> int:
    before = target.service.written()
    send(target, body)
    after = target.service.written()
    target.forget_files()
    return after - before


def _seconds(value: float) -> str:
    return f"{value:.2f} s"
