"""Background work, by Django Tasks: at once in the same process by default, in workers by setting.

A task is idempotent, and raises what may pass: then workers try it again, as `files.retries` says. What will
not pass is logged, and that is its end.
"""

import logging
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.tasks import Task, task

from files import relocation, renditions, storage
from files.errors import FileError, StorageUnavailable
from files.models import File
from files.relocation import RelocationFailed

logger = logging.getLogger(__name__)


class PresetsUnfinished(Exception):
    """Another one has claimed some of the presets and has not made them yet, perhaps because it died."""


def enqueue_on_commit(wanted: Task[Any, Any], file_id: UUID) -> None:
    """Once the caller's transaction is committed, so that a worker finds the row. A queue that is down is
    logged and fails nothing: presets are made when they are first fetched."""
    transaction.on_commit(lambda: _enqueue(wanted, str(file_id)))


def _enqueue(wanted: Task[Any, Any], file_id: str) -> None:
    try:
        wanted.enqueue(file_id)
    except Exception:  # whatever a queue raises
        logger.exception("The queue failed: %s of %s will not be run.", wanted.name, file_id)


@task()
def relocate(file_id: str) -> None:
    """Move the file to the storage that its profile and its visibility ask for by now. Doing it twice finds
    it there; what fails leaves it where it was, readable as before."""
    file = File.objects.filter(pk=UUID(file_id)).first()
    if file is None:
        return
    alias = storage.alias_for(settings.UPLOAD_PROFILES.get(file.profile), file.visibility)
    try:
        relocation.move(file, alias)
    except (FileError, FileNotFoundError, RelocationFailed) as error:
        if _may_pass(error):
            raise
        logger.exception("%s could not be moved to %s.", file_id, alias)


@task()
def make_presets(file_id: str) -> None:
    """Make what the file's profile has names for, so that the first visitor does not wait; all of one decode.
    Doing it twice finds everything made; what fails is made when it is first fetched."""
    file = File.objects.filter(pk=UUID(file_id)).first()
    if file is None or not file.is_image:
        return
    wanted = dict.fromkeys(renditions.presets(file).values())
    # What moves is decoded for each anyway, and one that takes too long should not spoil the others.
    groups = [[each] for each in wanted] if (file.frames or 1) > 1 else [list(wanted)]
    left: Exception | None = None
    for group in groups:
        try:
            if not renditions.make_all(file, group):
                left = PresetsUnfinished(f"Another one makes presets of {file_id}, or began to.")
        except (FileError, FileNotFoundError) as error:
            if _may_pass(error):
                left = error
            elif File.objects.filter(pk=file.pk).exists():  # or it was deleted meanwhile
                logger.exception("Presets of %s could not be made.", file_id)
    if left is not None:
        raise left


def _may_pass(error: Exception) -> bool:
    return isinstance(error, StorageUnavailable) and error.retryable
