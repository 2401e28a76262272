"""Download URLs: made here and proved here, with no query and no call to any store."""

import hmac
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from uuid import UUID

from django.core.signing import Signer
from django.http import QueryDict
from django.urls import reverse
from django.utils import timezone

from files.models import File

_SALT = "coffer.download"


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
    """The path and query that `verify` accepts; the name in it is for people and saves, not for us."""
    query = {"expires": str(allowed.expires)}
    if allowed.download:
        query["download"] = "1"
    query["signature"] = _signature(allowed)
    # A name may hold any character; `reverse` would quote it too, but let "?" and the like pass less surely.
    base = reverse("download", kwargs={"file_id": allowed.file_id, "name": "-"}).removesuffix("-")
    return f"{base}{quote(name, safe='')}?{urlencode(query)}"


def verify(file_id: UUID, query: QueryDict) -> Grant:
    """What the query of a URL allows. Raises Refused."""
    expires = query.get("expires", "")
    if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
        raise Refused
    claimed = Grant(file_id=file_id, expires=int(expires), download=query.get("download") == "1")
    signature = query.get("signature", "").encode("utf-8", "replace")
    if not hmac.compare_digest(signature, _signature(claimed).encode()):
        raise Refused
    if claimed.expires < timezone.now().timestamp():
        raise Refused
    return claimed


def _signature(allowed: Grant) -> str:
    value = f"{allowed.file_id}:{allowed.expires}:{int(allowed.download)}"
    return Signer(salt=_SALT).signature(value)
