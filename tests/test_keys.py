"""Keys are read back, and nothing is taken for one that Coffer did not make."""

import mimetypes
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest

from files import content_types, keys, renditions, storage
from files.geometry import Fit, FocalPoint
from files.models import File, new_id
from files.variations import Format, Variation

ID = "0192f5d0-7b9c-7000-8000-000000000000"


def key_of(content_type: str) -> str:
    extension = content_types.extension(content_type)
    return storage.key_of(file_id=new_id(), profile="image", extension=extension, now=datetime.now(UTC))


def test_the_keys_of_all_types_are_read() -> None:
    known = {*content_types._EXTENSIONS, *mimetypes.types_map.values()}
    assert [each for each in known if keys.parse(key_of(each)) is None] == []


def test_the_keys_of_renditions_are_read_as_their_files() -> None:
    file = File(id=new_id())
    longest = Variation(
        width=3840,
        height=3840,
        fit=Fit.CONTAIN,
        format=Format.WEBP,
        quality=100,
        focal=FocalPoint(0.25, 0.75),
        enlarge=True,
    )
    for original in (f"a/2026/01/31/{file.id}.png", f"a/2026/01/31/{file.id}"):
        file.key = original
        parsed = keys.parse(renditions._key(file, longest))
        assert parsed is not None
        assert parsed.file_id == file.id


def test_a_key_says_when_it_was_made() -> None:
    parsed = keys.parse(key_of("image/png"))
    assert parsed is not None
    assert abs(datetime.now(UTC) - parsed.made) < timedelta(minutes=1)
    known = keys.parse(f"image/2024/11/04/{ID}.png")
    assert known == keys.Key(UUID(ID))
    assert known is not None
    assert known.made == datetime(2024, 11, 4, 6, 15, 34, 44000, UTC)


@pytest.mark.parametrize(
    "key",
    [
        "",
        f"{ID}.png",
        f"image/{ID}.png",
        f"image/2026/02/30/{ID}.png",
        f"image/2026/13/01/{ID}.png",
        f"image/2026/1/31/{ID}.png",
        f"Image/2026/01/31/{ID}.png",
        f"/image/2026/01/31/{ID}.png",
        f"a/image/2026/01/31/{ID}.png",
        f"image/2026/01/31/{ID}.png ",
        f"image/2026/01/31/{ID}.png\n",
        f"image/2026/01/31/{ID}.PNG",
        f"image/2026/01/31/{ID}.",
        f"image/2026/01/31/{ID}.tar.gz",
        f"image/2026/01/31/{ID.upper()}.png",
        f"image/2026/01/31/{ID.replace('-7', '-4')}.png",
        f"image/2026/01/31/f{ID[1:]}.png",
        f"image/2026/01/31/{ID}.renditions/",
        f"image/2026/01/31/{ID}.renditions/notes.txt",
        f"image/2026/01/31/{ID}.renditions/a/w16-inside-png-01234567.png",
        f"image/2026/01/31/{ID}.png/{ID}.png",
        "image/2026/01/31/٠١٩٢f5d0-7b9c-7000-8000-000000000000.png",
    ],
)
def test_what_coffer_did_not_name_is_no_key(key: str) -> None:
    assert keys.parse(key) is None


def test_a_day_is_a_prefix_of_its_keys() -> None:
    assert keys.day_of(f"image/2026/01/31/{ID}.png") == "image/2026/01/31/"
    assert keys.date_of("image/2026/01/31/") == date(2026, 1, 31)
    assert keys.day_of("image/2026/02/30/x") is None
    assert keys.day_of("image/2026/01/31") is None
