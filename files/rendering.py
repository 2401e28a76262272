"""What is made of an image: other sizes and formats of it. Bytes in, bytes out; no storage, no rows.

All of it is encoded afresh: nothing of the source but its pixels is in it.
"""

import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from PIL import Image

from files.geometry import Fit, Plan, plan
from files.images import (
    Frame,
    decoded,
    decoder_errors,
    format_and_frames,
    laid_out,
    orientation_of,
    upright_size,
)
from files.variations import Format, Variation

_QUALITY = 88  # of what is kept in the place of an original
_FRAME_DURATION = 100  # milliseconds; what browsers take for a frame that says none
_ANIMATED = {Format.WEBP, Format.AVIF, Format.GIF}
# What looks alike costs about as many bytes in none of them; AVIF's slower speeds gain little for their time.
_ENCODERS: Mapping[Format, Mapping[str, Any]] = {
    Format.JPEG: {"quality": 80, "progressive": True, "optimize": True},
    Format.PNG: {"optimize": False},
    Format.WEBP: {"quality": 78, "method": 4},
    Format.AVIF: {"quality": 60, "speed": 8},
    Format.GIF: {"optimize": False},
}
# What Pillow raises for a frame that is broken or not there, and not for want of memory.
_DAMAGED = (EOFError, OSError, SyntaxError, ValueError, IndexError, struct.error)
_GIF_COLORS = 255  # and one that stands for "transparent"
_WHITE, _NOTHING = (255, 255, 255, 255), (0, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An encoded image; `width` and `height` in pixels."""

    content: bytes
    content_type: str
    width: int
    height: int


def fit(file: IO[bytes], *, formats: tuple[str, ...], box: tuple[int, int]) -> bytes:
    """The first frame, upright, in sRGB, made to fit into `box` (pixels) and never enlarged.

    JPEG, PNG, WebP and AVIF stay what they are; GIF becomes PNG. Raises InvalidImage.
    """
    with decoder_errors(), Image.open(file, formats=formats) as image:
        name, _ = format_and_frames(image)
        orientation = orientation_of(image)
        inside = plan(upright_size(image, orientation), width=box[0], height=box[1], fit=Fit.INSIDE)
        small = laid_out(decoded(image, orientation, [inside]), inside)
    if name == "GIF":
        name = "PNG"
    return _encoded([small], name, {"optimize": True} if name == "PNG" else {"quality": _QUALITY})


def render(file: IO[bytes], *, formats: tuple[str, ...], variation: Variation) -> Rendered:
    """The variation of the image, encoded as `variation.format`, which must not be AUTO.

    All frames of an animation where the format has them, else the first one. Raises InvalidImage.
    """
    (rendered,) = render_many(file, formats=formats, variations=(variation,))
    return rendered


def render_many(
    file: IO[bytes], *, formats: tuple[str, ...], variations: Sequence[Variation]
) -> list[Rendered]:
    """Each as by `render`, in their order; those that do not move are all made of one decode."""
    with decoder_errors(), Image.open(file, formats=formats) as image:
        orientation = orientation_of(image)
        source = upright_size(image, orientation)
        count = format_and_frames(image)[1]
        plans = [(each, each.plan(source)) for each in variations]
        still = decoded(image, orientation, [plan for _, plan in plans])
        return [
            Rendered(
                # One animation after another: the frames of all sizes together would be much to hold.
                content=_moving(image, orientation, count, plan, variation)
                if count > 1 and variation.format in _ANIMATED
                else _still(still, plan, variation),
                content_type=variation.format.content_type,
                width=plan.canvas.width,
                height=plan.canvas.height,
            )
            for variation, plan in plans
        ]


def _still(frame: Frame, plan: Plan, variation: Variation) -> bytes:
    made = _on_canvas(laid_out(frame, plan), plan, opaque=variation.format is Format.JPEG)
    return _encoded([made], variation.format.value, _options(variation))


def _moving(image: Image.Image, orientation: int, count: int, plan: Plan, variation: Variation) -> bytes:
    frames: list[Image.Image] = []
    durations: list[int] = []
    for number in range(count):
        try:
            image.seek(number)
            frame = decoded(image, orientation, [plan])
        except _DAMAGED:
            if not frames:
                raise
            break  # browsers show what comes before it, too
        frames.append(_on_canvas(laid_out(frame, plan), plan, opaque=False))
        # For some formats it is known only now.
        durations.append(int(image.info.get("duration", 0)) or _FRAME_DURATION)
    # How often it is shown, 0 for ever: a GIF that does not say, once.
    loop = int(image.info.get("loop", 1 if image.format == "GIF" else 0))
    options = _options(variation) | {"save_all": True, "duration": durations}
    if variation.format is Format.WEBP or (variation.format is Format.GIF and loop != 1):
        options["loop"] = loop
    if variation.format is Format.GIF and any(frame.mode == "RGBA" for frame in frames):
        options["disposal"] = 2  # else the frame before shows where the next is transparent
    return _encoded(frames, variation.format.value, options)


def _options(variation: Variation) -> dict[str, Any]:
    options = dict(_ENCODERS[variation.format])
    return options if variation.quality is None else options | {"quality": variation.quality}


def _on_canvas(image: Image.Image, plan: Plan, *, opaque: bool) -> Image.Image:
    """In the middle of its canvas, and on white where it may not be transparent."""
    if plan.canvas == plan.scaled and not (opaque and image.mode == "RGBA"):
        return image
    ground = _WHITE if opaque else _NOTHING
    canvas = Image.new("RGBA", (plan.canvas.width, plan.canvas.height), ground)
    left = (plan.canvas.width - plan.scaled.width) // 2
    top = (plan.canvas.height - plan.scaled.height) // 2
    canvas.alpha_composite(image.convert("RGBA"), (left, top))
    return canvas.convert("RGB") if opaque else canvas


def _encoded(frames: list[Image.Image], name: str, options: Mapping[str, Any]) -> bytes:
    """`name` is the format's, in any case of letters. Raises InvalidImage: encoders fail too, most of all
    when memory is short."""
    if len({frame.mode for frame in frames}) > 1:  # all or none may be transparent
        frames = [frame.convert("RGBA") for frame in frames]
    target = io.BytesIO()
    with decoder_errors():
        if name.upper() == "GIF":
            frames = [_in_few_colors(frame) for frame in frames]
        first, *others = frames
        first.save(target, name.upper(), **options, **({"append_images": others} if others else {}))
    return target.getvalue()


def _in_few_colors(image: Image.Image) -> Image.Image:
    """With a palette, as GIF has it; what is more than half transparent is so wholly."""
    paletted = image.convert("RGB").quantize(_GIF_COLORS)
    if image.mode == "RGBA":
        hidden = image.getchannel("A").point(lambda alpha: 255 if alpha < 128 else 0)
        paletted.paste(_GIF_COLORS, mask=hidden)
        paletted.info["transparency"] = _GIF_COLORS
    return paletted
