"""Writing to the audit log: who is known to the caller, from where is known of the request that runs.

Services do not know of HTTP, so that travels beside them, in a context variable. Outside of requests it is
the service itself that acts.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import DatabaseError, InterfaceError, transaction

from audit.models import ADDRESS_MAX_LENGTH, Action, Entry, Via
from database.prepared import insert

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """From where and by which way somebody acts."""

    via: Via = Via.SYSTEM
    address: str = ""
    token_id: int | None = None


_NO_REQUEST = Origin()
_origin: ContextVar[Origin] = ContextVar("audit_origin", default=_NO_REQUEST)


@contextmanager
def coming_from(origin: Origin) -> Iterator[None]:
    """Whatever is recorded in the block comes from there."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


@contextmanager
def by_token(token_id: int | None) -> Iterator[None]:
    """Whatever is recorded in the block was done by that API token, if it is one."""
    if token_id is None:
        yield
        return
    with coming_from(replace(_origin.get(), via=Via.TOKEN, token_id=token_id)):
        yield


def entry(action: Action, *, by: AbstractBaseUser | None, **subject: Any) -> Entry:
    """What somebody does just now, to be written by one of the functions below; `by` None is the service
    itself. `subject` has the other fields of `Entry`."""
    origin = _origin.get()
    return Entry(
        action=action,
        user_id=None if by is None else by.pk,
        username="" if by is None else by.get_username(),
        via=origin.via,
        token_id=origin.token_id,
        address=origin.address[:ADDRESS_MAX_LENGTH],
        **subject,
    )


def write(entries: Sequence[Entry]) -> None:
    """In the caller's transaction, which has the change itself: neither is there without the other."""
    if len(entries) == 1:  # Django takes four times as long to make the statement for many
        insert(entries[0])
    else:
        Entry.objects.bulk_create(entries)


def write_alone(refused: Entry) -> None:
    """What changed nothing. That it cannot be recorded changes no answer, and is said in the log."""
    try:
        with transaction.atomic():
            refused.save()
    except (DatabaseError, InterfaceError):
        logger.exception("This %s of user %s could not be recorded.", refused.action, refused.user_id)
