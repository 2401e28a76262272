"""API tokens: issuing one, and finding out whose it is. The secret is seen once and never stored."""

import hashlib
import logging
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, DatabaseError
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiToken, Scope, User
from accounts.prepared import PreparedQuery, Slot, instance

logger = logging.getLogger(__name__)

_PREFIX = "coffer_"  # lets secret scanners recognise a token that was committed by mistake
_RANDOM_BYTES = 32
_HINT_LENGTH = len(_PREFIX) + 4
_LAST_USE_RESOLUTION = timedelta(minutes=1)


class InvalidToken(Exception):
    """The token is unknown, expired or revoked, or its user is locked out: one answer for all four."""


def issue(
    *,
    user: User,
    name: str,
    scopes: Collection[Scope] = (Scope.READ, Scope.WRITE),
    expires_at: datetime | None = None,
) -> tuple[ApiToken, str]:
    """A new token of the user's, and its secret, which cannot be had again."""
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    token = ApiToken.objects.create(
        user=user,
        name=name,
        hint=secret[:_HINT_LENGTH],
        digest=_digest(secret),
        scopes=[scope.value for scope in Scope if scope in scopes],
        expires_at=expires_at,
    )
    return token, secret


def authenticate(secret: str) -> ApiToken:
    """The usable token with this secret, its user loaded. Raises InvalidToken."""
    token = _find(_digest(secret))
    if token is None or not token.is_usable:
        raise InvalidToken
    _note_use(token)
    return token


def revoke(token: ApiToken) -> None:
    """From now on the token opens nothing. Revoking twice keeps the first time."""
    if token.revoked_at is None:
        token.revoked_at = timezone.now()
        token.save(update_fields=["revoked_at"])


# What a request asks of either; what else somebody reads of them is fetched then.
_TOKEN = ("id", "name", "scopes", "expires_at", "last_used_at", "revoked_at", "user_id")
_USER = ("id", "username", "is_active", "is_staff", "is_superuser", "quota", "must_change_password")
_BY_DIGEST = PreparedQuery(
    lambda digest: (
        ApiToken.objects.filter(digest=digest)
        .order_by()
        .values_list(*_TOKEN, *(f"user__{name}" for name in _USER))
    ),
    Slot(ApiToken._meta.get_field("digest"), "a digest"),
)


def _find(digest: str) -> ApiToken | None:
    """With its user. Each request of a program begins with this."""
    for row in _BY_DIGEST.rows(digest):
        token = instance(ApiToken, _TOKEN, row[: len(_TOKEN)], db=DEFAULT_DB_ALIAS)
        token.user = instance(User, _USER, row[len(_TOKEN) :], db=DEFAULT_DB_ALIAS)
        return token
    return None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _note_use(token: ApiToken) -> None:
    """Write the time of use, once a minute at the most: reading must not cost a write each time."""
    now = timezone.now()
    stale = now - _LAST_USE_RESOLUTION
    if token.last_used_at is not None and token.last_used_at > stale:
        return
    try:
        ApiToken.objects.filter(Q(last_used_at=None) | Q(last_used_at__lte=stale), pk=token.pk).update(
            last_used_at=now
        )
    except DatabaseError:
        # A database that cannot be written to now is no reason to refuse a query.
        logger.warning("The last use of token %s could not be noted.", token.pk, exc_info=True)
