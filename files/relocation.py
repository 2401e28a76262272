"""Moving a file's object, and those of its renditions, from one storage to another.

Bytes before row, and row before the end of the old bytes: wherever this is killed, the row names a whole
object, and the worst that is left is a second copy. A copy counts only after it was read back.
"""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import SpooledTemporaryFile
from typing import IO

from django.core.files.base import File as Content
from django.db import transaction
from django.db.models import QuerySet

from files import failpoints, storage
from files.errors import StorageUnavailable
from files.models import File, Rendition

logger = logging.getLogger(__name__)

_IN_MEMORY = 1024 * 1024  # bytes of an object; a larger one lies in a temporary file on its way
_CHUNK_SIZE = 256 * 1024


class RelocationFailed(Exception):
    """Nothing was lost and the row is as it was: the old object is not what was received, its copy is not
    like it, or both storages are one."""


def move(file: File, to_alias: str, *, delete_source: bool = True) -> None:
    """Let the file and its renditions lie in the storage `to_alias`. What is there already stays; doing it
    again goes on where it ended, and of two that do it at once both succeed.

    Raises RelocationFailed, FileNotFoundError if row or object are gone, and StorageUnavailable.
    """
    _move(file, to_alias, sha256=file.sha256, delete_source=delete_source)
    # One that is being made lies where its claim says: without the claim, its maker takes it back.
    file.renditions.filter(made_at=None).exclude(storage=to_alias).delete()
    for rendition in file.renditions.exclude(storage=to_alias):
        try:
            _move(rendition, to_alias, sha256=None, delete_source=delete_source)
        except FileNotFoundError:
            # Nothing is lost with it: it is made again when somebody asks for it.
            logger.warning("The rendition %s has no object any more; its row goes.", rendition)
            Rendition.objects.filter(pk=rendition.pk, storage=rendition.storage).delete()


def _move(row: File | Rendition, to_alias: str, *, sha256: str | None, delete_source: bool) -> None:
    """The steps for one object. `sha256` is what its bytes have to be, if that is known."""
    source = _rows(row).values_list("storage", flat=True).first()
    if source is None:
        raise FileNotFoundError(f"{row.key} was deleted meanwhile.")
    row.storage = source
    if source == to_alias:
        return
    with _read(row) as (content, digest):
        if sha256 not in {None, digest} or content.size != row.size:
            raise RelocationFailed(f"{row.key} on {source} is not what was received; nothing was changed.")
        _copy(row, content, digest, to_alias)
        failpoints.reach("move.copied")
        while not _switched(row, source, to_alias):
            _copy(row, content, digest, to_alias)
    row.storage = to_alias
    failpoints.reach("move.switched")
    if delete_source:
        _delete_unless_named(row, source)


@contextmanager
def _read(row: File | Rendition) -> Iterator[tuple[Content[bytes], str]]:
    """The object's bytes, all read before one is written, and their SHA-256."""
    with storage.open_object(row) as stored, SpooledTemporaryFile(_IN_MEMORY) as spool:
        digest = _digest(stored, spool)
        yield _Content(spool, row), digest


class _Content(Content[bytes]):
    """The bytes as storages take them, labelled as the object is."""

    def __init__(self, spool: IO[bytes], row: File | Rendition) -> None:
        super().__init__(spool, row.key)
        self.size = spool.tell()
        self.content_type = row.content_type

    def close(self) -> None:
        """Nothing: storages close what they are given, and the same bytes may be stored again."""


def _copy(row: File | Rendition, content: Content[bytes], digest: str, to_alias: str) -> None:
    """Store the bytes under the same key, and read them back. What an earlier attempt left there is used if
    it is whole, and replaced if it is not."""
    found = _digest_there(row, to_alias)
    if found is not None:
        # Under two names of one bucket it would be the only copy, and go with the source.
        _check_are_two(row.storage, to_alias)
        if found == digest:
            return
        _delete_unless_named(row, to_alias)
    content.seek(0)
    try:
        storage.save(key=row.key, content=content, alias=to_alias)
    except StorageUnavailable:
        if _digest_there(row, to_alias) == digest:  # another one was faster, or the answer was lost
            return
        raise
    if _digest_there(row, to_alias) != digest:
        _delete_unless_named(row, to_alias)
        raise RelocationFailed(f"The copy of {row.key} on {to_alias} is not like it; nothing was changed.")


def _check_are_two(source: str, to_alias: str) -> None:
    """Raises RelocationFailed if what is stored in the one is there in the other."""
    if not storage.are_apart(to_alias, source):
        raise RelocationFailed(f"{source} and {to_alias} are one place; nothing was changed.")


def _switched(row: File | Rendition, source: str, to_alias: str) -> bool:
    """Let the row name the new storage. False if the copy is not there any more: who moved the file back at
    this moment, and was done first, has deleted what he left. Raises FileNotFoundError and RelocationFailed.
    """
    with transaction.atomic(durable=True):
        named = _named(row)
        if named == source:
            if not storage.exists(key=row.key, alias=to_alias):
                return False
            _rows(row).update(storage=to_alias)
        if named in {source, to_alias}:
            return True
        storage.delete(key=row.key, alias=to_alias)
    if named is None:
        raise FileNotFoundError(f"{row.key} was deleted meanwhile.")
    raise RelocationFailed(f"{row.key} was moved to {named} meanwhile.")


def _delete_unless_named(row: File | Rendition, alias: str) -> None:
    """Delete the object there, unless that is where the row says that it is."""
    with transaction.atomic(durable=True):
        if _named(row) != alias:
            storage.delete(key=row.key, alias=alias)


def _named(row: File | Rendition) -> str | None:
    """The storage that the row names, which nobody else changes until the transaction ends; None without a
    row."""
    return _rows(row).select_for_update().values_list("storage", flat=True).first()


def _rows(row: File | Rendition) -> QuerySet[File] | QuerySet[Rendition]:
    """The row alone, as it is in the database."""
    if isinstance(row, File):
        return File.objects.filter(pk=row.pk)
    return Rendition.objects.filter(pk=row.pk)


def _digest_there(row: File | Rendition, alias: str) -> str | None:
    """The SHA-256 of the object of this key there, None without one."""
    try:
        with storage.open_key(key=row.key, alias=alias) as stored:
            return _digest(stored)
    except FileNotFoundError:
        return None


def _digest(stored: Content[bytes], copy: IO[bytes] | None = None) -> str:
    """The SHA-256 of the bytes, which also go into `copy`."""
    digest = hashlib.sha256()
    try:
        while chunk := stored.read(_CHUNK_SIZE):
            digest.update(chunk)
            if copy is not None:
                copy.write(chunk)
    except FileNotFoundError:  # some storages look only now
        raise
    except Exception as error:  # whatever a storage raises
        logger.exception("The storage failed to read %s.", stored.name)
        raise StorageUnavailable from error
    return digest.hexdigest()
