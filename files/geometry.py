"""How an image is made to fit: sizes and boxes in pixels, with no pixel in sight; pure."""

from dataclasses import dataclass
from enum import StrEnum

# No side of what is made is longer, in pixels: that of a 4K screen. Some encoders end at 16383.
MAX_SIDE = 3840


class Fit(StrEnum):
    """What happens where the shape asked for is not the image's."""

    INSIDE = "inside"  # as large as fits into the box, in proportion
    COVER = "cover"  # the box is filled, and what hangs over is cut off
    CONTAIN = "contain"  # as INSIDE, with the rest of the box left empty around it
    FILL = "fill"  # stretched to the box


@dataclass(frozen=True, slots=True)
class Size:
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Box:
    """Of the upright source, in pixels that may have fractions: what is kept of it."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Of the source `crop` is scaled to `scaled` and laid into the middle of `canvas`, the final size."""

    crop: Box
    scaled: Size
    canvas: Size


@dataclass(frozen=True, slots=True)
class FocalPoint:
    """What has to stay in sight, as parts of width and height from the upper left corner: 0 to 1."""

    x: float = 0.5
    y: float = 0.5


CENTRE = FocalPoint()


def plan(
    source: Size,
    *,
    width: int | None,
    height: int | None,
    fit: Fit,
    focal: FocalPoint = CENTRE,
    enlarge: bool = False,
) -> Plan:
    """How `source` becomes `width` x `height`; of these one may be None, for "in proportion".

    Without `enlarge` no pixel is made bigger: the box shrinks in its proportion until none is. No side of a
    result is ever below one pixel, and none that was not given is above MAX_SIDE.
    """
    whole = Box(0, 0, source.width, source.height)
    if width is None or height is None:
        scaled = _inside(source, width or MAX_SIDE, height or MAX_SIDE, enlarge)
        return Plan(whole, scaled, scaled)
    if fit is Fit.INSIDE:
        scaled = _inside(source, width, height, enlarge)
        return Plan(whole, scaled, scaled)
    if fit is Fit.CONTAIN:
        return Plan(whole, _inside(source, width, height, enlarge), Size(width, height))
    if fit is Fit.FILL:
        scaled = (
            Size(width, height) if enlarge else Size(min(width, source.width), min(height, source.height))
        )
        return Plan(whole, scaled, scaled)
    return _cover(source, width, height, focal, enlarge)


def _inside(source: Size, width: int, height: int, enlarge: bool) -> Size:
    scale = min(width / source.width, height / source.height)
    if not enlarge:
        scale = min(scale, 1.0)
    return Size(_side(source.width * scale), _side(source.height * scale))


def _cover(source: Size, width: int, height: int, focal: FocalPoint, enlarge: bool) -> Plan:
    scale = max(width / source.width, height / source.height)
    if scale > 1 and not enlarge:
        # The box is too large for the source: the largest one of its shape that is not.
        shrink = min(source.width / width, source.height / height)
        width, height = _side(width * shrink), _side(height * shrink)
        scale = max(width / source.width, height / source.height)
    kept_width, kept_height = min(width / scale, source.width), min(height / scale, source.height)
    left = _clamped(focal.x * source.width - kept_width / 2, source.width - kept_width)
    top = _clamped(focal.y * source.height - kept_height / 2, source.height - kept_height)
    size = Size(width, height)
    return Plan(Box(left, top, left + kept_width, top + kept_height), size, size)


def _clamped(value: float, most: float) -> float:
    return max(0.0, min(value, most))


def _side(length: float) -> int:
    return max(1, round(length))
