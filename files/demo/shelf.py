"""The files of the demo: what each is called, what is said of it, and how its bytes are made."""

import csv
import io
import json
import math
import random
import struct
import wave
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from PIL import Image

from files.demo import pictures

TAG = "demo"
_HD = 1920, 1080  # pixels
_FRAMES = 24
_FRAME_TIME = 80  # milliseconds
_MAKE, _MODEL, _ORIENTATION, _DETAILS, _TAKEN_AT, _LENS = 0x010F, 0x0110, 0x0112, 0x8769, 0x9003, 0xA434
_RATE = 22_050  # samples a second

_ICE = ((12, 34, 64), (52, 108, 150), (150, 200, 214), (236, 244, 240))
_MOOR = ((108, 150, 140), (170, 200, 184), (232, 230, 196), (246, 240, 214))
_NIGHT = ((5, 8, 26), (16, 24, 58), (40, 54, 104), (84, 98, 148))
_DESERT = ((64, 120, 170), (146, 182, 198), (248, 214, 160), (255, 232, 190))
_BLOSSOM = ((120, 110, 170), (214, 150, 190), (255, 200, 196), (255, 232, 214))
_POP = ((244, 241, 222), (224, 122, 95), (61, 64, 91), (129, 178, 154), (242, 204, 143))
_GLASS = ((0, 150, 199), (247, 37, 133), (255, 183, 3), (6, 214, 160))


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFile:
    name: str
    make: Callable[[], bytes]
    title: str
    profile: str
    tags: tuple[str, ...]
    description: str | None = None
    is_public: bool = False


# --- pictures --------------------------------------------------------------------------------------


def _encoded(draw: Callable[[], Image.Image], format_: str, **options: object) -> bytes:
    target = io.BytesIO()
    draw().save(target, format_, **options)
    return target.getvalue()


def _photo(draw: Callable[[], Image.Image], *, taken: datetime, turned: bool = False) -> bytes:
    """A JPEG as a camera writes it; one that was held upright tells that, and stores the picture lying."""
    exif = Image.Exif()
    exif[_MAKE], exif[_MODEL] = "Coffer", "Easel 24"
    exif.get_ifd(_DETAILS).update({_TAKEN_AT: taken.strftime("%Y:%m:%d %H:%M:%S"), _LENS: "Brush 35 mm"})
    if not turned:
        return _encoded(draw, "JPEG", quality=90, exif=exif)
    exif[_ORIENTATION] = 6
    return _encoded(lambda: draw().transpose(Image.Transpose.ROTATE_90), "JPEG", quality=90, exif=exif)


def _moving(draw: Callable[[], Iterable[Image.Image]], format_: str, **options: object) -> bytes:
    first, *others = draw()
    shown = {"save_all": True, "append_images": others, "duration": _FRAME_TIME, "loop": 0}
    return _encoded(lambda: first, format_, **shown, **options)


def _at(day: int, hour: int, minute: int) -> datetime:
    return datetime(2026, 6, day, hour, minute)  # noqa: DTZ001  a camera's clock, which knows no zone


_PICTURES = (
    DemoFile(
        name="evening.jpg",
        title="Evening hills",
        description="Six ridges and a low sun.",
        profile="image",
        tags=("landscape", "sun"),
        is_public=True,
        make=partial(_photo, partial(pictures.landscape, (2400, 1200)), taken=_at(21, 21, 12)),
    ),
    DemoFile(
        name="glacier.jpg",
        title="Glacier in the morning",
        profile="image",
        tags=("landscape", "cold"),
        is_public=True,
        make=partial(
            _photo,
            partial(
                pictures.landscape,
                _HD,
                sky=_ICE,
                hills=((190, 214, 224), (20, 50, 84)),
                sun=(0.3, 0.4),
                light=(255, 255, 250),
                seed=12,
            ),
            taken=_at(3, 6, 40),
        ),
    ),
    DemoFile(
        name="moor.jpg",
        title="Moor",
        profile="image",
        tags=("landscape",),
        make=partial(
            _photo,
            partial(
                pictures.landscape,
                (1600, 1067),
                sky=_MOOR,
                hills=((176, 190, 150), (30, 52, 40)),
                sun=(0.5, 0.3),
                seed=31,
            ),
            taken=_at(8, 15, 5),
        ),
    ),
    DemoFile(
        name="dunes.jpg",
        title="Dunes",
        description="Held upright: the file tells which way is up.",
        profile="image",
        tags=("landscape", "portrait", "sun"),
        make=partial(
            _photo,
            partial(
                pictures.landscape,
                (1200, 1800),
                sky=_DESERT,
                hills=((236, 190, 130), (120, 58, 30)),
                sun=(0.7, 0.3),
                seed=5,
            ),
            taken=_at(14, 11, 30),
            turned=True,
        ),
    ),
    DemoFile(
        name="panorama.jpg",
        title="The whole range",
        profile="image",
        tags=("landscape", "panorama"),
        make=partial(
            _photo,
            partial(
                pictures.landscape,
                (3000, 900),
                sky=_BLOSSOM,
                hills=((222, 168, 186), (58, 30, 66)),
                sun=(0.2, 0.5),
                seed=44,
            ),
            taken=_at(21, 5, 2),
        ),
    ),
    DemoFile(
        name="moonrise.png",
        title="Moonrise",
        profile="image",
        tags=("landscape", "night"),
        is_public=True,
        make=partial(
            _encoded,
            partial(
                pictures.landscape,
                (1280, 800),
                sky=_NIGHT,
                hills=((60, 72, 118), (4, 6, 18)),
                sun=(0.75, 0.25),
                light=(232, 236, 255),
                seed=19,
            ),
            "PNG",
        ),
    ),
    DemoFile(
        name="valley.avif",
        title="Valley",
        profile="image",
        tags=("landscape",),
        make=partial(
            _encoded,
            partial(
                pictures.landscape, (1440, 960), sky=_MOOR, hills=((150, 180, 170), (18, 40, 50)), seed=77
            ),
            "AVIF",
            quality=70,
            speed=9,
        ),
    ),
    DemoFile(
        name="aurora.webp",
        title="Aurora",
        profile="image",
        tags=("lights", "night"),
        is_public=True,
        make=partial(
            _encoded,
            partial(pictures.lights, _HD, ((8, 16, 40), (20, 120, 110), (90, 60, 160), (16, 60, 90)), seed=3),
            "WEBP",
            quality=82,
        ),
    ),
    DemoFile(
        name="peach.webp",
        title="Peach",
        profile="image",
        tags=("lights",),
        make=partial(
            _encoded,
            partial(
                pictures.lights,
                (1080, 1080),
                ((255, 214, 186), (255, 150, 130), (255, 236, 210), (240, 120, 160)),
                seed=8,
            ),
            "WEBP",
            quality=82,
        ),
    ),
    DemoFile(
        name="tiles.png",
        title="Tiles",
        profile="image",
        tags=("pattern",),
        is_public=True,
        make=partial(
            _encoded, partial(pictures.tiles, (1200, 900), _POP, side=100, seed=2), "PNG", optimize=True
        ),
    ),
    DemoFile(
        name="quilt.jpg",
        title="Quilt",
        profile="image",
        tags=("pattern",),
        make=partial(
            _encoded,
            partial(pictures.tiles, (900, 1200), (*_ICE, (255, 183, 3)), side=150, seed=6),
            "JPEG",
            quality=92,
        ),
    ),
    DemoFile(
        name="bubbles.png",
        title="Bubbles",
        description="Coloured glass on nothing: whatever is behind it shows through.",
        profile="image",
        tags=("alpha",),
        make=partial(_encoded, partial(pictures.bubbles, (800, 600), _GLASS, seed=4), "PNG"),
    ),
    DemoFile(
        name="sea.webp",
        title="The sea moves",
        profile="image",
        tags=("animation",),
        is_public=True,
        make=partial(
            _moving,
            partial(
                pictures.sea,
                (640, 360),
                ((120, 170, 220), (110, 180, 200), (60, 130, 170), (30, 90, 140), (12, 50, 96)),
                frames=_FRAMES,
            ),
            "WEBP",
            quality=75,
            method=2,
        ),
    ),
    DemoFile(
        name="orbit.gif",
        title="Three moons",
        profile="image",
        tags=("animation", "night"),
        make=partial(
            _moving,
            partial(
                pictures.orbit,
                320,
                ((10, 12, 34), (255, 200, 120), (120, 200, 255), (255, 120, 160), (160, 240, 180)),
                frames=_FRAMES,
            ),
            "GIF",
        ),
    ),
)


# --- documents and others --------------------------------------------------------------------------

_NOTE = """\
Welcome to Coffer.

These files were made by `manage.py demo`. Look at one, change what is said of it, click what has to stay in
sight, and delete what you do not need. They all have the tag "demo".
"""
_MINUTES = """\
Minutes of the tea committee

Present: everybody.
1. The kettle is to be replaced. Agreed.
2. Whether biscuits count as documents. Put off to the next meeting.
3. There will be a next meeting.
"""
_RECIPE = """\
# Flat bread

- 250 g flour
- 150 ml water
- a spoon of oil, a pinch of salt

Knead, wait for half an hour, bake in a hot pan for two minutes a side.
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> bytes:
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return target.getvalue().encode()


def _temperatures() -> list[float]:
    """Of each month, in degrees Celsius."""
    return [round(10 - 11 * math.cos(math.tau * (month - 0.6) / 12), 1) for month in range(12)]


def _weather() -> bytes:
    return _table(
        ("month", "temperature"),
        ((f"2026-{month:02}", degrees) for month, degrees in enumerate(_temperatures(), start=1)),
    )


def _stock() -> bytes:
    chance = random.Random(1)  # noqa: S311  numbers that look like some
    things = ("lamp", "chair", "table", "shelf", "mirror", "carpet")
    return _table(
        ("article", "pieces", "price"),
        ((thing, chance.randint(1, 40), f"{chance.uniform(9, 240):.2f}") for thing in things),
    )


def _report() -> bytes:
    """Two pages: a curve, and a picture."""
    page = 1240, 1754  # pixels: A4 at 150 dpi
    values = [(degrees + 5) / 30 for degrees in _temperatures()]
    pages = [Image.new("RGB", page, "white") for _ in range(2)]
    pages[0].paste(pictures.chart((1040, 700), values, (224, 122, 95)), (100, 160))
    pages[1].paste(pictures.landscape((1040, 700), seed=21), (100, 160))
    return _encoded(
        lambda: pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=150, title="The year"
    )


def _poster() -> bytes:
    return _encoded(partial(pictures.tiles, (1240, 1754), _POP, side=155, seed=9), "PDF", resolution=150)


def _chord() -> bytes:
    """A major chord that fades, in mono: two seconds."""
    count = _RATE * 2
    samples = (
        sum(math.sin(math.tau * pitch * n / _RATE) for pitch in (261.63, 329.63, 392.0)) / 3 * (1 - n / count)
        for n in range(count)
    )
    target = io.BytesIO()
    with wave.open(target, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(_RATE)
        sound.writeframes(b"".join(struct.pack("<h", round(20_000 * sample)) for sample in samples))
    return target.getvalue()


def _archive() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("minutes.txt", _MINUTES), ("recipe.md", _RECIPE)):
            archive.writestr(zipfile.ZipInfo(name, (2026, 6, 21, 12, 0, 0)), content)
    return target.getvalue()


def _settings() -> bytes:
    return json.dumps({"theme": "evening", "ridges": 6, "sun": [0.66, 0.52]}, indent=2).encode()


_OTHERS = (
    DemoFile(
        name="welcome.txt",
        title="Welcome",
        profile="document",
        tags=("text",),
        is_public=True,
        make=_NOTE.encode,
    ),
    DemoFile(
        name="minutes.txt",
        title="Minutes",
        profile="document",
        tags=("text", "tea"),
        make=_MINUTES.encode,
    ),
    DemoFile(name="recipe.md", title="Flat bread", profile="document", tags=("text",), make=_RECIPE.encode),
    DemoFile(
        name="weather.csv",
        title="Temperatures of a year",
        profile="document",
        tags=("table", "year"),
        is_public=True,
        make=_weather,
    ),
    DemoFile(name="stock.csv", title="Stock", profile="document", tags=("table",), make=_stock),
    DemoFile(
        name="year.pdf",
        title="The year",
        description="A curve of the temperatures, and a picture.",
        profile="document",
        tags=("pdf", "year"),
        is_public=True,
        make=_report,
    ),
    DemoFile(name="poster.pdf", title="Poster", profile="document", tags=("pdf", "pattern"), make=_poster),
    DemoFile(name="chord.wav", title="A chord", profile="default", tags=("sound",), make=_chord),
    DemoFile(name="papers.zip", title="All papers", profile="default", tags=("text",), make=_archive),
    DemoFile(name="settings.json", title="Settings", profile="default", tags=("text",), make=_settings),
)

FILES = (*_PICTURES, *_OTHERS)
