"""How far the memory of the service grows under large uploads, many at once, and a large download."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

from bench.load import Body, ask, fetch, send
from bench.run import MIB, NotMeasured, Run, sized
from bench.services import SERVERS, Coffer, beside, coffer
from bench.table import Bar, Row
from tests.e2e import server

_HUGE_BAR = Bar(32, "MB")
_CROWD_BAR = Bar(256, "MB")
_DOWNLOAD_BAR = Bar(16, "MB")
_ROUNDS = 3  # each with a server that has just started: what a first turn takes, a second one has already
_FIRST = 16  # small requests before: what a process loads for its first one is not meant

_NEWEST = "{ files(first: 2) { edges { node { size url { url } } } } }"


def measure(run: Run) -> list[Row]:
    scale = run.scale
    huge = Body.upload(run.folder / "huge.bin", scale.huge * MIB)
    what = f"growth of the service's memory during a {sized(scale.huge)} upload"
    rows = _rows(run, what, partial(_uploading, run, lambda ours: send(ours, huge)), _HUGE_BAR)
    huge.path.unlink()
    each = Body.upload(run.folder / "each.bin", scale.crowd_each * MIB)
    what = f"the same, during {scale.crowd} parallel uploads of {sized(scale.crowd_each)}"
    many = partial(_uploading, run, lambda ours: _crowd(ours, each, scale.crowd))
    return rows + _rows(run, what, many, _CROWD_BAR)


def measure_download(run: Run) -> list[Row]:
    small = Body.upload(run.folder / "small.bin", MIB)
    body = Body.upload(run.folder / "body.bin", run.scale.large * MIB)
    with coffer(run) as keeper:
        send(keeper, small)
        send(keeper, body)
        large, little = (edge["node"] for edge in ask(keeper, _NEWEST)["files"]["edges"])
        what = f"growth of the service's memory while {sized(run.scale.large)} is downloaded"

        def growth(name: str) -> float:
            with beside(keeper, name, SERVERS[name]) as ours:
                for _ in range(_FIRST):
                    _download(ours, little)
                return _growth(ours, partial(_download, ours, large))

        return _rows(run, what, growth, _DOWNLOAD_BAR)


def _uploading(run: Run, upload: Callable[[Coffer], object], name: str) -> float:
    small = Body.upload(run.folder / "small.bin", MIB)
    with coffer(run, name, command=SERVERS[name]) as ours:
        for _ in range(_FIRST):
            send(ours, small)
        return _growth(ours, partial(upload, ours))


def _rows(run: Run, what: str, growth: Callable[[str], float], bar: Bar) -> list[Row]:
    """Of what `growth` finds with each of the servers, in MB."""
    ways = {name: partial(growth, name) for name in SERVERS}
    grown = run.turns(ways, rounds=min(run.rounds, _ROUNDS), warm_up=False)
    return [
        Row(f"{what}, {name}", f"{median(found):.1f} MB", "", median(found), bar)
        for name, found in grown.items()
    ]


def _growth(ours: Coffer, do: Callable[[], object]) -> float:
    """How far all processes of the service together have grown at their peaks, in MB."""
    with server.measured(ours.service) as memory:
        do()
    return max(0, memory.growth) / 1e6


def _crowd(target: Coffer, body: Body, count: int) -> None:
    with ThreadPoolExecutor(count) as clients:
        for sent in [clients.submit(send, target, body) for _ in range(count)]:
            sent.result()


def _download(target: Coffer, node: dict[str, Any]) -> None:
    came = fetch(target, node["url"]["url"])
    if came != int(node["size"]):
        raise NotMeasured(f"{came} of {node['size']} bytes were downloaded")
