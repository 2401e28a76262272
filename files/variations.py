"""What is to be made of an image, as a value and as the text of it in an address; pure.

The same wish has one spelling, so that it is made, stored and cached once.
"""

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

from files.errors import InvalidRendition
from files.geometry import CENTRE, MAX_SIDE, Fit, FocalPoint, Plan, Size, plan

# Widths are rounded up to one of these, so that clients with odd screens do not each have a rendition of
# their own; from icons to 4K, in steps of a quarter to a third.
LADDER = (
    *(16, 24, 32, 48, 64, 80, 96, 128, 160, 200, 240, 300, 320, 400, 480, 640, 800, 960),
    *(1200, 1280, 1600, 1920, 2560, 3200, MAX_SIDE),
)
QUALITIES = range(1, 101)


class Format(StrEnum):
    """AUTO is settled when the rendition is fetched, by what the client accepts."""

    AUTO = "auto"
    JPEG = "jpeg"
    PNG = "png"
    WEBP = "webp"
    AVIF = "avif"
    GIF = "gif"

    @property
    def content_type(self) -> str:
        return f"image/{self.value}"

    @property
    def has_quality(self) -> bool:
        """Whether bytes can be saved by losing more or less of the picture."""
        return self not in {Format.PNG, Format.GIF}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variation:
    """One rendition of one image. `width` and `height` in pixels, at least one of them given; `quality` of
    1 to 100, None for the format's usual one."""

    width: int | None
    height: int | None
    fit: Fit = Fit.INSIDE
    format: Format = Format.AUTO
    quality: int | None = None
    focal: FocalPoint = CENTRE
    enlarge: bool = False

    def __post_init__(self) -> None:
        if not self.format.has_quality:
            object.__setattr__(self, "quality", None)

    @classmethod
    def wanted(
        cls,
        *,
        width: int | None,
        height: int | None,
        fit: Fit,
        format: Format,
        quality: int | None,
        focal: FocalPoint,
    ) -> Self:
        """What a client asks for, brought to the ladder. Raises InvalidRendition."""
        for field, side in (("width", width), ("height", height)):
            if side is not None and not 1 <= side <= MAX_SIDE:
                raise InvalidRendition(field=field, allowed=f"1 to {MAX_SIDE}")
        if width is None and height is None:
            raise InvalidRendition(field="width", allowed="a width, a height or both")
        if quality is not None and quality not in QUALITIES:
            raise InvalidRendition(field="quality", allowed="1 to 100")
        if width is not None and height is not None:
            width, height = _snapped(width, height)
        else:
            width, height = width and snap(width), height and snap(height)
            fit = Fit.INSIDE  # with one side there is no shape that could differ from the image's
        found = cls(width=width, height=height, fit=fit, format=format, quality=quality)
        return found.focused(focal)

    def plan(self, source: Size) -> Plan:
        """What it does to an image of that upright size."""
        return plan(
            source,
            width=self.width,
            height=self.height,
            fit=self.fit,
            focal=self.focal,
            enlarge=self.enlarge,
        )

    def size(self, source: Size) -> Size:
        """How large it will be, made of an image of that upright size."""
        return self.plan(source).canvas

    def focused(self, focal: FocalPoint) -> Self:
        """With that in sight, to the hundredth; it matters only where something is cut off."""
        if self.fit is not Fit.COVER:
            return self
        return replace(self, focal=FocalPoint(round(focal.x, 2), round(focal.y, 2)))

    def as_format(self, format: Format) -> Self:
        return replace(self, format=format)

    def __str__(self) -> str:
        """As in an address: `w640-h480-cover-webp-q80-f25,50-e`, what is not given left out."""
        parts = [
            f"w{self.width}" if self.width else "",
            f"h{self.height}" if self.height else "",
            self.fit.value,
            self.format.value,
            f"q{self.quality}" if self.quality else "",
            f"f{round(self.focal.x * 100)},{round(self.focal.y * 100)}" if self.focal != CENTRE else "",
            "e" if self.enlarge else "",
        ]
        return "-".join(part for part in parts if part)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """The variation of that spelling; None if there is none, or if it is spelt otherwise."""
        match = _TEXT.fullmatch(text)
        if match is None:
            return None
        focal = match["focal_x"] and FocalPoint(int(match["focal_x"]) / 100, int(match["focal_y"]) / 100)
        found = cls(
            width=int(match["width"]) if match["width"] else None,
            height=int(match["height"]) if match["height"] else None,
            fit=Fit(match["fit"]),
            format=Format(match["format"]),
            quality=int(match["quality"]) if match["quality"] else None,
            focal=focal or CENTRE,
            enlarge=match["enlarge"] is not None,
        )
        return found if str(found) == text and (found.width or found.height) else None


def _snapped(width: int, height: int) -> tuple[int, int]:
    """The width on the ladder and the height in proportion; the other way round where that is too high."""
    wide = snap(width)
    high = max(1, round(height * wide / width))
    if high <= MAX_SIDE:
        return wide, high
    return max(1, round(width * MAX_SIDE / height)), MAX_SIDE


def snap(side: int) -> int:
    """The smallest side of the ladder that is not below this one."""
    return next(step for step in LADDER if step >= side)


_TEXT = re.compile(
    r"(?:w(?P<width>\d{1,4})-)?(?:h(?P<height>\d{1,4})-)?"
    rf"(?P<fit>{'|'.join(Fit)})-(?P<format>{'|'.join(Format)})"
    r"(?:-q(?P<quality>\d{1,3}))?(?:-f(?P<focal_x>\d{1,3}),(?P<focal_y>\d{1,3}))?(?P<enlarge>-e)?",
    re.ASCII,
)
