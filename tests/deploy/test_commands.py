"""What the image runs, run: the commands of docker/compose.yaml over what docker/Dockerfile copies, by a user
without privileges, with nothing to write to but the data folder and one for temporary files."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.api import picture
from tests.deploy.conftest import DOCKER
from tests.e2e import server
from tests.e2e.s3 import Store
from tests.e2e.server import ENDS_WITHIN, ROOT, STARTS_WITHIN, wait_for
from tests.test_shipped_files import SERVICES, SYSTEMD, copied, is_sent

pytestmark = pytest.mark.e2e

COMMAND_WITHIN = 60  # seconds


@dataclass(frozen=True)
class Image:
    """A folder with what the image has in /app, and two that can be written to."""

    app: Path
    data_dir: Path
    tmp: Path
    port: int = field(default_factory=server.free_port)

    def environ(self, more: Mapping[str, str]) -> dict[str, str]:
        """What a container has: the image's variables and what the operator says."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "TMPDIR": str(self.tmp),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "ENV_FILE": os.devnull,
            "DATA_DIR": str(self.data_dir),
            "HOST": "127.0.0.1",
            "PORT": str(self.port),
            "SECRET_KEY": "0123456789abcdef" * 4,
            "HTTPS": "False",
            "WORKERS": "2",
            **more,
        }

    def command(self, *arguments: str) -> list[str]:
        """Bound as the container is."""
        launcher = [sys.executable, str(ROOT / "tests" / "deploy" / "read_only.py")]
        # Root without its capabilities is bound by modes like anybody; another user might not reach Python.
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        return [*drop, *launcher, str(self.data_dir), str(self.tmp), "--", sys.executable, *arguments]

    @contextlib.contextmanager
    def started(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[bytes]]:
        log_path = self.tmp.with_name(f"{arguments[-1].strip('/')}.log")
        server.LOGS.append(log_path)
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=self.app,
                env=self.environ(more) | {"PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait(ENDS_WITHIN)

    def run(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.app,
            env=self.environ(more) | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=COMMAND_WITHIN,
            check=False,
        )


def command_of(name: str) -> list[str]:
    """As the container of that name runs it, behind the image's entrypoint."""
    service = SERVICES[name]
    return [*service.get("entrypoint", ["python", "manage.py"])[1:], *service["command"]]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder = tmp_path_factory.mktemp("image")
    app = folder / "app"
    for source in copied():
        for path in sorted(ROOT.glob(source)):
            for each in path.rglob("*") if path.is_dir() else [path]:
                relative = str(each.relative_to(ROOT))
                if each.is_file() and is_sent(relative) and "__pycache__" not in relative:
                    (app / relative).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(each, app / relative)
    compiled = re.search(r"compileall (.+) /app$", (DOCKER / "Dockerfile").read_text(), re.MULTILINE)
    assert compiled is not None
    subprocess.run([sys.executable, "-m", "compileall", *compiled[1].split(), app], check=True)
    (folder / "data").mkdir(mode=0o750)
    (folder / "tmp").mkdir()
    return Image(app=app, data_dir=folder / "data", tmp=folder / "tmp")


@pytest.fixture(scope="module")
def migrated(image: Image) -> Image:
    for name in ("migrate", "static"):
        ran = image.run(*command_of(name))
        assert ran.returncode == 0, ran.stderr
    return image


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_nothing_can_be_written_where_the_container_cannot_write(image: Image) -> None:
    for place in (image.app, Path.home(), ROOT, Path("/var/tmp")):
        ran = image.run("-c", f"open({str(place / 'coffer-was-here')!r}, 'w')")
        assert "PermissionError" in ran.stderr or "FileNotFoundError" in ran.stderr
    for place in (image.data_dir, image.tmp):
        assert image.run("-c", f"open({str(place / 'here')!r}, 'w').close()").returncode == 0
        (place / "here").unlink()


def test_the_service_runs_is_found_healthy_and_ends_when_it_is_told_to(migrated: Image) -> None:
    before = snapshot(migrated.app)
    healthcheck = "docker/healthcheck.py"
    assert "does not answer" in migrated.run(healthcheck).stderr
    token = migrated.run("manage.py", "create_token", "alice").stdout.strip()
    with migrated.started(*command_of("app"), SENDFILE="nginx") as process:
        wait_for(
            "the service to be healthy",
            lambda: process.poll() is not None or migrated.run(healthcheck).returncode == 0,
            STARTS_WITHIN,
        )
        assert process.poll() is None
        service = server.Service(
            process=process,
            port=migrated.port,
            data_dir=migrated.data_dir,
            log_path=migrated.tmp,
            environ={},
            token=token,
        )
        with service.client:
            # An image is decoded in a process that is fenced once more.
            assert service.upload(picture("PNG"), "a.png", profile="image")["__typename"] == "File"
            page = httpx.get(f"{service.url}/login/", trust_env=False)
            (style,) = set(re.findall(r'href="(/static/[^"]+\.css)"', page.text))
            kept = httpx.get(service.url + style, trust_env=False)
            assert re.search(r"\.[0-9a-f]{12}\.css$", style)
            assert "immutable" in kept.headers["Cache-Control"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN) == 0
    assert snapshot(migrated.app) == before
    assert [path for path in migrated.tmp.rglob("*") if path.is_file()] == []


def test_the_worker_runs_and_ends_when_it_is_told_to(migrated: Image) -> None:
    with migrated.started(*command_of("worker"), TASKS_BACKEND="db") as process:
        log = migrated.tmp.with_name("worker.log")
        wait_for("the worker to start", lambda: "Starting worker" in log.read_text(), STARTS_WITHIN)
        process.send_signal(signal.SIGTERM)
        assert process.wait(ENDS_WITHIN) == 0


def test_the_bucket_is_made_once(image: Image) -> None:
    store = Store()
    store.switch_on()
    try:
        settings = {**store.settings(), "AWS_S3_REGION_NAME": "us-east-1", "AWS_S3_ADDRESSING_STYLE": "path"}
        for said in ("Made the bucket.\n", "The bucket is there.\n"):
            ran = image.run(*command_of("bucket"), **settings)
            assert (ran.returncode, ran.stdout) == (0, said), ran.stderr
        assert store.stored_keys() == []
    finally:
        store.client.close()
        store.switch_off()
    assert image.run(*command_of("bucket")).stdout == ""  # local disk needs none


def test_a_command_that_is_missing_a_setting_says_which(image: Image) -> None:
    ran = image.run(*command_of("app"), HTTPS="perhaps")
    assert ran.returncode == 1
    assert "HTTPS" in ran.stderr


# --- systemd ---------------------------------------------------------------------------------------


def test_systemd_is_told_when_the_service_listens(migrated: Image) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(STARTS_WITHIN)
        place = migrated.tmp / "notify"
        manager.bind(str(place))
        with migrated.started(*command_of("app"), NOTIFY_SOCKET=str(place)) as process:
            assert b"READY=1" in manager.recv(4096)
            healthy = ("docker/healthcheck.py",)
            wait_for("an answer", lambda: migrated.run(*healthy).returncode == 0, STARTS_WITHIN)
            process.send_signal(signal.SIGTERM)
            assert process.wait(ENDS_WITHIN) == 0
        place.unlink()


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped units, over this checkout."""
    folder = tmp_path_factory.mktemp("units")
    for path in SYSTEMD.rglob("*"):
        if path.is_file():
            here = folder / path.relative_to(SYSTEMD)
            here.parent.mkdir(exist_ok=True)
            here.write_text(path.read_text().replace("/srv/coffer", str(ROOT)))
    return folder


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *arguments],
        env={"PATH": os.environ["PATH"], "SYSTEMD_UNIT_PATH": f"{units}:"},
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN,
        check=False,
    )


def test_systemd_finds_nothing_wrong_with_the_units(units: Path) -> None:
    names = [str(path) for path in sorted(units.iterdir()) if path.is_file()]
    ran = analyze(units, "verify", "--man=no", *names)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@pytest.mark.parametrize("name", sorted(path.name for path in SYSTEMD.glob("*.service")))
def test_a_unit_exposes_little(units: Path, name: str) -> None:
    """By systemd's own measure, from 0 to 100, of which 20 is little for what has a network."""
    ran = analyze(units, "security", "--offline=true", "--threshold=20", str(units / name))
    assert ran.returncode == 0, ran.stdout
