"""The pool of connections to PostgreSQL, and a server that goes away and comes back."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from tests import postgres
from tests.e2e import server
from tests.e2e.server import Service, assert_service_unavailable, one_file, wait_for

pytestmark = [pytest.mark.e2e, pytest.mark.postgres("has a server of its own, to stop and to start")]

LARGE = 3 * 1024 * 1024  # bytes; well past what is kept in memory
COUNT = "{ files { totalCount } }"


@pytest.fixture(scope="module")
def database() -> Iterator[postgres.Server]:
    with postgres.running() as running:
        yield running


@pytest.fixture(scope="module")
def service(database: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One process whose pool has one connection."""
    data_dir: Path = tmp_path_factory.mktemp("pool") / "pool"
    settings = {"DATABASE_URL": database.url(), "THREADS": "1"}
    environ = server.environment(data_dir, server.free_port(), settings)
    migrated = server.manage("migrate", "--verbosity", "0", environ=environ)
    assert migrated.returncode == 0, migrated.stderr
    token = server.create_token(environ)
    with server.running(data_dir, token=token, asgi=True, settings=settings) as running:
        yield running


def test_an_upload_that_is_still_coming_holds_no_connection(
    service: Service, database: postgres.Server
) -> None:
    sent = one_file(b"x" * LARGE)
    before = _asked_at(database)
    with service.connect() as slow:
        slow.sendall(sent.head(service.token))
        wait_for("the token to be looked up", lambda: _asked_at(database) != before)
        assert service.ask(COUNT).status_code == 200
        slow.sendall(sent.body[: LARGE // 2])
        wait_for("the bytes to be staged", lambda: len(service.staged()) == 1)
        assert service.ask(COUNT).status_code == 200
        slow.sendall(sent.body[LARGE // 2 :])
        status, _, body = server.read_answer(slow)
    assert status == 200
    assert b'"__typename":"File"' in body


def test_who_waits_for_a_connection_in_vain_is_told_to_try_again(
    service: Service, database: postgres.Server
) -> None:
    with ThreadPoolExecutor(1) as others, psycopg.connect(database.url()) as lock:
        lock.execute("LOCK TABLE files_file")
        waits = others.submit(service.ask, COUNT)
        wait_for("the query to wait for the lock", lambda: _waiting(database) == 1)
        assert_service_unavailable(service.ask("{ viewer { username } }"))
        lock.rollback()
        assert waits.result().json()["data"]["files"]
    assert service.ask(COUNT).status_code == 200


def test_after_a_restart_of_the_server_not_one_request_fails(
    service: Service, database: postgres.Server
) -> None:
    before = service.run(COUNT)
    database.stop()
    database.start()
    assert service.run(COUNT) == before


def test_an_outage_of_the_server_passes_without_a_restart_of_the_service(
    service: Service, database: postgres.Server
) -> None:
    kept = service.upload(b"Kept before.")
    database.stop()
    lasts_until = time.monotonic() + 16
    assert_service_unavailable(service.ask(COUNT))
    assert_service_unavailable(service.send(one_file(b"x" * LARGE)))
    assert_service_unavailable(httpx.get(kept["url"]["url"], trust_env=False, timeout=server.ANSWERS_WITHIN))
    assert service.staged() == []
    while time.monotonic() < lasts_until:
        assert_service_unavailable(service.ask(COUNT))
    database.start()
    # Soon after the server is there, not after as long again as it was not.
    wait_for("an answer", lambda: service.ask(COUNT).status_code == 200, seconds=8)
    assert service.upload(b"Kept after.")["__typename"] == "File"
    assert httpx.get(kept["url"]["url"], trust_env=False).content == b"Kept before."


def _asked_at(database: postgres.Server) -> object:
    """When the service last asked the database anything."""
    query = "SELECT max(query_start) FROM pg_stat_activity WHERE client_port = -1 AND pid <> pg_backend_pid()"
    with psycopg.connect(database.url()) as connection:
        ((moment,),) = connection.execute(query).fetchall()
        return moment


def _waiting(database: postgres.Server) -> int:
    """How many statements wait for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with psycopg.connect(database.url()) as connection:
        ((count,),) = connection.execute(query).fetchall()
        return int(count)
