"""How long a client that queries waits for its answers while others upload slowly, and while nobody does."""

import contextlib
import http.client
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median

from bench.load import PAGE, Body
from bench.run import NotMeasured, Run
from bench.services import HERE, IN_PRODUCTION, Target, coffer
from bench.table import Bar, Row, compared, percentile

_BAR = Bar(2)
_ROWS = 1000
# Which process of the server, and whether a free thread, is decided when a client connects.
_PER_CONNECTION = 20  # queries
_PATIENCE = 10.0  # seconds; a query that is not answered by then counts as long as this


def measure(run: Run) -> list[Row]:
    body = Body.query(run.folder / "page.json", PAGE, first=50)
    with coffer(run, command=IN_PRODUCTION, rows=_ROWS) as ours:
        ways = {"none": partial(alone_p99, run, ours, body), "beside": partial(beside_p99, run, ours, body)}
        found = {name: median(each) for name, each in run.turns(ways).items()}
    what = f"p99 of a client that queries while {run.scale.slow_clients} others upload at 20 KB/s"
    show = lambda value: f"{value * 1000:.1f} ms"  # noqa: E731
    return [compared(what, found["beside"], found["none"], by="nobody uploads", show=show, bar=_BAR)]


def alone_p99(run: Run, target: Target, body: Body) -> float:
    """Seconds."""
    return percentile(_latencies(target, body, run.scale.slow_seconds), 0.99)


def beside_p99(run: Run, target: Target, body: Body) -> float:
    """The same while others upload slowly."""
    with _uploading(target, run.scale.slow_clients):
        return alone_p99(run, target, body)


def _latencies(target: Target, body: Body, seconds: float) -> list[float]:
    """Of one query after another, over one connection for a few of them and then the next."""
    content = body.path.read_bytes()
    headers = {"Authorization": f"Bearer {target.token}", "Content-Type": body.content_type}
    found: list[float] = []
    until = time.perf_counter() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=_PATIENCE)
    with contextlib.closing(connection):
        while time.perf_counter() < until:
            begun = time.perf_counter()
            try:
                connection.request("POST", "/graphql", content, headers)
                answer = connection.getresponse()
                if answer.status != 200 or b'"errors"' in answer.read():
                    raise NotMeasured(f"{target.name} answered {answer.status} to a query")
            except TimeoutError:
                connection.close()  # and opened again by the next request
            found.append(time.perf_counter() - begun)
            if len(found) % _PER_CONNECTION == 0:
                connection.close()
    return found


@contextmanager
def _uploading(target: Target, count: int) -> Iterator[None]:
    """So many clients, in a process of their own, which are all under way and stay so until the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.slow_clients", str(target.port), str(count)],
        cwd=HERE.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(f"{target.token}\n")
        process.stdin.flush()
        if process.stdout.readline().strip() != "ready":
            raise NotMeasured("the slow clients did not start")
        yield
        process.stdin.close()
        left = process.stdout.readline().strip()
        if left != str(count):
            raise NotMeasured(f"only {left or 0} of {count} slow uploads were still under way at the end")
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()
