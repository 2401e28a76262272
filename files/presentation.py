"""How a file's bytes are handed to a browser: under which name and type, shown or saved. The same whether
they come from here or from a bucket; asks nobody."""

from dataclasses import dataclass
from pathlib import PurePath

from django.utils.http import content_disposition_header

from files.models import File
from files.variations import Format


@dataclass(frozen=True, slots=True, kw_only=True)
class Presentation:
    """`is_shown` is for bytes that were decoded as a raster image; a browser saves all others."""

    name: str
    content_type: str
    is_shown: bool

    @property
    def disposition(self) -> str:
        """Content-Disposition, with the name as RFC 6266 has it."""
        return content_disposition_header(not self.is_shown, self.name) or "attachment"


def of_file(file: File, *, download: bool) -> Presentation:
    return Presentation(
        name=file.name,
        content_type=_with_charset(file.content_type),
        is_shown=file.is_image and not download,
    )


def of_rendition(file: File, format_: Format) -> Presentation:
    name = f"{PurePath(file.name).stem}.{format_.value}"
    return Presentation(name=name, content_type=format_.content_type, is_shown=True)


def _with_charset(content_type: str) -> str:
    # Text has no declared charset: UTF-8 is what it nearly always is, and saying so prevents guessing.
    return f"{content_type}; charset=utf-8" if content_type.startswith("text/") else content_type
