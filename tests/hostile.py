"""Files that are made to hurt what opens them, built byte by byte: none is larger than a few megabytes, and
none comes from elsewhere."""

import functools
import io
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PIL import Image

SIDE_MAX = 65_535  # pixels; what JPEG and GIF can say at the most
BOMB_SIDE = 7_000  # pixels; 49 megapixels, just below the limit of the profiles
MIB = 1024 * 1024
PAYLOAD = b"<script>alert('coffer')</script>"


def picture(format_: str, size: tuple[int, int] = (40, 20), **options: bool) -> bytes:
    """An image with nothing wrong about it. Not that of `tests.api`, which needs Django."""
    target = io.BytesIO()
    Image.linear_gradient("L").resize(size).convert("RGB").save(target, format_, **options)
    return target.getvalue()


# --- PNG -------------------------------------------------------------------------------------------

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, *, depth: int = 8, color: int = 0, interlaced: bool = False) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlaced))


def png(*chunks: bytes) -> bytes:
    return b"".join([_SIGNATURE, *chunks, chunk(b"IEND")])


def zeros(size: int) -> bytes:
    """So many zero bytes, deflated, without holding them all."""
    packer, piece = zlib.compressobj(9), bytes(MIB)
    parts = [packer.compress(piece) for _ in range(size // MIB)]
    return b"".join([*parts, packer.compress(bytes(size % MIB)), packer.flush()])


_PIXEL = chunk(b"IDAT", zlib.compress(b"\0\0"))


def png_of_zeros(side: int, *, depth: int = 16, color: int = 6) -> bytes:
    bytes_per_pixel = depth // 8 * (4 if color == 6 else 1)
    rows = zeros(side * (1 + side * bytes_per_pixel))
    return png(header(side, side, depth=depth, color=color), chunk(b"IDAT", rows))


def png_with_frames(count: int, *, told: int | None = None) -> bytes:
    """An animation that says to have `told` frames, and has `count`."""
    frame = struct.pack(">IIIIHHBB", 1, 1, 0, 0, 1, 10, 0, 0)
    parts, number = [chunk(b"acTL", struct.pack(">II", count if told is None else told, 0))], 0
    for index in range(count):
        parts.append(chunk(b"fcTL", struct.pack(">I", number) + frame))
        number += 1
        if index == 0:
            parts.append(_PIXEL)
        else:
            parts.append(chunk(b"fdAT", struct.pack(">I", number) + zlib.compress(b"\0\0")))
            number += 1
    return png(header(1, 1), *parts)


# --- GIF -------------------------------------------------------------------------------------------


def gif_frame(side: int) -> bytes:
    """A descriptor of that size and the codes of one pixel: clear, 0, end, in three bits each."""
    return b"," + struct.pack("<HHHHB", 0, 0, side, side, 0) + b"\x02\x02\x44\x01\x00"


GIF_FRAME = gif_frame(1)


def gif(width: int, height: int, *frames: bytes) -> bytes:
    palette = b"\x00\x00\x00\xff\xff\xff"
    return b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + palette + b"".join(frames) + b";"


def gif_of_zeros(side: int) -> bytes:
    target = io.BytesIO()
    Image.new("P", (side, side)).save(target, "GIF")
    return target.getvalue()


# --- JPEG ------------------------------------------------------------------------------------------


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def behind_start(jpeg: bytes, more: bytes) -> bytes:
    return jpeg[:2] + more + jpeg[2:]


def jpeg_of_size(width: int, height: int) -> bytes:
    """A small one whose header tells another size."""
    small = picture("JPEG")
    place = small.index(b"\xff\xc0")
    return small[: place + 5] + struct.pack(">HH", height, width) + small[place + 9 :]


def jpeg_of_scans(side: int, count: int) -> bytes:
    """Each scan is a few bytes that make a decoder go over all blocks once more."""
    target = io.BytesIO()
    Image.new("L", (side, side), 128).save(target, "JPEG", progressive=True)
    whole = target.getvalue()
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * count + whole[-2:]


def mpo(count: int) -> bytes:
    """A JPEG whose index says that so many images follow."""
    entries = struct.pack("<LLLHH", 0x030000, 100, 0, 0, 0) * count
    tags = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack("<L", count))]
    tags.append((0xB002, 7, len(entries), struct.pack("<L", 8 + 2 + 3 * 12 + 4)))
    index = b"II*\0" + struct.pack("<LH", 8, len(tags))
    index += b"".join(struct.pack("<HHL", tag, kind, size) + value for tag, kind, size, value in tags)
    return behind_start(picture("JPEG"), segment(0xE2, b"MPF\0" + index + bytes(4) + entries))


# --- WebP and AVIF ---------------------------------------------------------------------------------


def _riff(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _three(number: int) -> bytes:
    return struct.pack("<I", number)[:3]


def webp_of_frames(width: int, height: int, count: int) -> bytes:
    """An animation on a canvas of that size, of frames of one pixel."""
    still = picture("WEBP", size=(1, 1), lossless=True)
    frame = bytes(6) + _three(0) + _three(0) + _three(10) + b"\0" + still[12:]
    head = b"\x02\0\0\0" + _three(width - 1) + _three(height - 1)
    return _riff((b"VP8X", head), (b"ANIM", bytes(6)), *[(b"ANMF", frame)] * count)


def avif_of_size(width: int, height: int) -> bytes:
    """A small one whose container tells another size."""
    small = picture("AVIF")
    place = small.index(b"ispe") + 8
    return small[:place] + struct.pack(">II", width, height) + small[place + 8 :]


# --- the tables ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent under which name; the error that it is, or the type that it is accepted as."""

    make: Callable[[], bytes]
    sent_as: str
    error: str = ""
    content_type: str = ""


def _text_chunk(kind: bytes, before: bytes) -> bytes:
    return png(header(1, 1), chunk(kind, before + zeros(100 * MIB)), _PIXEL)


def _other(content: bytes, sent_as: str) -> Case:
    return Case(lambda: content, sent_as, error="UnsupportedType")


def _saved(format_: str, sent_as: str) -> Case:
    return Case(lambda: picture(format_), sent_as, error="UnsupportedType")


def _refused(make: Callable[[], bytes], sent_as: str, error: str = "InvalidImage") -> Case:
    return Case(functools.cache(make), sent_as, error=error)


def _accepted(make: Callable[[], bytes], sent_as: str, content_type: str) -> Case:
    return Case(functools.cache(make), sent_as, content_type=content_type)


_SVG = b'<svg xmlns="http://www.w3.org/2000/svg">' + PAYLOAD + b"</svg>"
_ENTITIES = (
    b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
    b'<svg xmlns="http://www.w3.org/2000/svg"><text>&a;</text></svg>'
)
_TOO_LARGE = "ImageTooLarge"

REFUSED: Mapping[str, Case] = {
    # More pixels than the limit, by the header or by the number of frames.
    "png of 4 gigapixels": _refused(lambda: png(header(SIDE_MAX, SIDE_MAX), _PIXEL), "a.png", _TOO_LARGE),
    "png of 2^31 - 1": _refused(lambda: png(header(2**31 - 1, 2**31 - 1), _PIXEL), "a.png", _TOO_LARGE),
    "png of 2^31 - 1 frames": _refused(lambda: png_with_frames(2, told=2**31 - 1), "a.png", _TOO_LARGE),
    "gif of 4 gigapixels": _refused(lambda: gif(SIDE_MAX, SIDE_MAX, GIF_FRAME), "a.gif", _TOO_LARGE),
    "gif with a frame outside": _refused(lambda: gif(1, 1, gif_frame(60_000)), "a.gif", _TOO_LARGE),
    "gif of many frames": _refused(lambda: gif(200, 200, GIF_FRAME * 1_300), "a.gif", _TOO_LARGE),
    "jpeg of 4 gigapixels": _refused(lambda: jpeg_of_size(65_500, 65_500), "a.jpg", _TOO_LARGE),
    "webp of many frames": _refused(lambda: webp_of_frames(7_000, 7_000, 5_000), "a.webp", _TOO_LARGE),
    # What only decoders say.
    "webp of 268 megapixels": _refused(lambda: webp_of_frames(16_384, 16_384, 1), "a.webp"),
    "avif of 4 gigapixels": _refused(lambda: avif_of_size(SIDE_MAX, SIDE_MAX), "a.avif"),
    "png of no pixels": _refused(lambda: png(header(0, 0), _PIXEL), "a.png"),
    "gif of no frames": _refused(lambda: gif(1, 1), "a.gif"),
    # A megabyte of text that becomes a hundred, and texts that become so many together.
    "png with a zTXt bomb": _refused(lambda: _text_chunk(b"zTXt", b"a\0\0"), "a.png"),
    "png with an iTXt bomb": _refused(lambda: _text_chunk(b"iTXt", b"a\0\1\0\0\0"), "a.png"),
    "png with an iCCP bomb": _refused(lambda: _text_chunk(b"iCCP", b"a\0\0"), "a.png"),
    "png with many zTXt chunks": _refused(
        lambda: png(header(1, 1), *[chunk(b"zTXt", b"a%d\0\0" % n + zeros(MIB)) for n in range(80)]), "a.png"
    ),
    "jpeg with many segments": _refused(
        lambda: behind_start(picture("JPEG"), segment(0xE1, b"Exif\0\0") * 10_000), "a.jpg"
    ),
    # The beginning of an image and nothing else.
    "only the mark of png": _other(_SIGNATURE, "a.png"),
    "only the mark of jpeg": _refused(lambda: b"\xff\xd8\xff\xe0", "a.jpg"),
    "only the mark of gif": _refused(lambda: b"GIF89a", "a.gif"),
    # Other types under the names of images. Some have decoders of which the profile wants none.
    "svg with a script": _other(_SVG, "a.png"),
    "svg with entities": _other(_ENTITIES, "a.svg"),
    "html": _other(b"<!doctype html>" + PAYLOAD, "a.jpg"),
    "postscript": _other(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a.jpg"),
    "imagemagick's drawing": _other(b"push graphic-context\nviewbox 0 0 9 9\n", "a.jpg"),
    "pdf that ends as a jpeg": Case(lambda: b"%PDF-1.7\n" + picture("JPEG"), "a.jpg", "UnsupportedType"),
    "zip": _other(b"PK\x05\x06" + bytes(18), "a.png"),
    "program": _other(b"\x7fELF\x02\x01\x01" + bytes(57), "a.png"),
    "photoshop": _other(b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\1\0\0\0\1\0\x08\0\3" + bytes(14), "a.png"),
    "tiff": _saved("TIFF", "a.png"),
    "bmp": _saved("BMP", "a.png"),
    "ico": _saved("ICO", "a.png"),
    "eps": _saved("EPS", "a.png"),
    "jpeg 2000": _saved("JPEG2000", "a.jpg"),
    "targa": _saved("TGA", "a.png"),
    "ppm": _saved("PPM", "a.png"),
    "nothing but zeros": Case(lambda: bytes(MIB), "a.png", "UnsupportedType"),
    "nothing at all": Case(lambda: b"", "a.png", "EmptyFile"),
}

# As large as they may be, of very few bytes.
LARGEST: Mapping[str, Case] = {
    "png of zeros": _accepted(lambda: png_of_zeros(BOMB_SIDE), "a.png", "image/png"),
    "gif of zeros": _accepted(lambda: gif_of_zeros(BOMB_SIDE), "a.gif", "image/gif"),
    "webp of an empty canvas": _accepted(
        lambda: webp_of_frames(BOMB_SIDE, BOMB_SIDE, 1), "a.webp", "image/webp"
    ),
    "avif of another size": _accepted(lambda: avif_of_size(BOMB_SIDE, BOMB_SIDE), "a.avif", "image/avif"),
}

ACCEPTED: Mapping[str, Case] = {
    "png with pixels without end": _accepted(
        lambda: png(header(1, 1), chunk(b"IDAT", zeros(100 * MIB))), "a.png", "image/png"
    ),
    "png of many chunks": _accepted(
        lambda: png(header(1, 1), chunk(b"prVt") * 5_000, _PIXEL), "a.png", "image/png"
    ),
    "png of many frames": _accepted(lambda: png_with_frames(500), "a.png", "image/png"),
    "png of fewer frames than it says": _accepted(lambda: png_with_frames(1, told=5), "a.png", "image/png"),
    "gif of many frames": _accepted(lambda: gif(1, 1, GIF_FRAME * 2_000), "a.gif", "image/gif"),
    "webp of many frames": _accepted(lambda: webp_of_frames(20, 20, 2_000), "a.webp", "image/webp"),
    "jpeg of many scans": _accepted(lambda: jpeg_of_scans(1_000, 100), "a.jpg", "image/jpeg"),
    "jpeg with restarts that it has not": _accepted(
        lambda: behind_start(picture("JPEG"), segment(0xDD, b"\0\1")), "a.jpg", "image/jpeg"
    ),
    "jpeg behind bytes that fill": _accepted(
        lambda: behind_start(picture("JPEG"), b"\xff" * (MIB // 8)), "a.jpg", "image/jpeg"
    ),
    "jpeg with an index of thousands": _accepted(lambda: mpo(4_000), "a.jpg", "image/jpeg"),
    # Two things at once: served as the image alone, and nothing of the other is in what is made of it.
    "gif that is a script": _accepted(
        lambda: gif(0x2F2A, 1, b"!\xfe" + bytes([len(PAYLOAD)]) + PAYLOAD + b"\0", GIF_FRAME),
        "a.js",
        "image/gif",
    ),
    "png with a page behind it": _accepted(lambda: picture("PNG") + PAYLOAD, "a.html", "image/png"),
    "png with a page in its text": _accepted(
        lambda: png(header(1, 1), chunk(b"tEXt", b"Comment\0" + PAYLOAD), _PIXEL), "a.php", "image/png"
    ),
    "jpeg with a pdf in its comment": _accepted(
        lambda: behind_start(picture("JPEG"), segment(0xFE, b"%PDF-1.7\n" + PAYLOAD)), "a.pdf", "image/jpeg"
    ),
    "webp with a page behind it": _accepted(lambda: picture("WEBP") + PAYLOAD, "a.svg", "image/webp"),
    "jpeg under another name": _accepted(lambda: picture("JPEG"), "a.png", "image/jpeg"),
}
