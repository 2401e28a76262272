"""The service is killed at each step of what it does. Nothing that was acknowledged is lost, and `reconcile`
leaves nothing behind."""

import contextlib
import hashlib
import json
import secrets
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api import picture
from tests.e2e import databases, server
from tests.e2e.conftest import Prepared
from tests.e2e.s3 import Store
from tests.e2e.server import DELETE, Service, one_file, wait_for

pytestmark = pytest.mark.e2e

SMALL = 100_000  # bytes; they wait in memory
LARGE = 40 * 1024 * 1024  # bytes; half of it is more than one part of an upload to a bucket
FILES = "{ files(first: 100) { edges { node { id sha256 url { url } } } } }"


@dataclass
class World:
    """One data folder and one storage, and what its clients were told."""

    data_dir: Path
    token: str
    storage: Mapping[str, str]
    store: Store | None
    acknowledged: dict[str, str] = field(default_factory=dict)  # sha256 by id

    def environment(self, failpoint: str = "") -> dict[str, str]:
        crash = {"COFFER_CRASH_TESTS": "True", "COFFER_FAILPOINT": failpoint} if failpoint else {}
        return {**self.storage, "STORAGES": "other", "OTHER_STORAGE": "local", **crash}

    def manage(self, *arguments: str, failpoint: str = "") -> tuple[int, dict[str, Any]]:
        """The exit code of a command, and its report if it came to write one."""
        environ = server.environment(self.data_dir, 8000, self.environment(failpoint))
        ran = server.manage(*arguments, environ=environ)
        with contextlib.suppress(json.JSONDecodeError):
            return ran.returncode, json.loads(ran.stdout)
        assert ran.returncode < 0, ran.stderr
        return ran.returncode, {}

    def objects(self) -> list[str]:
        """All that lies in the storages, drafts and halves included."""
        keys = [*_files_in(self.data_dir / "files"), *_files_in(self.data_dir / "files-other")]
        return sorted(keys + (self.store.stored_keys() if self.store else []))

    def unfinished(self) -> int:
        """Bytes that are to become an object, wherever they wait."""
        waiting = [*_files_in(self.data_dir / "incoming"), *_files_in(self.data_dir / "files" / ".drafts")]
        if self.store is None:
            return len(waiting)
        listed = self.store.client.list_multipart_uploads(Bucket=self.store.bucket)
        return len(waiting) + len(listed.get("Uploads", []))

    def named_keys(self) -> list[str]:
        """Those that rows name."""
        found = databases.ask(
            self.data_dir, "SELECT key FROM files_file UNION ALL SELECT key FROM files_rendition"
        )
        return sorted(str(key) for (key,) in found)

    @contextlib.contextmanager
    def running(self, failpoint: str = "") -> Iterator[Service]:
        """The service after a restart, to be killed. All that was acknowledged before is there.

        One process, so that a failpoint is the end of all of it.
        """
        settings = self.environment(failpoint)
        with server.running(self.data_dir, token=self.token, asgi=True, settings=settings) as service:
            self.check(service)
            yield service
            service.kill()

    def upload(self, service: Service, content: bytes, sent_as: str = "a.bin", **given: Any) -> str:
        """The id of a file that the client was told of."""
        result = service.upload(content, sent_as, **given)
        assert result["__typename"] == "File", result
        self.acknowledged[result["id"]] = hashlib.sha256(content).hexdigest()
        return str(result["id"])

    def check(self, service: Service) -> None:
        """Every file that there is can be read, and those that clients know of are among them."""
        found = {}
        for edge in service.run(FILES)["files"]["edges"]:
            read = httpx.get(edge["node"]["url"]["url"], follow_redirects=True, trust_env=False)
            found[edge["node"]["id"]] = hashlib.sha256(read.content).hexdigest()
            assert found[edge["node"]["id"]] == edge["node"]["sha256"]
        assert self.acknowledged.items() <= found.items()


@pytest.fixture(params=["disk", "s3"])
def world(request: pytest.FixtureRequest, prepared: Prepared, tmp_path: Path) -> Iterator[World]:
    data_dir = prepared.copy(tmp_path / "world")
    if request.param == "disk":
        yield World(data_dir, prepared.token, {}, None)
        return
    with contextlib.ExitStack() as last:
        store = Store()
        store.bucket = f"coffer-{uuid.uuid4()}"  # all servers of moto in one process know all buckets
        store.switch_on()
        last.callback(store.switch_off)
        last.callback(store.client.close)
        location: Any = {"LocationConstraint": store.region}
        store.client.create_bucket(Bucket=store.bucket, CreateBucketConfiguration=location)
        yield World(data_dir, prepared.token, store.settings(), store)


def _files_in(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


# --- what is interrupted ---------------------------------------------------------------------------


def half_an_upload(world: World, service: Service) -> None:
    sent = one_file(secrets.token_bytes(LARGE), profile="default")
    with service.connect() as connection:
        connection.sendall(sent.head(service.token) + sent.body[: LARGE // 2])
        wait_for("the bytes to come in", lambda: world.unfinished() > 0)
        service.kill()


def an_upload(world: World, service: Service) -> None:
    with pytest.raises(httpx.TransportError):
        service.upload(secrets.token_bytes(SMALL))


def a_large_upload(world: World, service: Service) -> None:
    with pytest.raises(httpx.TransportError):
        service.upload(secrets.token_bytes(LARGE))


def an_image(world: World, service: Service) -> None:
    """It has a preset, which is made right after the upload."""
    with pytest.raises(httpx.TransportError):
        service.upload(picture("PNG"), "a.png", profile="image")


def a_deletion(world: World, service: Service) -> None:
    deleted = world.upload(service, picture("JPEG"), "a.jpg", profile="image")
    del world.acknowledged[deleted]  # from now on nobody may count on it
    with pytest.raises(httpx.TransportError):
        service.run(DELETE, ids=[deleted])


@dataclass(frozen=True)
class Crash:
    """`leaves` is what reconcile has to find afterwards, `files` how many files there are more."""

    failpoint: str
    act: Callable[[World, Service], None]
    leaves: dict[str, int]
    files: int = 0


CRASHES = [
    Crash("", half_an_upload, {"in the making": 1}),
    Crash("upload.begun", a_large_upload, {"in the making": 1}),
    Crash("upload.received", a_large_upload, {"in the making": 1}),
    Crash("upload.stored", an_upload, {"object-without-row": 1}),
    Crash("upload.inserted", an_upload, {"object-without-row": 1}),
    Crash("upload.committed", an_upload, {}, files=1),
    Crash("rendition.claimed", an_image, {"unmade-rendition": 1}, files=1),
    Crash("rendition.stored", an_image, {"unmade-rendition": 1}, files=1),
    Crash("delete.row_deleted", a_deletion, {}, files=1),
    Crash("delete.committed", a_deletion, {"object-without-row": 2}),
    Crash("delete.object_deleted", a_deletion, {"object-without-row": 1}),
]


def _in_the_making(found: dict[str, int]) -> dict[str, int]:
    """Halves lie in one place or another, by the profile and the storage."""
    halves = found.pop("temporary-file", 0) + found.pop("unfinished-upload", 0)
    return found | ({"in the making": halves} if halves else {})


def test_a_kill_at_any_step_of_an_upload_or_a_deletion_loses_nothing_and_all_it_leaves_is_mended(
    world: World,
) -> None:
    with world.running() as service:
        for number in range(3):
            world.upload(service, b"%d" % number * 1000)
        world.upload(service, secrets.token_bytes(2_000_000))
    for crash in CRASHES:
        before = len(world.acknowledged)
        files = sum(".renditions/" not in key for key in world.named_keys())
        with world.running(crash.failpoint) as service:
            crash.act(world, service)
        code, report = world.manage("reconcile", "--apply", "--grace", "0s")
        leaves = crash.leaves
        if crash.failpoint == "upload.begun" and world.store is not None:
            leaves = {}  # S3 is told of an object with its first part
        assert (code, _in_the_making(report["found"])) == (0, leaves), crash.failpoint
        assert world.objects() == world.named_keys(), crash.failpoint
        assert world.unfinished() == 0, crash.failpoint
        assert sum(".renditions/" not in key for key in world.named_keys()) == files + crash.files, (
            crash.failpoint
        )
        assert len(world.acknowledged) == before
    with world.running():
        pass
    assert world.manage("verify")[0] == 0


def test_a_kill_at_any_step_of_a_migration_loses_nothing_and_the_next_run_completes_it(
    world: World,
) -> None:
    with world.running() as service:
        world.upload(service, b"text" * 1000)
        world.upload(service, picture("PNG"), "a.png", profile="image")
    migrate = ("migrate_storage", "--to", "other", "--workers", "2")
    for failpoint in ("move.copied", "move.switched"):
        assert world.manage(*migrate, failpoint=failpoint)[0] == -signal.SIGKILL
        code, report = world.manage("reconcile", "--apply", "--grace", "0s")
        # The other worker may have been in the middle of a draft, or of trying the storages.
        on_the_way = {"unfinished-upload", "object-without-row"}
        assert (code, set(report["found"]) - on_the_way) == (1, {"copy"})
        with world.running():
            pass
    assert world.manage(*migrate, "--delete-source")[0] == 0
    code, report = world.manage("reconcile", "--grace", "0s")
    assert (code, report["found"]) == (0, {})
    assert world.objects() == world.named_keys()
    assert world.store is None or world.store.stored_keys() == []
    with world.running():
        pass


def test_what_a_client_sends_kills_nobody(prepared: Prepared, tmp_path: Path) -> None:
    point = {"COFFER_FAILPOINT": "upload.stored", "COFFER_CRASH_TESTS": "True"}
    with server.running(prepared.copy(tmp_path / "world"), token=prepared.token) as service:
        service.client.headers.update({name.replace("_", "-"): value for name, value in point.items()})
        service.client.headers.update(point)
        service.client.params = httpx.QueryParams(point)
        result = service.upload(b"bytes", "COFFER_FAILPOINT=upload.stored", metadata=point)
        assert result["__typename"] == "File"
