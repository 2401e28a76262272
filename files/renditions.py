"""Renditions: a wish -> its signed address -> its stored bytes, made by whoever asks first and kept.

An address costs nothing to make. The first GET of it makes the rendition, under a claim that holds for all
processes and machines because it is a row; later ones read what was stored.
"""

import logging
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from tempfile import SpooledTemporaryFile
from typing import IO

from django.conf import settings
from django.core.files.base import ContentFile
from django.db import IntegrityError, transaction
from django.utils import timezone

from files import failpoints, rendering, sandbox, storage, telemetry, tracing
from files.errors import FileError, InvalidRendition, StorageUnavailable
from files.geometry import FocalPoint
from files.models import File, Rendition
from files.profiles import UploadProfile
from files.rendering import Rendered
from files.variations import Format, Variation

logger = logging.getLogger(__name__)

MAX_FOR_FILE = 200  # the ladder in three formats, and room for crops; beyond that somebody is playing
_CLAIM_HOLDS = timedelta(seconds=60)  # after which who made it is taken for dead
# Seconds for which a request waits for another one to make the rendition. Most take a tenth of it, and who
# waits holds a thread: with all threads waiting for long, nobody else would be answered.
_WAIT = 5.0
_BUSY_RETRY_AFTER = 1  # second; by then it is likely to be there
_POLL = 0.05  # seconds
_IN_MEMORY = 1024 * 1024  # bytes of an original; a larger one lies in a temporary file while it is decoded
_REFUSED = re.compile(r"q\s*=\s*0(\.0*)?")


def fallback(file: File) -> Format:
    """What every client takes: JPEG for what was JPEG, GIF for what moves, and for the rest PNG, which keeps
    transparency."""
    if (file.frames or 1) > 1:
        return Format.GIF
    return Format.JPEG if file.image_format == "JPEG" else Format.PNG


def negotiated(file: File, variation: Variation, accept: str) -> Variation:
    """The variation with AUTO settled by the Accept header of who fetches it."""
    if variation.format is not Format.AUTO:
        return variation
    accepted = set(_accepted(accept))
    for format_ in (Format.AVIF, Format.WEBP):
        if format_.content_type in accepted:
            return variation.as_format(format_)
    return variation.as_format(fallback(file))


def _accepted(accept: str) -> Iterator[str]:
    """The media types of an Accept header, without those of quality 0, which are named to be refused."""
    for part in accept.lower().split(","):
        media, *parameters = (each.strip() for each in part.split(";"))
        if not any(map(_REFUSED.fullmatch, parameters)):
            yield media


def get_or_make(file: File, variation: Variation) -> Rendition:
    """The stored rendition; `variation.format` must be settled.

    Raises InvalidImage, InvalidRendition if the file has too many, FileNotFoundError if its bytes are gone,
    and StorageUnavailable.
    """
    give_up = time.monotonic() + _WAIT
    while True:
        rendition = Rendition.objects.filter(file=file, variation=str(variation)).first()
        if rendition is not None and rendition.made_at is not None:
            return rendition
        claim = _claim(file, variation) if rendition is None else _inherit(file, variation, rendition)
        if claim is not None:
            _make(file, {claim: variation})
            return claim
        if time.monotonic() > give_up:
            raise StorageUnavailable(retry_after=_BUSY_RETRY_AFTER)
        time.sleep(_POLL)


def presets(file: File) -> dict[str, Variation]:
    """What the file's profile has names for, each as it is made before anybody asks."""
    profile: UploadProfile | None = settings.UPLOAD_PROFILES.get(file.profile)
    focal = FocalPoint(file.focal_x, file.focal_y)
    # Of AUTO's formats the one that nearly all clients accept.
    return {
        name: negotiated(file, preset.focused(focal), Format.WEBP.content_type)
        for name, preset in (profile.presets if profile else {}).items()
    }


def make_all(file: File, variations: Iterable[Variation]) -> bool:
    """Make of one decode those that nobody has made or is making; whether all are made by now. Raises as
    `get_or_make`."""
    claims: dict[Rendition, Variation] = {}
    others = False
    with _given_back(claims):
        for variation in variations:
            rendition = Rendition.objects.filter(file=file, variation=str(variation)).first()
            if rendition is not None and rendition.made_at is not None:
                continue
            claim = _claim(file, variation) if rendition is None else _inherit(file, variation, rendition)
            if claim is not None:
                claims[claim] = variation
            else:
                others = True
    if claims:
        _make(file, claims)
    return not others


def forget(rendition: Rendition) -> None:
    """Its object is lost: without the row it is made anew by whoever asks next."""
    logger.warning(
        "The object %s on %s is lost; its rendition is forgotten.", rendition.key, rendition.storage
    )
    Rendition.objects.filter(pk=rendition.pk, key=rendition.key).delete()


def _claim(file: File, variation: Variation) -> Rendition | None:
    """The right to make it, unless another one was faster."""
    if file.renditions.count() >= MAX_FOR_FILE:
        raise InvalidRendition(
            field="width", allowed="the renditions that were made before; there are too many"
        )
    try:
        with transaction.atomic():
            return Rendition.objects.create(
                file=file,
                variation=str(variation),
                storage=file.storage,
                key=_key(file, variation),
                content_type=variation.format.content_type,
            )
    except IntegrityError as error:
        if not File.objects.filter(pk=file.pk).exists():
            raise FileNotFoundError(f"{file.pk} was deleted meanwhile.") from error
        return None


def _key(file: File, variation: Variation) -> str:
    """Beside the original, and of this claim alone: two makers never write to one object."""
    stem = file.key.rpartition(".")[0] or file.key
    return f"{stem}.renditions/{variation}-{secrets.token_hex(4)}.{variation.format.value}"


def _inherit(file: File, variation: Variation, rendition: Rendition) -> Rendition | None:
    """The right to make it if who had it is dead, unless another one was faster."""
    now = timezone.now()
    if rendition.claimed_at > now - _CLAIM_HOLDS:
        return None
    claims = Rendition.objects.filter(pk=rendition.pk, claimed_at=rendition.claimed_at, made_at=None)
    key = _key(file, variation)
    if not claims.update(claimed_at=now, key=key):
        return None
    with suppress(StorageUnavailable):  # what the dead one may have stored has no row now
        storage.delete(key=rendition.key, alias=rendition.storage)
    rendition.claimed_at, rendition.key = now, key
    return rendition


@tracing.traced("rendition.make")
def _make(file: File, claims: Mapping[Rendition, Variation]) -> None:
    """Make and store what is claimed, of one decode."""
    formats = [variation.format.value for variation in claims.values()]
    with telemetry.counts_renditions(formats), _given_back(claims), _read(file) as original:
        failpoints.reach("rendition.claimed")
        made = sandbox.run(
            rendering.render_many,
            original,
            formats=(file.image_format,),
            variations=tuple(claims.values()),
        )
        for claim, rendered in zip(claims, made, strict=True):
            _keep(claim, rendered)


def _keep(claim: Rendition, rendered: Rendered) -> None:
    content = ContentFile(rendered.content)
    content.content_type = rendered.content_type  # type: ignore[attr-defined]
    storage.save(key=claim.key, content=content, alias=claim.storage)
    failpoints.reach("rendition.stored")
    claim.size = len(rendered.content)
    claim.made_at = timezone.now()
    ours = Rendition.objects.filter(pk=claim.pk, key=claim.key, made_at=None)
    # Beside its file: a rendition of what was moved to a private bucket must not stay in a public one.
    if not ours.filter(file__storage=claim.storage).update(size=claim.size, made_at=claim.made_at):
        # The file was moved or deleted meanwhile, or we were taken for dead and another one makes it.
        storage.delete(key=claim.key, alias=claim.storage)
        raise FileNotFoundError(f"The claim to {claim.key} is gone.")


@contextmanager
def _read(file: File) -> Iterator[IO[bytes]]:
    """The file's bytes, all read before one is decoded: a storage that fails is no fault of the image."""
    with storage.open_object(file) as stored, SpooledTemporaryFile(_IN_MEMORY) as original:
        try:
            shutil.copyfileobj(stored, original)
        except FileNotFoundError:  # some storages look only now
            raise
        except Exception as error:  # whatever a storage raises
            logger.exception("The storage failed to read %s.", file.key)
            telemetry.storage_failed(file.storage, telemetry.UNKNOWN)
            raise StorageUnavailable from error
        original.seek(0)
        yield original


@contextmanager
def _given_back(claims: Iterable[Rendition]) -> Iterator[None]:
    """What could not be made, the next one may try at once."""
    try:
        yield
    except BaseException as error:
        for claim in claims:
            # Only if it is still ours: one who is slow may have been taken for dead, or the file was deleted.
            ours = Rendition.objects.filter(pk=claim.pk, claimed_at=claim.claimed_at, made_at=None)
            if ours.delete()[0] and not isinstance(error, FileError):
                logger.exception("The rendition %s could not be made.", claim)
        raise
