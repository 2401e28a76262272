"""Pillow: what an image is, and what is made of it. Bytes in, values or bytes out; no storage, no rows.

Pillow is only ever called with the formats that a profile names, and the pixels are counted before the
first one is decoded. What is made here is encoded afresh: nothing of the source but its pixels is in it.
"""

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image, ImageCms, JpegImagePlugin, UnidentifiedImageError

from files import exif, thumbhash
from files.errors import FileError, ImageTooLarge, InvalidImage
from files.exif import Exif
from files.geometry import Box, Plan, Size
from files.profiles import DECODERS
from files.variations import Format, Variation

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
_MAX_SEGMENTS = 512  # application segments of a JPEG: a colour profile has 255 at most, extended XMP some
_DEEP_MODES = {"I", "I;16", "I;16B", "I;16L"}
_PALETTE_SIZE = 8  # colours among which the dominant one is looked for
# Decoding a JPEG at the smallest scale that is still this many times the wanted size costs a fifth of a
# full decode and cannot be told from it.
_REDUCING_GAP = 2.0
_QUALITY = 88
_FRAME_DURATION = 100  # milliseconds; what browsers take for a frame that says none
_ANIMATED = {Format.WEBP, Format.AVIF}
# What looks alike costs about as many bytes in none of them; AVIF's slower speeds gain little for their time.
_ENCODERS: Mapping[Format, Mapping[str, Any]] = {
    Format.JPEG: {"quality": 80, "progressive": True, "optimize": True},
    Format.PNG: {"optimize": False},
    Format.WEBP: {"quality": 78, "method": 4},
    Format.AVIF: {"quality": 60, "speed": 8},
}

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
            recorded = exif.read(_exif(image))
    return ImageFacts(
        format=name,
        content_type=_CONTENT_TYPES[name],
        width=width,
        height=height,
        frames=frames,
        thumbhash=thumbhash.encode(small),
        dominant_color=_dominant_color(small),
        exif=recorded,
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
    with _decoder_errors():
        small.save(target, name, **options)
    return target.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An encoded image; `width` and `height` in pixels."""

    content: bytes
    content_type: str
    width: int
    height: int


def render(file: IO[bytes], *, formats: tuple[str, ...], variation: Variation) -> Rendered:
    """The variation of the image, encoded as `variation.format`, which must not be AUTO.

    All frames of an animation where the format has them, else the first one. Raises InvalidImage.
    """
    with _decoder_errors(), Image.open(file, formats=formats) as image:
        if image.format not in {"JPEG", "MPO"}:  # these are decoded at a smaller scale below
            image.load()  # PNG may have its EXIF data behind the pixels
        orientation = _orientation(image)
        source = Size(*image.size) if orientation not in _SIDEWAYS else Size(image.height, image.width)
        plan = variation.plan(source)
        count = _format_and_frames(image)[1] if variation.format in _ANIMATED else 1
        frames, durations = [], []
        for number in range(count):
            if count > 1:
                image.seek(number)
                image.load()  # for some formats it alone says how long the frame is shown
                durations.append(int(image.info.get("duration", 0)) or _FRAME_DURATION)
            frames.append(_laid_out(image, plan, orientation, opaque=variation.format is Format.JPEG))
        # How often it is shown, 0 for ever: a GIF that does not say, once.
        loop = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
    if len({frame.mode for frame in frames}) > 1:  # all or none may be transparent
        frames = [frame.convert("RGBA") for frame in frames]
    first, *others = frames
    options: dict[str, Any] = dict(_ENCODERS[variation.format])
    if variation.quality is not None and variation.format is not Format.PNG:
        options["quality"] = variation.quality
    if others:
        options |= {"save_all": True, "append_images": others, "duration": durations}
        if variation.format is Format.WEBP:
            options["loop"] = loop
    target = io.BytesIO()
    with _decoder_errors():  # encoders fail too, most of all when memory is short
        first.save(target, variation.format.value.upper(), **options)
    return Rendered(
        content=target.getvalue(),
        content_type=variation.format.content_type,
        width=plan.canvas.width,
        height=plan.canvas.height,
    )


def _laid_out(image: Image.Image, plan: Plan, orientation: int, *, opaque: bool) -> Image.Image:
    """One frame cropped, scaled, turned upright, in sRGB, on its canvas; without alpha where it has none."""
    sideways = orientation in _SIDEWAYS
    box = _unturned(plan.crop, orientation, image.size)
    scaled = (plan.scaled.height, plan.scaled.width) if sideways else (plan.scaled.width, plan.scaled.height)
    profile = image.info.get("icc_profile")
    full = image.size
    # The decoder is asked for the smallest scale that leaves twice the pixels that are wanted.
    kept = (box[2] - box[0]) / full[0], (box[3] - box[1]) / full[1]
    image.draft(
        None, (round(scaled[0] / kept[0] * _REDUCING_GAP), round(scaled[1] / kept[1] * _REDUCING_GAP))
    )
    if image.size != full:
        across, down = image.width / full[0], image.height / full[1]
        box = box[0] * across, box[1] * down, box[2] * across, box[3] * down
    frame: Image.Image = image
    if image.mode in {"P", "PA", "1"}:
        frame = image.convert("RGBA")
    elif image.mode in _DEEP_MODES:
        frame = image.convert("I")
    small = frame.resize(scaled, Image.Resampling.LANCZOS, box=box, reducing_gap=_REDUCING_GAP)
    if orientation in _UPRIGHT:
        small = small.transpose(_UPRIGHT[orientation])
    small = _in_srgb(small, profile)
    if plan.canvas != plan.scaled or opaque:
        ground = (255, 255, 255, 255) if opaque else (0, 0, 0, 0)
        canvas = Image.new("RGBA", (plan.canvas.width, plan.canvas.height), ground)
        left = (plan.canvas.width - plan.scaled.width) // 2
        top = (plan.canvas.height - plan.scaled.height) // 2
        canvas.alpha_composite(small, (left, top))
        small = canvas
    if opaque or small.getchannel("A").getextrema() == (255, 255):
        small = small.convert("RGB")
    small.info.clear()
    return small


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
def _decoder_errors() -> Iterator[None]:
    """Decoders of hostile bytes raise nearly anything; all of it means that the image is not one."""
    try:
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
    """The EXIF orientation, 1 (upright) where there is none or the EXIF data is damaged."""
    return exif.orientation(_exif(image))


def _exif(image: Image.Image) -> bytes:
    """Not by `getexif`, which decodes some formats: an error of theirs has to be seen."""
    found = image.info.get("exif")
    return found if isinstance(found, bytes) else b""  # a PNG may have a text of this name


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
