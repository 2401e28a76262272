"""Reading the keys that `storage.key_of` and `renditions` make; pure. What cannot be read is not ours."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from uuid import UUID

_PROFILE = r"[a-z][a-z0-9-]{0,31}"
_DATE = r"\d{4}/\d{2}/\d{2}"
_UUID7 = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_KEY = re.compile(
    rf"(?P<profile>{_PROFILE})/(?P<date>{_DATE})/(?P<id>{_UUID7})"
    r"(?:\.[a-z0-9]{1,16}|\.renditions/[a-z0-9,-]{1,64}-[0-9a-f]{8}\.[a-z]{1,8})?",
    re.ASCII,
)
_LAST_ID = "e6707a6e"  # where the ids of the year 9999 begin; Python tells no later time
_DAY = re.compile(rf"({_PROFILE})/({_DATE})/", re.ASCII)

# The folders above an object: what each level may be called.
LEVELS = tuple(
    re.compile(f"{name}/", re.ASCII) for name in (_PROFILE, r"\d{4}", r"(?:0[1-9]|1[0-2])", r"[0-3]\d")
)


@dataclass(frozen=True, slots=True)
class Key:
    """The file that the object belongs to, as the original or as a rendition of it."""

    file_id: UUID

    @property
    def made(self) -> datetime:
        """When the id was made: the first 48 bits of a UUID of version 7 are milliseconds (RFC 9562, 5.7)."""
        return datetime.fromtimestamp((self.file_id.int >> 80) / 1000, UTC)


def parse(key: str) -> Key | None:
    """What the key says; None if Coffer did not make it."""
    match = _KEY.fullmatch(key)
    if match is None or _date(match["date"]) is None or match["id"] >= _LAST_ID:
        return None
    return Key(UUID(match["id"]))


def day_of(key: str) -> str | None:
    """`<profile>/YYYY/MM/DD/`, the prefix that the key shares with those of its profile and day."""
    match = _DAY.match(key)
    return match[0] if match and _date(match[2]) else None


def date_of(day: str) -> date:
    """The date of a prefix that `day_of` made."""
    return date(*map(int, day.rstrip("/").split("/")[-3:]))


def _date(text: str) -> date | None:
    try:
        return date(*map(int, text.split("/")))
    except ValueError:
        return None
