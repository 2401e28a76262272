"""Servers that the end-to-end tests share, and their logs beside a test that fails."""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest

from tests.e2e import databases, server
from tests.e2e.s3 import Store
from tests.e2e.server import ROOT, Service

_LINES = 80  # of a log that are shown with a failure

# What `make run` sets for a developer.
DEVELOPER = {"GRAPHIQL": "True", "INTROSPECTION": "True", "QUERIES_BY_GET": "True", "LOG_FORMAT": "line"}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report: pytest.TestReport = yield  # type: ignore[assignment]
    if report.failed:
        for log in server.LOGS:
            if log.exists() and log.stat().st_mtime >= call.start:
                lines = log.read_text(errors="replace").splitlines()[-_LINES:]
                report.sections.append((f"log of {log.stem}", "\n".join(lines)))
    return report  # type: ignore[return-value]


@dataclass(frozen=True)
class Prepared:
    """A data folder, and a database with all tables and a token of alice's, to be copied."""

    data_dir: Path
    token: str

    def copy(self, data_dir: Path) -> Path:
        shutil.copytree(self.data_dir, data_dir)
        databases.copy(self.data_dir, data_dir)
        return data_dir


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    data_dir = tmp_path_factory.mktemp("prepared") / "data"
    environ = server.environment(data_dir, server.free_port())
    migrated = server.manage("migrate", "--verbosity", "0", environ=environ)
    assert migrated.returncode == 0, migrated.stderr
    return Prepared(data_dir, server.create_token(environ))


class Start(Protocol):
    """Starts one more service over a copy of the prepared folder, for the length of a `with` block."""

    def __call__(
        self, name: str, *, asgi: bool = False, settings: dict[str, str] | None = None
    ) -> AbstractContextManager[Service]: ...


@pytest.fixture(scope="session")
def start(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Start:
    def begin(
        name: str, *, asgi: bool = False, settings: dict[str, str] | None = None
    ) -> AbstractContextManager[Service]:
        data_dir = prepared.copy(tmp_path_factory.mktemp(name) / name)
        return server.running(data_dir, token=prepared.token, asgi=asgi, settings=settings)

    return begin


@pytest.fixture(scope="session")
def wsgi_service(start: Start) -> Iterator[Service]:
    """What `make run` starts."""
    with start("wsgi", settings=DEVELOPER) as service:
        yield service


@pytest.fixture(scope="session")
def asgi_service(start: Start) -> Iterator[Service]:
    with start("asgi", asgi=True, settings=DEVELOPER) as service:
        yield service


@pytest.fixture
def service(wsgi_service: Service) -> Service:
    """The one that most tests talk to."""
    return wsgi_service


@pytest.fixture(params=["wsgi", "asgi"])
def either_service(request: pytest.FixtureRequest) -> Service:
    """Each of the two in turn: what clients see must not depend on the kind of server."""
    chosen: Service = request.getfixturevalue(f"{request.param}_service")
    return chosen


@dataclass(frozen=True)
class Large:
    """A large file that was uploaded once, and what that cost."""

    content: bytes
    sha256: str
    result: dict[str, Any]
    growth: int  # of the service's memory, in bytes


def _upload_large(service: Service) -> Large:
    if not sys.platform.startswith("linux"):
        pytest.skip("memory is measured by /proc, which only Linux has")
    content = secrets.token_bytes(1024 * 1024) * 60
    for _ in range(4):  # what any first upload takes once is not meant: both workers have had some
        service.upload(secrets.token_bytes(1024 * 1024), "warm-up.bin")
    with server.measured(service) as memory:
        result = service.upload(content, "large.bin")
    return Large(content, hashlib.sha256(content).hexdigest(), result, memory.growth)


@pytest.fixture(scope="session")
def wsgi_large(wsgi_service: Service) -> Large:
    return _upload_large(wsgi_service)


@pytest.fixture(scope="session")
def asgi_large(asgi_service: Service) -> Large:
    return _upload_large(asgi_service)


@pytest.fixture
def store() -> Iterator[Store]:
    store = Store()
    store.switch_on()
    try:
        store.client.create_bucket(
            Bucket=store.bucket,
            CreateBucketConfiguration={"LocationConstraint": store.region},
        )
        yield store
    finally:
        store.client.close()
        store.switch_off()


# --- clients of JavaScript -------------------------------------------------------------------------

CLIENTS = ROOT / "tests" / "clients"
OLDEST_NODE = (20, 9)  # what the packages there ask for
INSTALLED_WITHIN = 300  # seconds
NODE_RUNS_FOR = 60  # seconds, at the longest


class Node(Protocol):
    """Runs a script of tests/clients by Node.js; what it prints. A script that fails fails the test."""

    def __call__(self, script: str | Path, *arguments: str) -> str: ...


@pytest.fixture(scope="session")
def node() -> Node:
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            _no_node(f"{program} is not installed")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout
    if tuple(int(number) for number in re.findall(r"\d+", version)[:2]) < OLDEST_NODE:
        _no_node(f"Node.js is {version.strip()}, older than {'.'.join(map(str, OLDEST_NODE))}")
    _install_clients()

    def run(script: str | Path, *arguments: str) -> str:
        ran = subprocess.run(
            ["node", script, *arguments],
            cwd=CLIENTS,
            env={"PATH": os.environ["PATH"]},  # no proxies, no options
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=NODE_RUNS_FOR,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    return run


def _install_clients() -> None:
    """The packages that the lock file pins, unless they are there already."""
    with (CLIENTS / "package-lock.json").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of the processes that run the tests, one installs
        _install_clients_alone()


def _install_clients_alone() -> None:
    lock, installed = CLIENTS / "package-lock.json", CLIENTS / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    ran = subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=CLIENTS,
        capture_output=True,
        text=True,
        timeout=INSTALLED_WITHIN,
        check=False,
    )
    if ran.returncode != 0:
        _no_node(f"npm cannot install the clients: {ran.stderr}")


def _no_node(reason: str) -> NoReturn:
    """Every run in CI has to have these tests; elsewhere nobody needs Node.js for the rest."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(f"{reason}: the clients of JavaScript are not tested")
