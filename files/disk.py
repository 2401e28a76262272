"""Local disk as a storage: an object is there whole, or it is not there.

Django's FileSystemStorage writes under the final name, so a kill leaves half a file there. Here bytes are
written under a name of their own, flushed to the device, and only then linked to the final name; the folder
is flushed too, so that what was answered survives a loss of power.
"""

import contextlib
import errno
import os
import secrets
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

from files import faults
from files.direct import DirectWriter, direct_writer
from files.faults import Fault
from files.listing import StoredObject, Unfinished

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_DRAFTS = ".drafts"
_CHUNK = 1024 * 1024
_WINDOW = 4 * 1024 * 1024  # bytes that are sent on to the device at once
_CACHED = 4 * _WINDOW  # bytes of a draft that the page cache may hold; what is smaller stays there
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


@deconstructible(path="files.disk.DiskStorage")
class DiskStorage(FileSystemStorage):
    """Objects as files below `location`; modes 0640 and 0750. Two saves never meet under one name."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        super().__init__(location=location)
        self._root = Path(location)

    def begin(self, name: str, *, content_type: str) -> "DiskDraft":
        """An object whose bytes are still to come. Its type is in its name: a file has no other label."""
        return DiskDraft(self._root / _DRAFTS, Path(self.path(name)))

    def _save(self, name: str, content: File[bytes]) -> str:
        """Store under `name`, or under a free name like it if that one is taken meanwhile."""
        draft = DiskDraft(self._root / _DRAFTS, Path(self.path(name)), staged=_staged_path(content))
        try:
            if not draft.is_linked:
                for chunk in content.chunks(_CHUNK):
                    draft.write(chunk)
            draft.finish()
            while True:
                try:
                    draft.place(Path(self.path(name)))
                    break
                except FileExistsError:
                    name = self.get_available_name(name)
        finally:
            draft.abort()
        return name.replace("\\", "/")

    def delete(self, name: str) -> None:
        """Remove the object; one that is not there is removed already."""
        if not name:
            raise ValueError("The name must be given to delete().")
        with contextlib.suppress(FileNotFoundError):
            Path(self.path(name)).unlink()

    def relative_path(self, name: str) -> str:
        """Where the object is, from the folder above this storage's. Raises FileNotFoundError."""
        path = Path(self.path(name))
        if not path.is_file():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return str(path.relative_to(Path(self.location).parent))

    def fault(self, error: Exception) -> Fault | None:
        return faults.of_disk(error)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        folders, files = super().listdir(path)
        return [folder for folder in folders if folder != _DRAFTS], files

    def children(self, prefix: str) -> Iterator[str]:
        """The names one level below the prefix, folders with a slash; sorted, so one folder's in memory."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root / prefix) as entries:
            names = [f"{each.name}/" if each.is_dir() else each.name for each in entries]
            yield from sorted(name for name in names if name != f"{_DRAFTS}/")

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All files below the prefix, in the order of their keys."""
        for name in self.children(prefix):
            if name.endswith("/"):
                yield from self.objects(prefix + name)
                continue
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                found = (self._root / prefix / name).lstat()
                yield StoredObject(prefix + name, found.st_size, _time(found.st_mtime))

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Drafts that were never linked to a name. Which prefix they are for is not known: all of them."""
        with contextlib.suppress(FileNotFoundError), os.scandir(self._root / _DRAFTS) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    touched = _time(entry.stat(follow_symlinks=False).st_mtime)
                    yield Unfinished(f"{_DRAFTS}/{entry.name}", entry.name, touched)

    def abort(self, unfinished: Unfinished) -> None:
        """Remove the draft; one that is gone has got its name, or was removed already."""
        (self._root / _DRAFTS / unfinished.id).unlink(missing_ok=True)


class DiskDraft:
    """Bytes under a name of their own on the storage's file system, until they get the final one.

    Bytes that lie in a file on the same file system already (`staged`) are linked and not copied. Of many
    bytes, the first are on their way to the device while others are still to come: the sync at the end has
    little left to wait for. They go there past the page cache, or leave it when they are there, where that is
    not possible: one large file displaces nothing that others read.
    """

    def __init__(self, drafts: Path, final: Path, *, staged: str | None = None) -> None:
        _make_folders(drafts)
        self._final = final
        self._path = drafts / secrets.token_hex(16)
        self.is_linked = staged is not None and _linked(staged, self._path)
        self._file = self._path.open("rb" if self.is_linked else "xb")
        self._size = 0  # of what went through the cache
        self._sent_on = 0
        self._direct: DirectWriter | None = None

    @property
    def is_direct(self) -> bool:
        """Whether bytes that come now go past the page cache."""
        return self._direct is not None

    def write(self, chunk: bytes) -> None:
        room = _CACHED - self._size
        if 0 < room <= len(chunk):
            self._write_cached(chunk[:room])
            self._file.flush()  # what comes now may pass by this file's buffer
            self._direct = direct_writer(self._file.fileno())
            chunk = chunk[room:]
        if self._direct is not None:
            self._direct.write(chunk)
        else:
            self._write_cached(chunk)

    def commit(self, *, sha256: str, md5: str) -> None:
        """Give the bytes their final name. Raises FileExistsError where it is taken."""
        self.finish()
        self.place(self._final)
        self.abort()

    def abort(self) -> None:
        if self._direct is not None:
            self._direct.close()
        with contextlib.suppress(OSError):  # unwritten bytes of a full disk
            self._file.close()
        self._path.unlink(missing_ok=True)

    def finish(self) -> None:
        """See to it that all bytes are on the device, with the mode of an object."""
        if self._direct is not None:
            self._direct.finish()
        self._file.flush()
        os.fchmod(self._file.fileno(), _FILE_MODE)
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_cached(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._size += len(chunk)
        if self._size >= max(_CACHED, self._sent_on + _WINDOW):
            self._send_on()

    def _send_on(self) -> None:
        self._file.flush()
        # Whole windows: a block that is sent half full is written twice.
        start, self._sent_on = self._sent_on, self._size // _WINDOW * _WINDOW
        start = max(0, start - _CACHED)
        _leave_cache(self._file.fileno(), start, self._sent_on - start)

    def place(self, final: Path) -> None:
        """Give the finished draft its name, also after a loss of power. Raises FileExistsError."""
        _make_folders(final.parent)
        _place(self._path, final)
        try:
            _flush_folder(final.parent)
        except OSError:
            final.unlink(missing_ok=True)
            raise


def _leave_cache(descriptor: int, start: int, length: int) -> None:
    """Begin to write what of these bytes is not on the device yet, and forget what is: posix_fadvise(2).

    Waits for neither, and is advice only: not every system and file system takes it, and an error in writing
    is told by the sync.
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _place(draft: Path, final: Path) -> None:
    """Give the draft its final name. Raises FileExistsError and never replaces what is there."""
    try:
        final.hardlink_to(draft)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Without links a name can be taken between the question and the answer; keys are made so that
        # nobody else asks for this one.
        if final.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(final)) from None
        draft.rename(final)


def _staged_path(content: File[bytes]) -> str | None:
    path = getattr(content, "staged_path", None)
    return path if isinstance(path, str) else None


def _linked(staged: str, draft: Path) -> bool:
    """Whether the draft is now one more name of the staged file."""
    try:
        os.link(staged, draft)
    except OSError:  # another file system, or one without links
        return False
    return True


def _make_folders(folder: Path) -> None:
    """The folder and those above it, each flushed into the one that holds it."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return
    folder.chmod(_FOLDER_MODE)
    _flush_folder(folder.parent)


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
