"""What can go wrong with a file: typed exceptions, one sentence each, with the figures as fields.

The GraphQL face has a type of the same name for each leaf of `FileError` and takes its fields from here.
"""

from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

RETRY_AFTER = 5  # seconds, after which what is down may be asked again


class FileError(Exception):
    """The base of all that is said to the client about one file."""

    message: ClassVar[str]

    def __str__(self) -> str:
        return self.message.format_map(vars(self))


@dataclass(eq=False)
class FileTooLarge(FileError):
    """More bytes than the profile lets in: `size` and `limit` in bytes."""

    message = "The file has more than {limit} bytes, which is the limit."
    size: int
    limit: int


@dataclass(eq=False)
class EmptyFile(FileError):
    message = "The file is empty; send a file with at least one byte."


@dataclass(eq=False)
class UnsupportedType(FileError):
    """`detected` is what the bytes are, `claimed` what the client said, `allowed` what the profile names."""

    message = "The file is {detected}, which this profile does not accept."
    detected: str
    claimed: str | None
    allowed: list[str]


@dataclass(eq=False)
class InvalidImage(FileError):
    message = "The file cannot be read as an image: {reason}."
    reason: str


@dataclass(eq=False)
class ImageTooLarge(FileError):
    """`pixels` counts all frames together."""

    message = "The image has {pixels} pixels; the limit is {limit} pixels."
    width: int
    height: int
    pixels: int
    limit: int


@dataclass(eq=False)
class QuotaExceeded(FileError):
    """All in bytes: `used` before this file, `size` of this file, `quota` in all."""

    message = "The file has {size} bytes; {used} of {quota} bytes are in use. Delete files to make room."
    size: int
    used: int
    quota: int


@dataclass(eq=False)
class UnknownProfile(FileError):
    message = "There is no upload profile {profile!r}; `uploadProfiles` lists those there are."
    profile: str
    known: list[str]


@dataclass(eq=False)
class InvalidInput(FileError):
    """`field` is the input's field as clients write it."""

    message = "{field}: {reason}."
    field: str
    reason: str


@dataclass(eq=False)
class InvalidRendition(FileError):
    """`field` is the argument as clients write it, `allowed` says what it may be."""

    message = "{field} cannot be used for a rendition; allowed: {allowed}."
    field: str
    allowed: str


@dataclass(eq=False)
class FileNotFound(FileError):
    """There is no such file, or it is not the viewer's: the same answer, so that nobody learns which."""

    message = "There is no such file, or you may not change it."
    id: str | UUID


@dataclass(eq=False)
class StorageUnavailable(FileError):
    """Bytes or rows cannot be written or read now; nothing was changed. `retry_after` is in seconds."""

    message = "The file could not be stored or read just now; nothing was changed. {advice}"
    retryable: bool = True
    retry_after: int = RETRY_AFTER

    def __str__(self) -> str:
        advice = "Try again later." if self.retryable else "Trying again does not help; tell the operator."
        return self.message.format(advice=advice)


LEAVES: tuple[type[FileError], ...] = (
    FileTooLarge,
    EmptyFile,
    UnsupportedType,
    InvalidImage,
    ImageTooLarge,
    QuotaExceeded,
    UnknownProfile,
    InvalidInput,
    InvalidRendition,
    FileNotFound,
    StorageUnavailable,
)
