"""Workers as processes of their own, over both queues, killed and poisoned; the service beside them."""

import contextlib
import io
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
from PIL import Image

from tests.api import picture
from tests.e2e import server
from tests.e2e.conftest import Prepared
from tests.e2e.server import ENDS_WITHIN, ROOT, Service, free_port, wait_for

pytestmark = pytest.mark.e2e

READY_WITHIN = 60  # seconds; more than the ten after which a task is tried again
PRESETS = "query ($id: ID!) { file(id: $id) { image { presets { name ready } } } }"
THUMBNAIL = 'query ($id: ID!) { file(id: $id) { image { rendition(preset: "thumbnail") { url } } } }'
PUBLISH = """
    mutation ($id: ID!) { updateFile(input: {id: $id, visibility: PUBLIC}) { ... on File { visibility } } }
"""


@dataclass(frozen=True)
class Queue:
    """What the service and its workers are told of it; `address` is that of its Redis, if it has one."""

    settings: Mapping[str, str]
    address: str | None = None

    def let_time_pass(self) -> None:
        """More than after which somebody who is silent is taken for dead."""
        if self.address is not None:
            with redis.Redis.from_url(self.address) as client:
                for job in client.zrange("rq:wip:default", 0, -1):
                    client.zadd("rq:wip:default", {job: 1}, xx=True)
                client.delete("rq:scheduler-lock:default")


@contextlib.contextmanager
def redis_server(port: int, tmp_path: Path) -> Iterator[None]:
    """One of the test's own, which keeps nothing."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed (Debian has it): make test-long installs it"
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with redis.Redis.from_url(_address(port)) as client:
            wait_for("Redis to answer", lambda: _answers(client))
        yield
    finally:
        process.kill()
        process.wait(ENDS_WITHIN)


def _address(port: int) -> str:
    return f"redis://127.0.0.1:{port}/0"


def _answers(client: "redis.Redis") -> bool:
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


@pytest.fixture(params=["db", "rq"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    if request.param == "db":
        yield Queue({"TASKS_BACKEND": "db"})
        return
    port = free_port()
    with redis_server(port, tmp_path):
        yield Queue({"TASKS_BACKEND": "rq", "REDIS_URL": _address(port)}, _address(port))


@pytest.fixture
def service(prepared: Prepared, tmp_path: Path, queue: Queue) -> Iterator[Service]:
    storages = {"STORAGES": "public", "PUBLIC_STORAGE": "local"}
    data_dir = prepared.copy(tmp_path / "data")
    with server.running(data_dir, token=prepared.token, settings={**queue.settings, **storages}) as running:
        yield running


@dataclass(frozen=True)
class Workers:
    """One `manage.py worker` with all that it has started."""

    process: subprocess.Popen[bytes]
    log_path: Path

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def pids(self) -> list[int]:
        return server._tree(self.process.pid)

    def stop(self) -> int:
        """Its exit code; nothing of it is left."""
        pids = self.pids()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(ENDS_WITHIN)
        wait_for("all of them to end", lambda: not any(map(_is_running, pids)), ENDS_WITHIN)
        return code

    def kill(self) -> None:
        """As a loss of power would."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(ENDS_WITHIN)


@contextlib.contextmanager
def working(service: Service, *, processes: int = 1, failpoint: str = "") -> Iterator[Workers]:
    """Workers beside the service, with its settings, until they are stopped or killed."""
    crash = {"COFFER_CRASH_TESTS": "True", "COFFER_FAILPOINT": failpoint} if failpoint else {}
    log_path = service.data_dir.with_name(f"worker-{len(server.LOGS)}.log")
    server.LOGS.append(log_path)
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--processes", str(processes)],
            cwd=ROOT,
            env=service.environ | crash,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    workers = Workers(process, log_path)
    try:
        yield workers
    finally:
        if process.poll() is None:
            workers.kill()


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def photo() -> bytes:
    """Large enough that a rendition takes a while."""
    target = io.BytesIO()
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(target, "JPEG")
    return target.getvalue()


def uploaded(service: Service, content: bytes, name: str = "a.png") -> str:
    result = service.upload(content, name, profile="image")
    assert result["__typename"] == "File", result
    return str(result["id"])


def ready(service: Service, file_id: str) -> bool:
    presets = service.run(PRESETS, id=file_id)["file"]["image"]["presets"]
    assert presets
    return all(each["ready"] for each in presets)


def ask(service: Service, sql: str) -> list[tuple[object, ...]]:
    path = service.data_dir / "coffer.sqlite3"
    with contextlib.closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as database:
        return database.execute(sql).fetchall()


def claimed(service: Service) -> bool:
    return bool(ask(service, "SELECT 1 FROM files_rendition WHERE made_at IS NULL"))


def let_time_pass(service: Service, queue: Queue) -> None:
    """Two minutes, for all who look whether somebody is dead."""
    ask(service, "UPDATE files_rendition SET claimed_at = datetime(claimed_at, '-2 minutes')")
    ask(service, "UPDATE files_worker SET seen_at = datetime(seen_at, '-2 minutes')")
    queue.let_time_pass()


# --- what workers do -------------------------------------------------------------------------------


def test_workers_make_the_presets_while_the_service_only_receives(service: Service) -> None:
    files = [uploaded(service, picture(color=f"#{number:02x}0000")) for number in range(12)]
    assert not any(ready(service, each) for each in files)  # and nobody waited
    with working(service, processes=2) as two, working(service) as one:
        wait_for("the presets", lambda: all(ready(service, each) for each in files), READY_WITHIN)
        assert (two.stop(), one.stop()) == (0, 0)
    made = ask(service, "SELECT count(*), count(DISTINCT file_id) FROM files_rendition")
    assert made == [(len(files), len(files))]
    assert ask(service, "SELECT * FROM files_worker") == []


def test_what_a_process_was_doing_that_is_killed_is_done(service: Service, queue: Queue) -> None:
    with working(service, failpoint="rendition.claimed") as killed:
        file_id = uploaded(service, picture())
        wait_for("the kill", lambda: claimed(service) and _was_killed(killed), READY_WITHIN)
        assert killed.stop() == 0
    let_time_pass(service, queue)
    with working(service):
        wait_for("the preset", lambda: ready(service, file_id), READY_WITHIN)


def _was_killed(workers: Workers) -> bool:
    return "ended with -9" in workers.log() or "terminated unexpectedly" in workers.log()


def test_what_a_machine_was_doing_that_is_gone_is_done_by_another(service: Service, queue: Queue) -> None:
    with working(service) as lost:
        wait_for("a worker", lambda: "worker" in lost.log().lower(), READY_WITHIN)
        file_id = uploaded(service, photo(), "a.jpg")
        wait_for("it to begin", lambda: claimed(service), READY_WITHIN)
        lost.kill()
    assert not ready(service, file_id)
    let_time_pass(service, queue)
    with working(service):
        wait_for("the preset", lambda: ready(service, file_id), READY_WITHIN)


def test_a_worker_that_is_told_to_end_finishes_what_it_is_doing(service: Service) -> None:
    assert "manage.py worker" in service.log()  # who starts the service is told of it
    with working(service) as workers:
        file_id = uploaded(service, photo(), "a.jpg")
        wait_for("it to begin", lambda: claimed(service), READY_WITHIN)
        assert workers.stop() == 0
    assert ready(service, file_id)


def test_a_task_that_kills_its_worker_keeps_no_other_waiting(service: Service) -> None:
    poison = uploaded(service, picture())
    moved = uploaded(service, picture())
    service.run(PUBLISH, id=moved)
    with working(service, failpoint="rendition.claimed") as workers:
        wait_for("the move", lambda: any((service.data_dir / "files-public").rglob("*.png")), READY_WITHIN)
        assert _was_killed(workers)
        assert workers.stop() == 0
    assert not ready(service, poison)


# --- a queue that is down --------------------------------------------------------------------------


def test_without_its_redis_the_service_receives_and_makes_what_is_fetched_and_with_it_all_goes_on(
    prepared: Prepared, tmp_path: Path
) -> None:
    port = free_port()
    settings = {"TASKS_BACKEND": "rq", "REDIS_URL": _address(port)}
    data_dir = prepared.copy(tmp_path / "data")
    with server.running(data_dir, token=prepared.token, settings=settings) as service:
        file_id = uploaded(service, picture())
        assert "The queue failed: make_presets of" in service.log()
        assert "nobody is limited" in service.log()
        url = service.run(THUMBNAIL, id=file_id)["file"]["image"]["rendition"]["url"]
        assert httpx.get(url, trust_env=False).status_code == 200
        with working(service) as workers:
            wait_for("a vain attempt", lambda: "another one takes its place" in workers.log(), READY_WITHIN)
            assert "Redis failed" in workers.log()
            assert "Traceback" not in workers.log()
            with redis_server(port, tmp_path):
                later = uploaded(service, picture(color="#00ff00"))
                wait_for("the preset", lambda: ready(service, later), READY_WITHIN)
                assert workers.stop() == 0
