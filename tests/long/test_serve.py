"""`manage.py serve`: what it asks of the operator and never does by itself; slow clients starve nobody."""

import re
import secrets
import sqlite3
import sys
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.e2e import server
from tests.e2e.conftest import Prepared
from tests.e2e.server import one_file, running, wait_for

pytestmark = pytest.mark.e2e

SERVE = [sys.executable, "manage.py", "serve"]
PRODUCTION = {"SECRET_KEY": secrets.token_urlsafe(50), "HTTPS": "False", "WORKERS": "2", "GRACE": "1"}
INTROSPECTION = "{ __schema { queryType { name } } }"
SLOW = 50  # clients


def refusal(data_dir: Path, settings: dict[str, str]) -> str:
    ended = server.manage("serve", environ=server.environment(data_dir, server.free_port(), settings))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.stderr


def test_what_only_the_operator_knows_has_to_be_said(tmp_path: Path) -> None:
    told = refusal(tmp_path, {"DEBUG": "True"})
    assert re.findall(r"^  (\w+): \S", told, re.MULTILINE) == ["DEBUG", "SECRET_KEY", "HTTPS"]
    told = refusal(tmp_path, PRODUCTION | {"HTTPS": "True"})
    assert re.findall(r"^  (\w+): \S", told, re.MULTILINE) == ["TRUSTED_PROXIES"]


def test_the_database_is_left_to_the_operator(tmp_path: Path) -> None:
    told = refusal(tmp_path, PRODUCTION)
    assert "run `manage.py migrate` first" in told
    with closing(sqlite3.connect(tmp_path / "coffer.sqlite3")) as database:
        assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)


def test_it_serves_in_production_and_opens_nothing(prepared: Prepared, tmp_path: Path) -> None:
    data_dir = prepared.copy(tmp_path / "data")
    with running(data_dir, token=prepared.token, settings=PRODUCTION, command=SERVE) as service:
        assert "in 2 processes of 128 threads" in service.log()
        assert "security.W008" in service.log()  # it has no https: said once, and served
        assert "errors" in service.ask(INTROSPECTION).json()
        page = service.client.get("/graphql", headers={"Accept": "text/html"})
        assert page.status_code == 405
        assert service.client.get("/graphql", params={"query": "{ __typename }"}).status_code == 405
        assert "Sign in" not in service.log()


def test_slow_uploads_leave_threads_for_others(prepared: Prepared, tmp_path: Path) -> None:
    """Each has sent half of its bytes, and the rest does not come."""
    data_dir = prepared.copy(tmp_path / "data")
    form = one_file(bytes(3 * 1024 * 1024), "slow.bin")
    with (
        running(data_dir, token=prepared.token, settings=PRODUCTION, command=SERVE) as service,
        ExitStack() as slow,
    ):
        for _ in range(SLOW):
            connection = slow.enter_context(service.connect())
            connection.sendall(form.head(service.token) + form.body[: len(form.body) // 2])
        wait_for("all uploads under way", lambda: len(service.staged()) == SLOW)
        for _ in range(10):
            assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
        assert service.stop() == 0
        assert service.kept() == (0, [], [])


def test_clients_that_do_not_close_their_connections_keep_nobody_waiting(
    prepared: Prepared, tmp_path: Path
) -> None:
    """gunicorn waits 2 s for each, and all together would be longer than the patience of the last client."""
    data_dir = prepared.copy(tmp_path / "data")
    one = PRODUCTION | {"WORKERS": "1"}
    query = b'{"query": "{ __typename }"}'
    head = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(query)}\r\nConnection: close\r\n\r\n".encode() + query
    with (
        running(data_dir, token=prepared.token, settings=one, command=SERVE) as service,
        ExitStack() as left_open,
    ):
        for connection in [left_open.enter_context(service.connect()) for _ in range(20)]:
            connection.sendall(request)
        assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
