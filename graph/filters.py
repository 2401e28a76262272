"""FileFilter and FileOrder: which files, and in what order."""

from datetime import datetime
from enum import Enum
from typing import Any

import strawberry
from django.db.models import Q
from strawberry import UNSET

from accounts.models import User
from files.models import FileKind, FileQuerySet, Visibility
from graph.errors import BadUserInput, Forbidden
from graph.ids import user_id
from graph.scalars import BigInt

MAX_VALUES = 100  # of one list in a filter


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
    conditions: dict[str, Any] = {
        "name__icontains": filters.name_contains,
        "kind__in": filters.kind,
        "content_type__in": filters.content_type,
        "profile__in": filters.profile,
        "visibility": filters.visibility,
        "sha256": filters.sha256 and filters.sha256.lower(),
        "tags__has_any": filters.tags and filters.tags.any,
        "tags__has_all": filters.tags and filters.tags.all,
        "size__gte": filters.size and filters.size.gte,
        "size__lte": filters.size and filters.size.lte,
        "created_at__gte": filters.created_at and filters.created_at.gte,
        "created_at__lte": filters.created_at and filters.created_at.lte,
        "updated_at__gte": filters.updated_at and filters.updated_at.gte,
        "updated_at__lte": filters.updated_at and filters.updated_at.lte,
        "owner_id": _owner(filters.owner, viewer),
    }
    given = {lookup: value for lookup, value in conditions.items() if value not in (None, UNSET)}
    for lookup, value in given.items():
        _check(lookup, value)
    return files.filter(Q(**given))


def _owner(owner: str | None, viewer: User | None) -> int | None:
    if owner in (None, UNSET):
        return None
    if viewer is None or not viewer.is_staff:
        raise Forbidden("filters.owner: only staff may look for the files of others.")
    found = user_id(owner)
    if found is None:
        raise BadUserInput("filters.owner: give the id of a User.")
    return found


def _check(lookup: str, value: object) -> None:
    """Raises BadUserInput for what a database would stumble over."""
    field = lookup.partition("__")[0]
    values = value if isinstance(value, list) else [value]
    if len(values) > MAX_VALUES:
        raise BadUserInput(f"filters.{field}: give at most {MAX_VALUES} values.")
    if any(isinstance(each, str) and "\x00" in each for each in values):
        raise BadUserInput(f"filters.{field}: leave out NUL characters.")
    if any(isinstance(each, datetime) and each.tzinfo is None for each in values):
        raise BadUserInput(f"filters.{field}: give a time zone, for example 2026-01-31T12:00:00Z.")
