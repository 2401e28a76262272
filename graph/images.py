"""Images and what is made of them, in GraphQL. No field asks a storage, and only `presets` the database, once
for a page: a rendition's size is computed and its address signed, and it is made when it is fetched."""

import strawberry
from django.conf import settings
from django.db.models import prefetch_related_objects
from strawberry import UNSET
from strawberry.types.nodes import SelectedField

from files import models, renditions, signing
from files.errors import InvalidRendition
from files.geometry import MAX_SIDE, FocalPoint, Size
from files.profiles import UploadProfile
from files.variations import LADDER, Variation
from graph.context import Info
from graph.enums import Fit, Format
from graph.errors import BadUserInput

MAX_WIDTHS = len(LADDER)

_WIDTHS = f"Widths are rounded up to one of {', '.join(map(str, LADDER))}."


@strawberry.type(
    name="FocalPoint",
    description="What has to stay in sight: parts of width and height, from the upper left.",
)
class FocalPointType:
    x: float
    y: float


@strawberry.type(description="An image made of another one, when its address is first fetched.")
class Rendition:
    url: str
    width: int = strawberry.field(description="In pixels.")
    height: int = strawberry.field(description="In pixels.")
    content_type: str = strawberry.field(description="With AUTO, what all clients accept.")


@strawberry.type(description="A rendition that the file's profile has a name for.")
class Preset:
    name: str
    ready: bool = strawberry.field(
        description="Made and stored. What is not is made when it is first fetched, if no worker was faster."
    )


@strawberry.type(description="What a camera wrote into its picture; nothing else of EXIF data is kept.")
class Exif:
    taken_at: str | None = strawberry.field(
        description="By the camera's clock, in ISO 8601: 2026-11-21T10:30:00, or with an offset from UTC "
        "(2026-11-21T10:30:00+02:00) if the camera recorded it."
    )
    camera: str | None = strawberry.field(description="Make and model.")
    lens: str | None


@strawberry.type(description="A raster image whose bytes were decoded when they were received.")
class Image:
    file: strawberry.Private[models.File]

    @strawberry.field(description="In pixels, upright (after EXIF orientation).")
    def width(self) -> int:
        return self.file.width or 0

    @strawberry.field(description="In pixels, upright (after EXIF orientation).")
    def height(self) -> int:
        return self.file.height or 0

    @strawberry.field(description="JPEG, PNG, GIF, WEBP or AVIF.")
    def format(self) -> str:
        return self.file.image_format

    @strawberry.field(description="How many images are shown one after another; 1 unless animated.")
    def frames(self) -> int:
        return self.file.frames or 1

    @strawberry.field(description="A ThumbHash in base64, from which a blurred placeholder can be drawn.")
    def thumbhash(self) -> str:
        return self.file.thumbhash

    @strawberry.field(description="As #rrggbb.")
    def dominant_color(self) -> str:
        return self.file.dominant_color

    @strawberry.field(
        description="Null if the stored bytes say nothing, as after a profile that strips or fits."
    )
    def exif(self) -> Exif | None:
        taken_at, camera, lens = (
            each or None for each in (self.file.taken_at, self.file.camera, self.file.lens)
        )
        return Exif(taken_at=taken_at, camera=camera, lens=lens) if taken_at or camera or lens else None

    @strawberry.field(description="Where renditions that cut something off (COVER) leave the picture whole.")
    def focal_point(self) -> FocalPointType:
        return FocalPointType(x=self.file.focal_x, y=self.file.focal_y)

    @strawberry.field(
        description=f"By a preset of the file's profile alone, or by width, height or both. {_WIDTHS} "
        f"No side is longer than {MAX_SIDE}, and nothing is enlarged."
    )
    def rendition(
        self,
        info: Info,
        preset: str | None = UNSET,
        width: int | None = UNSET,
        height: int | None = UNSET,
        fit: Fit = Fit.INSIDE,
        format: Format = Format.AUTO,
        quality: int | None = UNSET,
    ) -> Rendition:
        if preset is not None and preset is not UNSET:
            _check_alone(info)
            return _rendition(info, self.file, _preset(self.file, preset))
        wanted = Variation.wanted(
            width=None if width is UNSET else width,
            height=None if height is UNSET else height,
            fit=fit,
            format=format,
            quality=None if quality is UNSET else quality,
            focal=FocalPoint(self.file.focal_x, self.file.focal_y),
        )
        return _rendition(info, self.file, wanted)

    @strawberry.field(
        description="Those of the file's profile. They are made after an upload, perhaps by workers; ask "
        "again to see how far that is."
    )
    def presets(self) -> list[Preset]:
        prefetch_related_objects([self.file], models.MADE)  # asks nothing where the page was fetched with it
        made = {each.variation for each in self.file.made}
        wanted = renditions.presets(self.file).items()
        return [Preset(name=name, ready=str(variation) in made) for name, variation in wanted]

    @strawberry.field(description=f"One rendition for each width, for the srcset of HTML. {_WIDTHS}")
    def srcset(self, info: Info, widths: list[int], format: Format = Format.AUTO) -> list[Rendition]:
        if not 1 <= len(widths) <= MAX_WIDTHS:
            raise BadUserInput(f"widths: give 1 to {MAX_WIDTHS} widths.")
        wanted = (
            Variation.wanted(
                width=width, height=None, fit=Fit.INSIDE, format=format, quality=None, focal=FocalPoint()
            )
            for width in widths
        )
        return [_rendition(info, self.file, each) for each in dict.fromkeys(wanted)]


@strawberry.type(description="A rendition that an upload profile has a name for.")
class PresetRule:
    name: str
    width: int | None
    height: int | None
    fit: Fit
    format: Format


def _check_alone(info: Info) -> None:
    """A preset says all. By the document, since an argument may be given its default."""
    for selected in info.selected_fields:
        given = selected.arguments if isinstance(selected, SelectedField) else {}
        others = [name for name, value in given.items() if name != "preset" and value is not None]
        if others:
            raise InvalidRendition(field="preset", allowed=f"it alone, without {', '.join(others)}")


def _preset(file: models.File, name: str) -> Variation:
    profile: UploadProfile | None = settings.UPLOAD_PROFILES.get(file.profile)
    presets = profile.presets if profile else {}
    if name not in presets:
        raise InvalidRendition(field="preset", allowed=", ".join(presets) or "none of this profile")
    return presets[name].focused(FocalPoint(file.focal_x, file.focal_y))


def _rendition(info: Info, file: models.File, variation: Variation) -> Rendition:
    size = variation.size(Size(file.width or 1, file.height or 1))
    path = signing.rendition_path(file, variation, lifetime=settings.URL_LIFETIME)
    shown = renditions.fallback(file) if variation.format is Format.AUTO else variation.format
    return Rendition(
        url=info.context.request.build_absolute_uri(path),
        width=size.width,
        height=size.height,
        content_type=shown.content_type,
    )
