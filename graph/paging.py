"""Relay connections of files: a page, and what is around it."""

from collections.abc import Callable

import strawberry
from strawberry import relay

from accounts.models import User
from files.models import FileQuerySet
from graph import keyset
from graph.errors import BadUserInput
from graph.filters import FileOrder, FileOrderField, OrderDirection
from graph.keyset import Narrowing, Position, Slice
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
    count: strawberry.Private[Callable[[], int]]

    @strawberry.field(description="Of all pages. Counted only when it is asked for.")
    def total_count(self) -> int:
        return self.count()


def paginate(
    files: FileQuerySet,
    *,
    names: frozenset[str],
    viewer: User | None,
    narrowed: Narrowing | None,
    order: FileOrder | None,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
) -> FileConnection:
    """One page of what the viewer may see of the files that are left, newest first by default; `names` are
    those of all fields that are selected.

    Raises BadUserInput.
    """
    order = order or FileOrder(field=FileOrderField.CREATED_AT, direction=OrderDirection.DESC)
    limit = _limit(first, last)
    asked = Slice(
        field=order.field,
        descending=order.direction is OrderDirection.DESC,
        backwards=last is not None,
        limit=limit + 1,
        after=None if after is None else Position.decode(after, order.field),
        before=None if before is None else Position.decode(before, order.field),
    )
    page = keyset.read(asked, files, names, viewer=viewer, narrowed=narrowed)
    more = len(page) > limit
    page = page[:limit]
    if asked.backwards:
        page.reverse()
    cursors = keyset.cursors(order.field, page)
    edges = [FileEdge(cursor=cursor, node=file) for cursor, file in zip(cursors, page, strict=True)]  # type: ignore[arg-type]
    return FileConnection(
        edges=edges,
        page_info=relay.PageInfo(
            has_next_page=before is not None if asked.backwards else more,
            has_previous_page=more if asked.backwards else after is not None,
            start_cursor=edges[0].cursor if edges else None,
            end_cursor=edges[-1].cursor if edges else None,
        ),
        count=lambda: (narrowed(files) if narrowed else files).count_visible_to(viewer),
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
