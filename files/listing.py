"""What storages say of what lies in them, and how it is asked of one that has no better way of its own.

A storage class may offer `Lists`, `Batches` and `Unfinishes` as methods; for the others there is what every
Django Storage has.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from django.core.files.storage import Storage


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object; `size` in bytes."""

    key: str
    size: int
    modified: datetime


@dataclass(frozen=True, slots=True)
class Unfinished:
    """An object in the making that nobody may be making any more. `key` is what it was to become, or where
    its bytes lie; `touched` is when bytes last came."""

    key: str
    id: str
    touched: datetime


@runtime_checkable
class Lists(Protocol):
    """`objects` are all whose keys begin with the prefix, in the order of their keys; `children` are the
    names one level below the prefix, folders with a slash at their end, in the order of their names."""

    def objects(self, prefix: str) -> Iterator[StoredObject]: ...

    def children(self, prefix: str) -> Iterator[str]: ...


@runtime_checkable
class Batches(Protocol):
    """Deletes many objects with few requests; one that is not there is deleted already."""

    def delete_many(self, names: Iterable[str]) -> None: ...


@runtime_checkable
class Unfinishes(Protocol):
    """Knows objects that were begun and not finished; `abort` of one that is gone does nothing."""

    def unfinished(self, prefix: str) -> Iterator[Unfinished]: ...

    def abort(self, unfinished: Unfinished) -> None: ...


def children(storage: Storage, prefix: str) -> Iterator[str]:
    """As `Lists.children`; a folder that is not there has none."""
    if isinstance(storage, Lists):
        yield from storage.children(prefix)
        return
    try:
        folders, files = storage.listdir(prefix)
    except FileNotFoundError:
        return
    yield from sorted([*(f"{folder}/" for folder in folders), *files])


def objects(storage: Storage, prefix: str) -> Iterator[StoredObject]:
    """As `Lists.objects`; `prefix` ends in a slash. Otherwise two questions for each object."""
    if isinstance(storage, Lists):
        yield from storage.objects(prefix)
        return
    for name in children(storage, prefix):
        if name.endswith("/"):
            yield from objects(storage, prefix + name)
            continue
        key = prefix + name
        try:
            yield StoredObject(key, storage.size(key), aware(storage.get_modified_time(key)))
        except FileNotFoundError:  # deleted meanwhile
            continue


def delete_many(storage: Storage, names: Iterable[str]) -> None:
    """As `Batches.delete_many`."""
    if isinstance(storage, Batches):
        storage.delete_many(names)
        return
    for name in names:
        storage.delete(name)


def aware(moment: datetime) -> datetime:
    """Some storages give local time without saying so."""
    return moment if moment.tzinfo else moment.astimezone(UTC)
