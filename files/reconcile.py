"""Rows against objects: what crashes leave is found and mended, day by day, in constant memory.

Nothing here trusts what it saw a moment ago: before anything is deleted, its row is asked for once more. What
is younger than the grace time may still be in the making, and what Coffer did not name is never touched.
"""

import heapq
import itertools
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from itertools import batched
from pathlib import Path

from django.conf import settings
from django.db import transaction

from files import keys, services, storage
from files.listing import StoredObject, Unfinished
from files.lookups import BytesOrder
from files.models import File, Rendition

_PAGE = 1000  # rows of one query, and objects of one deletion: what S3 takes in one request


class Kind(StrEnum):
    """What can be found. The first group is what a crash leaves."""

    OBJECT_WITHOUT_ROW = "object-without-row"
    UNFINISHED_UPLOAD = "unfinished-upload"
    TEMPORARY_FILE = "temporary-file"
    UNMADE_RENDITION = "unmade-rendition"
    RENDITION_WITHOUT_OBJECT = "rendition-without-object"
    # A move leaves the source, by a crash or because it was told to.
    COPY = "copy"
    # Bytes were lost: not by a crash of Coffer's.
    FILE_WITHOUT_OBJECT = "file-without-object"
    WRONG_SIZE = "wrong-size"
    # Not Coffer's at all.
    FOREIGN = "foreign"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as it should be. `name` is the key, or the path of a temporary file; `size` in
    bytes; `row` is the primary key of a File or Rendition, as text, and `named` the storage that it names if
    that is another one."""

    kind: Kind
    storage: str | None
    name: str
    size: int | None = None
    time: datetime | None = None
    row: str | None = None
    named: str | None = None
    unfinished: Unfinished | None = None


@dataclass(slots=True)
class Scan:
    """What is looked at. `before`: what is younger is left alone; `since`: earlier days are left out."""

    aliases: Sequence[str]
    before: datetime
    since: date | None = None
    on_progress: Callable[["Scan", str], None] = lambda scan, where: None
    objects: int = field(default=0, init=False)
    rows: int = field(default=0, init=False)

    def findings(self) -> Iterator[Finding]:
        """Everything that is found, in no order that matters. Raises StorageUnavailable."""
        yield from _temporary_files(self.before)
        yield from _unmade(self)
        for alias in self.aliases:
            yield from _unfinished(alias, self.before)
            for found in _days(alias, self.since):
                if isinstance(found, Finding):
                    yield found
                else:
                    self.on_progress(self, f"{alias}: {found}")
                    yield from _day(self, alias, found)


def copies(alias: str, *, named: str) -> Iterator[Finding]:
    """Objects on one storage whose rows name the other. Raises StorageUnavailable."""
    scan = Scan(aliases=[alias], before=datetime.now(UTC))
    for day in _days(alias, None):
        if isinstance(day, str):
            yield from (found for found in _day(scan, alias, day) if found.named == named)


# --- finding ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A File or a Rendition, as far as its object is concerned: `since` is when that was there."""

    key: str
    storage: str
    size: int | None
    since: datetime | None
    model: type[File | Rendition]
    pk: str


def _temporary_files(before: datetime) -> Iterator[Finding]:
    """Bytes that came in and were to be checked."""
    folder = Path(settings.STAGING_DIR)
    for path in folder.iterdir() if folder.is_dir() else ():
        try:
            found = path.lstat()
        except FileNotFoundError:  # finished meanwhile
            continue
        touched = datetime.fromtimestamp(found.st_mtime, UTC)
        if touched < before and stat.S_ISREG(found.st_mode):
            yield Finding(
                kind=Kind.TEMPORARY_FILE, storage=None, name=str(path), size=found.st_size, time=touched
            )


def _unfinished(alias: str, before: datetime) -> Iterator[Finding]:
    for each in storage.unfinished(alias=alias):
        key = keys.parse(each.key)
        if each.touched >= before or (key is not None and key.made >= before):
            continue
        # Drafts of a disk lie in a folder of our own; uploads to a bucket may be anybody's.
        ours = key is not None or each.key.startswith(".drafts/")
        yield Finding(
            kind=Kind.UNFINISHED_UPLOAD if ours else Kind.FOREIGN,
            storage=alias,
            name=each.key,
            time=each.touched,
            unfinished=each,
        )


def _unmade(scan: Scan) -> Iterator[Finding]:
    """Claims whose makers are dead. Nobody may ever ask for that rendition again."""
    claims = Rendition.objects.filter(made_at=None, claimed_at__lt=scan.before, storage__in=scan.aliases)
    for claim in claims.order_by("pk").iterator(_PAGE):
        yield Finding(
            kind=Kind.UNMADE_RENDITION,
            storage=claim.storage,
            name=claim.key,
            time=claim.claimed_at,
            row=str(claim.pk),
        )


def _days(alias: str, since: date | None) -> Iterator[str | Finding]:
    """The prefix of each day that has objects or rows, and what lies above the days and is not ours.

    Found by listing and by the rows' keys, so profiles that are no longer configured are among them.
    """
    listed = []
    for name in _listed_days(alias, since):
        if keys.day_of(name) == name:
            listed.append(name)
        else:
            yield Finding(kind=Kind.FOREIGN, storage=alias, name=name)
    merged = heapq.merge(listed, _days_of_rows(File, since), _days_of_rows(Rendition, since))
    yield from (day for day, _ in itertools.groupby(merged))


def _listed_days(alias: str, since: date | None, prefix: str = "", level: int = 0) -> Iterator[str]:
    if level == len(keys.LEVELS):
        yield prefix
        return
    for name in storage.children(alias=alias, prefix=prefix):
        below = prefix + name
        if not keys.LEVELS[level].fullmatch(name):
            yield below
        elif since is None or not _ends_before(below, level, since):
            yield from _listed_days(alias, since, below, level + 1)


def _ends_before(prefix: str, level: int, since: date) -> bool:
    """Whether all days below a prefix of `<profile>/YYYY/MM/DD/` are earlier."""
    parts = prefix.rstrip("/").split("/")[1:]
    return level > 0 and tuple(map(int, parts)) < (since.year, since.month, since.day)[: len(parts)]


def _days_of_rows(model: type[File | Rendition], since: date | None) -> Iterator[str]:
    """The days of the rows' keys: a question of the index for each day, and not one of all rows."""
    after = ""
    rows = model._default_manager.order_by(BytesOrder("key"))
    while key := rows.filter(key__bytes_gt=after).values_list("key", flat=True).first():
        day = keys.day_of(key)
        if day is None:
            after = key
        elif since is not None and keys.date_of(day) < since:
            after = f"{day.partition('/')[0]}/{since:%Y/%m/%d}/"
        else:
            yield day
            after = _end(day)


def _day(scan: Scan, alias: str, day: str) -> Iterator[Finding]:
    """One day's objects beside its rows, both in the order of their keys."""
    rows = heapq.merge(_rows(File, day), _rows(Rendition, day), key=lambda row: row.key)
    for stored, row in _paired(storage.objects(alias=alias, prefix=day), rows):
        scan.objects += stored is not None
        scan.rows += row is not None and row.storage == alias
        if (scan.objects + scan.rows) % _PAGE == 0:
            scan.on_progress(scan, f"{alias}: {day}")
        found = _judge(stored, row, alias, scan.before)
        if found is not None:
            yield found


def _rows(model: type[File | Rendition], day: str) -> Iterator[_Row]:
    """The rows of a day, by pages that each start behind the last key: no cursor stays open meanwhile."""
    created = "created_at" if model is File else "made_at"
    columns = ("key", "storage", "size", created, "pk")
    rows = model._default_manager.filter(key__bytes_lt=_end(day)).order_by(BytesOrder("key"))
    after = day
    while page := list(rows.filter(key__bytes_gt=after).values_list(*columns)[:_PAGE]):
        for key, alias, size, since, pk in page:
            yield _Row(key, alias, size, since, model, str(pk))
        after = page[-1][0]


def _paired(
    objects: Iterator[StoredObject], rows: Iterator[_Row]
) -> Iterator[tuple[StoredObject | None, _Row | None]]:
    """Each object with the row of its key; None for the side that lacks it."""
    stored, row = next(objects, None), next(rows, None)
    while stored is not None or row is not None:
        if row is None or (stored is not None and stored.key < row.key):
            yield stored, None
            stored = next(objects, None)
        elif stored is None or row.key < stored.key:
            yield None, row
            row = next(rows, None)
        else:
            yield stored, row
            stored, row = next(objects, None), next(rows, None)


def _judge(stored: StoredObject | None, row: _Row | None, alias: str, before: datetime) -> Finding | None:
    """What is wrong with the pair, None if nothing is."""
    if stored is None:
        return _without_object(row, alias, before) if row is not None else None
    kind = _kind(stored, row, alias)
    key = keys.parse(stored.key)
    if kind is None or stored.modified >= before or (key is not None and key.made >= before):
        return None
    return Finding(
        kind=kind,
        storage=alias,
        name=stored.key,
        size=stored.size,
        time=stored.modified,
        row=row.pk if row else None,
        named=row.storage if row and row.storage != alias else None,
    )


def _kind(stored: StoredObject, row: _Row | None, alias: str) -> Kind | None:
    if row is None:
        return Kind.FOREIGN if keys.parse(stored.key) is None else Kind.OBJECT_WITHOUT_ROW
    if row.storage != alias:
        return Kind.COPY
    return Kind.WRONG_SIZE if row.size not in {None, stored.size} else None


def _without_object(row: _Row, alias: str, before: datetime) -> Finding | None:
    if row.storage != alias or row.since is None or row.since >= before:  # None: a claim, see `_unmade`
        return None
    if not _is_missing(row.model, row.pk):
        return None
    kind = Kind.FILE_WITHOUT_OBJECT if row.model is File else Kind.RENDITION_WITHOUT_OBJECT
    return Finding(kind=kind, storage=alias, name=row.key, size=row.size, time=row.since, row=row.pk)


def _is_missing(model: type[File | Rendition], pk: str) -> bool:
    """Whether the row is there, now, and its object is not."""
    place = model._default_manager.filter(pk=pk).values_list("key", "storage").first()
    return place is not None and storage.size_of(key=place[0], alias=place[1]) is None


def _end(day: str) -> str:
    """The first text behind all that begin with the prefix: `0` follows `/`."""
    return f"{day[:-1]}0"


# --- mending ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Mended:
    """`done` says that the finding is gone; otherwise something changed meanwhile, and it was left."""

    finding: Finding
    done: bool


def mend(findings: Iterable[Finding]) -> Iterator[Mended]:
    """Remove what was found, each after a second look. Raises StorageUnavailable."""
    by_kind: dict[tuple[Kind, str | None], list[Finding]] = {}
    for found in findings:
        by_kind.setdefault((found.kind, found.storage), []).append(found)
    for (kind, _), group in by_kind.items():
        for batch in batched(group, _PAGE):
            done = MENDERS[kind](batch)
            yield from (Mended(found, found.name in done) for found in batch)


def _delete_objects(batch: Sequence[Finding]) -> set[str]:
    """Objects that have no row, now."""
    orphans = {found.name for found in batch} - _places(found.name for found in batch).keys()
    if orphans:
        storage.delete_many(sorted(orphans), alias=_alias(batch))
    return orphans


def _delete_copies(batch: Sequence[Finding]) -> set[str]:
    """Objects whose row names another storage, where they are there as well, whole."""
    alias = _alias(batch)
    places = _places(found.name for found in batch)
    apart = {place for place in {place for place, _ in places.values()} if storage.are_apart(alias, place)}
    whole = {
        key
        for key, (place, size) in places.items()
        if place in apart and storage.size_of(key=key, alias=place) == size
    }
    with transaction.atomic():  # until its end nobody moves one of them back
        still = {key for key, (place, _) in _places(whole, lock=True).items() if place in apart}
        if still:
            storage.delete_many(sorted(still), alias=alias)
    return still


def _abort(batch: Sequence[Finding]) -> set[str]:
    for found in batch:
        if found.unfinished is not None:
            storage.abort_unfinished(found.unfinished, alias=_alias(batch))
    return {found.name for found in batch}


def _unlink(batch: Sequence[Finding]) -> set[str]:
    for found in batch:
        Path(found.name).unlink(missing_ok=True)
    return {found.name for found in batch}


def _delete_claims(batch: Sequence[Finding]) -> set[str]:
    """Row first, then what its maker may have stored; whoever was only slow finds the claim gone."""
    done = set()
    for found in batch:
        claims = Rendition.objects.filter(key=found.name, made_at=None)  # who takes it over changes the key
        if claims.delete()[0]:
            storage.delete(key=found.name, alias=_alias(batch))
            done.add(found.name)
    return done


def _delete_renditions(batch: Sequence[Finding]) -> set[str]:
    """Rows of renditions; the next one who fetches it makes it again."""
    gone = {found.name for found in batch if found.row and _is_missing(Rendition, found.row)}
    Rendition.objects.filter(key__in=gone, storage=_alias(batch)).delete()
    return gone


def _delete_files(batch: Sequence[Finding]) -> set[str]:
    """Rows of files whose bytes are lost, with all that belongs to them."""
    done = set()
    for found in batch:
        if not found.row or not _is_missing(File, found.row):
            continue
        with transaction.atomic():
            file = File.objects.select_for_update().filter(pk=found.row, storage=_alias(batch)).first()
            if file is not None:
                services.delete_row(file, by=None)
                done.add(found.name)
    return done


def _places(names: Iterable[str], *, lock: bool = False) -> dict[str, tuple[str, int | None]]:
    """Where the rows say that the objects lie, and their sizes; keys without a row are left out. With `lock`,
    in a transaction, that stays so until its end."""
    wanted = list(names)
    places: dict[str, tuple[str, int | None]] = {}
    for model in (File, Rendition):
        rows = model._default_manager.filter(key__in=wanted)
        rows = rows.select_for_update() if lock else rows
        places |= {key: (alias, size) for key, alias, size in rows.values_list("key", "storage", "size")}
    return places


def _alias(batch: Sequence[Finding]) -> str:
    alias = batch[0].storage
    assert alias is not None, "only temporary files have no storage"  # noqa: S101
    return alias


MENDERS: Mapping[Kind, Callable[[Sequence[Finding]], set[str]]] = {
    Kind.OBJECT_WITHOUT_ROW: _delete_objects,
    Kind.UNFINISHED_UPLOAD: _abort,
    Kind.TEMPORARY_FILE: _unlink,
    Kind.UNMADE_RENDITION: _delete_claims,
    Kind.RENDITION_WITHOUT_OBJECT: _delete_renditions,
    Kind.COPY: _delete_copies,
    Kind.FILE_WITHOUT_OBJECT: _delete_files,
}
