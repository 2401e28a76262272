"""Pillow: what an image is, and what is made of it. Bytes in, values or bytes out; no storage, no rows.

Pillow is only ever called with the formats that a profile names, and the pixels are counted before the
first one is decoded. What is made here is encoded afresh: nothing of the source but its pixels is in it.
"""

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from files import thumbhash
from files.errors import FileError, ImageTooLarge, InvalidImage
from files.profiles import DECODERS

_CONTENT_TYPES = {format_: content_type for content_type, format_ in DECODERS.items()}
_ORIENTATION = 0x0112  # EXIF tag
# How an image of each EXIF orientation is turned upright; from 5 on, width and height change places.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = {5, 6, 7, 8}
_MAX_SEGMENTS = 512  # application segments of a JPEG: a colour profile has 255 at most, extended XMP some
_DEEP_MODES = {"I", "I;16", "I;16B", "I;16L"}
_PALETTE_SIZE = 8  # colours among which the dominant one is looked for
# Decoding a JPEG at the smallest scale that is still this many times the wanted size costs a fifth of a
# full decode and cannot be told from it.
_REDUCING_GAP = 2.0
_QUALITY = 88

# Pillow would refuse large images by a limit of its own when it opens them, and not say their size; here
# the pixels of each image are counted against its profile, before the first one is decoded.
Image.MAX_IMAGE_PIXELS = None

# Damaged EXIF data and the like; what cannot be decoded is an error. Set once, because the filters of
# warnings belong to the process and not to a thread.
warnings.filterwarnings("ignore", module=r"PIL\.")

# A decoder may take some hundred MiB, so only so many run at once; the others wait.
_decoders = threading.BoundedSemaphore(os.cpu_count() or 1)


def _application_segment(image: JpegImagePlugin.JpegImageFile, marker: int) -> None:
    """Pillow joins the pieces of EXIF one by one, in time that grows with the square of their number."""
    if len(image.applist) >= _MAX_SEGMENTS:
        raise InvalidImage(reason="it has too many segments before its pixels")
    JpegImagePlugin.APP(image, marker)


for _marker in range(0xFFE0, 0xFFF0):
    _name, _description, _ = JpegImagePlugin.MARKER[_marker]
    JpegImagePlugin.MARKER[_marker] = (_name, _description, _application_segment)  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """`width` and `height` in upright pixels; `thumbhash` in base64; `dominant_color` as #rrggbb."""

    format: str
    content_type: str
    width: int
    height: int
    frames: int
    thumbhash: str
    dominant_color: str


def inspect(file: IO[bytes], *, formats: tuple[str, ...], max_pixels: int) -> ImageFacts | None:
    """What the image is, or None if the bytes do not begin like one of `formats` (Pillow's names).

    Raises ImageTooLarge, from the header alone, and InvalidImage if the first frame cannot be decoded.
    """
    with _decoder_errors():
        try:
            image = Image.open(file, formats=formats)
        except UnidentifiedImageError:
            return None
        with image:
            name, frames = _format_and_frames(image)
            width, height = image.size
            if width * height * frames > max_pixels:
                raise ImageTooLarge(
                    width=width, height=height, pixels=width * height * frames, limit=max_pixels
                )
            small, orientation = _small(image, (thumbhash.MAX_SIDE, thumbhash.MAX_SIDE))
            if orientation in _SIDEWAYS:
                width, height = height, width
    return ImageFacts(
        format=name,
        content_type=_CONTENT_TYPES[name],
        width=width,
        height=height,
        frames=frames,
        thumbhash=thumbhash.encode(small),
        dominant_color=_dominant_color(small),
    )


def fit(file: IO[bytes], *, formats: tuple[str, ...], box: tuple[int, int]) -> bytes:
    """The first frame, upright, in sRGB, made to fit into `box` (pixels) and never enlarged.

    JPEG, PNG, WebP and AVIF stay what they are; GIF becomes PNG. Raises InvalidImage.
    """
    with _decoder_errors(), Image.open(file, formats=formats) as image:
        name, _ = _format_and_frames(image)
        small, _ = _small(image, box)
    opaque = small.getchannel("A").getextrema() == (255, 255)
    target = io.BytesIO()
    if name == "JPEG" or (opaque and name != "GIF"):
        small = small.convert("RGB")
    if name == "GIF":
        name = "PNG"
    options = {"optimize": True} if name == "PNG" else {"quality": _QUALITY}
    small.save(target, name, **options)
    return target.getvalue()


@contextmanager
def _decoder_errors() -> Iterator[None]:
    """Decoders of hostile bytes raise nearly anything; all of it means that the image is not one."""
    try:
        with _decoders:
            yield
    except FileError:
        raise
    except Exception as error:
        raise InvalidImage(reason="it is damaged or not complete") from error


def _format_and_frames(image: Image.Image) -> tuple[str, int]:
    """The format by the name that profiles use for it, and how many frames are shown one after another."""
    if image.format == "MPO":  # a phone's JPEG with further views of the same moment behind it
        return "JPEG", 1
    return str(image.format), getattr(image, "n_frames", 1)


def _small(image: Image.Image, box: tuple[int, int]) -> tuple[Image.Image, int]:
    """The image decoded, made to fit into `box`, then turned upright and converted to RGBA in sRGB: in
    this order, because each step costs by the pixel. With it the EXIF orientation that it had."""
    if image.format not in {"JPEG", "MPO"}:  # these are decoded at a smaller scale below
        image.load()  # PNG may have its EXIF data behind the pixels
    orientation = _orientation(image)
    if orientation in _SIDEWAYS:
        box = box[1], box[0]
    profile = image.info.get("icc_profile")
    if image.mode in {"P", "PA", "1"}:
        image = image.convert("RGBA")  # a palette cannot be interpolated
    elif image.mode in _DEEP_MODES:
        image = image.convert("I")
    image.thumbnail(box, reducing_gap=_REDUCING_GAP)
    image.load()
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    small = _in_srgb(image, profile)
    small.info.clear()  # only the pixels: Pillow hands comments and profiles on, and writes them again
    return small, orientation


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF data is damaged: only the pixels
    make a picture, and many cameras and editors write EXIF data that is wrong."""
    exif = Image.Exif()
    try:
        # Not `getexif`, which decodes some formats: an error of theirs has to be seen.
        exif.load(image.info.get("exif", b""))
        return int(exif.get(_ORIENTATION, 1))
    except Exception:  # Pillow raises what struct, int and its TIFF reader raise
        return 1


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if image.mode == "I":
        image = image.point(lambda value: value / 256).convert("L")
    if profile and image.mode in {"RGB", "RGBA", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            mode = "RGBA" if image.mode == "RGBA" else "RGB"
            converted = ImageCms.profileToProfile(image, source, srgb, outputMode=mode)
            image = converted or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that cannot be used: the pixels are shown as they are, as browsers do
    return image.convert("RGBA")


def _dominant_color(image: Image.Image) -> str:
    """The most frequent colour among the opaque pixels of an RGBA image, as #rrggbb."""
    paletted = image.convert("RGB").quantize(_PALETTE_SIZE)
    opaque = image.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    mask = opaque if opaque.getbbox() else None
    counts = paletted.histogram(mask)[:_PALETTE_SIZE]
    index = counts.index(max(counts))
    red, green, blue = (paletted.getpalette() or [0] * 24)[index * 3 : index * 3 + 3]
    return f"#{red:02x}{green:02x}{blue:02x}"
