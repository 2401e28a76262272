"""What is recorded of a file. Rows are written by `files.services` alone."""

import re
import uuid
from collections.abc import Collection
from typing import Any, Self

import uuid_utils.compat
from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db import connections, models
from django.utils import timezone

from accounts.models import User
from database.prepared import instance
from files.exif import CAMERA_MAX_LENGTH, TEXT_MAX_LENGTH, TIME_MAX_LENGTH
from files.indexes import PostgresGinIndex, PostgresIndex
from files.lookups import TRIGRAM, Trigrams
from files.validators import NAME_MAX_LENGTH, TITLE_MAX_LENGTH


def new_id() -> uuid.UUID:
    """A UUID of version 7: they sort by time of making, so that neighbours in time are neighbours on disk."""
    return uuid_utils.compat.uuid7()


class FileKind(models.TextChoices):
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    DOCUMENT = "document"
    ARCHIVE = "archive"
    OTHER = "other"


class Visibility(models.TextChoices):
    """Who may see a file: its owner and staff, or anyone."""

    PRIVATE = "private"
    PUBLIC = "public"


# What the indices of public files are for, in the words of `parts_visible_to`.
_PUBLIC = models.Q(visibility=Visibility.PUBLIC)


class FileQuerySet(models.QuerySet["File"]):
    """The rules of who may see and who may change, in one place."""

    def visible_to(self, user: User | AnonymousUser | None) -> Self:
        """Staff see all files, users their own and public ones, everybody else public ones."""
        if user is None or isinstance(user, AnonymousUser):
            return self.filter(visibility=Visibility.PUBLIC)
        if user.is_staff:
            return self
        return self.filter(models.Q(owner=user) | models.Q(visibility=Visibility.PUBLIC))

    def with_made(self) -> Self:
        """With the renditions that are made, of all files by one query."""
        return self.prefetch_related(MADE)

    def parts_visible_to(self, user: User | AnonymousUser | None) -> list[Self]:
        """What together is `visible_to`. Each part has an index in every order, which "own or public" as one
        condition cannot have; a user's own public files are in both parts."""
        public = self.filter(visibility=Visibility.PUBLIC)
        if user is None or isinstance(user, AnonymousUser):
            return [public]
        return [self] if user.is_staff else [self.filter(owner=user), public]

    def count_visible_to(self, user: User | AnonymousUser | None) -> int:
        """How many `visible_to` has, counted by parts for the same reason."""
        if user is None or isinstance(user, AnonymousUser) or user.is_staff:
            return self.visible_to(user).count()
        of_others = self.filter(visibility=Visibility.PUBLIC).exclude(owner=user)
        return self.filter(owner=user).count() + of_others.count()

    def name_contains(self, text: str) -> Self:
        """Whatever the case of the letters."""
        vendor = connections[self.db].vendor
        if vendor == "sqlite" and not text.isascii():
            # SQLite's own comparison knows upper and lower case of ASCII letters alone.
            return self.filter(name__iregex=re.escape(text))
        if vendor == "postgresql" and len(text) >= TRIGRAM:
            return self.filter(name__has_trigrams=text, name__icontains=text)
        return self.filter(name__icontains=text)

    def changeable_by(self, user: User | None) -> Self:
        """Staff may change all files, users their own."""
        if user is None:
            return self.none()
        return self if user.is_staff else self.filter(owner=user)


class File(models.Model):
    """One received file: what it is, whose it is, and where its bytes lie. Sizes in bytes and pixels."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="files"
    )
    name = models.CharField(max_length=NAME_MAX_LENGTH)
    title = models.CharField(max_length=TITLE_MAX_LENGTH, null=True, blank=True)  # noqa: DJ001  null: none given
    description = models.TextField(null=True, blank=True)  # noqa: DJ001
    tags = models.JSONField(default=list, blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    profile = models.CharField(max_length=32)
    visibility = models.CharField(max_length=8, choices=Visibility.choices, default=Visibility.PRIVATE)

    kind = models.CharField(max_length=8, choices=FileKind.choices)
    content_type = models.CharField(max_length=127)
    size = models.BigIntegerField()
    md5 = models.CharField(max_length=32)
    sha256 = models.CharField(max_length=64)

    # The alias in STORAGES and the name of the object there.
    storage = models.CharField(max_length=64)
    key = models.CharField(max_length=255, unique=True)

    # Of images that were decoded; width and height are upright, after EXIF orientation.
    image_format = models.CharField(max_length=8, blank=True)
    width = models.PositiveIntegerField(null=True)
    height = models.PositiveIntegerField(null=True)
    frames = models.PositiveIntegerField(null=True)
    thumbhash = models.CharField(max_length=64, blank=True)
    dominant_color = models.CharField(max_length=7, blank=True)
    # Of their EXIF data; the camera's clock in ISO 8601, because most cameras do not know their time zone.
    taken_at = models.CharField(max_length=TIME_MAX_LENGTH, blank=True)
    camera = models.CharField(max_length=CAMERA_MAX_LENGTH, blank=True)
    lens = models.CharField(max_length=TEXT_MAX_LENGTH, blank=True)

    # What has to stay in sight where a rendition cuts something off: parts of width and height.
    focal_x = models.FloatField(default=0.5)
    focal_y = models.FloatField(default=0.5)

    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    made: list["Rendition"]  # where `MADE` was fetched

    objects = FileQuerySet.as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        # Each order that clients can ask for ends in the id: with it a cursor stands at one row exactly. Of
        # each there are three, for all files, for those of one owner and for public ones: `parts_visible_to`.
        indexes = (
            models.Index(fields=("created_at", "id"), name="file_created"),
            models.Index(fields=("updated_at", "id"), name="file_updated"),
            models.Index(fields=("name", "id"), name="file_name"),
            models.Index(fields=("size", "id"), name="file_size"),
            models.Index(fields=("owner", "created_at", "id"), name="file_owner_created"),
            models.Index(fields=("owner", "updated_at", "id"), name="file_owner_updated"),
            models.Index(fields=("owner", "name", "id"), name="file_owner_name"),
            models.Index(fields=("owner", "size", "id"), name="file_owner_size"),
            models.Index(fields=("created_at", "id"), name="file_public_created", condition=_PUBLIC),
            models.Index(fields=("updated_at", "id"), name="file_public_updated", condition=_PUBLIC),
            models.Index(fields=("name", "id"), name="file_public_name", condition=_PUBLIC),
            models.Index(fields=("size", "id"), name="file_public_size", condition=_PUBLIC),
            models.Index(fields=("owner", "kind", "size"), name="file_owner_usage"),
            models.Index(fields=("sha256",), name="file_sha256"),
            PostgresIndex(fields=("kind",), name="file_kind"),
            PostgresIndex(fields=("content_type",), name="file_content_type"),
            PostgresIndex(fields=("profile",), name="file_profile"),
            PostgresIndex(fields=("visibility",), name="file_visibility"),
            PostgresGinIndex(fields=("tags",), name="file_tags"),
            PostgresGinIndex(fields=("metadata",), name="file_metadata", opclasses=("jsonb_path_ops",)),
            PostgresGinIndex(Trigrams("name"), name="file_name_trigrams"),
        )

    def __str__(self) -> str:
        return self.name

    @classmethod
    def from_db(
        cls, db: str | None, field_names: Collection[str], values: Collection[Any], *, fetch_mode: Any = None
    ) -> Self:
        """As Django does it, but for the time that it takes: a page has a hundred of them."""
        file = instance(cls, field_names, values, db=db)
        if fetch_mode is not None:
            file._state.fetch_mode = fetch_mode
        return file

    @property
    def is_image(self) -> bool:
        """Decoded as a raster image when it was received, so that its bytes are known to be one."""
        return self.width is not None

    def is_changeable_by(self, user: User | None) -> bool:
        """Whether `changeable_by` finds this row, without asking the database."""
        return user is not None and (user.is_staff or self.owner_id == user.pk)


class Rendition(models.Model):
    """An image that was made of a file's. The row comes first, as the claim to make it: who inserts it makes
    it, and everybody else waits for `made_at`."""

    file = models.ForeignKey(File, on_delete=models.CASCADE, related_name="renditions")
    variation = models.CharField(max_length=64)
    storage = models.CharField(max_length=64)
    key = models.CharField(max_length=255, unique=True)
    content_type = models.CharField(max_length=127)
    size = models.BigIntegerField(null=True)
    claimed_at = models.DateTimeField(default=timezone.now)
    made_at = models.DateTimeField(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("file", "variation"), name="rendition_of_a_file_once"),
        )

    def __str__(self) -> str:
        return f"{self.file_id} {self.variation}"


MADE = models.Prefetch(
    "renditions",
    Rendition.objects.filter(made_at__isnull=False).only("file_id", "variation"),
    to_attr="made",
)


class Worker(models.Model):
    """A process that does background work by the queue in the database, and when it was last heard of. What
    it was running when it fell silent is run again."""

    name = models.CharField(max_length=64, primary_key=True)
    seen_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name
