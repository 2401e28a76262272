"""API tokens: issuing one, and finding out whose it is. The secret is seen once and never stored."""

import hashlib
import logging
import secrets
from collections.abc import Collection
from datetime import datetime, timedelta

from django.db import DEFAULT_DB_ALIAS, DatabaseError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.models import ApiToken, Scope, User
from audit import log
from audit.models import Action
from database.prepared import PreparedQuery, Slot, instance

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
    by: User | None = None,
) -> tuple[ApiToken, str]:
    """A new token of the user's, and its secret, which cannot be had again. `by` None is the service itself,
    here as below."""
    secret = _PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    with transaction.atomic():
        token = ApiToken.objects.create(
            user=user,
            name=name,
            hint=secret[:_HINT_LENGTH],
            digest=_digest(secret),
            scopes=[scope.value for scope in Scope if scope in scopes],
            expires_at=expires_at,
        )
        _record(Action.TOKEN_ISSUE, token, by)
    return token, secret


def authenticate(secret: str) -> ApiToken:
    """The usable token with this secret, its user loaded. Raises InvalidToken."""
    token = _find(_digest(secret))
    if token is None or not token.is_usable:
        raise InvalidToken
    _note_use(token)
    return token


def change(token: ApiToken, *, by: User | None) -> None:
    """Save what was changed of a token: its name, its scopes, its end."""
    with transaction.atomic():
        token.save(update_fields=["name", "scopes", "expires_at"])
        _record(Action.TOKEN_CHANGE, token, by)


def revoke(token: ApiToken, *, by: User | None = None) -> None:
    """From now on the token opens nothing. Revoking twice keeps the first time."""
    now = timezone.now()
    with transaction.atomic():
        if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
            return
        _record(Action.TOKEN_REVOKE, token, by)
    token.revoked_at = now


def delete(token: ApiToken, *, by: User | None) -> None:
    """Revoke the token, and forget that it was there."""
    with transaction.atomic():
        revoke(token, by=by)
        token.delete()


def _record(action: Action, token: ApiToken, by: User | None) -> None:
    """In the caller's transaction. `token` in the details is what was acted on; `token_id` is what acts."""
    details = {
        "token": token.pk,
        "name": token.name,
        "scopes": token.scopes,
        "expires": None if token.expires_at is None else token.expires_at.isoformat(timespec="seconds"),
    }
    is_theirs = by is None or by.pk == token.user_id
    log.write([log.entry(action, by=by, owner=token.user.username, as_staff=not is_theirs, details=details)])


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
