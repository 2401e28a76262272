"""Models -> GraphQL: what clients see of files, users and profiles. No field here costs a query."""

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

import strawberry
import strawberry_django
from django.conf import settings
from django.db.models import QuerySet
from strawberry import UNSET, relay
from strawberry.scalars import JSON

from accounts import models as accounts
from accounts.models import Scope
from files import models, signing, storage
from files.buckets import MAX_LIFETIME
from files.profiles import UploadProfile as Profile
from graph.context import Info
from graph.enums import FileKind, Visibility
from graph.errors import BadUserInput
from graph.images import Image, PresetRule
from graph.scalars import BigInt


@strawberry_django.type(accounts.User, description="Somebody who owns files.")
class User(relay.Node):
    id: relay.NodeID[int]
    username: str

    @classmethod
    def get_queryset(cls, queryset: QuerySet[accounts.User], info: Info) -> QuerySet[accounts.User]:
        """Staff see all users, others themselves."""
        viewer = info.context.viewer.user
        if viewer is None:
            return queryset.none()
        return queryset if viewer.is_staff else queryset.filter(pk=viewer.pk)


@strawberry.type(description="Where the bytes lie; null unless the viewer is the owner or staff.")
class StoredObject:
    backend: str | None = strawberry.field(description="The kind of storage, such as disk or s3.")
    bucket: str | None = strawberry.field(description="Null where the storage has no buckets.")
    object_key: str | None


@strawberry.type(description="An address from which the bytes can be fetched without further credentials.")
class SignedUrl:
    url: str
    expires_at: datetime


@strawberry_django.type(models.File, description="One file that was received and kept.")
class File(relay.Node):
    id: relay.NodeID[UUID]
    name: str = strawberry.field(description="The client's name for it, made safe to show.")
    title: str | None
    description: str | None
    tags: list[str]
    metadata: JSON = strawberry.field(description="An object of the client's own.")
    profile: str = strawberry.field(description="The upload profile it was received by.")
    kind: FileKind
    content_type: str = strawberry.field(description="Detected from the bytes, whatever the client claimed.")
    size: BigInt = strawberry.field(description="In bytes.")
    md5: str = strawberry.field(description="Of the stored bytes, in lower-case hex.")
    sha256: str = strawberry.field(description="Of the stored bytes, in lower-case hex.")
    visibility: Visibility
    created_at: datetime
    updated_at: datetime

    @classmethod
    def get_queryset(cls, queryset: models.FileQuerySet, info: Info) -> models.FileQuerySet:
        """The one place where visibility is applied for the schema, nested relations included."""
        return queryset.visible_to(info.context.viewer.user)

    @strawberry_django.field(description="Null if the owner is gone, or the viewer is not signed in.")
    def owner(root: models.File, info: Info) -> User | None:  # noqa: N805
        return root.owner if info.context.viewer.user else None  # type: ignore[return-value]

    @strawberry_django.field(description="Where the bytes lie; only for the owner and staff.")
    def storage(root: models.File, info: Info) -> StoredObject:  # noqa: N805
        if not root.is_changeable_by(info.context.viewer.user):
            return StoredObject(backend=None, bucket=None, object_key=None)
        backend, bucket = storage.describe(root.storage)
        return StoredObject(backend=backend, bucket=bucket, object_key=root.key)

    @strawberry_django.field(description="Whether updateFile and deleteFiles would find it.")
    def viewer_can_change(root: models.File, info: Info) -> bool:  # noqa: N805
        viewer = info.context.viewer
        return viewer.may(Scope.WRITE) and root.is_changeable_by(viewer.user)

    @strawberry_django.field(description="A signed address of the bytes that expires.")
    def url(
        root: models.File,  # noqa: N805
        info: Info,
        expires_in: Annotated[
            int | None, strawberry.argument(description="In seconds; by default as the service is set up.")
        ] = UNSET,
        download: Annotated[
            bool | None, strawberry.argument(description="To be saved and not shown by a browser.")
        ] = False,
    ) -> SignedUrl:
        lifetime = settings.URL_LIFETIME if expires_in in (None, UNSET) else expires_in
        if not 1 <= lifetime <= MAX_LIFETIME:
            raise BadUserInput(f"expiresIn: give a number of seconds from 1 to {MAX_LIFETIME}.")
        address, expires_at = signing.address(root, lifetime=lifetime, download=bool(download))
        return SignedUrl(url=info.context.request.build_absolute_uri(address), expires_at=expires_at)

    @strawberry_django.field(description="Null unless the profile decodes images and this is one.")
    def image(root: models.File) -> Image | None:  # noqa: N805
        return Image(file=root) if root.is_image else None


@strawberry.type(description="What an upload by this name must be like, to be checked before it is sent.")
class UploadProfile:
    name: str
    description: str
    max_size: BigInt = strawberry.field(description="The largest file, in bytes.")
    types: list[str] = strawberry.field(description="Accepted content types; */* is any.")
    visibility: Visibility = strawberry.field(description="What a file gets unless the client says it.")
    max_pixels: BigInt | None = strawberry.field(
        description="The largest image, over all frames; null if images are not decoded."
    )
    presets: list[PresetRule] = strawberry.field(description="Renditions by name, made after each upload.")
    max_width: int | None = strawberry.field(description="In pixels: what is kept is made to fit.")
    max_height: int | None = strawberry.field(description="In pixels: what is kept is made to fit.")
    strip: bool = strawberry.field(
        description="Places, cameras, comments and the like are taken out of images."
    )

    @classmethod
    def of(cls, profile: Profile) -> Self:
        width, height = profile.fit or (None, None)
        return cls(
            name=profile.name,
            description=profile.description,
            max_size=BigInt(profile.max_size),
            types=list(profile.types),
            visibility=Visibility(profile.visibility),
            max_pixels=BigInt(profile.max_pixels) if profile.decoders else None,
            presets=[
                PresetRule(name=name, width=each.width, height=each.height, fit=each.fit, format=each.format)
                for name, each in profile.presets.items()
            ],
            max_width=width,
            max_height=height,
            strip=profile.strip,
        )


@strawberry.type(description="What the files of one kind take.")
class KindUsage:
    kind: FileKind
    files: int
    size: BigInt = strawberry.field(description="In bytes.")


@strawberry.type(description="What the viewer's files take.")
class StorageUsage:
    files: int
    size: BigInt = strawberry.field(description="In bytes.")
    quota: BigInt | None = strawberry.field(description="In bytes; null: as many as there is room for.")
    by_kind: list[KindUsage]
