"""Objects read again and held against their rows: what was lost, cut off or altered. Changes nothing."""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from files import storage
from files.errors import StorageUnavailable
from files.models import File

_PAGE = 1000  # rows of one query
_COLUMNS = ("key", "storage", "size", "sha256")


class Fault(StrEnum):
    MISSING = "missing"
    WRONG_SIZE = "wrong-size"
    ALTERED = "altered"  # as many bytes as there should be, and not the same
    UNREADABLE = "unreadable"  # the storage fails to read it; perhaps only now


def files(*, aliases: Sequence[str], since: datetime | None, after: UUID | None) -> Iterator[File]:
    """The files on these storages, made since then, in the order of their ids and behind that one."""
    rows = File.objects.filter(storage__in=aliases).order_by("pk").only(*_COLUMNS)
    if since is not None:
        rows = rows.filter(created_at__gte=since)
    while page := list(rows.filter(pk__gt=after)[:_PAGE] if after else rows[:_PAGE]):
        yield from page
        after = page[-1].pk


def fault_of(file: File) -> Fault | None:
    """What is wrong with the file's object; None if nothing is, or if the file was deleted meanwhile."""
    fault = _fault_of(file)
    if fault is None:
        return None
    now = File.objects.filter(pk=file.pk).first()
    if now is None:
        return None
    return fault if (now.storage, now.key) == (file.storage, file.key) else _fault_of(now)  # it was moved


def _fault_of(file: File) -> Fault | None:
    size, digest = 0, hashlib.sha256()
    try:
        for chunk in storage.read(file):
            size += len(chunk)
            digest.update(chunk)
    except FileNotFoundError:
        return Fault.MISSING
    except StorageUnavailable:
        return Fault.UNREADABLE
    if size != file.size:
        return Fault.WRONG_SIZE
    return None if digest.hexdigest() == file.sha256 else Fault.ALTERED
