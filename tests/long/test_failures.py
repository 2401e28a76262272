"""What clients see when a disk, a database or a store fails, and that the service goes on once it is back."""

import resource
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e import databases, server
from tests.e2e.conftest import Prepared, Start
from tests.e2e.s3 import Store
from tests.e2e.server import DELETE, Service, assert_service_unavailable, one_file, wait_for

pytestmark = pytest.mark.e2e

STAGED_ON_DISK = 3 * 1024 * 1024  # bytes; well past what is kept in memory
UPDATE = """
    mutation ($input: UpdateFileInput!) {
        updateFile(input: $input) {
            __typename ... on File { title } ... on StorageUnavailable { retryable retryAfter }
        }
    }
"""
REMOVE = DELETE.replace("... on DeletedFile", "... on StorageUnavailable { retryable } ... on DeletedFile")


def assert_unavailable(result: dict[str, object]) -> None:
    """The typed error that says to try again."""
    assert result["__typename"] == "StorageUnavailable", result
    assert result["retryable"] is True
    assert result["retryAfter"] == 5
    assert result["message"] == (
        "The file could not be stored or read just now; nothing was changed. Try again later."
    )


@pytest.fixture(scope="module")
def frail(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that the tests here may break and mend; it waits one second for a lock, not five."""
    data_dir = prepared.copy(tmp_path_factory.mktemp("frail") / "frail")
    database = {"DATABASE_URL": f"sqlite:///{data_dir / 'coffer.sqlite3'}?timeout=1"}
    settings = databases.settings(data_dir) or database
    with server.running(data_dir, token=prepared.token, settings=settings) as service:
        yield service


# --- a full disk -----------------------------------------------------------------------------------


@contextmanager
def full_at(size: int, service: Service) -> Iterator[None]:
    """No file of the service's can grow past so many bytes: to a program that is what a full disk is like."""

    def limit(soft: int) -> None:
        for pid in service.processes():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    limit(size)
    try:
        yield
    finally:
        limit(resource.RLIM_INFINITY)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets one process limit another")
@pytest.mark.parametrize(
    "room, size",
    [(3_000_000, 5_000_000), (400_000, 450_000)],
    ids=["while the bytes come in", "when they are stored"],
)
def test_a_full_disk_is_an_error_to_be_tried_again_and_leaves_nothing(
    frail: Service, room: int, size: int
) -> None:
    before = frail.kept()
    with full_at(room, frail):
        assert_unavailable(frail.upload(b"x" * size))
        assert frail.kept() == before
        assert frail.upload(b"There is room for this.")["__typename"] == "File"
    assert frail.upload(b"x" * size)["__typename"] == "File"
    assert frail.staged() == []


# --- a database that does not answer ---------------------------------------------------------------


@pytest.mark.sqlite("one writer locks out all others there alone")
def test_a_locked_database_is_an_error_to_be_tried_again_and_leaves_nothing(frail: Service) -> None:
    kept = frail.upload(b"Kept before.", title="before")
    before = frail.kept()
    retitled = {"id": kept["id"], "title": "after"}
    database = frail.data_dir / "coffer.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert_unavailable(frail.upload(b"x" * STAGED_ON_DISK))
        changed = frail.run(UPDATE, input=retitled)["updateFile"]
        assert changed == {"__typename": "StorageUnavailable", "retryable": True, "retryAfter": 5}
        (removed,) = frail.run(REMOVE, ids=[kept["id"]])["deleteFiles"]
        assert removed == {"__typename": "StorageUnavailable", "retryable": True}
        # Who only reads does not wait for the writer.
        assert frail.run("{ files { totalCount } }") == {"files": {"totalCount": before[0]}}
        assert httpx.get(kept["url"]["url"], trust_env=False).content == b"Kept before."
        other.execute("ROLLBACK")
    assert frail.kept() == before
    assert frail.upload(b"x" * STAGED_ON_DISK)["__typename"] == "File"
    assert frail.run(UPDATE, input=retitled)["updateFile"] == {"__typename": "File", "title": "after"}
    frail.delete(kept["id"])


def garbage(path: Path) -> None:
    path.write_bytes(b"This is no database. " * 10_000)


def damaged_in_the_middle(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))


def a_folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def without_tables(path: Path) -> None:
    path.unlink()
    path.touch()


@contextmanager
def broken(service: Service, breaks: Callable[[Path], None]) -> Iterator[None]:
    """The service's database, while nobody has it open, and afterwards as it was."""
    path = service.data_dir / "coffer.sqlite3"
    write_ahead_log = path.with_name(f"{path.name}-wal")
    wait_for("the database to be closed", lambda: not write_ahead_log.exists())
    saved = path.with_suffix(".saved")
    shutil.copy2(path, saved)
    breaks(path)
    try:
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        for left in path.parent.glob(f"{path.name}*"):
            left.unlink()
        saved.rename(path)


@pytest.mark.sqlite("its file is damaged; test_postgres.py has a server that goes away")
@pytest.mark.parametrize("breaks", [garbage, damaged_in_the_middle, a_folder_in_its_place, without_tables])
def test_a_database_that_cannot_be_read_is_503_until_it_can(
    frail: Service, breaks: Callable[[Path], None]
) -> None:
    kept = frail.upload(b"Kept before.")
    objects = frail.objects()
    with broken(frail, breaks):
        assert_service_unavailable(frail.send(one_file(b"x" * 1000)))
        assert_service_unavailable(frail.ask("{ viewer { username } }"))
        assert_service_unavailable(httpx.get(kept["url"]["url"], trust_env=False))
        # Nobody's request has no token to be looked up, so it gets as far as its query.
        public = httpx.post(frail.graphql_url, json={"query": "{ files { totalCount } }"}, trust_env=False)
        extensions = public.json()["errors"][0]["extensions"]
        assert extensions["code"] == "SERVICE_UNAVAILABLE"
        assert (extensions["retryable"], extensions["retryAfter"]) == (True, 5)
    assert (frail.objects(), frail.staged()) == (objects, [])
    assert frail.upload(b"Kept after.")["__typename"] == "File"
    assert httpx.get(kept["url"]["url"], trust_env=False).content == b"Kept before."


# --- a loss of power -------------------------------------------------------------------------------


def test_a_kill_during_an_upload_leaves_no_row_and_no_half_object(start: Start, prepared: Prepared) -> None:
    with start("killed") as service:
        kept = service.upload(b"Kept before.")
        sent = one_file(b"x" * STAGED_ON_DISK)
        with service.connect() as connection:
            connection.sendall(sent.head(service.token) + sent.body[: STAGED_ON_DISK // 2])
            wait_for("the bytes to be staged", lambda: len(service.staged()) == 1)
            service.kill()
        assert (service.rows(), service.objects()) == (1, [kept["storage"]["objectKey"]])
        data_dir = service.data_dir
    with server.running(data_dir, token=prepared.token) as service:
        assert service.run("{ files { edges { node { id } } } }")["files"]["edges"] == [
            {"node": {"id": kept["id"]}}
        ]
        again = service.upload(b"x" * STAGED_ON_DISK)
        assert again["__typename"] == "File"
        assert (service.data_dir / "files" / again["storage"]["objectKey"]).stat().st_size == STAGED_ON_DISK


# --- S3 --------------------------------------------------------------------------------------------


def test_files_are_kept_in_s3_and_an_outage_of_it_passes(start: Start, store: Store) -> None:
    content = b"s3 " * 1_000_000
    with start("s3", settings=store.settings()) as service:
        kept = service.upload(content, "in s3.txt")
        key = kept["storage"]["objectKey"]
        assert kept["storage"] == {"backend": "s3", "bucket": store.bucket, "objectKey": key}
        stored = store.client.get_object(Bucket=store.bucket, Key=key)
        assert stored["ContentType"] == kept["contentType"]
        with closing(stored["Body"]) as body:
            assert body.read() == content
        url = kept["url"]["url"]
        assert url.startswith(f"{store.url}/{store.bucket}/{key}?")
        assert httpx.get(url, trust_env=False).content == content
        part = httpx.get(url, headers={"Range": "bytes=3-8"}, trust_env=False)
        assert (part.status_code, part.content) == (206, b"s3 s3 ")
        assert (service.objects(), service.staged()) == ([], [])

        store.switch_off()
        assert_unavailable(service.upload(content, "during the outage.txt"))
        assert service.kept() == (1, [], [])
        # What needs no object is answered all the same, addresses too.
        assert service.run("{ files { totalCount nodes: edges { node { url { url } } } } }")["files"]["nodes"]

        store.switch_on()
        assert httpx.get(url, trust_env=False).content == content
        assert service.upload(b"after it")["__typename"] == "File"
        assert len(store.stored_keys()) == 2
        service.delete(kept["id"])
        assert key not in store.stored_keys()
        # Stores do not say that an object is missing to who may not list them.
        assert httpx.get(url, trust_env=False).status_code in {403, 404}
