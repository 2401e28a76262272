"""Background work, by Django Tasks: at once in the same process by default, elsewhere by setting."""

import logging
from uuid import UUID

from django.conf import settings
from django.tasks import task

from files import relocation, renditions, storage
from files.errors import FileError
from files.geometry import FocalPoint
from files.models import File
from files.profiles import UploadProfile
from files.relocation import RelocationFailed
from files.variations import Format

logger = logging.getLogger(__name__)


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
    except (FileError, FileNotFoundError, RelocationFailed):
        logger.exception("%s could not be moved to %s.", file_id, alias)


@task()
def make_presets(file_id: str) -> None:
    """Make what the file's profile has names for, so that the first visitor does not wait; all of one decode.
    Doing it twice finds everything made; what fails is made when it is first fetched."""
    file = File.objects.filter(pk=UUID(file_id)).first()
    profile: UploadProfile | None = settings.UPLOAD_PROFILES.get(file.profile) if file else None
    if file is None or profile is None or not file.is_image:
        return
    focal = FocalPoint(file.focal_x, file.focal_y)
    # Of AUTO's formats the one that nearly all clients accept.
    wanted = dict.fromkeys(
        renditions.negotiated(file, preset.focused(focal), Format.WEBP.content_type)
        for preset in profile.presets.values()
    )
    # What moves is decoded for each anyway, and one that takes too long should not spoil the others.
    groups = [[each] for each in wanted] if (file.frames or 1) > 1 else [list(wanted)]
    for group in groups:
        try:
            renditions.make_all(file, group)
        except (FileError, FileNotFoundError):
            logger.exception("Presets of %s could not be made.", file_id)
