"""Objects in the making: what a storage gives out at `begin`, and one that any storage can be given.

Nothing here is an object yet: until `commit` nobody finds it under its key, and `abort` leaves nothing.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.core.files.base import File

_MEMORY_SIZE = 512 * 1024  # bytes; smaller objects need no file to wait in


def staging_folder() -> Path:
    """Where bytes wait that are no object yet; made if need be."""
    folder = Path(settings.STAGING_DIR)
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    return folder


class ObjectDraft(Protocol):
    """What `begin` of a storage class returns. Its methods raise whatever the storage raises."""

    def write(self, chunk: bytes) -> object:
        """Take the next bytes. The caller may not change them afterwards."""

    def commit(self, *, sha256: str, md5: str) -> None:
        """Make the object of all bytes written; both hashes in hex. When this returns, it is there, whole."""

    def abort(self) -> None:
        """Leave nothing, also after a commit that failed. Doing it twice is fine."""


class SpooledDraft:
    """For storages that take an object in one piece only: the bytes wait in a temporary file."""

    def __init__(self, save: Callable[[File[bytes]], None], *, content_type: str) -> None:
        self._save = save
        self._content_type = content_type
        self._file = tempfile.SpooledTemporaryFile(_MEMORY_SIZE, dir=str(staging_folder()))  # noqa: SIM115

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)

    def commit(self, *, sha256: str, md5: str) -> None:
        self._file.seek(0)
        content: File[bytes] = File(self._file)
        content.content_type = self._content_type  # type: ignore[attr-defined]
        self._save(content)
        self._file.close()

    def abort(self) -> None:
        self._file.close()
