"""Requests per second: small uploads and pages of files against the peers, deep pages against the first."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from statistics import median

from bench.fill import START
from bench.load import PAGE, Body, ask, requests_per_second
from bench.run import NotMeasured, Run
from bench.services import PEERS, Coffer, Target, coffer, peers
from bench.table import Bar, Row, compared

_PEER_BAR = Bar(1.0, at_least=True)
_DEPTH_BAR = Bar(1.2)
_UPLOADERS, _READERS = 64, 16  # clients
_KIB = 1024
_PAGE_SIZE = 50

_STANDING = (
    "query ($at: DateTime!) { files(first: 1, filters: {createdAt: {lte: $at}}) { edges { cursor } } }"
)


def measure_small(run: Run) -> list[Row]:
    body = Body.upload(run.folder / "body.bin", 20 * _KIB)
    with coffer(run) as ours:
        what = f"uploads of 20 KiB, {_UPLOADERS} clients: requests/s"
        return _against_peers(run, ours, what, body, _UPLOADERS)


def measure_pages(run: Run) -> list[Row]:
    body = Body.query(run.folder / "body.json", PAGE, first=_PAGE_SIZE)
    with coffer(run, rows=run.scale.rows) as ours:
        what = (
            f"files(first: 50), 12 fields, {run.scale.rows:,} rows on SQLite, {_READERS} clients: requests/s"
        )
        return _against_peers(run, ours, what, body, _READERS)


def measure_depth(run: Run) -> list[Row]:
    rows = _depth(run, "SQLite", {})
    with _postgresql(run) as address:
        return rows + _depth(run, "PostgreSQL", {"DATABASE_URL": address})


def _against_peers(run: Run, ours: Coffer, what: str, body: Body, clients: int) -> list[Row]:
    with peers(run, ours) as others:
        rates = run.turns({each.name: partial(_rate, run, each, body, clients) for each in (ours, *others)})
    rate = {name: median(found) for name, found in rates.items()}
    return [
        compared(
            f"{what} against {name}",
            rate[ours.name],
            rate[name],
            by=name,
            show=lambda value: f"{value:.0f}/s",
            bar=_PEER_BAR if name == "Apollo" else None,
        )
        for name in PEERS
    ]


def _rate(run: Run, target: Target, body: Body, clients: int) -> float:
    rate = requests_per_second(run, target, body, clients)
    target.forget_files()
    return rate


def _depth(run: Run, database: str, settings: dict[str, str]) -> list[Row]:
    number = run.scale.deep_page
    with coffer(run, database, rows=run.scale.deep_rows, settings=settings) as ours:
        deep = f"page {number:,}"
        after = _cursor_before(ours, number, run.scale.deep_rows)
        bodies = {
            "page 1": Body.query(run.folder / "first.json", PAGE, first=_PAGE_SIZE),
            deep: Body.query(run.folder / "deep.json", PAGE, first=_PAGE_SIZE, after=after),
        }
        rates = run.turns({name: partial(_rate, run, ours, body, _READERS) for name, body in bodies.items()})
    each = {name: 1000 * _READERS / median(found) for name, found in rates.items()}
    what = f"the same query over {run.scale.deep_rows:,} rows on {database}: page {number:,} against page 1"
    return [
        compared(
            what, each[deep], each["page 1"], by="page 1", show=lambda ms: f"{ms:.1f} ms", bar=_DEPTH_BAR
        )
    ]


def _cursor_before(ours: Target, number: int, rows: int) -> str:
    """The cursor of the row before that page, by asking for the files up to its moment."""
    row = rows - (number - 1) * _PAGE_SIZE + 1  # the newest has the highest number
    at = START + timedelta(seconds=row)
    cursor: str = ask(ours, _STANDING, at=at.isoformat())["files"]["edges"][0]["cursor"]
    found = ask(
        ours,
        "query ($after: String) { files(first: 1, after: $after) { edges { node { size } } } }",
        after=cursor,
    )
    if int(found["files"]["edges"][0]["node"]["size"]) != (row - 1) * 7:
        raise NotMeasured(f"page {number} is not where it should be: {found}")
    return cursor


@contextmanager
def _postgresql(run: Run) -> Iterator[str]:
    """A PostgreSQL of its own, as the development packages bring it; its address."""
    from tests import postgres

    with postgres.running() as server:
        yield server.url()
