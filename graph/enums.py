"""The enums of `files` as the schema has them. Types import them from here: Strawberry has to be told of an
enum before the first type that uses it is made."""

import strawberry

from files.geometry import Fit
from files.models import FileKind, Visibility
from files.variations import Format

__all__ = ["FileKind", "Fit", "Format", "Visibility"]

strawberry.enum(FileKind, description="What sort of file the bytes are, by their content type.")
strawberry.enum(Visibility, description="Who may see a file: its owner and staff, or anyone.")
strawberry.enum(Fit, description="What happens where the shape asked for is not the image's.")
strawberry.enum(
    Format,
    name="ImageFormat",
    description="AUTO: the best that the client accepts, when it fetches. "
    "Animations move in WEBP, AVIF, GIF and AUTO; JPEG and PNG show their first frame.",
)
