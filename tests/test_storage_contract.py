"""What every storage has to do, wherever it keeps the bytes: one suite, run against each of `BACKENDS`.

A backend is the environment that an operator would write for it, and the storage is what the real settings
make of that.
"""

import hashlib
import random
import runpy
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages

from config import settings as deployment
from files.receive import Received

S3_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_S3_REGION_NAME": "us-east-1",
    "AWS_S3_CUSTOM_DOMAIN": "",
}
BACKENDS: dict[str, dict[str, str]] = {
    "memory": {"STORAGE": "django.core.files.storage.InMemoryStorage"},
    "disk": {"STORAGE": "local"},
    "s3": {"USE_S3_STORAGE": "True", **S3_ACCOUNT},
}
# Those that give a second object of one name another name, also when both come at once. S3 writes over what
# is there, and Django's storage in memory mixes the two; Coffer never gives two objects one key.
RENAMING = ("disk",)
# Django's storage in memory has one position for all readers of an object.
READ_BY_MANY = [name for name in BACKENDS if name != "memory"]

KEY = "image/2026/01/31/0192f5d0-7b9c-7000-8000-000000000000.png"
MIB = 1024 * 1024


@pytest.fixture(params=BACKENDS)
def backend(request) -> str:
    return request.param


@pytest.fixture
def storage(backend: str, request, settings, monkeypatch, tmp_path: Path) -> Storage:
    """The backend as a deployment with its environment has it, empty."""
    environment = {"DATA_DIR": str(tmp_path), **BACKENDS[backend]}
    if backend == "s3":
        environment["AWS_S3_ENDPOINT_URL"] = request.getfixturevalue("s3_server")
        environment["AWS_STORAGE_BUCKET_NAME"] = f"coffer-{uuid.uuid4()}"
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    configured: dict[str, Any] = runpy.run_path(deployment.__file__)
    settings.STORAGES = {**settings.STORAGES, "default": configured["STORAGES"]["default"]}
    settings.STAGING_DIR = configured["STAGING_DIR"]
    storage: Any = storages["default"]
    if backend == "s3":
        storage.bucket.create()
    return storage


@pytest.fixture
def staged() -> Iterator[Received]:
    """A file that came in and was too large to be held in memory."""
    received = Received(name="holiday.png", content_type="text/html", limit=2 * MIB)
    for chunk in (noise(MIB, seed=1), b"the end"):
        received.write(chunk)
    received.check()
    yield received
    received.close()


def noise(size: int, *, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def read(storage: Storage, key: str) -> bytes:
    with storage.open(key, "rb") as file:
        content = file.read()
    assert isinstance(content, bytes)
    return content


def at_once[Result](count: int, act: Callable[[int], Result]) -> list[Result]:
    """What `act` returns for each number below `count`, all begun at the same moment."""
    barrier = threading.Barrier(count, timeout=30)

    def begin(number: int) -> Result:
        barrier.wait()
        return act(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count)))


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads take turns so often that a gap between a question and its answer is met."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize(
    "content", [b"x", b"\x00\xff\r\n\x1a" * 100, noise(300_000, seed=2)], ids=["one byte", "odd", "many"]
)
def test_what_was_saved_is_read(storage: Storage, content: bytes) -> None:
    assert storage.save(KEY, ContentFile(content)) == KEY
    assert read(storage, KEY) == content
    assert storage.size(KEY) == len(content)


def test_an_object_is_read_in_chunks(storage: Storage) -> None:
    content = noise(200_001, seed=3)
    storage.save(KEY, ContentFile(content))
    with storage.open(KEY, "rb") as file:
        chunks = list(file.chunks(64 * 1024))
    assert b"".join(chunks) == content
    assert max(map(len, chunks)) <= 64 * 1024


def test_ranges_are_read_in_any_order(storage: Storage) -> None:
    content = noise(200_001, seed=4)
    storage.save(KEY, ContentFile(content))
    with storage.open(KEY, "rb") as file:
        for first, length in [(199_000, 1_001), (0, 10), (70_000, 65_536), (200_000, 1)]:
            file.seek(first)
            assert file.read(length) == content[first : first + length]
        file.seek(200_001)
        assert file.read(1) == b""


@pytest.mark.parametrize("backend", READ_BY_MANY, indirect=True)
def test_one_reader_does_not_move_another(storage: Storage) -> None:
    storage.save(KEY, ContentFile(b"0123456789"))
    with storage.open(KEY, "rb") as one, storage.open(KEY, "rb") as other:
        assert one.read(5) == b"01234"
        assert other.read(3) == b"012"
        assert one.read(5) == b"56789"


def test_a_large_object_comes_back_whole(storage: Storage) -> None:
    content = noise(25 * MIB, seed=5)
    storage.save(KEY, ContentFile(content))
    digest = hashlib.sha256()
    with storage.open(KEY, "rb") as file:
        for chunk in file.chunks():
            digest.update(chunk)
    assert storage.size(KEY) == len(content)
    assert digest.digest() == hashlib.sha256(content).digest()


def test_deleting_twice_is_the_same_as_once(storage: Storage) -> None:
    storage.save(KEY, ContentFile(b"bytes"))
    storage.delete(KEY)
    assert not storage.exists(KEY)
    storage.delete(KEY)


def test_deleting_what_never_was_is_no_error(storage: Storage) -> None:
    storage.delete("image/2026/02/01/nothing.png")


def test_deleting_one_object_leaves_its_neighbours(storage: Storage) -> None:
    storage.save("image/a.png", ContentFile(b"a"))
    storage.save("image/b.png", ContentFile(b"b"))
    storage.delete("image/a.png")
    assert read(storage, "image/b.png") == b"b"


@pytest.mark.parametrize("key", ["nothing.png", "no/such/folder/nothing.png"])
def test_a_missing_object_is_a_file_not_found_error(storage: Storage, key: str) -> None:
    with pytest.raises(FileNotFoundError):
        storage.open(key, "rb")


def test_a_deleted_object_is_a_file_not_found_error(storage: Storage) -> None:
    storage.save(KEY, ContentFile(b"bytes"))
    storage.delete(KEY)
    with pytest.raises(FileNotFoundError):
        storage.open(KEY, "rb")


@pytest.mark.parametrize("key", ["../x", "/etc/x", "a/../../x", "a/..", "..\\x", ""])
def test_a_key_that_leads_out_is_refused(storage: Storage, key: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        storage.save(key, ContentFile(b"bytes"))


def test_parallel_saves_under_different_keys_all_survive(storage: Storage, busy_threads) -> None:
    contents = [noise(20_000 + number, seed=number) for number in range(16)]
    keys = at_once(16, lambda number: storage.save(f"a/b/{number}.bin", ContentFile(contents[number])))
    assert keys == [f"a/b/{number}.bin" for number in range(16)]
    assert [read(storage, key) for key in keys] == contents


@pytest.mark.parametrize("backend", RENAMING, indirect=True)
def test_parallel_saves_under_one_name_lose_nothing(storage: Storage, busy_threads) -> None:
    contents = [b"%d" % number * 1000 for number in range(16)]
    keys = at_once(16, lambda number: storage.save("a/same.bin", ContentFile(contents[number])))
    assert len(set(keys)) == 16
    assert [read(storage, key) for key in keys] == contents


def test_received_bytes_are_stored_as_they_came(storage: Storage, staged: Received) -> None:
    content = staged.staged(name=KEY, content_type="image/png")
    assert storage.save(KEY, content) == KEY
    assert hashlib.sha256(read(storage, KEY)).hexdigest() == staged.sha256
    assert storage.size(KEY) == staged.size


def test_the_same_received_bytes_are_stored_twice(storage: Storage, staged: Received) -> None:
    for key in ("first.png", "second.png"):
        storage.save(key, staged.staged(name=key, content_type="image/png"))
    storage.delete("first.png")
    assert hashlib.sha256(read(storage, "second.png")).hexdigest() == staged.sha256


def test_stored_bytes_outlive_the_received_ones(storage: Storage, staged: Received) -> None:
    storage.save(KEY, staged.staged(name=KEY, content_type="image/png"))
    expected = staged.sha256
    staged.close()
    assert hashlib.sha256(read(storage, KEY)).hexdigest() == expected


def test_received_bytes_that_never_left_memory_are_stored(storage: Storage) -> None:
    received = Received.of_bytes(b"small", name="small.txt")
    storage.save(KEY, received.staged(name=KEY, content_type="text/plain"))
    received.close()
    assert read(storage, KEY) == b"small"


@pytest.mark.parametrize("backend", ["s3"], indirect=True)
def test_an_object_on_s3_bears_the_detected_type_and_may_be_cached(storage: Any, staged: Received) -> None:
    storage.save("looks-like.html", staged.staged(name="looks-like.html", content_type="image/png"))
    stored = storage.bucket.Object("looks-like.html")
    assert stored.content_type == "image/png"
    assert stored.cache_control == "max-age=86400"
