"""The processor time that requests take of the service: python -m tests.postgres python -m bench.costs

Of its own processes over PostgreSQL, whose own time is not in it. Files are small and on a local disk.
"""

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import django

_ROWS = 10_000
_TIMES = 300
_WARM_UP = 50
_SMALL = 20 * 1024  # bytes
_TICK = os.sysconf("SC_CLK_TCK")  # a second
_PAGE = """{ files(first: 50) {
    edges { cursor node {
        id name title description tags profile kind contentType size sha256 visibility createdAt
    } }
    pageInfo { hasNextPage endCursor }
} }"""
_FILE = "query ($id: ID!) { file(id: $id) { id name size sha256 url { url } } }"


def measure(folder: Path) -> Iterator[tuple[str, float]]:
    """What is asked, and seconds of a processor for one."""
    from tests.api import picture
    from tests.e2e import server

    data_dir = folder / "data"
    settings = {"SECRET_KEY": secrets.token_urlsafe(50), "HTTPS": "False", "WORKERS": "1"}
    settings |= {"RATE_LIMIT_USER": "0", "RATE_LIMIT_ADDRESS": "0", "LOG_LEVEL": "WARNING"}
    environ = server.environment(data_dir, server.free_port(), settings)
    for command in (["manage.py", "migrate", "--verbosity", "0"], ["-m", "bench.rows", str(_ROWS)]):
        subprocess.run(
            [sys.executable, *command], cwd=server.ROOT, env=environ, check=True, stdout=sys.stderr
        )
    token = server.create_token(environ, "user-1")
    serve = [sys.executable, "manage.py", "serve"]
    with server.running(data_dir, token=token, settings=settings, command=serve) as service:
        kept = service.upload(secrets.token_bytes(_SMALL))
        image = picture("JPEG", (800, 600), quality=90)

        def cost(ask: Callable[[], object]) -> float:
            for _ in range(_WARM_UP):
                ask()
            before = _spent(service.processes())
            for _ in range(_TIMES):
                ask()
            return (_spent(service.processes()) - before) / _TIMES

        yield "a page of 50 files, 12 fields", cost(lambda: service.run(_PAGE))
        yield "one file with its address", cost(lambda: service.run(_FILE, id=kept["id"]))
        yield "an upload of 20 KiB", cost(lambda: service.upload(secrets.token_bytes(_SMALL)))
        yield (
            "an upload of a picture of 800 x 600, with its preset",
            cost(lambda: service.upload(image, "a.jpg", profile="image")),
        )
        yield "a download of 20 KiB", cost(lambda: service.client.get(kept["url"]["url"]).read())


def _spent(pids: list[int]) -> float:
    """Seconds of a processor; proc(5)."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / _TICK


if __name__ == "__main__":
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "ERROR"}
    django.setup()
    with tempfile.TemporaryDirectory(prefix="coffer-costs-") as name:
        for what, seconds in measure(Path(name)):
            print(f"{what}: {seconds * 1000:.1f} ms, so {1 / seconds:.0f}/s of one processor")
