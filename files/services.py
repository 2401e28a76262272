"""Receiving, changing and deleting files: the only writers of rows and objects.

Bytes come before the row and go after it, so that no row ever points at nothing; the worst that a crash
leaves is an object without a row. Every function raises errors of `files.errors` and nothing else that a
client should see.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypedDict
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Count, Sum
from django.utils import timezone

from accounts.models import User
from audit import log
from audit.models import Entry
from database import prepared
from files import (
    auditing,
    content_types,
    failpoints,
    inspection,
    metadata,
    pooling,
    profiles,
    rendering,
    sandbox,
    storage,
    tasks,
    telemetry,
    tracing,
    validators,
)
from files.errors import (
    FileError,
    FileNotFound,
    InvalidInput,
    QuotaExceeded,
    StorageUnavailable,
)
from files.exif import Exif
from files.geometry import CENTRE, FocalPoint
from files.inspection import Facts
from files.models import File, FileKind, Rendition, Visibility, new_id
from files.outages import DATABASE_ERRORS, is_outage
from files.profiles import DECODERS, UploadProfile
from files.receive import Begin, Received
from files.storage import Draft

logger = logging.getLogger(__name__)


class Description(TypedDict, total=False):
    """What a client may say of a file; what is left out stays as it is."""

    name: str | None
    title: str | None
    description: str | None
    tags: list[str] | None
    metadata: object
    visibility: Visibility | None
    focal_point: FocalPoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deleted:
    id: UUID


@telemetry.counts_uploads
def upload(*, owner: User, received: Received, profile: str, description: Description) -> File:
    """Check the received bytes, store them and record them; the file belongs to `owner`.

    Raises any FileError but FileNotFound; then nothing is stored, and the audit log has the refusal.
    """
    try:
        return _upload(owner=owner, received=received, profile=profile, description=description)
    except FileError as error:
        if not isinstance(error.__cause__, DATABASE_ERRORS):  # that would be asked in vain once more
            name = description.get("name")
            log.write_alone(auditing.refused(received, error, profile=profile, name=name, by=owner))
        raise


def _upload(*, owner: User, received: Received, profile: str, description: Description) -> File:
    purpose = profiles.find(settings.UPLOAD_PROFILES, profile)
    fields = clean({"visibility": Visibility(purpose.visibility), **_given(description)})
    fields.setdefault("name", validators.display_name(received.name))
    validators.check_size(received.size, purpose)
    received.check()
    facts = inspection.inspect(received, purpose)
    validators.check_type(facts.content_type, purpose, claimed=received.content_type)
    if purpose.fit is None and not purpose.strip:
        return _keep(owner=owner, received=received, facts=facts, profile=purpose, fields=fields)
    remade = _remade(received, purpose, facts)
    try:
        remade.check()
        kept = inspection.inspect(remade, purpose)
        if purpose.fit is None:
            inspection.check_stripped(facts, kept)
        return _keep(owner=owner, received=remade, facts=kept, profile=purpose, fields=fields)
    finally:
        remade.close()


def begin(*, owner: User, profile: str, visibility: Visibility | None) -> Begin | None:
    """How a file of this profile goes straight into its object while it comes in, to be handed to `upload`
    afterwards; None where it has to be looked at as a whole first.

    The type is judged by the head, and the quota by what has come so far.
    """
    purpose: UploadProfile | None = settings.UPLOAD_PROFILES.get(profile)
    if purpose is None or purpose.decoders:
        return None
    alias = storage.alias_for(purpose, visibility or Visibility(purpose.visibility))

    def begin_object(received: Received) -> Draft:
        facts = inspection.inspect(received, purpose)
        validators.check_type(facts.content_type, purpose, claimed=received.content_type)
        _check_quota(owner, received.size)
        pooling.release()  # the rest of the bytes comes in the client's own time
        draft = storage.begin(key=_new_key(purpose, facts), alias=alias, content_type=facts.content_type)
        failpoints.reach("upload.begun")
        return draft

    return begin_object


def upload_many(
    *, owner: User, received: Iterable[Received], profile: str, description: Description
) -> list[File | FileError]:
    """Each file as by `upload`; one that fails does not keep the others from being stored."""
    outcomes: list[File | FileError] = []
    for each in received:
        try:
            outcomes.append(upload(owner=owner, received=each, profile=profile, description=description))
        except FileError as error:
            outcomes.append(error)
    return outcomes


def update(*, viewer: User, file_id: UUID, changes: Description) -> File:
    """Change what is said of a file. Raises FileNotFound, InvalidInput and StorageUnavailable."""
    fields = clean(changes)
    with _database_errors(), transaction.atomic():
        files = File.objects.changeable_by(viewer).select_related("owner")
        file = files.select_for_update(of=("self",)).filter(pk=file_id).first()
        if file is None:
            raise FileNotFound(id=file_id)
        was = {field: getattr(file, field) for field in fields}
        for field, value in fields.items():
            setattr(file, field, value)
        file.updated_at = timezone.now()
        file.save(update_fields=[*fields, "updated_at"])
        log.write([auditing.updated(file, was, by=viewer)])
        profile = settings.UPLOAD_PROFILES.get(file.profile)
        moves = storage.alias_for(profile, file.visibility) != file.storage and "visibility" in fields
        if moves:
            tasks.enqueue_on_commit(tasks.relocate, file_id)
    if moves:
        with _database_errors():
            file.refresh_from_db(fields=["storage"])  # by default the move is done by now
    return file


def delete(*, viewer: User, file_id: UUID) -> Deleted:
    """Remove the row, and the bytes once that is certain. Raises FileNotFound and StorageUnavailable."""
    with _database_errors(), transaction.atomic():
        files = File.objects.changeable_by(viewer).select_related("owner")
        file = files.select_for_update(of=("self",)).filter(pk=file_id).first()
        if file is None:
            raise FileNotFound(id=file_id)
        delete_row(file, by=viewer)
    return Deleted(id=file_id)


def delete_many(*, viewer: User, file_ids: Iterable[UUID]) -> list[Deleted | FileError]:
    """Each file as by `delete`, in order; naming one twice finds it once."""
    outcomes: list[Deleted | FileError] = []
    for file_id in file_ids:
        try:
            outcomes.append(delete(viewer=viewer, file_id=file_id))
        except FileError as error:
            outcomes.append(error)
    return outcomes


def delete_rows(files: Iterable[File], *, by: User | None) -> None:
    """Delete the rows in the caller's transaction, and their bytes when that commits. `by` None is the
    service itself."""
    log.write([gone for file in files if (gone := _delete_row(file, by))])


def delete_row(file: File, *, by: User | None) -> None:
    """One row as by `delete_rows`."""
    delete_rows([file], by=by)


@dataclass(frozen=True, slots=True)
class Usage:
    """How many files, and their bytes."""

    count: int
    size: int


def usage(owner: User) -> dict[FileKind, Usage]:
    """What the owner's files take, by kind; kinds without a file are left out."""
    files = File.objects.filter(owner=owner).order_by("kind")
    rows = files.values_list("kind").annotate(count=Count("id"), size=Sum("size"))
    return {FileKind(kind): Usage(count, size) for kind, count, size in rows}


def quota_of(user: User) -> int | None:
    """How many bytes the user's files may take in all; None: as many as there is room for."""
    return settings.USER_QUOTA if user.quota is None else user.quota


def clean(description: Mapping[str, object]) -> dict[str, Any]:
    """The fields as they are stored. Raises InvalidInput."""
    cleaned: dict[str, Any] = {}
    for field, value in description.items():
        if value is None and field in {"name", "visibility"}:
            raise InvalidInput(field=field, reason="cannot be null")
        kept = _CLEANERS[field](value)
        cleaned |= kept if field == "focal_point" else {field: kept}
    return cleaned


# --- steps -----------------------------------------------------------------------------------------


def _remade(received: Received, profile: UploadProfile, facts: Facts) -> Received:
    """What is kept instead: made to fit, which leaves nothing but pixels, or without metadata."""
    with received.open() as file:
        if profile.fit is not None:
            content = sandbox.run(rendering.fit, file, formats=profile.decoders, box=profile.fit)
        else:
            content = sandbox.run(metadata.strip, file, format=DECODERS[facts.content_type])
    return Received.of_bytes(content, name=received.name)


def _keep(
    *, owner: User, received: Received, facts: Facts, profile: UploadProfile, fields: Mapping[str, Any]
) -> File:
    """Store the bytes, then the row; if the row cannot be, the bytes go again."""
    _check_quota(owner, received.size)  # before the object is made; once more below, where it is certain
    key, alias = _store(received, facts, profile, fields["visibility"])
    now = timezone.now()
    failpoints.reach("upload.stored")
    file_id = storage.id_of(key)
    inserted = False
    try:
        file = File(
            id=file_id,
            owner=owner,
            profile=profile.name,
            kind=content_types.kind(facts.content_type),
            content_type=facts.content_type,
            size=received.size,
            md5=received.md5,
            sha256=received.sha256,
            storage=alias,
            key=key,
            created_at=now,
            updated_at=now,
            **_image_columns(facts),
            **fields,
        )
        entry = auditing.uploaded(file, by=owner)
        # Others wait until this transaction ends: it has nothing in it that could be done before.
        with _database_errors(), transaction.atomic():
            _check_quota(owner, received.size, lock=True)
            prepared.insert(file)
            log.write([entry])
            inserted = True
            failpoints.reach("upload.inserted")
            if file.is_image and profile.presets:
                tasks.enqueue_on_commit(tasks.make_presets, file_id)
        failpoints.reach("upload.committed")
        return file
    except BaseException as error:
        if inserted and not isinstance(error, IntegrityError):
            # The commit failed, perhaps only its answer: with the bytes kept, either way is safe.
            logger.error("It is not certain that the row of %s was committed; its bytes are kept.", key)
        else:
            _delete_object(key=key, alias=alias)
        if inserted and isinstance(error, IntegrityError):
            # Foreign keys are checked at the commit: the owner was deleted meanwhile.
            raise StorageUnavailable(retryable=False) from error
        raise


@tracing.traced("upload.store")
def _store(
    received: Received, facts: Facts, profile: UploadProfile, visibility: Visibility
) -> tuple[str, str]:
    """The key and the alias under which the bytes are stored now."""
    alias = storage.alias_for(profile, visibility)
    draft = received.draft
    if draft is None:
        key = _new_key(profile, facts)
        content = received.staged(name=key, content_type=facts.content_type)
        storage.save(key=key, content=content, alias=alias)
        return key, alias
    if draft.alias != alias or not draft.key.startswith(f"{profile.name}/"):
        # graph.plan and the execution read one operation in two ways.
        raise RuntimeError(f"{draft.key} was begun on {draft.alias} and is now meant for {alias}.")
    failpoints.reach("upload.received")
    draft.commit(sha256=received.sha256, md5=received.md5)
    return draft.key, draft.alias


def _new_key(profile: UploadProfile, facts: Facts) -> str:
    extension = content_types.extension(facts.content_type)
    return storage.key_of(file_id=new_id(), profile=profile.name, extension=extension, now=timezone.now())


def _image_columns(facts: Facts) -> dict[str, Any]:
    image = facts.image
    if image is None:
        return {}
    recorded = image.exif or Exif()
    return {
        "image_format": image.format,
        "width": image.width,
        "height": image.height,
        "frames": image.frames,
        "thumbhash": image.thumbhash,
        "dominant_color": image.dominant_color,
        "taken_at": recorded.taken_at or "",
        "camera": recorded.camera or "",
        "lens": recorded.lens or "",
    }


def _check_quota(owner: User, size: int, *, lock: bool = False) -> None:
    """Raises QuotaExceeded. With `lock`, in a transaction, no other upload of the owner's can slip past."""
    quota = quota_of(owner)
    if quota is None:
        return
    with _database_errors():
        if lock:
            list(User.objects.select_for_update().filter(pk=owner.pk))
        used = File.objects.filter(owner=owner).aggregate(used=Sum("size", default=0))["used"]
    if used + size > quota:
        raise QuotaExceeded(size=size, used=used, quota=quota)


def _delete_row(file: File, by: User | None) -> Entry | None:
    """Delete the row; what is to be recorded of it, None if somebody else has deleted it."""
    # As they are now, and until this is certain: they may be on their way to another storage.
    rows = (File.objects.filter(pk=file.pk), Rendition.objects.filter(file=file))
    objects = [each for row in rows for each in row.select_for_update().values_list("key", "storage")]
    entry = auditing.deleted(file, by=by)
    is_gone = bool(file.delete()[1].get(File._meta.label))
    failpoints.reach("delete.row_deleted")

    def delete_objects() -> None:
        failpoints.reach("delete.committed")
        for key, alias in objects:
            _delete_object(key=key, alias=alias)
            failpoints.reach("delete.object_deleted")

    transaction.on_commit(delete_objects)
    return entry if is_gone else None


def _delete_object(*, key: str, alias: str) -> None:
    """The row is gone, so what is left of the bytes is an orphan at worst, and the log says which."""
    try:
        storage.delete(key=key, alias=alias)
    except FileError:
        logger.error("The object %s on %s has no row any more and could not be deleted.", key, alias)


def _given(description: Description) -> Description:
    """Without the fields that are null: in an upload, null is the same as saying nothing."""
    return {field: value for field, value in description.items() if value is not None}  # type: ignore[return-value]


_CLEANERS: Mapping[str, Any] = {
    "name": validators.clean_name,
    "title": validators.clean_title,
    "description": validators.clean_description,
    "tags": lambda tags: validators.clean_tags(() if tags is None else tags),
    "metadata": lambda metadata: validators.clean_metadata({} if metadata is None else metadata),
    "visibility": lambda visibility: visibility,
    "focal_point": lambda point: validators.clean_focal_point(point or CENTRE),
}


@contextmanager
def _database_errors() -> Iterator[None]:
    """A database that is down, locked or full is a typed error like a storage that is."""
    try:
        yield
    except DATABASE_ERRORS as error:
        if not is_outage(error):
            raise
        logger.exception("The database failed.")
        raise StorageUnavailable from error
