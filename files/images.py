"""Pillow: what an image is, and its pixels, upright and in sRGB. Bytes in, values out; no storage, no rows.

Pillow is only ever called with the formats that a profile names, and the pixels are counted before the
first one is decoded. What is made of an image is `files.rendering`.
"""

import io
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from files import exif, thumbhash
from files.errors import FileError, ImageTooLarge, InvalidImage
from files.exif import Exif
from files.geometry import Box, Fit, Plan, Size, plan
from files.profiles import DECODERS

_CONTENT_TYPES = {format_: content_type for content_type, format_ in DECODERS.items()}
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
_DRAFTED = {"JPEG", "MPO"}  # their decoder can do with less than all pixels
_MAX_SEGMENTS = 512  # application segments of a JPEG: a colour profile has 255 at most, extended XMP some
_DEEP_MODES = {"I", "I;16", "I;16B", "I;16L"}
# Modes that cannot be interpolated, or not rightly: a palette, and colours that count for nothing where they
# are transparent.
_INTERPOLATED = {"P": "RGB", "1": "L", "RGBA": "RGBa", "LA": "La"}
_PALETTE_SIZE = 8  # colours among which the dominant one is looked for
# A JPEG is decoded at the smallest scale that is still this many times the wanted size: at an eighth that
# takes half the time and a fiftieth of the memory. 43 dB from a full decode at the worst, which is less
# than encoding it again costs; at 1.0, with nothing left to interpolate, it would be 40.
_DRAFT_GAP = 1.25
# Down to this many times the wanted size or more, neighbouring pixels are averaged before the rest is
# interpolated: a tenth of the time, and 46 dB from doing without at the worst.
_REDUCING_GAP = 1.5

# Pillow would refuse large images by a limit of its own when it opens them, and not say their size; here
# the pixels of each image are counted against its profile, before the first one is decoded.
Image.MAX_IMAGE_PIXELS = None

# Damaged EXIF data and the like; what cannot be decoded is an error. Set once, because the filters of
# warnings belong to the process and not to a thread.
warnings.filterwarnings("ignore", module=r"PIL\.")


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
    exif: Exif | None


def inspect(file: IO[bytes], *, formats: tuple[str, ...], max_pixels: int) -> ImageFacts | None:
    """What the image is, or None if the bytes do not begin like one of `formats` (Pillow's names).

    Raises ImageTooLarge, from the header alone, and InvalidImage if the first frame cannot be decoded.
    """
    with decoder_errors():
        try:
            image = Image.open(file, formats=formats)
        except UnidentifiedImageError:
            return None
        with image:
            name, frames = format_and_frames(image)
            width, height = image.size
            if width * height * frames > max_pixels:
                raise ImageTooLarge(
                    width=width, height=height, pixels=width * height * frames, limit=max_pixels
                )
            orientation = orientation_of(image)
            upright = upright_size(image, orientation)
            side = thumbhash.MAX_SIDE
            whole = plan(upright, width=side, height=side, fit=Fit.INSIDE)
            small = laid_out(decoded(image, orientation, [whole]), whole).convert("RGBA")
            recorded = exif.read(_exif(image))
    return ImageFacts(
        format=name,
        content_type=_CONTENT_TYPES[name],
        width=upright.width,
        height=upright.height,
        frames=frames,
        thumbhash=thumbhash.encode(small),
        dominant_color=_dominant_color(small),
        exif=recorded,
    )


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded frame, as it lies in the file, and what else is needed to show it. Its pixels may be fewer
    than `size` says, where they were decoded at a smaller scale."""

    pixels: Image.Image
    size: tuple[int, int]
    orientation: int
    profile: bytes | None


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 (upright) where there is none or the EXIF data is damaged: only the pixels
    make a picture, and many cameras and editors write EXIF data that is wrong."""
    if image.format not in _DRAFTED:
        image.load()  # PNG may have its EXIF data behind the pixels
    return exif.orientation(_exif(image))


def upright_size(image: Image.Image, orientation: int) -> Size:
    width, height = image.size
    return Size(height, width) if orientation in _SIDEWAYS else Size(width, height)


def decoded(image: Image.Image, orientation: int, plans: Iterable[Plan]) -> Frame:
    """The frame at which the image stands, decoded once, large enough for all of the plans."""
    size, profile = image.size, image.info.get("icc_profile")
    if image.format in _DRAFTED:
        needed = [_needed(each, orientation, size) for each in plans]
        image.draft(None, (max(width for width, _ in needed), max(height for _, height in needed)))
    image.load()
    return Frame(_interpolated(image), size, orientation, profile)


def laid_out(frame: Frame, plan: Plan) -> Image.Image:
    """The frame cropped, scaled, turned upright and in sRGB, in this order, because each step costs by the
    pixel. RGBA where something is transparent, else RGB; with nothing in it but pixels."""
    across, down = (part / whole for part, whole in zip(frame.pixels.size, frame.size, strict=True))
    left, top, right, bottom = _unturned(plan.crop, frame.orientation, frame.size)
    small = frame.pixels.resize(
        _unturned_size(plan.scaled, frame.orientation),
        Image.Resampling.LANCZOS,
        box=(left * across, top * down, right * across, bottom * down),
        reducing_gap=_REDUCING_GAP,
    )
    if frame.orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[frame.orientation])
    small = _in_srgb(small, frame.profile)
    small.info.clear()  # Pillow hands comments and profiles on, and writes them again
    return small


def _needed(plan: Plan, orientation: int, size: tuple[int, int]) -> tuple[int, int]:
    """How large the decoder has to make the whole image, in pixels as they are stored."""
    left, top, right, bottom = _unturned(plan.crop, orientation, size)
    width, height = _unturned_size(plan.scaled, orientation)
    return (
        round(width * size[0] / (right - left) * _DRAFT_GAP),
        round(height * size[1] / (bottom - top) * _DRAFT_GAP),
    )


def _interpolated(image: Image.Image) -> Image.Image:
    """In a mode whose pixels can be averaged; colours are multiplied with their alpha."""
    if "transparency" in image.info and image.mode in {"1", "L", "RGB", "P"}:
        image = image.convert("RGBA")  # a colour that stands for "transparent" would be averaged away
    if image.mode in _DEEP_MODES:
        return image.convert("I")
    if image.mode == "PA":
        image = image.convert("RGBA")
    mode = _INTERPOLATED.get(image.mode)
    return image.convert(mode) if mode else image


def _unturned_size(size: Size, orientation: int) -> tuple[int, int]:
    """The size of an upright image as it is stored."""
    return (size.height, size.width) if orientation in _SIDEWAYS else (size.width, size.height)


def _unturned(box: Box, orientation: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Where a box of the upright image lies in the image as it is stored, whose size that is."""
    width, height = size
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    if orientation in _SIDEWAYS:  # first along the other diagonal, then as below
        left, top, right, bottom = top, left, bottom, right
    if orientation in {2, 3, 7, 8}:
        left, right = width - right, width - left
    if orientation in {3, 4, 6, 7}:
        top, bottom = height - bottom, height - top
    return left, top, right, bottom


@contextmanager
def decoder_errors() -> Iterator[None]:
    """Decoders of hostile bytes raise nearly anything; all of it means that the image is not one."""
    try:
        yield
    except FileError:
        raise
    except Exception as error:
        raise InvalidImage(reason="it is damaged or not complete") from error


def format_and_frames(image: Image.Image) -> tuple[str, int]:
    """The format by the name that profiles use for it, and how many frames are shown one after another."""
    if image.format == "MPO":  # a phone's JPEG with further views of the same moment behind it
        return "JPEG", 1
    return str(image.format), getattr(image, "n_frames", 1)


def _exif(image: Image.Image) -> bytes:
    """Not by `getexif`, which decodes some formats: an error of theirs has to be seen."""
    found = image.info.get("exif")
    return found if isinstance(found, bytes) else b""  # a PNG may have a text of this name


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """As RGBA where something is transparent, else RGB."""
    alpha = None
    if image.mode in {"RGBa", "La"}:
        image = image.convert({"RGBa": "RGBA", "La": "LA"}[image.mode])
        alpha = image.getchannel("A")
        image = image.convert({"RGBA": "RGB", "LA": "L"}[image.mode])
    if image.mode == "I":
        image = image.point(lambda value: value / 256).convert("L")
    if profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            srgb = ImageCms.createProfile("sRGB")
            image = ImageCms.profileToProfile(image, source, srgb, outputMode="RGB") or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a profile that cannot be used: the pixels are shown as they are, as browsers do
    image = image.convert("RGB")
    if alpha is not None and alpha.getextrema() != (255, 255):
        image.putalpha(alpha)
    return image


def _dominant_color(image: Image.Image) -> str:
    """The most frequent colour among the opaque pixels of an RGBA image, as #rrggbb."""
    paletted = image.convert("RGB").quantize(_PALETTE_SIZE)
    opaque = image.getchannel("A").point(lambda alpha: 255 if alpha > 127 else 0)
    mask = opaque if opaque.getbbox() else None
    counts = paletted.histogram(mask)[:_PALETTE_SIZE]
    index = counts.index(max(counts))
    red, green, blue = (paletted.getpalette() or [0] * 24)[index * 3 : index * 3 + 3]
    return f"#{red:02x}{green:02x}{blue:02x}"
