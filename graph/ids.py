"""Global ids as clients hold them. One that cannot be read names nothing; that is an answer, not an error."""

import base64
import binascii
from uuid import UUID

from strawberry import relay


def parse(global_id: str) -> tuple[str, str]:
    """The type's name and the row's id, both empty if this is no global id."""
    try:
        kind, _, value = base64.b64decode(global_id.encode("ascii"), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeError):
        return "", ""
    return kind, value


def file_id(global_id: str) -> UUID | None:
    """The row's id of a File, or None for anything else."""
    kind, value = parse(global_id)
    try:
        found = UUID(value) if kind == "File" else None
    except ValueError:
        return None
    # One file has one id: other spellings of the same UUID are not it.
    return found if found is not None and relay.to_base64("File", found) == global_id else None


def user_id(global_id: str) -> int | None:
    """The row's id of a User, or None for anything else."""
    _, value = parse(global_id)
    number = int(value) if value.isascii() and value.isdecimal() and len(value) < 19 else None
    # One user has one id, as one file has: not "07" beside "7".
    return number if number is not None and relay.to_base64("User", number) == global_id else None
