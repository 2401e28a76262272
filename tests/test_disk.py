"""Objects on local disk: whole or absent, on the device before they have a name, closed to strangers."""

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile, File

from files import direct
from files.disk import DiskDraft, DiskStorage
from files.receive import Received
from tests.conftest import stored_files
from tests.test_receive import room_for

KEY = "image/2026/01/31/photo.png"
MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 4096


@pytest.fixture
def disk(tmp_path: Path) -> DiskStorage:
    return DiskStorage(tmp_path / "files")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def staged() -> Iterator[Received]:
    """A file that came in and lies in a staging file."""
    received = Received(name="photo.png", content_type=None, limit=len(CONTENT))
    received.write(CONTENT)
    received.check()
    yield received
    received.close()


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def staging_file(received: Received) -> Path:
    path = received.staged(name=KEY, content_type="image/png").staged_path
    assert path is not None
    return Path(path)


def save_staged(disk: DiskStorage, received: Received, key: str = KEY) -> str:
    return disk.save(key, received.staged(name=key, content_type="image/png"))


def refuse_links(monkeypatch, code: int, *, below: Path | None = None) -> None:
    """Links fail with this code: all of them, or those from files below one folder."""
    link = os.link

    def refused(source, target, **options) -> None:
        if below is None or Path(source).is_relative_to(below):
            raise OSError(code, os.strerror(code), str(source), None, str(target))
        link(source, target, **options)

    monkeypatch.setattr(os, "link", refused)


# --- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_modes_do_not_depend_on_the_umask(disk: DiskStorage, root: Path, mask: int) -> None:
    with umask(mask):
        disk.save(KEY, ContentFile(b"bytes"))
    assert mode(root / KEY) == 0o640
    folders = [path for path in root.rglob("*") if path.is_dir()]
    assert {path.name: mode(path) for path in [root, *folders]} == dict.fromkeys(
        ("files", ".drafts", "image", "2026", "01", "31"), 0o750
    )


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_a_staged_file_gets_the_mode_of_an_object(
    disk: DiskStorage, root: Path, staged: Received, mask: int
) -> None:
    with umask(mask):
        save_staged(disk, staged)
    assert mode(root / KEY) == 0o640


# --- whole or absent -------------------------------------------------------------------------------


class Broken(ContentFile[bytes]):
    """Content whose bytes cannot be read to the end. It looks at the storage while it is being saved."""

    def __init__(self, root: Path) -> None:
        super().__init__(CONTENT)
        self.root = root
        self.seen: list[str] = []

    def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
        yield CONTENT
        self.seen = stored_files(self.root)
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_half_a_content_never_gets_the_name_and_leaves_nothing(disk: DiskStorage, root: Path) -> None:
    content = Broken(root)
    with pytest.raises(OSError, match="Input/output"):
        disk.save(KEY, content)
    assert [Path(path).parent.name for path in content.seen] == [".drafts"]
    assert stored_files(root) == []


def test_a_disk_that_fills_up_while_saving_leaves_nothing(disk: DiskStorage, root: Path) -> None:
    with room_for(MIB // 2), pytest.raises(OSError, match="too large"):
        disk.save(KEY, ContentFile(CONTENT))
    assert stored_files(root) == []


def test_an_object_that_cannot_be_flushed_is_not_kept(disk: DiskStorage, root: Path, monkeypatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    (root / KEY).parent.mkdir(parents=True)
    (root / ".drafts").mkdir()
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output"):
        disk.save(KEY, ContentFile(b"bytes"))
    assert stored_files(root) == []


def test_a_name_that_cannot_be_flushed_is_taken_back(disk: DiskStorage, root: Path, monkeypatch) -> None:
    fsync = os.fsync

    def fail_on_folders(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    (root / KEY).parent.mkdir(parents=True)
    (root / ".drafts").mkdir()
    monkeypatch.setattr(os, "fsync", fail_on_folders)
    with pytest.raises(OSError, match="Input/output"):
        disk.save(KEY, ContentFile(b"bytes"))
    assert stored_files(root) == []


def test_saving_leaves_no_draft(disk: DiskStorage, root: Path, staged: Received) -> None:
    disk.save("copied.txt", ContentFile(b"bytes"))
    save_staged(disk, staged, "linked.png")
    assert stored_files(root) == ["copied.txt", "linked.png"]


@pytest.fixture
def flushed(monkeypatch, root: Path) -> list[tuple[int, bool]]:
    """What was flushed, in order: the inode, and whether the object had its name by then."""
    fsync = os.fsync
    calls: list[tuple[int, bool]] = []

    def record(descriptor: int) -> None:
        calls.append((os.fstat(descriptor).st_ino, (root / KEY).exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    return calls


def test_bytes_are_flushed_before_they_get_their_name_and_the_folder_after(
    disk: DiskStorage, root: Path, flushed: list[tuple[int, bool]]
) -> None:
    disk.save(KEY, ContentFile(b"bytes"))
    assert ((root / KEY).stat().st_ino, False) in flushed
    assert flushed[-1] == ((root / KEY).parent.stat().st_ino, True)


def test_linked_bytes_are_flushed_like_copied_ones(
    disk: DiskStorage, root: Path, staged: Received, flushed: list[tuple[int, bool]]
) -> None:
    save_staged(disk, staged)
    assert ((root / KEY).stat().st_ino, False) in flushed
    assert flushed[-1] == ((root / KEY).parent.stat().st_ino, True)


def test_a_new_folder_is_flushed_into_the_one_above(
    disk: DiskStorage, root: Path, flushed: list[tuple[int, bool]]
) -> None:
    disk.save(KEY, ContentFile(b"bytes"))
    above = [folder.stat().st_ino for folder in (root / KEY).parents if folder.is_relative_to(root.parent)]
    assert {inode for inode, _ in flushed} >= set(above)


# --- many bytes --------------------------------------------------------------------------------------


@pytest.fixture
def no_writers(monkeypatch) -> None:
    """Others have all the threads that write past the page cache."""
    monkeypatch.setattr(direct, "_free", threading.Semaphore(0))


@pytest.fixture
def sent_on(monkeypatch, no_writers) -> list[tuple[int, int]]:
    """What of a file was to leave the page cache, in order: the first byte and the one after the last."""
    advise = os.posix_fadvise
    calls: list[tuple[int, int]] = []

    def record(descriptor: int, start: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        assert os.fstat(descriptor).st_size >= start + length
        calls.append((start, start + length))
        advise(descriptor, start, length, advice)

    monkeypatch.setattr(os, "posix_fadvise", record)
    return calls


def test_many_bytes_go_to_the_device_while_others_come(
    disk: DiskStorage, sent_on: list[tuple[int, int]]
) -> None:
    draft = disk.begin(KEY, content_type="image/png")
    size = 0
    while size < 64 * MIB:
        draft.write(CONTENT[: MIB - 1])  # ends within a block
        size += MIB - 1
        reached = sent_on[-1][1] if sent_on else 0
        assert size - reached < (4 if sent_on else 16) * MIB + MIB
        assert reached % (4 * MIB) == 0
    assert sent_on[0][0] == 0
    assert all(later[0] < earlier[1] < later[1] for earlier, later in pairwise(sent_on))  # none is left out
    draft.abort()


def test_few_bytes_stay_in_memory_to_be_read(disk: DiskStorage, sent_on: list[tuple[int, int]]) -> None:
    draft = disk.begin(KEY, content_type="image/png")
    for _ in range(15):
        draft.write(CONTENT)
    draft.commit(sha256="", md5="")
    assert sent_on == []


def test_a_file_system_without_advice_keeps_many_bytes_all_the_same(
    disk: DiskStorage, root: Path, monkeypatch, no_writers
) -> None:
    def refuse(*_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    draft = disk.begin(KEY, content_type="image/png")
    for _ in range(20):
        draft.write(CONTENT)
    draft.commit(sha256="", md5="")
    assert (root / KEY).read_bytes() == CONTENT * 20


# --- staged bytes ----------------------------------------------------------------------------------


def test_a_staged_file_is_linked_and_not_copied(disk: DiskStorage, root: Path, staged: Received) -> None:
    save_staged(disk, staged)
    assert (root / KEY).samefile(staging_file(staged))
    staged.close()
    assert (root / KEY).read_bytes() == CONTENT
    assert (root / KEY).stat().st_nlink == 1


@pytest.mark.parametrize("code", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_a_staged_file_that_cannot_be_linked_is_copied(
    disk: DiskStorage, root: Path, staged: Received, monkeypatch, settings, code: int
) -> None:
    refuse_links(monkeypatch, code, below=Path(settings.STAGING_DIR))
    assert save_staged(disk, staged) == KEY
    assert (root / KEY).read_bytes() == CONTENT
    assert not (root / KEY).samefile(staging_file(staged))
    assert mode(root / KEY) == 0o640


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS])
def test_where_links_are_refused_the_draft_is_renamed(
    disk: DiskStorage, root: Path, monkeypatch, code: int
) -> None:
    refuse_links(monkeypatch, code)
    assert disk.save(KEY, ContentFile(b"bytes")) == KEY
    assert (root / KEY).read_bytes() == b"bytes"
    assert mode(root / KEY) == 0o640
    assert stored_files(root) == [KEY]


def test_another_error_of_a_link_is_not_taken_for_a_refusal(
    disk: DiskStorage, root: Path, monkeypatch
) -> None:
    refuse_links(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        disk.save(KEY, ContentFile(b"bytes"))
    assert stored_files(root) == []


# --- an object in the making -----------------------------------------------------------------------


def begin(disk: DiskStorage) -> DiskDraft:
    return disk.begin(KEY, content_type="image/png")


def test_bytes_are_written_once_and_where_they_stay(disk: DiskStorage, root: Path) -> None:
    draft = begin(disk)
    draft.write(CONTENT)
    (path,) = (root / ".drafts").iterdir()
    inode = path.stat().st_ino
    assert not (root / KEY).exists()
    draft.commit(sha256="", md5="")
    assert stored_files(root) == [KEY]
    assert (root / KEY).stat().st_ino == inode
    assert (root / KEY).read_bytes() == CONTENT
    assert mode(root / KEY) == 0o640


def test_a_draft_is_flushed_before_it_gets_its_name_and_the_folder_after(
    disk: DiskStorage, root: Path, flushed: list[tuple[int, bool]]
) -> None:
    draft = begin(disk)
    draft.write(b"bytes")
    draft.commit(sha256="", md5="")
    assert ((root / KEY).stat().st_ino, False) in flushed
    assert flushed[-1] == ((root / KEY).parent.stat().st_ino, True)


@pytest.mark.parametrize("content", [b"", b"bytes", CONTENT], ids=["nothing", "few", "many"])
def test_an_aborted_draft_leaves_nothing(disk: DiskStorage, root: Path, content: bytes) -> None:
    draft = begin(disk)
    draft.write(content)
    draft.abort()
    draft.abort()
    assert stored_files(root) == []


@pytest.mark.parametrize("size", [MIB // 4, 2 * MIB], ids=["while it is flushed", "while it is written"])
def test_a_disk_that_fills_up_under_a_draft_leaves_nothing(disk: DiskStorage, root: Path, size: int) -> None:
    draft = begin(disk)

    def fill_and_commit() -> None:
        draft.write(bytes(size))
        draft.write(b"these wait in a buffer")
        draft.commit(sha256="", md5="")

    with room_for(MIB // 4), pytest.raises(OSError, match="too large"):
        fill_and_commit()
    draft.abort()
    assert stored_files(root) == []


def test_a_draft_never_overwrites_an_object(disk: DiskStorage, root: Path) -> None:
    draft = begin(disk)
    draft.write(b"second")
    disk.save(KEY, ContentFile(b"first"))
    with pytest.raises(FileExistsError):
        draft.commit(sha256="", md5="")
    draft.abort()
    assert (root / KEY).read_bytes() == b"first"
    assert stored_files(root) == [KEY]


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname"])
def test_no_draft_is_begun_for_what_lies_outside_the_folder(disk: DiskStorage, root: Path, name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        disk.begin(name, content_type="image/png")
    assert not root.exists()


# --- names -----------------------------------------------------------------------------------------


def test_an_object_is_never_overwritten(disk: DiskStorage, root: Path) -> None:
    disk.save(KEY, ContentFile(b"first"))
    second = disk.save(KEY, ContentFile(b"second"))
    assert second != KEY
    assert (root / KEY).read_bytes() == b"first"
    assert (root / second).read_bytes() == b"second"


@pytest.mark.parametrize("links", [True, False], ids=["by links", "by renaming"])
def test_a_name_that_is_taken_meanwhile_is_not_overwritten(
    disk: DiskStorage, root: Path, monkeypatch, links: bool
) -> None:
    if not links:
        refuse_links(monkeypatch, errno.EPERM)

    class Late(File[bytes]):
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            disk.save(KEY, ContentFile(b"first"))
            yield b"second"

    second = disk.save(KEY, Late(None))
    assert second != KEY
    assert (root / KEY).read_bytes() == b"first"
    assert (root / second).read_bytes() == b"second"
    assert stored_files(root) == sorted([KEY, second])


def test_drafts_are_not_listed(disk: DiskStorage) -> None:
    disk.save("image/photo.png", ContentFile(b"bytes"))
    disk.save("notes.txt", ContentFile(b"bytes"))
    assert disk.listdir("") == (["image"], ["notes.txt"])
    assert disk.listdir("image") == ([], ["photo.png"])


@pytest.mark.parametrize("name", ["../secret", "a/../../secret", "/etc/hostname"])
def test_nothing_outside_the_folder_is_read_or_deleted(disk: DiskStorage, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(SuspiciousFileOperation):
        disk.open(name)
    with pytest.raises(SuspiciousFileOperation):
        disk.delete(name)
    assert (tmp_path / "secret").read_text() == "secret"


def test_deleting_no_name_deletes_nothing(disk: DiskStorage, root: Path) -> None:
    disk.save(KEY, ContentFile(b"bytes"))
    with pytest.raises(ValueError, match="name"):
        disk.delete("")
    assert stored_files(root) == [KEY]
