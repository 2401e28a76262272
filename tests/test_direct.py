"""Bytes of large files past the page cache, and what becomes of them where that is not possible."""

import errno
import fcntl
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from files import direct
from files.disk import DiskDraft, DiskStorage

KEY = "default/2026/01/31/large.bin"
MIB = 1024 * 1024
CACHED = 16 * MIB  # bytes that every draft writes through the page cache first
CONTENT = random.Random(1).randbytes(27 * MIB + 13)


@pytest.fixture
def disk(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "files")


@pytest.fixture(autouse=True)
def writers(monkeypatch) -> Iterator[Callable[[int], None]]:
    """There may be two, or as many as are asked for; none is left in the end, nor a thread of one."""

    def allow(number: int) -> None:
        monkeypatch.setattr(direct, "_free", threading.BoundedSemaphore(number))

    allow(2)
    yield allow
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("direct")] == []


@pytest.fixture
def written(monkeypatch) -> list[tuple[int, bool]]:
    """What was written by single calls: how many bytes, and whether they went past the page cache."""
    write = os.write
    calls: list[tuple[int, bool]] = []

    def record(descriptor: int, block: memoryview) -> int:
        calls.append((len(block), is_direct(descriptor)))
        return write(descriptor, block)

    monkeypatch.setattr(os, "write", record)
    return calls


def is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT)


def begin(disk: DiskStorage, name: str = KEY) -> DiskDraft:
    return disk.begin(name, content_type="application/octet-stream")


def fill(draft: DiskDraft, content: bytes = CONTENT, chunk: int = MIB) -> None:
    for start in range(0, len(content), chunk):
        draft.write(content[start : start + chunk])


def kept(disk: DiskStorage) -> bytes:
    return Path(disk.path(KEY)).read_bytes()


def drafts(disk: DiskStorage) -> int:
    return len(list(disk.unfinished("")))


@pytest.mark.parametrize("chunk", [256 * 1024, MIB - 1, 5 * MIB + 3, len(CONTENT)])
@pytest.mark.parametrize("size", [CACHED, CACHED + 1, CACHED + direct.BLOCK, len(CONTENT)])
def test_all_bytes_are_kept_however_they_are_cut(disk: DiskStorage, size: int, chunk: int) -> None:
    draft = begin(disk)
    fill(draft, CONTENT[:size], chunk)
    draft.commit(sha256="", md5="")
    assert kept(disk) == CONTENT[:size]
    assert drafts(disk) == 0


def test_whole_blocks_go_past_the_page_cache_and_the_rest_through_it(
    disk: DiskStorage, written: list[tuple[int, bool]]
) -> None:
    draft = begin(disk)
    fill(draft)
    draft.commit(sha256="", md5="")
    blocks, rest = divmod(len(CONTENT) - CACHED, direct.BLOCK)
    assert written == [*[(direct.BLOCK, True)] * blocks, (rest, False)]


def test_a_small_file_stays_in_the_cache(disk: DiskStorage, written: list[tuple[int, bool]]) -> None:
    draft = begin(disk)
    fill(draft, CONTENT[: CACHED - 1])
    draft.commit(sha256="", md5="")
    assert written == []


@pytest.mark.parametrize("ends", ["committed", "aborted"])
def test_there_are_no_more_writers_than_allowed(disk: DiskStorage, writers, ends: str) -> None:
    writers(1)
    first, second = begin(disk, "first.bin"), begin(disk)
    fill(first)
    fill(second)
    third = begin(disk, "third.bin")
    try:
        assert (first.is_direct, second.is_direct) == (True, False)
        second.commit(sha256="", md5="")
        assert kept(disk) == CONTENT
        if ends == "committed":
            first.commit(sha256="", md5="")
        first.abort()
        first.abort()  # once more is no second place for another
        fill(third)
        assert third.is_direct
        fourth = begin(disk, "fourth.bin")
        fill(fourth)
        assert not fourth.is_direct
        fourth.abort()
    finally:
        first.abort()
        third.abort()


def test_a_file_system_that_takes_no_such_writes_gets_others(
    disk: DiskStorage, monkeypatch, written: list[tuple[int, bool]]
) -> None:
    control = fcntl.fcntl

    def refuse(descriptor: int, command: int, flags: int = 0) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return control(descriptor, command, flags)

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    for _ in range(3):  # none of them keeps the place of a writer
        draft = begin(disk)
        fill(draft)
        draft.commit(sha256="", md5="")
        assert kept(disk) == CONTENT
        disk.delete(KEY)
    monkeypatch.setattr(fcntl, "fcntl", control)
    assert written == []
    draft = begin(disk)
    fill(draft)
    draft.abort()
    assert written != []


def test_a_device_of_larger_blocks_gets_the_same_bytes_by_the_cache(disk: DiskStorage, monkeypatch) -> None:
    write, refused = os.write, []

    def pick(descriptor: int, block: memoryview) -> int:
        if is_direct(descriptor):
            refused.append(len(block))
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return write(descriptor, block[: MIB + 1])  # and not all at once

    monkeypatch.setattr(os, "write", pick)
    draft = begin(disk)
    fill(draft)
    draft.commit(sha256="", md5="")
    assert kept(disk) == CONTENT
    assert refused == [direct.BLOCK]


@pytest.mark.parametrize("more", [0, MIB, 8 * MIB], ids=["at the end", "soon", "with the next bytes"])
def test_an_error_is_told_and_nothing_is_left(disk: DiskStorage, monkeypatch, more: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", fail)
    draft = begin(disk)

    def upload() -> None:
        fill(draft, CONTENT[: CACHED + direct.BLOCK])
        fill(draft, CONTENT[:more])
        draft.commit(sha256="", md5="")

    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        upload()
    draft.abort()
    assert not disk.exists(KEY)
    assert drafts(disk) == 0
