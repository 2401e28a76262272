"""FileFilter and FileOrder: which files, and in what order."""

from collections.abc import Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import strawberry
from django.db.models import Q
from strawberry import UNSET

from accounts.models import User
from files.models import FileQuerySet
from graph.enums import FileKind, Visibility
from graph.errors import BadUserInput, Forbidden
from graph.ids import user_id
from graph.scalars import BigInt

MAX_VALUES = 100  # of one list in a filter
MAX_LENGTH = 255  # characters; nothing that is looked for is longer


@strawberry.input(description="Both ends are included; either may be left out.")
class SizeRange:
    gte: BigInt | None = strawberry.field(default=UNSET, description="In bytes.")
    lte: BigInt | None = strawberry.field(default=UNSET, description="In bytes.")


@strawberry.input(description="Both ends are included; either may be left out.")
class DateTimeRange:
    gte: datetime | None = UNSET
    lte: datetime | None = UNSET


@strawberry.input(description="Files with some of these tags, or with all of them.")
class TagFilter:
    any: list[str] | None = UNSET
    all: list[str] | None = UNSET


@strawberry.input(description="Files for which everything that is given holds.")
class FileFilter:
    name_contains: str | None = strawberry.field(
        default=UNSET, description="Upper and lower case are the same."
    )
    kind: list[FileKind] | None = strawberry.field(default=UNSET, description="One of these.")
    content_type: list[str] | None = strawberry.field(default=UNSET, description="One of these.")
    profile: list[str] | None = strawberry.field(default=UNSET, description="One of these.")
    visibility: Visibility | None = UNSET
    tags: TagFilter | None = UNSET
    size: SizeRange | None = UNSET
    created_at: DateTimeRange | None = UNSET
    updated_at: DateTimeRange | None = UNSET
    sha256: str | None = strawberry.field(default=UNSET, description="In hex.")
    owner: strawberry.ID | None = strawberry.field(default=UNSET, description="Only for staff.")
    owned_by_viewer: bool | None = strawberry.field(
        default=UNSET, description="True: the viewer's own files; false: those of others."
    )


@strawberry.enum
class FileOrderField(Enum):
    NAME = "name"
    SIZE = "size"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@strawberry.enum
class OrderDirection(Enum):
    ASC = "asc"
    DESC = "desc"


@strawberry.input
class FileOrder:
    field: FileOrderField
    direction: OrderDirection = OrderDirection.ASC


def apply(filters: FileFilter, files: FileQuerySet, *, viewer: User | None) -> FileQuerySet:
    """The files that the filter lets through. Raises BadUserInput and Forbidden."""
    if (text := _text("nameContains", filters.name_contains)) is not None:
        files = files.name_contains(text)
    sha256 = _text("sha256", filters.sha256)
    conditions: dict[str, Any] = {
        "kind__in": _texts("kind", filters.kind),
        "content_type__in": _texts("contentType", filters.content_type),
        "profile__in": _texts("profile", filters.profile),
        "visibility": filters.visibility,
        "sha256": sha256 and sha256.lower(),
        "owner_id": _owner(filters.owner, viewer),
    }
    if tags := filters.tags:
        conditions |= {"tags__has_any": _texts("tags", tags.any), "tags__has_all": _texts("tags", tags.all)}
    if isinstance(filters.owned_by_viewer, bool):
        own = Q(owner=viewer) if viewer else Q(pk=None)
        files = files.filter(own if filters.owned_by_viewer else ~own)
    if size := filters.size:
        conditions |= {"size__gte": size.gte, "size__lte": size.lte}
    if created := filters.created_at:
        conditions |= _between("createdAt", "created_at", created)
    if updated := filters.updated_at:
        conditions |= _between("updatedAt", "updated_at", updated)
    return files.filter(
        Q(**{lookup: each for lookup, each in conditions.items() if each not in (None, UNSET)})
    )


def _owner(owner: str | None, viewer: User | None) -> int | None:
    if owner in (None, UNSET):
        return None
    if viewer is None or not viewer.is_staff:
        raise Forbidden("filters.owner: only staff may look for the files of others.")
    found = user_id(owner)
    if found is None:
        raise BadUserInput("filters.owner: give the id of a User.")
    return found


# --- what a database would stumble over ------------------------------------------------------------


def _text(field: str, text: str | None) -> str | None:
    if not text and text != "":
        return None
    if "\x00" in text:
        raise BadUserInput(f"filters.{field}: leave out NUL characters.")
    if len(text) > MAX_LENGTH:
        raise BadUserInput(f"filters.{field}: give at most {MAX_LENGTH} characters.")
    return text


def _texts(field: str, values: Sequence[str] | None) -> list[str] | None:
    if not values and values != []:
        return None
    if len(values) > MAX_VALUES:
        raise BadUserInput(f"filters.{field}: give at most {MAX_VALUES} values.")
    return [_text(field, value) or "" for value in values]


def _between(field: str, column: str, times: DateTimeRange) -> dict[str, Any]:
    return {f"{column}__gte": _time(field, times.gte), f"{column}__lte": _time(field, times.lte)}


def _time(field: str, moment: datetime | None) -> datetime | None:
    if not moment:
        return None
    if moment.tzinfo is None:
        raise BadUserInput(f"filters.{field}: give a time zone, for example 2026-01-31T12:00:00Z.")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise BadUserInput(f"filters.{field}: give a time that there is in UTC too.") from None
