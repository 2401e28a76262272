"""Which errors of the database mean that it is down, and not that it was asked something wrong."""

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
)

# What `except` can name; `is_outage` says which of these it was.
DATABASE_ERRORS = (DatabaseError, InterfaceError)

_OWN_MISTAKES = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


def is_outage(error: BaseException | None) -> bool:
    """Gone, locked, full or damaged: trying again later is right. SQLite calls a damaged file plainly
    DatabaseError, so what is left after our own mistakes counts."""
    return isinstance(error, DATABASE_ERRORS) and not isinstance(error, _OWN_MISTAKES)
