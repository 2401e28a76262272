"""Background work, by Django Tasks: at once in the same process by default, elsewhere by setting."""

import logging
from uuid import UUID

from django.conf import settings
from django.tasks import task

from files import renditions
from files.errors import FileError
from files.geometry import FocalPoint
from files.models import File
from files.profiles import UploadProfile
from files.variations import Format

logger = logging.getLogger(__name__)


@task()
def make_presets(file_id: str) -> None:
    """Make what the file's profile has names for, so that the first visitor does not wait. Doing it twice
    finds everything made; what fails is made when it is first fetched."""
    file = File.objects.filter(pk=UUID(file_id)).first()
    profile: UploadProfile | None = settings.UPLOAD_PROFILES.get(file.profile) if file else None
    if file is None or profile is None or not file.is_image:
        return
    for name, preset in profile.presets.items():
        # Of AUTO's formats the one that nearly all clients accept.
        focused = preset.focused(FocalPoint(file.focal_x, file.focal_y))
        wanted = renditions.negotiated(file, focused, Format.WEBP.content_type)
        try:
            renditions.get_or_make(file, wanted)
        except (FileError, FileNotFoundError):
            logger.exception("The preset %s of %s could not be made.", name, file_id)
