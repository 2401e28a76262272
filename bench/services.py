"""The servers that are measured, each a process of its own over the scratch folder: Coffer and its peers."""

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.run import NotMeasured, Run
from tests.e2e import server
from tests.e2e.server import Service

HERE = Path(__file__).resolve().parent
PEERS = ("Apollo", "Yoga")
# How Coffer is started, as arguments for Python.
SERVERS = {
    "WSGI": ("manage.py", "run"),
    "ASGI": ("-m", "uvicorn", "config.asgi:application", "--host", "127.0.0.1", "--port", "{port}"),
}
IN_PRODUCTION = ("manage.py", "serve")  # the one that slow clients are let loose on

# A file may be larger here than anybody would allow, and one client may ask as fast as it can.
_PROFILES = '[default]\nmax_size = "16 GiB"\ntypes = ["*/*"]\n'
_SETTINGS = {
    "MAX_REQUEST_SIZE": "16 GiB",
    "RATE_LIMIT_USER": "0",
    "RATE_LIMIT_ADDRESS": "0",
    "LOG_LEVEL": "ERROR",
    "ENV_FILE": os.devnull,
    # What `manage.py serve` asks for.
    "SECRET_KEY": "a-key-of-the-benchmarks-that-guards-nothing-at-all-0123456789",
    "HTTPS": "False",
}


@dataclass(frozen=True)
class Target:
    """Who answers at that port to that token, and the folder where it keeps files."""

    name: str
    port: int
    token: str
    kept: Path

    def forget_files(self) -> None:
        """Remove the bytes that were uploaded: there is room for one turn's."""
        for each in self.kept.rglob("*"):
            if each.is_file():
                each.unlink()


@dataclass(frozen=True)
class Coffer(Target):
    service: Service


@contextmanager
def coffer(
    run: Run,
    name: str = "Coffer",
    *,
    command: Sequence[str] | str = SERVERS["WSGI"],
    rows: int = 0,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Coffer]:
    """The service over a database of its own with so many files in it."""
    with tempfile.TemporaryDirectory(prefix=f"{name.lower()}-", dir=run.folder) as folder:
        data_dir = Path(folder) / "data"
        data_dir.mkdir()
        profiles = Path(folder) / "profiles.toml"
        profiles.write_text(_PROFILES)
        given = _SETTINGS | {"COFFER_PROFILES": str(profiles)} | dict(settings or {})
        token = _prepared(run, data_dir, given, rows)
        environ = server.environment(data_dir, server.free_port(), given)
        with _serving(name, environ, token, command) as target:
            yield target


@contextmanager
def beside(ours: Coffer, name: str, command: Sequence[str] | str) -> Iterator[Coffer]:
    """One more service over the same data, which has done nothing yet."""
    with _serving(
        name, ours.service.environ | {"PORT": str(server.free_port())}, ours.token, command
    ) as more:
        yield more


@contextmanager
def _serving(
    name: str, environ: dict[str, str], token: str, command: Sequence[str] | str
) -> Iterator[Coffer]:
    """By arguments for Python, or by a line for a shell."""
    port, data_dir = int(environ["PORT"]), Path(environ["DATA_DIR"])
    log_path = data_dir.with_name(f"{port}.log")
    if isinstance(command, str):
        arguments = ["sh", "-c", f"exec {command}"]
    else:
        arguments = [sys.executable, *(each.format(port=port) for each in command)]
    process = _start(arguments, environ, log_path)
    service = Service(
        process=process, port=port, data_dir=data_dir, log_path=log_path, environ=environ, token=token
    )
    try:
        _wait(name, process, port, log_path)
        yield Coffer(name, port, token, data_dir / "files", service)
    finally:
        service.stop()


def _prepared(run: Run, data_dir: Path, settings: Mapping[str, str], rows: int) -> str:
    """Make the database with so many files in it; a token for it."""
    environ = server.environment(data_dir, server.free_port(), settings)
    migrated = server.manage("migrate", "--verbosity", "0", environ=environ)
    if migrated.returncode != 0:
        raise NotMeasured(f"no database: {migrated.stderr}")
    token = server.create_token(environ)
    if rows:
        run.say(f"filling a database with {rows:,} files")
        _fill(environ, rows)
    return token


def _fill(environ: Mapping[str, str], rows: int) -> None:
    command = [sys.executable, "-m", "bench.fill", str(rows)]
    done = subprocess.run(
        command, cwd=HERE.parent, env=environ, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode != 0:
        raise NotMeasured(f"the database was not filled: {done.stderr}")


@contextmanager
def peers(run: Run, ours: Coffer) -> Iterator[list[Target]]:
    """Apollo Server and GraphQL Yoga over the same SQLite file, for the same tokens."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(_peer(run, name, ours)) for name in PEERS]


@contextmanager
def _peer(run: Run, name: str, ours: Coffer) -> Iterator[Target]:
    port, kept = server.free_port(), run.folder / name.lower()
    database = ours.service.data_dir / "coffer.sqlite3"
    command = ["node", str(HERE / f"{name.lower()}.mjs"), str(port), str(database), str(kept)]
    log_path = run.folder / f"{name.lower()}.log"
    # The environment names the folder for scratch: graphql-upload writes there first.
    process = _start(command, ours.service.environ | {"NODE_ENV": "production"}, log_path)
    try:
        _wait(name, process, port, log_path)
        yield Target(name, port, ours.token, kept)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(command: Sequence[str], environ: Mapping[str, str], log_path: Path) -> subprocess.Popen[bytes]:
    with log_path.open("wb") as log:
        return subprocess.Popen(
            command, cwd=HERE.parent, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def _wait(name: str, process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    server.wait_for(f"{name} at its port", lambda: process.poll() is not None or listens(port), 60)
    if process.poll() is not None:
        raise NotMeasured(f"{name} ended before it listened: {log_path.read_text()[-500:]}")


def listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
