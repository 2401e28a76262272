"""Local disk as a storage: an object is there whole, or it is not there.

Django's FileSystemStorage writes under the final name, so a kill leaves half a file there. Here bytes are
written under a name of their own, flushed to the device, and only then linked to the final name; the folder
is flushed too, so that what was answered survives a loss of power.
"""

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.deconstruct import deconstructible

from files import faults
from files.faults import Fault
from files.listing import StoredObject, Unfinished

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_DRAFTS = ".drafts"
_CHUNK = 1024 * 1024
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


@deconstructible(path="files.disk.DiskStorage")
class DiskStorage(FileSystemStorage):
    """Objects as files below `location`; modes 0640 and 0750. Two saves never meet under one name."""

    def __init__(self, location: str | os.PathLike[str]) -> None:
        super().__init__(location=location)
        self._root = Path(location)

    def _save(self, name: str, content: File[bytes]) -> str:
        """Store under `name`, or under a free name like it if that one is taken meanwhile."""
        draft = self._draft(content)
        try:
            while True:
                final = Path(self.path(name))
                _make_folders(final.parent)
                try:
                    _place(draft, final)
                    break
                except FileExistsError:
                    name = self.get_available_name(name)
            try:
                _flush_folder(final.parent)
            except OSError:
                final.unlink(missing_ok=True)
                raise
        finally:
            draft.unlink(missing_ok=True)
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

    def _draft(self, content: File[bytes]) -> Path:
        """The content under a name of its own on this file system, on the device and with its mode."""
        drafts = self._root / _DRAFTS
        _make_folders(drafts)
        draft = drafts / secrets.token_hex(16)
        try:
            if not _link_staged(content, draft):
                with draft.open("xb") as file:
                    for chunk in content.chunks(_CHUNK):
                        file.write(chunk)
            with draft.open("rb") as file:
                os.fchmod(file.fileno(), _FILE_MODE)
                os.fsync(file.fileno())
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        return draft


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


def _link_staged(content: File[bytes], draft: Path) -> bool:
    """Take over bytes that lie in a file on the same file system already, without copying them."""
    path = getattr(content, "staged_path", None)
    if path is None:
        return False
    try:
        os.link(path, draft)
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
