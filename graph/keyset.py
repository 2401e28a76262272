"""Parts of the list of files, by keyset: a page begins where the one before it ended, so that deep pages cost
what the first one costs.

strawberry-django's DjangoCursorConnection asks for `a > x OR (a = x AND id > y)`, which no database turns
into a seek: it reads its way from the first row to the page. A comparison of row values is a seek.
"""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, Self
from uuid import UUID

import orjson
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import F, QuerySet, Value
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from strawberry.types import get_object_definition
from strawberry.utils.str_converters import to_camel_case

from accounts.models import User
from database.prepared import PreparedQuery, Row, Slot, instance
from files import models
from files.models import FileQuerySet
from graph.errors import BadUserInput
from graph.filters import FileOrderField
from graph.types import File


@dataclass(frozen=True, slots=True)
class Position:
    """Where one row stands in an order; the order is in it, so that a cursor of another one is refused."""

    field: FileOrderField
    value: Any
    id: UUID

    @classmethod
    def decode(cls, cursor: str, field: FileOrderField) -> Self:
        """Raises BadUserInput unless the cursor was made by `cursors` for the same field."""
        try:
            name, value, file_id = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
            if name != field.value:
                raise ValueError(name)
            return cls(field, _READERS[field](value), UUID(file_id))
        except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error, UnicodeError):
            raise BadUserInput(
                "The cursor is not one of this list in this order; begin without it."
            ) from None


_URL_SAFE = bytes.maketrans(b"+/", b"-_")


def cursors(field: FileOrderField, files: Sequence[models.File]) -> list[str]:
    """Where each of the files stands in that order."""
    column = field.value
    positions = [orjson.dumps((column, getattr(file, column), file.id)) for file in files]
    # One line for each, so that all lines become text at once.
    return b"".join(map(binascii.b2a_base64, positions)).translate(_URL_SAFE).decode("ascii").split()


def _text(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise ValueError(value)
    return value


def _size(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
        raise ValueError(value)
    return value


def _time(value: object) -> datetime:
    moment = datetime.fromisoformat(_text(value))
    if moment.tzinfo is None:
        raise ValueError(value)
    return moment.astimezone(UTC)  # some times have none in UTC: OverflowError


_READERS = {
    FileOrderField.NAME: _text,
    FileOrderField.SIZE: _size,
    FileOrderField.CREATED_AT: _time,
    FileOrderField.UPDATED_AT: _time,
}


type Narrowing = Callable[[FileQuerySet], FileQuerySet]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """At most `limit` files in that order, between those positions, the nearest to one end or the other."""

    field: FileOrderField
    descending: bool
    backwards: bool
    limit: int
    after: Position | None
    before: Position | None

    def of(self, files: FileQuerySet, *, viewer: User | None, narrowed: Narrowing | None) -> FileQuerySet:
        """Of what the viewer may see of the files that are left."""
        fronts = self.fronts(files, viewer=viewer, narrowed=narrowed)
        return fronts[0] if len(fronts) == 1 else self._front(files.filter(pk__in=_united(fronts)))

    def fronts(
        self, files: FileQuerySet, *, viewer: User | None, narrowed: Narrowing | None
    ) -> list[FileQuerySet]:
        """The same of each part of what the viewer may see: among these the slice is."""
        bounds = []
        if self.after is not None:
            bounds.append(_beyond(self.after, less=self.descending))
        if self.before is not None:
            bounds.append(_beyond(self.before, less=not self.descending))
        parts = files.parts_visible_to(viewer)
        return [self._front((narrowed(part) if narrowed else part).filter(*bounds)) for part in parts]

    def _front(self, files: FileQuerySet) -> FileQuerySet:
        sign = "-" if self.descending is not self.backwards else ""
        return files.order_by(f"{sign}{self.field.value}", f"{sign}id")[: self.limit]

    @property
    def positions(self) -> list[Position]:
        return [each for each in (self.after, self.before) if each is not None]


def _beyond(position: Position, *, less: bool) -> TupleLessThan | TupleGreaterThan:
    """One side of the position, by a comparison of (field, id) as one value."""
    compare = TupleLessThan if less else TupleGreaterThan
    columns: Sequence[Any] = (F(position.field.value), F("id"))
    return compare(columns, (Value(position.value), Value(position.id)))


def _united(fronts: Sequence[FileQuerySet]) -> QuerySet[models.File, Any]:
    """The ids of the fronts of several parts, among which the front of all of them is.

    SQLite cannot unite what has a LIMIT, so each is wrapped once more."""
    ids = [models.File.objects.filter(pk__in=front.values("pk")).values("pk") for front in fronts]
    return ids[0].union(*ids[1:], all=True)


# --- reading no more than is asked for -------------------------------------------------------------

# What a selection may name beside the columns of a file without asking for more than they hold.
_AROUND = frozenset(
    {"edges", "node", "cursor", "pageInfo", "totalCount", "__typename"}
    | {"hasNextPage", "hasPreviousPage", "startCursor", "endCursor"}
)
# Fields that are read from a column, by their names in the schema.
_COLUMNS = {"id": "id"} | {
    to_camel_case(field.python_name): field.python_name
    for field in get_object_definition(File, strict=True).fields
    if field.base_resolver is None
}
_SHAPES = 256  # of pages whose SQL is kept: a client has a few


def read(
    asked: Slice,
    files: FileQuerySet,
    names: frozenset[str],
    *,
    viewer: User | None,
    narrowed: Narrowing | None,
) -> list[models.File]:
    """That slice of what the viewer may see of the files that are left, with the columns at least that the
    fields of those names are read from."""
    named = names - _AROUND
    if not named <= _COLUMNS.keys():
        return list(asked.of(files, viewer=viewer, narrowed=narrowed))
    columns = tuple(sorted({"id", asked.field.value, *(_COLUMNS[name] for name in named)}))
    if narrowed is not None:
        return list(asked.of(files.only(*columns), viewer=viewer, narrowed=narrowed))
    bounds = [each for position in asked.positions for each in (position.value, position.id)]
    sample = replace(
        asked,
        after=asked.after and _sample(asked.field, 1),
        before=asked.before and _sample(asked.field, 2),
    )
    owner = () if viewer is None or viewer.is_staff else (viewer.pk,)
    apart = connections[DEFAULT_DB_ALIAS].vendor == "sqlite"
    first, *others = _prepared(sample, columns, None if viewer is None else viewer.is_staff, apart)
    fronts = [first.fetched(*owner, *bounds), *(other.fetched(*bounds) for other in others)]
    rows = first.converted(_merged(asked, columns, fronts))
    return [instance(models.File, columns, row, db=DEFAULT_DB_ALIAS) for row in rows]


def _merged(asked: Slice, columns: tuple[str, ...], fronts: Sequence[list[Row]]) -> list[Row]:
    """The slice among the rows of its fronts, which may have rows in common. Of several, they are as the
    database has them, and so in its order."""
    found = [front for front in fronts if front]
    if len(found) < 2:
        return found[0] if found else []
    field, id_ = columns.index(asked.field.value), columns.index("id")
    rows = {row[id_]: row for front in found for row in front}.values()
    reverse = asked.descending is not asked.backwards
    return sorted(rows, key=itemgetter(field, id_), reverse=reverse)[: asked.limit]


@lru_cache(_SHAPES)
def _prepared(
    sample: Slice, columns: tuple[str, ...], is_staff: bool | None, apart: bool
) -> list[PreparedQuery]:
    """For a user, who may be staff; None: for everybody else. Who sees their own files and public ones is the
    first value of the first query.

    `apart`: a query for each front, on SQLite, which takes half as long as to have it find the slice among
    them. It compares what it has as Python does, text by code points; PostgreSQL does not, and its server is
    further off.
    """
    viewer = None if is_staff is None else User(pk=_SAMPLE_USER, is_staff=is_staff)
    owner = [Slot(User._meta.get_field("id"), _SAMPLE_USER)] if is_staff is False else []
    slots = []
    for position in sample.positions:
        slots.append(Slot(models.File._meta.get_field(position.field.value), position.value))
        slots.append(Slot(models.File._meta.get_field("id"), position.id))
    files = models.File.objects.all()
    fronts = sample.fronts(files, viewer=viewer, narrowed=None)
    first, *others = fronts if apart else [sample.of(files, viewer=viewer, narrowed=None)]
    return [_query(first, columns, *owner, *slots), *(_query(other, columns, *slots) for other in others)]


def _query(files: FileQuerySet, columns: tuple[str, ...], *slots: Slot) -> PreparedQuery:
    return PreparedQuery(lambda *_: files.values_list(*columns), *slots)


# Values that no query has of its own.
_SAMPLE_USER = -10


def _sample(field: FileOrderField, number: int) -> Position:
    values = {
        FileOrderField.NAME: f"name {number}",
        FileOrderField.SIZE: -number,
        FileOrderField.CREATED_AT: datetime(number, 1, 1, tzinfo=UTC),
        FileOrderField.UPDATED_AT: datetime(number, 1, 1, tzinfo=UTC),
    }
    return Position(field, values[field], UUID(int=number))
