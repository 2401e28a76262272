"""How far the memory of the service grows under large uploads, many at once, and a large download."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median

from bench.load import Body, ask, fetch, send
from bench.run import MIB, NotMeasured, Run, sized
from bench.services import SERVERS, Coffer, coffer
from bench.table import Bar, Row
from tests.e2e import server

_HUGE_BAR = Bar(32, "MB")
_CROWD_BAR = Bar(256, "MB")
_DOWNLOAD_BAR = Bar(16, "MB")
_ROUNDS = 3  # each with a server that has just started: what memory a first turn leaves, a second one has

_NEWEST = "{ files(first: 1) { edges { node { size url { url } } } } }"


def measure(run: Run) -> list[Row]:
    scale = run.scale
    huge = Body.upload(run.folder / "huge.bin", scale.huge * MIB)
    rows = _rows(
        run,
        f"growth of the service's memory during a {sized(scale.huge)} upload",
        lambda ours: partial(send, ours, huge),
        _HUGE_BAR,
    )
    huge.path.unlink()
    each = Body.upload(run.folder / "each.bin", scale.crowd_each * MIB)
    rows += _rows(
        run,
        f"the same, during {scale.crowd} parallel uploads of {sized(scale.crowd_each)}",
        lambda ours: partial(_crowd, ours, each, scale.crowd),
        _CROWD_BAR,
    )
    return rows


def measure_download(run: Run) -> list[Row]:
    body = Body.upload(run.folder / "body.bin", run.scale.large * MIB)

    def uploaded(ours: Coffer) -> Callable[[], object]:
        send(ours, body)
        node = ask(ours, _NEWEST)["files"]["edges"][0]["node"]
        return partial(_download, ours, node["url"]["url"], int(node["size"]))

    what = f"growth of the service's memory while {sized(run.scale.large)} is downloaded"
    return _rows(run, what, uploaded, _DOWNLOAD_BAR)


def _rows(run: Run, what: str, prepare: Callable[[Coffer], Callable[[], object]], bar: Bar) -> list[Row]:
    """For each server, how far its processes together grow while what `prepare(server)` returns is done."""
    ways = {
        name: partial(_growth, run, name, asgi, prepare)  # a new server each time
        for name, asgi in SERVERS.items()
    }
    grown = run.turns(ways, rounds=min(run.rounds, _ROUNDS), warm_up=False)
    return [
        Row(f"{what}, {name}", f"{median(found):.1f} MB", "", median(found), bar)
        for name, found in grown.items()
    ]


def _growth(run: Run, name: str, asgi: bool, prepare: Callable[[Coffer], Callable[[], object]]) -> float:
    with coffer(run, name, asgi=asgi) as ours:
        # What a first request loads is not meant, in none of the processes.
        small = Body.upload(run.folder / "small.bin", MIB)
        _crowd(ours, small, 16)
        do = prepare(ours)
        with server.measured(ours.service) as memory:
            do()
    return memory.growth / 1e6


def _crowd(target: Coffer, body: Body, count: int) -> None:
    with ThreadPoolExecutor(count) as clients:
        for sent in [clients.submit(send, target, body) for _ in range(count)]:
            sent.result()


def _download(target: Coffer, url: str, size: int) -> None:
    came = fetch(target, url)
    if came != size:
        raise NotMeasured(f"{came} of {size} bytes were downloaded")
