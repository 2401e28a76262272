"""Content types: the kind and the ending of each."""

import mimetypes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from files import content_types, profiles

OPENXML = "application/vnd.openxmlformats-officedocument"
OPENDOCUMENT = "application/vnd.oasis.opendocument"


@pytest.mark.parametrize(
    "content_type, kind, extension",
    [
        ("image/jpeg", "image", ".jpg"),
        ("image/png", "image", ".png"),
        ("image/gif", "image", ".gif"),
        ("image/webp", "image", ".webp"),
        ("image/avif", "image", ".avif"),
        ("image/heic", "image", ".heic"),
        ("image/tiff", "image", ".tif"),
        ("image/svg+xml", "image", ".svg"),
        ("video/mp4", "video", ".mp4"),
        ("video/quicktime", "video", ".mov"),
        ("video/webm", "video", ".webm"),
        ("video/mpeg", "video", ".mpg"),
        ("audio/mpeg", "audio", ".mp3"),
        ("audio/ogg", "audio", ".ogg"),
        ("audio/flac", "audio", ".flac"),
        ("audio/wav", "audio", ".wav"),
        ("application/pdf", "document", ".pdf"),
        ("application/msword", "document", ".doc"),
        ("application/vnd.ms-excel", "document", ".xls"),
        ("application/vnd.ms-powerpoint", "document", ".ppt"),
        (f"{OPENXML}.wordprocessingml.document", "document", ".docx"),
        (f"{OPENXML}.spreadsheetml.sheet", "document", ".xlsx"),
        (f"{OPENXML}.presentationml.presentation", "document", ".pptx"),
        (f"{OPENDOCUMENT}.text", "document", ".odt"),
        (f"{OPENDOCUMENT}.spreadsheet", "document", ".ods"),
        (f"{OPENDOCUMENT}.presentation", "document", ".odp"),
        ("application/epub+zip", "document", ".epub"),
        ("application/rtf", "document", ".rtf"),
        ("text/plain", "document", ".txt"),
        ("text/csv", "document", ".csv"),
        ("text/html", "document", ".html"),
        ("application/zip", "archive", ".zip"),
        ("application/gzip", "archive", ".gz"),
        ("application/x-tar", "archive", ".tar"),
        ("application/x-7z-compressed", "archive", ".7z"),
        ("application/vnd.rar", "archive", ".rar"),
        ("application/x-xz", "archive", ".xz"),
        ("application/zstd", "archive", ".zst"),
        ("application/octet-stream", "other", ".bin"),
        ("application/json", "other", ".json"),
        ("font/woff2", "other", None),
        ("application/x-unheard-of", "other", ".bin"),
        ("", "other", ".bin"),
    ],
)
def test_a_type_has_its_kind_and_its_usual_ending(content_type, kind, extension):
    assert content_types.kind(content_type) == kind
    if extension is not None:
        assert content_types.extension(content_type) == extension


@pytest.mark.parametrize(
    "content_type", ["imagery/png", "application/image", "xtext/plain", "application/pdfx", "IMAGE"]
)
def test_what_only_looks_like_a_known_type_is_of_no_kind(content_type):
    assert content_types.kind(content_type) == "other"


@pytest.mark.parametrize("content_type", profiles.DECODERS)
def test_what_is_decoded_as_an_image_is_of_that_kind(content_type):
    assert content_types.kind(content_type) == "image"


_types = st.text() | st.tuples(st.sampled_from(["text", "image", "application", "x/.."]), st.text()).map(
    "/".join
)


@settings(deadline=None)
@given(_types | st.sampled_from(sorted(mimetypes.MimeTypes().types_map[True].values())))
def test_an_ending_is_safe_in_a_key(content_type):
    extension = content_types.extension(content_type)

    assert extension[0] == "."
    assert extension[1:].replace("-", "").isalnum()
    assert extension.isascii()
    assert extension == extension.lower()
    assert len(extension) <= 16


@settings(deadline=None)
@given(_types)
def test_every_type_is_of_some_kind(content_type):
    assert content_types.kind(content_type) in {"image", "video", "audio", "document", "archive", "other"}
