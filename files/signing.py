"""Download URLs: made here, and proved here or by the store, with no query and no call to any store."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from uuid import UUID

from django.conf import settings
from django.core.signing import Signer
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from files import presentation, storage
from files.errors import StorageUnavailable
from files.models import File
from files.variations import Format, Variation

_SALT = "coffer.download"
_RENDITION_SALT = "coffer.rendition"


class Refused(Exception):
    """The URL was not made here, was changed since, or has expired."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What a URL allows: this file until then, and whether to be saved rather than shown."""

    file_id: UUID
    expires: int  # seconds since 1970
    download: bool

    @property
    def expires_at(self) -> datetime:
        return datetime.fromtimestamp(self.expires, UTC)


def grant(file: File, *, lifetime: int, download: bool) -> Grant:
    """The right to fetch the file for `lifetime` seconds from now."""
    now = int(timezone.now().timestamp())
    return Grant(file_id=file.pk, expires=now + lifetime, download=download)


def path(allowed: Grant, *, name: str) -> str:
    """The path and query that `verify` accepts, behind MEDIA_ORIGIN if there is one; the name in it is for
    people and saves, not for us."""
    query = {"expires": str(allowed.expires)}
    if allowed.download:
        query["download"] = "1"
    query["signature"] = _signature(allowed)
    # A name may hold any character; `reverse` would quote it too, but let "?" and the like pass less surely.
    base = _base("download", file_id=allowed.file_id)
    return f"{base}{quote(name, safe='')}?{urlencode(query)}"


def address(file: File, *, lifetime: int, download: bool) -> tuple[str, datetime]:
    """Where the file can be fetched without credentials, and until when: at its store, if that has addresses
    that can be made here, else a path and query of our own."""
    allowed = grant(file, lifetime=lifetime, download=download)
    try:
        shown = presentation.of_file(file, download=download)
        elsewhere = storage.url(file, lifetime=lifetime, shown=shown)
    except StorageUnavailable:  # ours says so to who fetches it, and the rest of this answer is good
        elsewhere = None
    return elsewhere or path(allowed, name=file.name), allowed.expires_at


def rendition_path(file: File, variation: Variation, *, lifetime: int) -> str:
    """The path and query of a rendition. The same for as long as `lifetime` (seconds), so that browsers and
    proxies find it again, and good for that long at the least."""
    now = int(timezone.now().timestamp())
    expires = (now // lifetime + 2) * lifetime
    text = str(variation)
    base = _base("rendition", file_id=file.pk, variation=text)
    stem = file.name.rpartition(".")[0] or file.name
    ending = "" if variation.format is Format.AUTO else f".{variation.format.value}"
    query = {"expires": str(expires), "signature": _rendition_signature(file.pk, text, expires)}
    return f"{base}{quote(stem, safe='')}{ending}?{urlencode(query)}"


def verify_rendition(file_id: UUID, variation: str, query: QueryDict) -> tuple[Variation, int]:
    """The variation that a URL allows, and until when (seconds since 1970). Raises Refused."""
    expires = _expires(query)
    _check(query, _rendition_signature(file_id, variation, expires), expires)
    found = Variation.parse(variation)
    if found is None:
        raise Refused
    return found, expires


def verify(file_id: UUID, query: QueryDict) -> Grant:
    """What the query of a URL allows. Raises Refused."""
    expires = _expires(query)
    claimed = Grant(file_id=file_id, expires=expires, download=query.get("download") == "1")
    _check(query, _signature(claimed), expires)
    return claimed


def _base(view: str, **kwargs: object) -> str:
    """All of an address that stands before the name."""
    return f"{settings.MEDIA_ORIGIN or ''}{reverse(view, kwargs={**kwargs, 'name': '-'}).removesuffix('-')}"


def _expires(query: QueryDict) -> int:
    expires = query.get("expires", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
        raise Refused
    return int(expires)


def _check(query: QueryDict, signature: str, expires: int) -> None:
    given = query.get("signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(given, signature.encode()) or expires < timezone.now().timestamp():
        raise Refused


def _rendition_signature(file_id: UUID, variation: str, expires: int) -> str:
    return Signer(salt=_RENDITION_SALT).signature(f"{file_id}:{variation}:{expires}")


def _signature(allowed: Grant) -> str:
    value = f"{allowed.file_id}:{allowed.expires}:{int(allowed.download)}"
    return Signer(salt=_SALT).signature(value)
