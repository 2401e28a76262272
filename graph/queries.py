"""What clients can ask."""

from uuid import UUID

import strawberry
from django.conf import settings
from strawberry import UNSET, relay

from accounts import models as accounts
from files import models, services
from files.models import FileQuerySet
from graph import filters as file_filters
from graph import paging
from graph.context import Info, reader
from graph.errors import Unauthenticated
from graph.filters import FileFilter, FileOrder
from graph.ids import file_id, user_id
from graph.paging import FileConnection
from graph.scalars import BigInt
from graph.selection import selected
from graph.types import File, KindUsage, StorageUsage, UploadProfile, User


def _files(names: frozenset[str]) -> FileQuerySet:
    files = models.File.objects.all()
    # The owner by a join, so that a page is one query; without it where nobody asks, it is half the work.
    if "owner" in names:
        files = files.select_related("owner")
    return files.with_made() if "presets" in names else files


def _find_file(info: Info, id: UUID | None) -> models.File | None:
    viewer = reader(info)
    return _files(selected(info)).visible_to(viewer).filter(pk=id).first() if id is not None else None


def _given[T](argument: T) -> T | None:
    """For an argument, leaving it out and null are the same."""
    return None if argument is UNSET else argument


@strawberry.type
class Query:
    @strawberry.field(description="Any object by its id; null if there is none that the viewer may see.")
    def node(self, info: Info, id: strawberry.ID) -> relay.Node | None:
        if (found := user_id(id)) is not None:
            reader(info)
            return User.get_queryset(accounts.User.objects.all(), info).filter(pk=found).first()  # type: ignore[return-value]
        return _find_file(info, file_id(id))  # type: ignore[return-value]

    @strawberry.field(description="On whose behalf the request runs; null if nobody's.")
    def viewer(self, info: Info) -> User | None:
        return reader(info)  # type: ignore[return-value]

    @strawberry.field(description="One file; null if there is none that the viewer may see.")
    def file(self, info: Info, id: strawberry.ID) -> File | None:
        return _find_file(info, file_id(id))  # type: ignore[return-value]

    @strawberry.field(description="The files that the viewer may see, newest first, at most 100 a page.")
    def files(
        self,
        info: Info,
        filters: FileFilter | None = UNSET,
        order: FileOrder | None = UNSET,
        first: int | None = UNSET,
        after: str | None = UNSET,
        last: int | None = UNSET,
        before: str | None = UNSET,
    ) -> FileConnection:
        names = selected(info)
        viewer = reader(info)

        def narrowed(files: FileQuerySet) -> FileQuerySet:
            return file_filters.apply(filters, files, viewer=viewer) if filters else files

        return paging.paginate(
            _files(names),
            names=names,
            viewer=viewer,
            narrowed=narrowed if filters else None,
            order=order or None,
            first=_given(first),
            after=_given(after),
            last=_given(last),
            before=_given(before),
        )

    @strawberry.field(description="What uploads must be like, for clients that check before they send.")
    def upload_profiles(self) -> list[UploadProfile]:
        return [UploadProfile.of(profile) for profile in settings.UPLOAD_PROFILES.values()]

    @strawberry.field(description="What the viewer's files take, in all and by kind.")
    def storage_usage(self, info: Info) -> StorageUsage:
        user = reader(info)
        if user is None:
            raise Unauthenticated
        usage = services.usage(user)
        quota = services.quota_of(user)
        return StorageUsage(
            files=sum(each.count for each in usage.values()),
            size=BigInt(sum(each.size for each in usage.values())),
            quota=None if quota is None else BigInt(quota),
            by_kind=[
                KindUsage(kind=kind, files=each.count, size=BigInt(each.size)) for kind, each in usage.items()
            ],
        )
