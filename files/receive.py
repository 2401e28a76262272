"""The bytes of an upload as they come in: one pass that counts, hashes, keeps the head and passes them on.

They go to a draft of the object if somebody began one, else they are staged. Neither is stored yet: closing a
`Received` removes what is left of it, and every way out of a request closes what it received.
"""

import contextlib
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files.base import File
from django.core.files.uploadhandler import FileUploadHandler, StopUpload

from files import telemetry
from files.detection import HEAD_SIZE
from files.drafts import staging_folder
from files.errors import FileError, FileTooLarge, QuotaExceeded, StorageUnavailable
from files.hashing import Hashes
from files.storage import Draft

logger = logging.getLogger(__name__)

_CHUNK_SIZE = 256 * 1024
_MEMORY_SIZE = 512 * 1024  # smaller files never touch the disk before they are stored

# Begins the object that a file of more bytes becomes, once its head is there, or raises the FileError for
# which the file is refused.
type Begin = Callable[["Received"], Draft]


class StagedFile(File[bytes]):
    """The staged bytes as storages take them; `staged_path` is where they lie, if they lie in a file."""

    staged_path: str | None

    def __init__(self, file: IO[bytes], *, name: str, content_type: str, staged_path: str | None) -> None:
        super().__init__(file, name)
        self.content_type = content_type  # S3Storage and others label the object with it
        self.staged_path = staged_path

    def close(self) -> None:
        """Nothing: storages close what they are given, and the same bytes may be asked for again."""


class Received:
    """One file that has come in: its measures, what the client said of it, and its bytes until `close`.

    `size` counts all bytes that came, also past the limit; then, or when they could not be kept, there are
    no bytes and `check` raises. With `begin`, the bytes of a file that is no small one are in `draft` and
    nowhere else; `open` and `staged` are for files without a draft.
    """

    def __init__(
        self, *, name: str | None, content_type: str | None, limit: int, begin: Begin | None = None
    ) -> None:
        self.name = name
        self.content_type = content_type
        self.size = 0
        self.begun = time.monotonic()
        self.head = b""
        self.draft: Draft | None = None
        self._limit = limit
        self._begin = begin
        self._hashes = Hashes()
        self._file: IO[bytes] = io.BytesIO()
        self._path: Path | None = None
        self._failure: FileError | None = None

    @classmethod
    def of_bytes(
        cls, content: bytes, *, name: str | None = None, content_type: str | None = None
    ) -> "Received":
        """Bytes that are there already, as if they had come in."""
        received = cls(name=name, content_type=content_type, limit=len(content))
        received.write(content)
        return received

    @property
    def md5(self) -> str:
        return self._hashes.md5

    @property
    def sha256(self) -> str:
        return self._hashes.sha256

    @property
    def is_refused(self) -> bool:
        """Whether `check` will raise, whatever else comes, for what the client sent."""
        return isinstance(self._failure, FileError) and not isinstance(self._failure, StorageUnavailable)

    @property
    def is_whole(self) -> bool:
        """Whether all bytes that came were kept so far, and the hashes are theirs."""
        return self._failure is None

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Never raises: one file that cannot be kept must not end the others."""
        self.size += len(chunk)
        if self._failure is not None:
            return
        if self.size > self._limit:
            self._fail(FileTooLarge(size=self.size, limit=self._limit))
            return
        if len(self.head) < HEAD_SIZE:
            self.head += chunk[: HEAD_SIZE - len(self.head)]
        try:
            if self.size > _MEMORY_SIZE and self._path is None and self.draft is None:
                self._leave_memory()
            (self.draft or self._file).write(chunk)
        except FileError as error:
            self._fail(error)
            return
        except OSError as error:
            self._fail_to_stage(error)
            return
        self._hashes.update(chunk)

    def check(self) -> None:
        """Raises the error for which the file is refused, or StorageUnavailable, if the bytes are not all
        here."""
        if self._failure is None:
            try:
                self._file.flush()
            except OSError as error:  # the last bytes of a full disk
                self._fail_to_stage(error)
        if isinstance(self._failure, FileTooLarge | QuotaExceeded):
            self._failure.size = self.size  # more may have come since
        if self._failure is not None:
            raise self._failure

    def finish(self) -> None:
        """No more bytes come: let go of what only a file under way needs."""
        self._hashes.finish()

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes from the start, to be read."""
        self._file.seek(0)
        yield self._file

    def staged(self, *, name: str, content_type: str) -> StagedFile:
        """The bytes as a storage wants them, labelled with the type that was found."""
        self._file.seek(0)
        path = str(self._path) if self._path is not None else None
        return StagedFile(self._file, name=name, content_type=content_type, staged_path=path)

    def close(self) -> None:
        """Forget the bytes. What a storage has kept stays; closing twice is fine."""
        self._hashes.close()
        if self.draft is not None:
            self.draft.abort()
        with contextlib.suppress(OSError):  # unwritten bytes of a full disk
            self._file.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _leave_memory(self) -> None:
        """Let the bytes so far, and those to come, go into the object or a staging file."""
        buffered = self._file
        if self._begin is not None:
            self.draft = self._begin(self)
        else:
            descriptor, path = tempfile.mkstemp(dir=staging_folder())
            self._path = Path(path)
            self._file = os.fdopen(descriptor, "w+b")
        buffered.seek(0)
        (self.draft or self._file).write(buffered.read())

    def _fail_to_stage(self, error: OSError) -> None:
        logger.error("An upload could not be staged in %s.", settings.STAGING_DIR, exc_info=error)
        failure = StorageUnavailable()
        failure.__cause__ = error
        self._fail(failure)

    def _fail(self, failure: FileError) -> None:
        self._failure = failure
        self.close()


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known of a request's files before they come.

    `limits` has the bytes that are worth keeping, by the name of the part; `default` is for parts that are
    not in it. `names` are the parts that anybody wants, None if that is not known. `begins` has the parts
    that may become objects while they come in.
    """

    limits: Mapping[str, int]
    default: int
    names: frozenset[str] | None
    begins: Mapping[str, Begin] = field(default_factory=dict)

    def limit(self, name: str) -> int:
        return self.limits.get(name, self.default)


class ReceivingHandler(FileUploadHandler):
    """Django's parser hands each file of a request to this; `complete` has those that came whole, or that
    were cut off when they were refused, with the names of their parts.

    `plan` is asked when the first file begins; `was_cut` says that the rest of the body was not read.
    """

    chunk_size = _CHUNK_SIZE

    def __init__(self) -> None:
        super().__init__()
        self.plan: Callable[[], Plan] = lambda: Plan({}, 0, None)
        self.complete: list[tuple[str, Received]] = []
        self.was_cut = False
        self._plan: Plan | None = None
        self._seen: set[str] = set()
        self._all: list[Received] = []

    def new_file(
        self, field_name: str, file_name: str, content_type: str, *args: object, **kw: object
    ) -> None:
        super().new_file(field_name, file_name, content_type, *args, **kw)  # type: ignore[arg-type]
        if self._plan is None:
            self._plan = self.plan()
        self._seen.add(field_name)
        self._all.append(
            Received(
                name=file_name,
                content_type=content_type or None,
                limit=self._plan.limit(field_name),
                begin=self._plan.begins.get(field_name),
            )
        )

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        received = self._all[-1]
        received.write(raw_data)
        if (
            received.is_refused
            and self._plan
            and self._plan.names is not None
            and self._plan.names <= self._seen
        ):
            # Nothing that comes after this changes the answer.
            self.file_complete(received.size)
            self.was_cut = True
            raise StopUpload(connection_reset=True)

    def file_complete(self, file_size: int) -> None:
        """Called when the boundary after the file has been seen: only then are its bytes all there."""
        self._all[-1].finish()
        self.complete.append((self.field_name or "", self._all[-1]))

    def close(self) -> None:
        """Forget all that came in, complete or not."""
        telemetry.bytes_came(sum(received.size for received in self._all))
        for received in self._all:
            received.close()


class RefusingHandler(FileUploadHandler):
    """For forms that take no files: the first one ends the reading of the request."""

    chunk_size = _CHUNK_SIZE

    def new_file(self, *args: object, **kw: object) -> None:
        raise StopUpload(connection_reset=True)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        return None

    def file_complete(self, file_size: int) -> None:
        return None
