"""The only module that names a storage: aliases, keys, and what is done with the objects there.

Whatever a storage raises leaves here as `StorageUnavailable`, with the cause in the log; a missing object
is FileNotFoundError everywhere.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any, Protocol, runtime_checkable
from urllib.parse import quote, urlsplit
from uuid import UUID

from django.conf import STATICFILES_STORAGE_ALIAS, settings
from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import InvalidStorageError, Storage, storages
from django.utils import timezone

from files import listing, telemetry
from files.disk import DiskStorage
from files.drafts import ObjectDraft, SpooledDraft
from files.errors import StorageUnavailable
from files.faults import Fault
from files.listing import StoredObject, Unfinished, Unfinishes
from files.models import File as FileRow
from files.models import Rendition, Visibility, new_id
from files.presentation import Presentation
from files.profiles import UploadProfile

logger = logging.getLogger(__name__)

ALIAS = "default"
PUBLIC_ALIAS = "public"
_CHUNK_SIZE = 1024 * 1024  # bytes
# Seconds that one request loses to a storage before it asks it no more: with many files each would otherwise
# wait as long as the first one did.
_PATIENCE = 5.0
# By alias, what was lost in the request that is being answered; None outside of `patience`.
_lost: ContextVar[dict[str, float] | None] = ContextVar("lost", default=None)

# nginx has an internal location of this name; below it each storage on disk is a folder.
SENDFILE_PREFIX = "/_coffer/"


@runtime_checkable
class Signing(Protocol):
    """A storage that makes addresses itself."""

    def signed_url(self, name: str, *, lifetime: int, disposition: str, content_type: str) -> str | None: ...


@runtime_checkable
class Begins(Protocol):
    """A storage that takes an object while its bytes come in."""

    def begin(self, name: str, *, content_type: str) -> ObjectDraft: ...


@runtime_checkable
class Explaining(Protocol):
    """A storage that knows what its library means."""

    def fault(self, error: Exception) -> Fault | None: ...


class UnexpectedKey(Exception):
    """The storage kept the object under another name than it was told to."""


@contextmanager
def patience() -> Iterator[None]:
    """For the time of one request: a storage that has cost it too much is not asked again."""
    token = _lost.set({})
    try:
        yield
    finally:
        _lost.reset(token)


def key_of(*, file_id: UUID, profile: str, extension: str, now: datetime) -> str:
    """`<profile>/YYYY/MM/DD/<id><extension>`: made by us, with nothing in it that a client sent."""
    return f"{profile}/{now:%Y/%m/%d}/{file_id}{extension}"


def alias_for(profile: UploadProfile | None, visibility: str) -> str:
    """The storage that keeps such a file: the profile's own, or one for what is public, if there is one.

    None stands for a profile that is not offered any more.
    """
    if profile is not None and profile.storage is not None:
        return profile.storage
    return PUBLIC_ALIAS if visibility == Visibility.PUBLIC and PUBLIC_ALIAS in settings.STORAGES else ALIAS


def id_of(key: str) -> UUID:
    """The id of the file that `key_of` made the key for."""
    return UUID(PurePosixPath(key).name.partition(".")[0])


class Draft:
    """An object in the making, under a key and on an alias that are settled. Made by `begin`.

    It ends by one `commit`, which makes the object, or by `abort`, which leaves nothing and may be called
    whenever: after a commit that succeeded it does nothing.
    """

    def __init__(self, draft: ObjectDraft, *, key: str, alias: str) -> None:
        self.key = key
        self.alias = alias
        self._draft = draft
        self._ended = False

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises StorageUnavailable."""
        with _typed(f"write {self.key}", self.alias, may_be_missing=False):
            self._draft.write(chunk)

    def commit(self, *, sha256: str, md5: str) -> None:
        """Make the object of all bytes written. Raises StorageUnavailable; then it is to be aborted."""
        if self._ended:
            raise RuntimeError(f"The draft of {self.key} has ended already.")
        with _typed(f"commit {self.key}", self.alias, may_be_missing=False):
            self._draft.commit(sha256=sha256, md5=md5)
        self._ended = True

    def abort(self) -> None:
        """Leave nothing. What cannot be removed just now is in the log."""
        if self._ended:
            return
        self._ended = True
        with (
            suppress(StorageUnavailable),
            _typed(f"abort {self.key}", self.alias, may_be_missing=False, is_worth_a_try=True),
        ):
            self._draft.abort()


def begin(*, key: str, alias: str = ALIAS, content_type: str) -> Draft:
    """Begin an object whose bytes are still to come. Raises StorageUnavailable."""
    with _typed(f"begin {key}", alias, may_be_missing=False):
        storage = storages[alias]
        draft: ObjectDraft
        if isinstance(storage, Begins):
            draft = storage.begin(key, content_type=content_type)
        else:
            draft = SpooledDraft(lambda content: _save(key, content, alias), content_type=content_type)
    return Draft(draft, key=key, alias=alias)


def save(*, key: str, content: File[bytes], alias: str = ALIAS) -> None:
    """Store the object under exactly this key. Raises StorageUnavailable, and then nothing is stored."""
    with _typed(f"save {key}", alias, may_be_missing=False):
        _save(key, content, alias)


def delete(*, key: str, alias: str) -> None:
    """Remove the object; one that is not there is removed already. Raises StorageUnavailable."""
    with _typed(f"delete {key}", alias), suppress(FileNotFoundError):
        storages[alias].delete(key)


def open_object(row: FileRow | Rendition) -> File[bytes]:
    """The object's bytes from the start. Raises FileNotFoundError and StorageUnavailable."""
    return open_key(key=row.key, alias=row.storage)


def open_key(*, key: str, alias: str) -> File[bytes]:
    """The same, of an object that the row does not name."""
    with _typed(f"open {key}", alias):
        return storages[alias].open(key, "rb")


def exists(*, key: str, alias: str) -> bool:
    """There is an object of this key. Raises StorageUnavailable."""
    with _typed(f"look for {key}", alias, may_be_missing=False):
        return storages[alias].exists(key)


def url(row: FileRow | Rendition, *, lifetime: int, shown: Presentation) -> str | None:
    """The object's address at its store, good for `lifetime` seconds, made here without asking anybody.

    None where the store has none, or none that would present the bytes so: then our own view serves them.
    """
    with _typed(f"sign for {row.key}", row.storage, is_worth_a_try=True):
        storage = storages[row.storage]
        if not isinstance(storage, Signing):
            return None
        return storage.signed_url(
            row.key, lifetime=lifetime, disposition=shown.disposition, content_type=shown.content_type
        )


def origins() -> list[str]:
    """Where the addresses of `url` lead, as a Content-Security-Policy names it."""
    found = set()
    for alias in aliases():
        row = FileRow(key="-", storage=alias)
        shown = Presentation(name="-", content_type="image/png", is_shown=True)
        with suppress(StorageUnavailable):
            parts = urlsplit(url(row, lifetime=1, shown=shown) or "")
            found.add(f"{parts.scheme}://{parts.netloc}")
    return sorted(found - {"://"})


def showing_images(policy: Mapping[str, Any]) -> dict[str, Any]:
    """The Content Security Policy of a page that shows images from where their addresses lead."""
    return {**policy, "img-src": [*policy["img-src"], *origins()]}


def internal_path(row: FileRow | Rendition) -> str | None:
    """The path by which the server in front sends the object itself; None where it cannot. Raises
    FileNotFoundError and StorageUnavailable."""
    if settings.SENDFILE is None:
        return None
    with _typed(f"find {row.key}", row.storage):
        storage = storages[row.storage]
        if not isinstance(storage, DiskStorage):
            return None
        return f"{SENDFILE_PREFIX}{quote(storage.relative_path(row.key))}"


def read(row: FileRow | Rendition) -> Iterator[bytes]:
    """The object's bytes in pieces of 1 MiB. Raises FileNotFoundError and StorageUnavailable, also later."""
    with _typed(f"read {row.key}", row.storage), storages[row.storage].open(row.key, "rb") as file:
        while chunk := file.read(_CHUNK_SIZE):
            yield chunk


def size_of(*, key: str, alias: str) -> int | None:
    """The object's bytes as the storage counts them; None if there is none. Raises StorageUnavailable."""
    try:
        with _typed(f"look at {key}", alias):
            storage = storages[alias]
            # Some storages raise an error of their own for what is missing, but all can say whether it is.
            return storage.size(key) if storage.exists(key) else None
    except FileNotFoundError:
        return None


def scratch_key() -> str:
    """Of an object that is made to try something and deleted again. Should a kill come between, it is an
    object without a row as any other, and `reconcile` removes it."""
    return key_of(file_id=new_id(), profile="scratch", extension="", now=timezone.now())


def are_apart(alias: str, other: str) -> bool:
    """Whether two aliases lead to different places, by trying: what is put into one is not seen in the other.

    Settings cannot say: two names and two endpoints may lead to one bucket. Raises StorageUnavailable.
    """
    if alias == other:
        return False
    key = scratch_key()
    save(key=key, content=ContentFile(b"probe"), alias=alias)
    try:
        return size_of(key=key, alias=other) is None
    finally:
        delete(key=key, alias=alias)


def aliases() -> list[str]:
    """The storages that files may lie in."""
    return [alias for alias in settings.STORAGES if alias != STATICFILES_STORAGE_ALIAS]


def children(*, alias: str, prefix: str) -> Iterator[str]:
    """The names one level below the prefix, folders with a slash at their end. Raises StorageUnavailable."""
    with _typed(f"list {prefix or 'its root'}", alias, may_be_missing=False):
        yield from listing.children(storages[alias], prefix)


def objects(*, alias: str, prefix: str) -> Iterator[StoredObject]:
    """All objects below the prefix, which ends in a slash, in the order of their keys.

    Raises StorageUnavailable.
    """
    with _typed(f"list {prefix}", alias, may_be_missing=False):
        yield from listing.objects(storages[alias], prefix)


def unfinished(*, alias: str, prefix: str = "") -> Iterator[Unfinished]:
    """Objects below the prefix that were begun and not finished, where the storage knows of such.

    Raises StorageUnavailable.
    """
    with _typed("list what is unfinished", alias, may_be_missing=False):
        storage = storages[alias]
        if isinstance(storage, Unfinishes):
            yield from storage.unfinished(prefix)


def abort_unfinished(unfinished: Unfinished, *, alias: str) -> None:
    """Remove what is there of it; nothing if it is gone. Raises StorageUnavailable."""
    with _typed(f"abort {unfinished.key}", alias, may_be_missing=False):
        storage = storages[alias]
        if isinstance(storage, Unfinishes):
            storage.abort(unfinished)


def delete_many(keys: Iterable[str], *, alias: str) -> None:
    """Remove the objects, by the storage's batches if it has any. Raises StorageUnavailable; then some may
    be left."""
    with _typed("delete many objects", alias, may_be_missing=False):
        listing.delete_many(storages[alias], keys)


def describe(alias: str) -> tuple[str, str | None]:
    """The storage's short name (`disk`, `s3`) and its bucket, if it has one. Never a path of the server."""
    storage = storages[alias]
    name = type(storage).__name__.removesuffix("Storage").lower() or "storage"
    return name, _bucket(storage)


def _save(key: str, content: File[bytes], alias: str) -> None:
    kept = storages[alias].save(key, content)
    if kept != key:
        storages[alias].delete(kept)
        raise UnexpectedKey(f"asked for {key}, got {kept}")


def _bucket(storage: Storage) -> str | None:
    # django-storages has one attribute for the same thing on S3 and Google, another on Azure.
    for attribute in ("bucket_name", "azure_container"):
        bucket = getattr(storage, attribute, None)
        if isinstance(bucket, str):
            return bucket
    return None


@contextmanager
def _typed(
    what: str, alias: str, *, may_be_missing: bool = True, is_worth_a_try: bool = False
) -> Iterator[None]:
    """Every backend has errors of its own, and one of the user's own class may raise anything.

    FileNotFoundError passes where the object may be missing; elsewhere it says that the storage is.
    `is_worth_a_try` also where the request has lost its patience: what is undone, and what asks nobody.
    """
    lost = _lost.get()
    if lost is not None and lost.get(alias, 0.0) > _PATIENCE and not is_worth_a_try:
        logger.error("The storage failed this request before, and is not asked to %s.", what)
        raise StorageUnavailable
    begun = time.monotonic()
    try:
        yield
    except Exception as error:
        if may_be_missing and isinstance(error, FileNotFoundError):
            raise
        if lost is not None:
            lost[alias] = lost.get(alias, 0.0) + time.monotonic() - begun
        logger.exception("The storage failed to %s.", what)
        fault = _fault(error, alias)
        telemetry.storage_failed(alias, fault.name if fault else telemetry.UNKNOWN)
        # Trying again may help; what nobody can explain may pass.
        raise StorageUnavailable(retryable=fault is None or fault.passes) from error


def _fault(error: Exception, alias: str) -> Fault | None:
    """What is wrong, if the storage can tell."""
    with suppress(InvalidStorageError):
        storage = storages[alias]
        return storage.fault(error) if isinstance(storage, Explaining) else None
    return None
