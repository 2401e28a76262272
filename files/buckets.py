"""What the storages in buckets have in common: how objects are labelled, written once, and read in ranges."""

import io
import os
from collections.abc import Callable
from typing import IO, Any

from django.core.files.base import File
from django.core.files.storage import Storage
from storages.utils import clean_name, get_available_overwrite_name

from files.profiles import DECODERS

# Seconds, in every object's own label. Whoever may fetch an object may keep it a day: its bytes never change.
CACHE_CONTROL = "max-age=86400"

# The longest that SigV4 signs for; the other stores are held to the same, so that all agree. In seconds.
MAX_LIFETIME = 7 * 24 * 3600

# Whoever waits for an upload is answered within 15 s after its last byte, also where a store has fallen
# silent. A call is attempted three times while CALL_TIMEOUT lasts, which are two attempts in full silence.
# Then CLEANING_TIMEOUT is for all calls that find out what became of an object and remove it; what they do
# not come to is left to `reconcile`.
CONNECT_TIMEOUT = 3  # seconds
READ_TIMEOUT = 4  # seconds without a byte; a store that has a part of 8 MiB answers far sooner
CALL_TIMEOUT = 2 * READ_TIMEOUT  # seconds, after which no attempt begins
CLEANING_TIMEOUT = 3  # seconds
# Seconds without a byte while a store puts parts together, or lists or deletes many objects. Amazon, which
# may take minutes to put them together, sends blanks meanwhile; others are asked whether the object is there.
SLOW_READ_TIMEOUT = 10

_CHUNK_SIZE = 256 * 1024
_ATTACHMENT = "attachment"


class WriteOnceMixin:
    """Keys are unique: a name is never changed, and no store is asked first whether it is taken. The write
    itself is conditional instead, so that what is there stays, also when two come at once."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return get_available_overwrite_name(clean_name(name), max_length)  # type: ignore[no-any-return]


def disposition(content_type: str) -> str | None:
    """The Content-Disposition that an object is stored with: what is not a raster image is saved and never
    shown, also by an address that nobody signed."""
    return None if content_type in DECODERS else _ATTACHMENT


def bears(content_type: str, wanted: str) -> bool:
    """An object of the type is shown, or saved, by its own headers just as by the wanted disposition."""
    stored = disposition(content_type.partition(";")[0])
    return wanted.startswith(_ATTACHMENT) == (stored is not None)


def confirm(storage: Storage, name: str, content: File[bytes]) -> None:
    """The store says that the object is there already. That is so too where it stored it and the answer was
    lost; then the bytes are these. Raises FileExistsError if they are others."""
    content.seek(0)
    with storage.open(name, "rb") as stored:
        while True:
            ours, theirs = content.read(_CHUNK_SIZE), stored.read(_CHUNK_SIZE)
            if ours != theirs:
                raise FileExistsError(f"There is another object under {name}.")
            if not ours:
                return


class RangedReader(io.RawIOBase):
    """An object as a file that can be sought: one stream at a time, begun anew where a seek leads.

    `begin` opens a stream at an offset. Nothing is held in memory but what the streams hold.
    """

    def __init__(self, begin: Callable[[int], IO[bytes]], *, size: int, stream: IO[bytes] | None = None):
        super().__init__()
        self._begin = begin
        self._size = size
        self._stream = stream
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError(f"There is nothing before the start: {start + offset}.")
        if start + offset != self._position:
            self._forget()
        self._position = start + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self._size or not len(buffer):
            return 0
        if self._stream is None:
            self._stream = self._begin(self._position)
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._position += len(chunk)
        return len(chunk)

    def close(self) -> None:
        self._forget()
        super().close()

    def _forget(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


def as_file(reader: RangedReader, name: str) -> File[bytes]:
    return File(io.BufferedReader(reader, _CHUNK_SIZE), name)
