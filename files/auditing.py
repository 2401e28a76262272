"""What the audit log says of files: no bytes, and of what their owners say of them the name alone."""

from collections.abc import Mapping

from accounts.models import User
from audit import log
from audit.models import Action, Entry
from files import validators
from files.errors import FileError
from files.models import File
from files.receive import Received

# Of these the log has the value before and after, of others only that they were changed.
_SHOWN = ("name", "visibility")
_PROFILE_MAX_LENGTH = 32  # characters; what was asked for may be anything


def uploaded(file: File, *, by: User) -> Entry:
    return _entry(Action.UPLOAD, file, by, {"visibility": str(file.visibility)})


def refused(received: Received, error: FileError, *, profile: str, name: str | None, by: User) -> Entry:
    """`size` is what had come by then; the hashes are left out where they would be those of a part."""
    whole = received.is_whole
    return log.entry(
        Action.REFUSAL,
        by=by,
        owner=by.username,
        code=type(error).__name__,
        name=validators.display_name(name or received.name),
        size=received.size,
        md5=received.md5 if whole else "",
        sha256=received.sha256 if whole else "",
        profile=validators.visible(profile)[:_PROFILE_MAX_LENGTH],
    )


def updated(file: File, was: Mapping[str, object], *, by: User) -> Entry:
    """`was` has the fields that were set, as they were before."""
    changed = sorted(field for field, value in was.items() if getattr(file, field) != value)
    shown = {field: [str(was[field]), str(getattr(file, field))] for field in _SHOWN if field in changed}
    return _entry(Action.UPDATE, file, by, {"changed": changed, **shown})


def deleted(file: File, *, by: User | None) -> Entry:
    """To be called while the row is there."""
    return _entry(Action.DELETE, file, by, {})


def _entry(action: Action, file: File, by: User | None, details: Mapping[str, object]) -> Entry:
    return log.entry(
        action,
        by=by,
        owner="" if file.owner is None else file.owner.username,
        as_staff=by is not None and by.pk != file.owner_id,
        file_id=file.pk,
        name=file.name,
        size=file.size,
        md5=file.md5,
        sha256=file.sha256,
        profile=file.profile,
        details=details,
    )
