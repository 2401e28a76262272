"""EXIF: the few facts of it that are kept, and which way up a picture is. Bytes in, values out; pure.

Places, owners, serial numbers, comments and makers' notes are never read. Pillow's reader copies every value,
as often as entries point at it; here nothing is read but what is named, in time that grows with the number of
entries. What is malformed is not there.
"""

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from files.validators import visible

TEXT_MAX_LENGTH = 100  # characters of a name that a camera or lens has; what is longer is something else
CAMERA_MAX_LENGTH = 2 * TEXT_MAX_LENGTH + 1  # make and model
TIME_MAX_LENGTH = len("2026-11-21T10:30:00+02:00")

UPRIGHT = 1
PREFIX = b"Exif\0\0"  # before the data in JPEG, and by mistake in other formats

# Tags and types of values (Exif 3.0, sections 4.6.2 to 4.6.6).
_MAKE, _MODEL, _ORIENTATION, _DETAILS = 0x010F, 0x0110, 0x0112, 0x8769
_TAKEN_AT, _OFFSET, _LENS = 0x9003, 0x9011, 0xA434
_ASCII, _UTF8 = 2, 129
_NUMBERS: Final = {1: "B", 3: "H", 4: "I"}
_BYTE_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
_ENTRY = "HHI4s"
_MAX_BYTES = 4 * TEXT_MAX_LENGTH

_TIME = re.compile(r"\d{4}:\d\d:\d\d \d\d:\d\d:\d\d", re.ASCII)
_UTC_OFFSET = re.compile(r"[+-](0\d|1[0-4]):[0-5]\d", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exif:
    """`taken_at` in ISO 8601, as the camera's clock showed it; with an offset only if the camera knew it."""

    taken_at: str | None = None
    camera: str | None = None
    lens: str | None = None


def read(data: bytes) -> Exif | None:
    """What is worth knowing, or None where nothing is."""
    tiff = _Tiff(data)
    main = tiff.directory(tiff.first)
    details = tiff.directory(tiff.number(main.get(_DETAILS)) or 0)
    found = Exif(
        taken_at=_time(tiff.text(details.get(_TAKEN_AT)), tiff.text(details.get(_OFFSET))),
        camera=_camera(tiff.text(main.get(_MAKE)), tiff.text(main.get(_MODEL))),
        lens=tiff.text(details.get(_LENS)),
    )
    return found if found != Exif() else None


def orientation(data: bytes) -> int:
    """1 to 8; 1, upright, where none is told: many cameras and editors write EXIF data that is wrong."""
    tiff = _Tiff(data)
    found = tiff.number(tiff.directory(tiff.first).get(_ORIENTATION))
    return found if found is not None and 1 <= found <= 8 else UPRIGHT


def only_orientation(value: int) -> bytes:
    """EXIF data, without the prefix, that says nothing but this."""
    return struct.pack(">4sIHHHIHHI", b"MM\0*", 8, 1, _ORIENTATION, 3, 1, value, 0, 0)


def _time(time: str | None, offset: str | None) -> str | None:
    if time is None or not _TIME.fullmatch(time):
        return None
    try:
        taken = datetime.strptime(time, "%Y:%m:%d %H:%M:%S").isoformat()  # noqa: DTZ007  cameras know no zone
    except ValueError:  # month 0, and so on
        return None
    return taken + offset if offset and _UTC_OFFSET.fullmatch(offset) else taken


def _camera(make: str | None, model: str | None) -> str | None:
    """Make and model, the make only once: many models begin with it."""
    if make and model and not model.casefold().startswith(make.split()[0].casefold()):
        return f"{make} {model}"
    return model or make


type _Entry = tuple[int, int, bytes]  # the type of the values, how many they are, and they or where they lie


class _Tiff:
    """The structure in which EXIF data lies (TIFF 6.0, section 2). Nothing here raises."""

    def __init__(self, data: bytes) -> None:
        start = 0
        while data.startswith(PREFIX, start):  # some write it twice
            start += len(PREFIX)
        self._data = memoryview(data)[start:]
        self._order = _BYTE_ORDERS.get(bytes(self._data[:4]), "")
        self.first = self._unpacked("I", self._data[4:8]) or 0

    def directory(self, at: int) -> dict[int, _Entry]:
        """The entries by tag, those that are there; none at 0, where none can be."""
        count = self._unpacked("H", self._data[at : at + 2]) if at else 0
        entry = struct.Struct(self._order + _ENTRY)
        entries = self._data[at + 2 : at + 2 + (count or 0) * entry.size]
        whole = entries[: len(entries) // entry.size * entry.size]
        return {tag: (kind, number, value) for tag, kind, number, value in entry.iter_unpack(whole)}

    def number(self, entry: _Entry | None) -> int | None:
        kind, count, value = entry or (0, 0, b"")
        return self._unpacked(_NUMBERS[kind], value) if kind in _NUMBERS and count == 1 else None

    def text(self, entry: _Entry | None) -> str | None:
        """On one line, without what cannot be seen or misleads the eye; None if it is empty or too long."""
        kind, count, value = entry or (0, 0, b"")
        if kind not in {_ASCII, _UTF8}:
            return None
        if count > len(value):
            at = self._unpacked("I", value) or 0
            value = bytes(self._data[at : at + min(count, _MAX_BYTES)])
        try:
            text = visible(value[:count].partition(b"\0")[0].decode())
        except UnicodeDecodeError:
            return None
        return text if 0 < len(text) <= TEXT_MAX_LENGTH else None

    def _unpacked(self, format_: str, value: bytes | memoryview) -> int | None:
        size = struct.calcsize(format_)
        if not self._order or len(value) < size:
            return None
        number: int = struct.unpack(self._order + format_, value[:size])[0]
        return number
