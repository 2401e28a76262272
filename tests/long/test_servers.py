"""Each server of docs/servers.md, by the very command that stands there: what it serves, and that each upload
in the middle of which it is stopped is there whole or not at all."""

import os
import re
import secrets
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from tests.api import picture
from tests.e2e import server
from tests.e2e.conftest import Prepared
from tests.e2e.server import ROOT, Form, Service, one_file, read_answer, wait_for

pytestmark = pytest.mark.e2e

GRACE = 4  # seconds
LARGE = 3 * 1024 * 1024  # bytes; past what waits in memory

PRODUCTION = {
    "SECRET_KEY": secrets.token_urlsafe(50),
    "HTTPS": "False",
    "GRACE": str(GRACE),
    "WORKERS": "2",
    "ENV_FILE": os.devnull,
}


def commands() -> dict[str, str]:
    text = (ROOT / "docs" / "servers.md").read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return {
        " ".join(re.findall(r"bin/\w+|serve$|worker-class \S+|interface \w+", each)): each for each in found
    }


COMMANDS = commands()


def test_there_are_commands_for_all_that_are_compared():
    for name in ("serve", "uvicorn", "uwsgi", "daphne", "granian", "config.uvicorn.Worker"):
        assert any(name in command for command in COMMANDS)


@pytest.fixture(params=list(COMMANDS.values()), ids=list(COMMANDS))
def service(request: pytest.FixtureRequest, prepared: Prepared, tmp_path: Path) -> Iterator[Service]:
    command = ["sh", "-c", f"exec {request.param}"]
    data_dir = prepared.copy(tmp_path / "data")
    with server.running(data_dir, token=prepared.token, settings=PRODUCTION, command=command) as started:
        yield started


@contextmanager
def begun(service: Service, form: Form) -> Iterator[socket.socket]:
    """A connection on which half of the request was sent."""
    with service.connect() as connection:
        connection.sendall(form.head(service.token))
        connection.sendall(form.body[: len(form.body) // 2])
        yield connection


def answer(connection: socket.socket) -> int:
    """The status; 0 if it was closed without one."""
    try:
        return read_answer(connection)[0]
    except (OSError, ValueError):  # a half answer is neither, and fails
        return 0


def named_keys(service: Service) -> list[str]:
    """Those that rows name."""
    with closing(sqlite3.connect(service.data_dir / "coffer.sqlite3", timeout=5)) as database:
        found = database.execute("SELECT key FROM files_file UNION ALL SELECT key FROM files_rendition")
        return sorted(row[0] for row in found)


def test_it_serves_and_stops_in_the_middle_of_uploads(service: Service) -> None:
    spools = "daphne" in str(service.process.args)  # takes a request in whole before Coffer is asked
    waits = "granian" in str(service.process.args) or "uwsgi" in str(
        service.process.args
    )  # for clients, or kills
    kept = service.upload(b"0123456789", "ten.txt")
    service.upload(picture(), "a.png", profile="image")  # decoded: there is a process for that too
    assert service.run("{ files { totalCount } }") == {"files": {"totalCount": 2}}
    part = service.client.get(kept["url"]["url"], headers={"Range": "bytes=2-5"})
    assert (part.status_code, part.content) == (206, b"2345")

    processes = service.processes()
    form = one_file(secrets.token_bytes(LARGE), "large.bin")
    half = len(form.body) // 2
    with begun(service, form) as silent, begun(service, form) as slow, begun(service, form) as ready:
        if not spools:
            wait_for("three drafts", lambda: len(service.staged()) == 3)
        ready.sendall(form.body[half:])
        service.process.terminate()
        time.sleep(0.5)  # a slow client does not know of it
        with suppress(OSError):
            slow.sendall(form.body[half:])
        statuses = [answer(ready), answer(slow)]
        if waits:
            silent.close()
        else:
            statuses.append(answer(silent))
        code = service.process.wait(GRACE + 10)

    assert code in {0, -15}
    wait_for("the end of its processes", lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes))
    assert service.staged() == []
    assert service.objects() == named_keys(service)
    assert service.rows() == 2 + statuses.count(200)
    assert 200 not in statuses[2:]
    assert "SIGKILL" not in service.log()
