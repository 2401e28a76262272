"""Content types: the kind of file that each stands for and the ending it gets; pure tables."""

import mimetypes
from collections.abc import Mapping
from types import MappingProxyType

_DOCUMENTS = {
    "application/epub+zip",
    "application/msword",
    "application/pdf",
    "application/postscript",
    "application/rtf",
    "text/rtf",
}
_DOCUMENT_FAMILIES = (
    "text/",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.ms-word",
    "application/vnd.oasis.opendocument.",
    "application/vnd.openxmlformats-officedocument.",
)
_ARCHIVES = {
    "application/gzip",
    "application/java-archive",
    "application/vnd.rar",
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-cpio",
    "application/x-lzip",
    "application/x-rar",
    "application/x-tar",
    "application/x-xz",
    "application/zip",
    "application/zstd",
}

# Where the standard library has no ending, or several and not the usual one first.
_EXTENSIONS: Mapping[str, str] = MappingProxyType(
    {
        "application/gzip": ".gz",
        "application/epub+zip": ".epub",
        "application/octet-stream": ".bin",
        "application/rtf": ".rtf",
        "application/vnd.oasis.opendocument.presentation": ".odp",
        "application/vnd.oasis.opendocument.spreadsheet": ".ods",
        "application/vnd.oasis.opendocument.text": ".odt",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
        "application/vnd.rar": ".rar",
        "application/x-7z-compressed": ".7z",
        "application/x-bzip2": ".bz2",
        "application/x-rar": ".rar",
        "application/x-xz": ".xz",
        "application/zstd": ".zst",
        "audio/flac": ".flac",
        "audio/mpeg": ".mp3",
        "audio/ogg": ".ogg",
        "audio/wav": ".wav",
        "image/avif": ".avif",
        "image/heic": ".heic",
        "image/jpeg": ".jpg",
        "image/tiff": ".tif",
        "image/webp": ".webp",
        "text/plain": ".txt",
        "video/matroska": ".mkv",
        "video/mp4": ".mp4",
        "video/mpeg": ".mpg",
        "video/quicktime": ".mov",
        "video/webm": ".webm",
    }
)

# The tables of the standard library alone: those of the machine differ from one to the next.
_STANDARD = mimetypes.MimeTypes()


def kind(content_type: str) -> str:
    """The value of FileKind that the type belongs to."""
    major = content_type.partition("/")[0]
    if major in {"image", "video", "audio"}:
        return major
    if content_type in _DOCUMENTS or content_type.startswith(_DOCUMENT_FAMILIES):
        return "document"
    return "archive" if content_type in _ARCHIVES else "other"


def extension(content_type: str) -> str:
    """The usual ending with its dot, or `.bin`."""
    known = _EXTENSIONS.get(content_type) or _STANDARD.guess_extension(content_type)
    return known or ".bin"
