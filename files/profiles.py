"""Upload profiles: what a purpose accepts and what is made of it. Text in, frozen values out; pure.

A mistake in the file stops the start; all mistakes are named at once, each with its profile and key.
"""

import re
import sys
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from files.errors import UnknownProfile
from files.geometry import MAX_SIDE, Fit
from files.variations import Format, Variation

ANY_TYPE = "*/*"
DEFAULT_PROFILE = "default"  # of uploads that name none

# The image types that can be decoded, with Pillow's name for each. A phone's MPO photo opens as JPEG.
DECODERS: Mapping[str, str] = MappingProxyType(
    {
        "image/jpeg": "JPEG",
        "image/png": "PNG",
        "image/gif": "GIF",
        "image/webp": "WEBP",
        "image/avif": "AVIF",
    }
)

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_TYPE = re.compile(r"[a-z0-9][a-z0-9.+-]*/(\*|[a-z0-9][a-z0-9.+-]*)")
_SIZE = re.compile(r"(\d+)\s*(kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB|B)?", re.ASCII)
_UNITS = {
    "B": 1,
    "kB": 1000,
    "KB": 1000,
    "MB": 1000**2,
    "GB": 1000**3,
    "TB": 1000**4,
    "KiB": 1024,
    "MiB": 1024**2,
    "GiB": 1024**3,
    "TiB": 1024**4,
}
_DEFAULT_MAX_PIXELS = 50_000_000
MAX_STRIPPED_SIZE = 64 * 1024**2  # bytes; an image is in memory while its metadata is taken out


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProfile:
    """One purpose. `max_size` in bytes; `max_pixels` over all frames; `fit` as (width, height) in pixels;
    `strip` says that nothing but the picture is kept of an image. `storage` is the alias of where its files
    are kept, None for what follows from their visibility."""

    name: str
    description: str
    max_size: int
    types: tuple[str, ...]
    visibility: str
    max_pixels: int
    fit: tuple[int, int] | None
    strip: bool = False
    storage: str | None = None
    presets: Mapping[str, Variation] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def decoders(self) -> tuple[str, ...]:
        """Pillow's names of the formats that this profile decodes; empty where every file is opaque."""
        return tuple(DECODERS[each] for each in self.types if each in DECODERS)

    def accepts(self, content_type: str) -> bool:
        major = content_type.partition("/")[0]
        return any(each in (ANY_TYPE, content_type, f"{major}/*") for each in self.types)


type Profiles = Mapping[str, UploadProfile]


class InvalidProfiles(Exception):
    """The profile file cannot be used; the message has a line for each mistake."""

    def __init__(self, source: str, mistakes: list[str]) -> None:
        self.mistakes = mistakes
        lines = "\n".join(f"  {mistake}" for mistake in mistakes)
        super().__init__(f"Coffer cannot start: {source} has mistakes.\n{lines}")


def parse_size(text: str) -> int:
    """`20 MiB`, `5 MB` or `4096` as bytes. Raises ValueError for anything else."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 100 MiB, 5 MB or 4096")
    return int(match[1]) * _UNITS[match[2] or "B"]


def parse(text: str, *, source: str, storages: Collection[str] = ()) -> Profiles:
    """The profiles of one TOML text, by name, which may keep files in these storages. Raises InvalidProfiles
    with every mistake in it."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidProfiles(source, [f"not TOML: {error}"]) from error
    mistakes: list[str] = []
    parsed = {name: _profile(name, table, mistakes) for name, table in tables.items()}
    if DEFAULT_PROFILE not in tables:
        mistakes.append(f"{DEFAULT_PROFILE}: this profile is missing, and uploads that name none use it")
    mistakes.extend(
        f"{name}.storage: there is no storage {profile.storage!r}; there are {', '.join(storages)}"
        for name, profile in parsed.items()
        if profile is not None and profile.storage not in {None, *storages}
    )
    if mistakes:
        raise InvalidProfiles(source, mistakes)
    return MappingProxyType({name: profile for name, profile in parsed.items() if profile is not None})


def load_or_exit(path: Path, *, storages: Collection[str] = ()) -> Profiles:
    """`parse` of a file, for a process that is starting: mistakes end it with the message alone."""
    try:
        return parse(path.read_text(encoding="utf-8"), source=str(path), storages=storages)
    except (OSError, UnicodeDecodeError) as error:
        sys.exit(f"Coffer cannot start: the upload profiles cannot be read from {path}: {error}")
    except InvalidProfiles as error:
        sys.exit(str(error))


def find(known: Profiles, name: str) -> UploadProfile:
    """The profile of that name. Raises UnknownProfile."""
    try:
        return known[name]
    except KeyError:
        raise UnknownProfile(profile=name, known=list(known)) from None


# --- one table of the file -------------------------------------------------------------------------
# Each reader turns what stands in the file into the value that is kept, or raises ValueError saying why not.


def _size(value: object) -> int:
    if isinstance(value, str):
        value = parse_size(value)
    return _positive(value)


def _positive(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError("has to be a whole number above 0")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("has to be text")
    return value


def _types(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError('has to be a list of content types, such as ["image/png"], or ["*/*"] for any')
    if value == [ANY_TYPE]:
        return (ANY_TYPE,)
    for each in value:
        if not _TYPE.fullmatch(each):
            raise ValueError(f"{each!r} is not a content type")
        if each == "image/*":
            raise ValueError("name the image types one by one, because each brings its own decoder")
    return tuple(dict.fromkeys(value))


def _visibility(value: object) -> str:
    if value not in ("private", "public"):
        raise ValueError('has to be "private" or "public"')
    return str(value)


def _box(value: object) -> tuple[int, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("has to be [width, height] in pixels")
    width, height = (_positive(each) for each in value)
    return width, height


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("has to be true or false")
    return value


def _presets(value: object) -> Mapping[str, Variation]:
    if not isinstance(value, dict):
        raise ValueError("has to be tables, written [<profile>.presets.<name>]")
    return MappingProxyType({name: _preset(name, table) for name, table in value.items()})


def _preset(name: str, table: object) -> Variation:
    if not _NAME.fullmatch(name) or not isinstance(table, dict):
        raise ValueError(f"{name}: has to be a table with a name of a-z, 0-9 and -")
    if unknown := table.keys() - {"width", "height", "fit", "format", "quality", "enlarge"}:
        raise ValueError(f"{name}: unknown keys {', '.join(sorted(unknown))}")
    width, height, quality = (
        None if table.get(key) is None else _positive(table[key]) for key in ("width", "height", "quality")
    )
    if not (width or height) or max(width or 1, height or 1) > MAX_SIDE or (quality or 1) > 100:
        raise ValueError(f"{name}: give a width, a height or both, up to {MAX_SIDE}; quality up to 100")
    try:
        return Variation(
            width=width,
            height=height,
            fit=Fit(table.get("fit", "inside")),
            format=Format(table.get("format", "auto")),
            quality=quality,
            enlarge=table.get("enlarge", False) is True,
        )
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


_READERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {
        "description": _text,
        "max_size": _size,
        "types": _types,
        "visibility": _visibility,
        "max_pixels": _positive,
        "fit": _box,
        "strip": _flag,
        "storage": _text,
        "presets": _presets,
    }
)
_DEFAULTS: Mapping[str, Any] = MappingProxyType(
    {
        "description": "",
        "visibility": "private",
        "max_pixels": _DEFAULT_MAX_PIXELS,
        "fit": None,
    }
)


def _profile(name: str, table: object, mistakes: list[str]) -> UploadProfile | None:
    """The profile of one table, or None with what is wrong added to `mistakes`."""
    before = len(mistakes)
    if not _NAME.fullmatch(name):
        mistakes.append(f"{name}: a name has to be of a-z, 0-9 and -, begin with a letter, 32 at most")
    if not isinstance(table, dict):
        mistakes.append(f"{name}: has to be a table, written [{name}]")
        return None
    values: dict[str, Any] = dict(_DEFAULTS)
    for key, value in table.items():
        reader = _READERS.get(key)
        if reader is None:
            mistakes.append(f"{name}.{key}: unknown key; the keys are {', '.join(_READERS)}")
            continue
        try:
            values[key] = reader(value)
        except ValueError as error:
            mistakes.append(f"{name}.{key}: {error}")
    mistakes.extend(f"{name}.{key}: is missing" for key in ("max_size", "types") if key not in table)
    if len(mistakes) > before:
        return None
    profile = UploadProfile(name=name, **values)
    of_images = [key for key in ("fit", "strip", "presets") if getattr(profile, key)]
    if of_images and len(profile.decoders) != len(profile.types):
        mistakes.append(f"{name}.{of_images[0]}: needs types that are all images ({', '.join(DECODERS)})")
        return None
    if profile.strip and profile.max_size > MAX_STRIPPED_SIZE:
        mistakes.append(f"{name}.strip: needs a max_size of 64 MiB at most")
        return None
    return profile
