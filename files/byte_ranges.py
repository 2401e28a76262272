"""The `Range` header (RFC 9110, section 14) and multipart/byteranges bodies; pure.

Django has no support for ranges, and the packages that add it know one range only.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

# More ranges than any player or reader asks for; a client that wants more gets the whole file, because each
# range costs a header and a seek (RFC 9110, section 17.15).
MAX_RANGES = 16

_RANGE = re.compile(r"(\d*)-(\d*)")
_DIGITS = 19  # of the largest file there can be; longer numbers are not worth parsing


class Unsatisfiable(Exception):
    """No range of the header lies within the file: 416."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From byte `first` to byte `last`, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def parse(header: str, size: int) -> list[ByteRange] | None:
    """The ranges of a file of `size` bytes that the header asks for, in its order.

    None means that the whole file is to be sent: the header is of another unit, malformed, or asks for
    more than `MAX_RANGES`, or for the same bytes twice. Raises Unsatisfiable.
    """
    unit, equals, rest = header.partition("=")
    if unit.lower() != "bytes" or not equals:
        return None
    specs = [spec.strip() for spec in rest.split(",") if spec.strip()]
    if not specs or len(specs) > MAX_RANGES:
        return None
    wanted: list[ByteRange] = []
    for spec in specs:
        match = _RANGE.fullmatch(spec)
        if match is None or spec == "-" or len(spec) > 2 * _DIGITS + 1 or not spec.isascii():
            return None
        first, last = match.groups()
        if not first and not last:
            return None
        if first and last and int(last) < int(first):
            return None
        found = _within(first, last, size)
        if found is not None:
            wanted.append(found)
    if not wanted:
        raise Unsatisfiable
    return None if _overlap(wanted) else wanted


def part_head(part: ByteRange, *, size: int, content_type: str, boundary: str) -> bytes:
    """What stands before one range in a multipart/byteranges body."""
    return (
        f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
        f"Content-Range: bytes {part.first}-{part.last}/{size}\r\n\r\n"
    ).encode()


def multipart_end(boundary: str) -> bytes:
    return f"\r\n--{boundary}--\r\n".encode()


def _within(first: str, last: str, size: int) -> ByteRange | None:
    """The part of the range that the file has, or None."""
    if not first:  # the last so many bytes
        length = min(int(last), size)
        return ByteRange(size - length, size - 1) if length else None
    begin = int(first)
    end = min(int(last), size - 1) if last else size - 1
    return ByteRange(begin, end) if begin < size else None


def _overlap(ranges: Sequence[ByteRange]) -> bool:
    ordered = sorted(ranges, key=lambda each: each.first)
    return any(after.first <= before.last for before, after in pairwise(ordered))
