"""Metadata taken out of image files, with every pixel left as it is. Bytes in, bytes out; pure.

Each format lists what is kept because it makes the picture; whatever else is in a file goes: EXIF, XMP, IPTC,
comments, previews, further pictures, and all bytes behind the end. What stays is copied and never decoded, in
time that grows with the file. Pillow writes images afresh, which costs a lossy picture quality; exiftool and
exiv2 are programs with decoders of their own, and take out what they know rather than keep what is needed.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import IO

from files import exif, isobmff
from files.errors import InvalidImage

_UNSEPARABLE = "its metadata cannot be told from its pixels"


def strip(file: IO[bytes], *, format: str) -> bytes:
    """The file without metadata, `format` being Pillow's name of what it is.

    Of EXIF data the orientation stays, if it turns the picture. Raises InvalidImage where the structure is
    not that of the format, so that nothing else is taken for pixels.
    """
    try:
        return _STRIPPERS[format](file.read())
    except (ValueError, IndexError, struct.error) as error:
        raise InvalidImage(reason=_UNSEPARABLE) from error


def _part(data: bytes, start: int, size: int) -> bytes:
    """So many bytes. Raises ValueError if they are not all there."""
    if size < 0 or start + size > len(data):
        raise ValueError(f"There are no {size} bytes at {start}.")
    return data[start : start + size]


def _turned(orientation: int) -> bytes:
    """The EXIF data that has to stay: most often none."""
    return b"" if orientation == exif.UPRIGHT else exif.only_orientation(orientation)


# --- JPEG: ITU-T T.81, annex B; T.871 (JFIF) --------------------------------------------------------

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
# Frames, tables of all kinds, the number of lines, and scans. What libjpeg does not know ends its decoding.
_JPEG_KEPT = {*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, _SOS} - {0xC8}
# A marker with a length behind it, or the end. In entropy-coded data 0xFF is followed by 0 or is a restart.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_JFIF_SIZE = 12  # bytes as far as the size of the preview, which follows
_ADOBE_SIZE = 12  # bytes; the last one says how colours are coded


def _strip_jpeg(data: bytes) -> bytes:
    if data[:2] != b"\xff\xd8":
        raise ValueError("This is no JPEG.")
    jfif, kept, recorded = b"", bytearray(), bytearray()
    at, in_scan, scanned = 2, False, False
    while True:
        found = _MARKER.search(data, at)
        if found is None:
            raise ValueError("There is no end.")
        if in_scan:
            kept += data[at : found.start()]
        marker = data[found.end() - 1]
        if marker == _EOI:
            break
        size = int.from_bytes(_part(data, found.end(), 2))
        segment = _part(data, found.start(), 2 + size)
        content = _part(data, found.end() + 2, size - 2)
        if marker in _JPEG_KEPT:
            kept += segment
        elif marker == _APP0 and content.startswith(b"JFIF\0") and len(content) >= _JFIF_SIZE + 2:
            jfif = jfif or _segment(_APP0, content[:_JFIF_SIZE] + b"\0\0")
        elif marker == _APP2 and content.startswith(b"ICC_PROFILE\0"):
            kept += segment
        elif marker == _APP14 and content.startswith(b"Adobe") and len(content) >= _ADOBE_SIZE:
            kept += _segment(_APP14, content[:_ADOBE_SIZE])
        elif marker == _APP1 and content.startswith(exif.PREFIX) and not scanned:
            recorded += content[len(exif.PREFIX) :]
        elif marker == _SOI:
            raise ValueError("There is a second image in the first.")
        at, in_scan = found.end() + size, marker == _SOS
        scanned = scanned or in_scan
    if turned := _turned(exif.orientation(bytes(recorded))):
        turned = _segment(_APP1, exif.PREFIX + turned)
    return b"".join([b"\xff\xd8", jfif, turned, kept, b"\xff\xd9"])


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


# --- PNG: W3C Portable Network Graphics, third edition ----------------------------------------------

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_IHDR_SIZE = 25  # bytes of the first chunk
_PNG_KEPT = {
    *(b"PLTE", b"IDAT", b"tRNS"),
    *(b"cHRM", b"gAMA", b"iCCP", b"sBIT", b"sRGB", b"cICP", b"mDCV", b"cLLI"),  # colours
    *(b"bKGD", b"pHYs"),  # the ground that it is shown on, and pixels that are not square
    *(b"acTL", b"fcTL", b"fdAT"),  # frames
}


def _strip_png(data: bytes) -> bytes:
    if not data.startswith(_PNG_SIGNATURE + b"\0\0\0\x0dIHDR"):
        raise ValueError("This is no PNG.")
    at = len(_PNG_SIGNATURE) + _IHDR_SIZE
    head, kept, recorded, kind = _part(data, 0, at), bytearray(), b"", b""
    while kind != b"IEND":
        size, kind = struct.unpack_from(">I4s", data, at)
        chunk = _part(data, at, 12 + size)
        if kind in _PNG_KEPT:
            kept += chunk
        elif kind == b"eXIf":
            recorded = chunk[8:-4]
        at += 12 + size
    if turned := _turned(exif.orientation(recorded)):
        turned = _png_chunk(b"eXIf", turned)
    return b"".join([head, turned, kept, _png_chunk(b"IEND", b"")])


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


# --- WebP: RFC 9649 ---------------------------------------------------------------------------------

_WEBP_KEPT = {b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ICCP"}
_HAS_EXIF, _HAS_XMP = 0x08, 0x04  # flags of VP8X
_VP8X_SIZE = 10  # bytes
_FRAME_HEADER = 16  # bytes of ANMF before the chunks of the frame


def _strip_webp(data: bytes) -> bytes:
    head, size, form = struct.unpack_from("<4sI4s", data)
    if (head, form) != (b"RIFF", b"WEBP"):
        raise ValueError("This is no WebP.")
    kept, recorded, extended = bytearray(), b"", b""
    for kind, content in _riff_chunks(_part(data, 12, size - 4)):
        if kind == b"VP8X":
            extended = content[:_VP8X_SIZE]
        elif kind == b"EXIF":
            recorded = recorded or content
        elif kind == b"ANMF":
            kept += _riff_chunk(kind, _stripped_frame(content))
        elif kind in _WEBP_KEPT:
            kept += _riff_chunk(kind, content)
    if extended:
        turned = _turned(exif.orientation(recorded)) if extended[0] & _HAS_EXIF else b""
        flags = extended[0] & ~(_HAS_EXIF | _HAS_XMP) | (_HAS_EXIF if turned else 0)
        kept[:0] = _riff_chunk(b"VP8X", bytes([flags]) + extended[1:])
        kept += _riff_chunk(b"EXIF", turned) if turned else b""
    return struct.pack("<4sI4s", b"RIFF", 4 + len(kept), b"WEBP") + kept


def _stripped_frame(frame: bytes) -> bytes:
    kept = bytearray(frame[:_FRAME_HEADER])
    for kind, content in _riff_chunks(frame[_FRAME_HEADER:]):
        if kind in _WEBP_KEPT:
            kept += _riff_chunk(kind, content)
    return bytes(kept)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        yield kind, _part(data, at + 8, size)
        at += 8 + size + size % 2


def _riff_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(content)) + content + b"\0" * (len(content) % 2)


# --- GIF: GIF89a specification ----------------------------------------------------------------------

_BLOCK = re.compile(rb"[!,;]")  # an extension, an image or the end; decoders pass over what is between them
_IMAGE = 0x2C
_CONTROL, _APPLICATION = 0xF9, 0xFF  # extensions: how a frame is shown, and what programs made up
_LOOPS = {b"\x0bNETSCAPE2.0\3\1", b"\x0bANIMEXTS1.0\3\1"}  # of these: how often all is shown
_CONTROL_SIZE, _LOOP_SIZE = 7, 18  # bytes before the block of length 0; some programs put more between
_HAS_COLORS, _COLORS = 0x80, 0x07  # of the flags before a table of colours


def _strip_gif(data: bytes) -> bytes:
    if data[:6] not in {b"GIF87a", b"GIF89a"}:
        raise ValueError("This is no GIF.")
    at = 13 + _colors_size(data[10])
    kept = bytearray(_part(data, 0, at))
    while (found := _BLOCK.search(data, at)) and found.group() != b";":
        start = at = found.start()
        if data[at] == _IMAGE:
            at = _blocks_end(data, at + 11 + _colors_size(data[at + 9]))
            kept += _part(data, start, at - start)
        else:
            at = _blocks_end(data, at + 2)
            if data[start + 1 : start + 3] == bytes([_CONTROL, 4]):
                kept += _part(data, start, _CONTROL_SIZE) + b"\0"
            elif data[start + 1] == _APPLICATION and data[start + 2 : start + 16] in _LOOPS:
                kept += _part(data, start, _LOOP_SIZE) + b"\0"
    return bytes(kept) + b";"


def _colors_size(flags: int) -> int:
    return 3 * 2 ** ((flags & _COLORS) + 1) if flags & _HAS_COLORS else 0


def _blocks_end(data: bytes, at: int) -> int:
    """Behind blocks that each begin with their length, and end with one of length 0."""
    while size := data[at]:
        at += 1 + size
    return at + 1


_STRIPPERS: Mapping[str, Callable[[bytes], bytes]] = MappingProxyType(
    {
        "JPEG": _strip_jpeg,
        "PNG": _strip_png,
        "GIF": _strip_gif,
        "WEBP": _strip_webp,
        "AVIF": isobmff.strip,
    }
)
