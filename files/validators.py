"""What a file and what is said of it must be like: values in, cleaned values out or a typed error; pure."""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from files.errors import EmptyFile, FileTooLarge, InvalidInput, UnsupportedType
from files.geometry import FocalPoint
from files.profiles import UploadProfile

NAME_MAX_LENGTH = 255  # characters; what file systems and databases take
TITLE_MAX_LENGTH = 255
DESCRIPTION_MAX_LENGTH = 5_000
TAGS_MAX_COUNT = 32
TAG_MAX_LENGTH = 64
METADATA_MAX_SIZE = 16 * 1024  # bytes of its JSON: free data about a file, not another file
METADATA_MAX_DEPTH = 16  # JSON that is nested deeper exhausts the stacks of those who read it

FALLBACK_NAME = "file"

# Characters that turn the direction of text around, so that "gpj.exe" can be shown as "exe.jpg"
# (Unicode Technical Report 36, section 2.10).
_DIRECTION_MARKS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
# Control characters, halves of surrogate pairs, line and paragraph separators.
# Characters without a shape of their own, but not the joiners that emoji and some scripts need.
_INVISIBLE = "\u00ad\u200b\u2060\ufeff"
_UNPRINTABLE = "\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029"
_NOT_IN_NAMES = re.compile(f"[{_DIRECTION_MARKS}{_INVISIBLE}{_UNPRINTABLE}]")
_NOT_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_SEPARATORS = re.compile(r"[/\\]")


def check_size(size: int, profile: UploadProfile) -> None:
    """Raises EmptyFile or FileTooLarge."""
    if size == 0:
        raise EmptyFile
    if size > profile.max_size:
        raise FileTooLarge(size=size, limit=profile.max_size)


def check_type(detected: str, profile: UploadProfile, *, claimed: str | None) -> None:
    """Raises UnsupportedType. `claimed` is only reported."""
    if not profile.accepts(detected):
        raise UnsupportedType(detected=detected, claimed=claimed, allowed=list(profile.types))


def visible(text: str) -> str:
    """The text on one line, without characters that cannot be seen or that mislead the eye."""
    # What is left out may have kept characters apart that belong together, so it goes before they are joined.
    return unicodedata.normalize("NFC", " ".join(_NOT_IN_NAMES.sub("", text).split()))


def display_name(claimed: str | None) -> str:
    """The name that came with a file, made safe to show: of a path the last part, without characters that
    cannot be seen or that mislead the eye, at most 255 characters with the extension kept."""
    name = visible(_SEPARATORS.split(claimed or "")[-1])
    if len(name) > NAME_MAX_LENGTH:
        stem, dot, extension = name.rpartition(".")
        ending = dot + extension if stem and len(extension) <= 16 else ""
        name = (name[: NAME_MAX_LENGTH - len(ending)].rstrip() + ending).strip()
    return FALLBACK_NAME if name.strip(". ") == "" else name


def clean_name(name: str) -> str:
    """A name that was given on purpose: trimmed, or refused with InvalidInput."""
    name = unicodedata.normalize("NFC", name).strip()
    if not name:
        raise InvalidInput(field="name", reason="give at least one character")
    if len(name) > NAME_MAX_LENGTH:
        raise InvalidInput(field="name", reason=f"use at most {NAME_MAX_LENGTH} characters")
    if _NOT_IN_NAMES.search(name):
        raise InvalidInput(field="name", reason="leave out invisible characters and marks of text direction")
    if _SEPARATORS.search(name) or name.strip(".") == "":
        raise InvalidInput(field="name", reason="give a name, not a path")
    return name


def clean_title(title: str | None) -> str | None:
    """The title, or None where there is none. Raises InvalidInput."""
    return _clean_text("title", title, TITLE_MAX_LENGTH)


def clean_description(description: str | None) -> str | None:
    """The description, or None where there is none. Raises InvalidInput."""
    return _clean_text("description", description, DESCRIPTION_MAX_LENGTH)


def clean_tags(tags: object) -> list[str]:
    """The tags without repetition, in their order. Raises InvalidInput."""
    if not isinstance(tags, list | tuple) or not all(isinstance(tag, str) for tag in tags):
        raise InvalidInput(field="tags", reason="give a list of words")
    cleaned: dict[str, None] = {}
    for tag in tags:
        word = _clean_text("tags", tag, TAG_MAX_LENGTH)
        if not word:
            raise InvalidInput(field="tags", reason="leave out empty tags")
        cleaned[word] = None
    if len(cleaned) > TAGS_MAX_COUNT:
        raise InvalidInput(field="tags", reason=f"use at most {TAGS_MAX_COUNT} tags")
    return list(cleaned)


def clean_metadata(metadata: object) -> Mapping[str, Any]:
    """Free data about a file: a JSON object of at most 16 KiB. Raises InvalidInput."""
    if not isinstance(metadata, dict):
        raise InvalidInput(field="metadata", reason="give a JSON object")
    if _depth(metadata) > METADATA_MAX_DEPTH:
        raise InvalidInput(field="metadata", reason=f"nest at most {METADATA_MAX_DEPTH} levels deep")
    try:
        encoded = json.dumps(metadata, ensure_ascii=False, allow_nan=False).encode()
        orjson.dumps(metadata)
    except (TypeError, ValueError):  # not JSON, NaN, half a surrogate pair, or a number of more than 64 bits
        raise InvalidInput(field="metadata", reason="give JSON values only") from None
    if len(encoded) > METADATA_MAX_SIZE:
        raise InvalidInput(field="metadata", reason=f"use at most {METADATA_MAX_SIZE} bytes of JSON")
    if b"\\u0000" in encoded.replace(rb"\\", b""):  # PostgreSQL cannot keep NUL
        raise InvalidInput(field="metadata", reason="leave out NUL characters")
    return metadata


def clean_focal_point(point: FocalPoint) -> Mapping[str, float]:
    """The two columns of a focal point. Raises InvalidInput."""
    if not (0 <= point.x <= 1 and 0 <= point.y <= 1):  # NaN is neither
        raise InvalidInput(field="focalPoint", reason="give x and y as parts from 0 to 1")
    return {"focal_x": point.x, "focal_y": point.y}


def _clean_text(field: str, text: str | None, max_length: int) -> str | None:
    if text is None:
        return None
    if _NOT_IN_TEXT.search(text):
        raise InvalidInput(field=field, reason="leave out control characters")
    text = unicodedata.normalize("NFC", text).strip()
    if len(text) > max_length:
        raise InvalidInput(field=field, reason=f"use at most {max_length} characters")
    return text or None


def _depth(value: object) -> int:
    """How many levels of objects and lists there are; counted level by level, so nothing is too deep."""
    depth, level = 0, [value]
    while level := [child for each in level for child in _children(each)]:
        depth += 1
        if depth > METADATA_MAX_DEPTH:
            break
    return depth


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
