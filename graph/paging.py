"""Relay connections by keyset: a page begins where the one before it ended, so that deep pages cost what
the first one costs.

strawberry-django's DjangoCursorConnection asks for `a > x OR (a = x AND id > y)`, which no database turns
into a seek: it reads its way from the first row to the page. A comparison of row values is a seek.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

import orjson
import strawberry
from django.db.models import F, Value
from django.db.models.fields.tuple_lookups import TupleGreaterThan, TupleLessThan
from strawberry import relay

from files import models
from files.models import FileQuerySet
from graph.errors import BadUserInput
from graph.filters import FileOrder, FileOrderField, OrderDirection
from graph.limits import DEFAULT_PAGE, MAX_PAGE
from graph.types import File


@strawberry.type
class FileEdge:
    cursor: str
    node: File


@strawberry.type(description="A page of files.")
class FileConnection:
    edges: list[FileEdge]
    page_info: relay.PageInfo
    matching: strawberry.Private[FileQuerySet]

    @strawberry.field(description="Of all pages. Counted only when it is asked for.")
    def total_count(self) -> int:
        return self.matching.count()


@dataclass(frozen=True, slots=True)
class Position:
    """Where one row stands in an order; the order is in it, so that a cursor of another one is refused."""

    field: FileOrderField
    value: Any
    id: UUID

    @classmethod
    def decode(cls, cursor: str, field: FileOrderField) -> Self:
        """Raises BadUserInput unless the cursor was made by `_cursor` for the same field."""
        try:
            name, value, file_id = orjson.loads(base64.urlsafe_b64decode(cursor.encode("ascii")))
            if name != field.value:
                raise ValueError(name)
            return cls(field, _READERS[field](value), UUID(file_id))
        except (ValueError, TypeError, AttributeError, OverflowError, binascii.Error, UnicodeError):
            raise BadUserInput(
                "The cursor is not one of this list in this order; begin without it."
            ) from None


def _cursor(field: FileOrderField, file: models.File) -> str:
    """Where the file stands in that order."""
    column = field.value
    return base64.urlsafe_b64encode(orjson.dumps([column, getattr(file, column), file.id])).decode("ascii")


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


def paginate(
    files: FileQuerySet,
    *,
    order: FileOrder | None,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> FileConnection:
    """One page in that order, newest first by default. Raises BadUserInput."""
    order = order or FileOrder(field=FileOrderField.CREATED_AT, direction=OrderDirection.DESC)
    limit = _limit(first, last)
    descending = order.direction is OrderDirection.DESC
    backwards = last is not None
    rows = files
    if after is not None:
        rows = _beyond(rows, Position.decode(after, order.field), less=descending)
    if before is not None:
        rows = _beyond(rows, Position.decode(before, order.field), less=not descending)
    sign = "-" if descending is not backwards else ""
    page = list(rows.order_by(f"{sign}{order.field.value}", f"{sign}id")[: limit + 1])
    more = len(page) > limit
    page = page[:limit]
    if backwards:
        page.reverse()
    edges = [FileEdge(cursor=_cursor(order.field, file), node=file) for file in page]  # type: ignore[arg-type]
    return FileConnection(
        edges=edges,
        page_info=relay.PageInfo(
            has_next_page=before is not None if backwards else more,
            has_previous_page=more if backwards else after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        matching=files,
    )


def _limit(first: int | None, last: int | None) -> int:
    if first is not None and last is not None:
        raise BadUserInput("Give first or last, not both.")
    name, wanted = ("last", last) if last is not None else ("first", first)
    if wanted is None:
        return DEFAULT_PAGE
    if not 0 <= wanted <= MAX_PAGE:
        raise BadUserInput(f"{name}: give a number from 0 to {MAX_PAGE}.")
    return wanted


def _beyond(files: FileQuerySet, position: Position, *, less: bool) -> FileQuerySet:
    """The rows on one side of the position, by a comparison of (field, id) as one value."""
    compare = TupleLessThan if less else TupleGreaterThan
    columns: Sequence[Any] = (F(position.field.value), F("id"))
    return files.filter(compare(columns, (Value(position.value), Value(position.id))))
