"""Metadata is taken out and the picture stays: with files of every format, whole, odd and hostile."""

import io
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms, PngImagePlugin

from files import exif, images, metadata
from files.errors import InvalidImage
from files.profiles import DECODERS

FORMATS = tuple(DECODERS.values())
WITH_EXIF = ("JPEG", "PNG", "WEBP", "AVIF")
ANIMATED = ("PNG", "GIF", "WEBP", "AVIF")

SHAPES = [*((each, 1) for each in FORMATS), *((each, 3) for each in ANIMATED)]

ORIENTATION = 0x0112
PRIVATE = b"PRIVATE-7f3a"
TEXT = PRIVATE.decode()
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + PRIVATE + b"</x:xmpmeta>"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def strip(content: bytes, format_: str) -> bytes:
    return metadata.strip(io.BytesIO(content), format=format_)


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format_, **options)
    return target.getvalue()


def gradient(size: tuple[int, int] = (40, 24), shift: int = 0) -> Image.Image:
    """No two rows or columns alike, so that nothing can be turned or moved unseen."""
    image = Image.new("RGB", size)
    image.putdata(
        [((x * 5 + shift) % 256, y * 9 % 256, (x + y) % 256) for y in range(size[1]) for x in range(size[0])]
    )
    return image


def private_exif(orientation: int = 1) -> Image.Exif:
    found = Image.Exif()
    found[0x010E] = found[0x013B] = found[0x010F] = TEXT
    found[ORIENTATION] = orientation
    gps = found.get_ifd(0x8825)
    gps[1], gps[2], gps[29] = "N", (52.0, 31.0, 12.0), TEXT
    found.get_ifd(0x8769)[0x927C] = b"MakerNote" + PRIVATE
    return found


def photo(format_: str, *, orientation: int = 1, frames: int = 1, image: Image.Image | None = None) -> bytes:
    """A picture with all that a camera, an editor and a stranger put into a file of the format."""
    image = image or gradient()
    options: dict[str, object] = {}
    if format_ == "GIF":
        options = {"comment": PRIVATE}
    elif format_ == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", TEXT)
        text.add_text("Long", TEXT, zip=True)
        text.add_itxt("XML:com.adobe.xmp", XMP.decode())
        text.add(b"prVt", PRIVATE)
        text.add(b"prVt", PRIVATE, after_idat=True)
        options = {"pnginfo": text, "exif": private_exif(orientation), "icc_profile": PROFILE}
    else:
        options = {"exif": private_exif(orientation), "xmp": XMP, "icc_profile": PROFILE}
    if format_ == "JPEG":
        extra = segment(0xED, b"Photoshop 3.0\0" + PRIVATE) + segment(0xE0, b"JFXX\0\x10" + PRIVATE)
        options |= {"comment": PRIVATE, "extra": extra, "dpi": (123, 123)}
    if frames > 1:
        others = [gradient(image.size, 40 * number) for number in range(1, frames)]
        options |= {"save_all": True, "append_images": others, "duration": [70, 110, 150][:frames], "loop": 3}
    if format_ == "AVIF":
        options.pop("loop", None)
    return encoded(image, format_, **options) + PRIVATE


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, 2 + len(content)) + content


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def seen(content: bytes) -> list[object]:
    """All that a viewer shows: each frame with its time, how often, in which colours and which way up."""
    with Image.open(io.BytesIO(content)) as image:
        shown: list[object] = []
        for number in range(1 if image.format in {"JPEG", "MPO"} else getattr(image, "n_frames", 1)):
            image.seek(number)
            image.load()
            frame = image.convert("RGBA")
            shown.append((frame.size, frame.tobytes(), image.info.get("duration")))
        turned = exif.orientation(image.info.get("exif", b""))
        return [*shown, image.info.get("loop"), image.info.get("icc_profile"), turned]


def recorded(content: bytes) -> set[str]:
    """What Pillow finds beside the picture."""
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        known = {
            "exif",
            "xmp",
            "XML:com.adobe.xmp",
            "comment",
            "Comment",
            "Long",
            "photoshop",
            "mp",
            "extension",
        }
        return known & set(image.info)


# --- the picture stays, and nothing else -----------------------------------------------------------


@pytest.mark.parametrize("format_, frames", SHAPES)
def test_the_picture_stays_and_what_is_private_goes(format_, frames):
    content = photo(format_, frames=frames)
    assert content.count(PRIVATE) >= 2
    stripped = strip(content, format_)

    assert PRIVATE not in stripped
    assert recorded(stripped) <= ({"extension"} if frames > 1 else set())
    assert seen(stripped) == seen(content)
    assert len(seen(stripped)) == frames + 3
    with Image.open(io.BytesIO(stripped)) as image:
        assert image.format == format_
        assert dict(image.getexif()) == {}
        assert ("icc_profile" in image.info) is (format_ != "GIF")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_", WITH_EXIF)
def test_a_picture_stays_upright_and_of_its_exif_data_that_alone_is_left(format_, orientation):
    content = photo(format_, orientation=orientation)
    stripped = strip(content, format_)

    assert PRIVATE not in stripped
    assert seen(stripped) == seen(content)
    assert seen(stripped)[-1] == orientation
    with Image.open(io.BytesIO(stripped)) as image:
        image.load()
        left = Image.Exif()
        left.load(image.info.get("exif", b""))
        assert dict(left) == ({} if orientation == 1 else {ORIENTATION: orientation})


@pytest.mark.parametrize(
    "mode, format_",
    [
        *(("1", "PNG"), ("L", "PNG"), ("LA", "PNG"), ("P", "PNG"), ("RGBA", "PNG"), ("I;16", "PNG")),
        *(("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("RGBA", "WEBP"), ("RGBA", "AVIF")),
    ],
)
def test_every_kind_of_pixel_stays(mode, format_):
    image = gradient().convert("L" if mode == "I;16" else mode).convert(mode)
    if "A" in mode:
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = photo(format_, image=image)

    assert seen(strip(content, format_)) == seen(content)


@pytest.mark.parametrize(
    "format_, options",
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("JPEG", {"subsampling": 0, "quality": 100}),
        ("WEBP", {"lossless": True}),
        ("PNG", {"transparency": (5, 9, 1)}),
        ("PNG", {"compress_level": 0}),
        ("GIF", {"interlace": True}),
    ],
    ids=str,
)
def test_every_way_to_code_a_picture_stays(format_, options):
    content = encoded(gradient((200, 150)), format_, **options)

    assert seen(strip(content, format_)) == seen(content)


@pytest.mark.parametrize("format_, frames", SHAPES)
def test_stripping_twice_changes_nothing_more(format_, frames):
    once = strip(photo(format_, frames=frames, orientation=6 if frames == 1 else 1), format_)

    assert strip(once, format_) == once


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF"])
def test_a_file_without_metadata_stays_as_it_is_to_the_byte(format_):
    content = encoded(gradient(), format_)

    assert strip(content, format_) == content


# --- JPEG ------------------------------------------------------------------------------------------


def test_the_further_views_of_a_phones_photo_go_with_what_they_record():
    further = gradient(shift=99)
    further.info["exif"] = private_exif().tobytes()
    content = encoded(
        gradient(), "MPO", save_all=True, append_images=[further], exif=private_exif(6), comment=PRIVATE
    )
    stripped = strip(content, "JPEG")

    assert PRIVATE not in stripped
    assert stripped.count(b"\xff\xd8") == 1
    assert b"MPF" not in stripped
    assert seen(stripped) == seen(content)
    with Image.open(io.BytesIO(stripped)) as image:
        assert image.format == "JPEG"


def test_a_preview_in_the_head_of_a_jpeg_goes():
    plain = encoded(gradient(), "JPEG", dpi=(300, 300))
    preview = struct.pack(">5sHBHHBB", b"JFIF\0", 0x0102, 1, 300, 300, 2, 2) + PRIVATE
    content = plain[:2] + segment(0xE0, preview) + plain[4 + int.from_bytes(plain[4:6]) :]
    stripped = strip(content, "JPEG")

    assert PRIVATE not in stripped
    assert seen(stripped) == seen(content)
    with Image.open(io.BytesIO(stripped)) as image:
        assert image.info["dpi"] == (300, 300)


def test_what_stands_between_the_scans_of_a_jpeg_goes():
    plain = encoded(gradient((200, 150)), "JPEG", progressive=True)
    scan = plain.rindex(b"\xff\xda")
    content = plain[:scan] + segment(0xE1, PRIVATE) + segment(0xFE, PRIVATE) + plain[scan:]
    stripped = strip(content, "JPEG")

    assert stripped == plain
    assert seen(stripped) == seen(content)


def test_what_stands_between_segments_goes():
    plain = encoded(gradient(), "JPEG")
    tables = plain.index(b"\xff\xdb")
    content = plain[:tables] + b"\xff" * 9 + plain[tables:]

    assert strip(content, "JPEG") == plain


def test_the_colour_transform_of_a_jpeg_stays_and_what_is_behind_it_goes():
    plain = encoded(gradient().convert("CMYK"), "JPEG")
    adobe = plain.index(b"Adobe")
    size = int.from_bytes(plain[adobe - 2 : adobe])
    content = (
        plain[: adobe - 4]
        + segment(0xEE, plain[adobe : adobe + size - 2] + PRIVATE)
        + plain[adobe + size - 2 :]
    )
    stripped = strip(content, "JPEG")

    assert stripped == plain
    assert seen(stripped) == seen(content)


# --- PNG -------------------------------------------------------------------------------------------


def test_chunks_that_make_the_picture_stay():
    plain = encoded(gradient(), "PNG")
    kept = chunk(b"gAMA", struct.pack(">I", 45_455)) + chunk(b"sRGB", b"\0") + chunk(b"cICP", b"\1\x0d\0\1")
    gone = chunk(b"tIME", struct.pack(">H5B", 2024, 5, 1, 12, 30, 45)) + chunk(b"tEXt", b"Author\0" + PRIVATE)
    head = plain.index(b"IDAT") - 4

    assert (
        strip(plain[:head] + gone + kept + gone + plain[head:], "PNG") == plain[:head] + kept + plain[head:]
    )


# --- WebP ------------------------------------------------------------------------------------------


def test_the_flags_of_a_webp_say_what_is_there():
    flags = {}
    for orientation in (1, 6):
        stripped = strip(photo("WEBP", orientation=orientation), "WEBP")
        assert stripped[12:16] == b"VP8X"
        flags[orientation] = stripped[20] & 0x0C
        assert int.from_bytes(stripped[4:8], "little") == len(stripped) - 8

    assert flags == {1: 0, 6: 0x08}


def test_what_stands_in_the_frames_of_a_webp_goes():
    plain = encoded(gradient(), "WEBP", save_all=True, append_images=[gradient(shift=9)], duration=50)
    frame = plain.index(b"ANMF")
    size = int.from_bytes(plain[frame + 4 : frame + 8], "little")
    unknown = b"PrVt" + struct.pack("<I", len(PRIVATE)) + PRIVATE
    grown = bytearray(plain[: frame + 8 + size] + unknown + plain[frame + 8 + size :])
    struct.pack_into("<I", grown, frame + 4, size + len(unknown))
    struct.pack_into("<I", grown, 4, len(grown) - 8)

    assert seen(bytes(grown)) == seen(plain)
    assert strip(bytes(grown), "WEBP") == plain


# --- GIF -------------------------------------------------------------------------------------------


def test_extensions_of_a_gif_go_but_for_its_loop_and_its_times():
    plain = encoded(
        gradient(), "GIF", save_all=True, append_images=[gradient(shift=40)], duration=[70, 110], loop=3
    )
    block = bytes([len(PRIVATE)]) + PRIVATE + b"\0"
    gone = [
        b"!\xfe" + block,
        b"!\x01\x0c" + b"\0" * 12 + block,
        b"!\xff\x0bXMP DataXMP" + block,
        b"!\xff\x0bNETSCAPE2.0\x05\x02\0\0\0\0" + block,
    ]
    loop = plain.index(b"!\xff")
    content = plain[:loop] + b"".join(gone) + plain[loop:-1] + b"".join(gone) + b";" + PRIVATE
    stripped = strip(content, "GIF")

    assert stripped == plain
    assert seen(stripped) == seen(content)


def test_a_gif_may_lack_its_end():
    plain = encoded(gradient(), "GIF")

    assert strip(plain[:-1], "GIF") == plain


# --- AVIF ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 3])
def test_nothing_in_an_avif_is_moved(frames):
    content = photo("AVIF", frames=frames)

    assert len(strip(content, "AVIF")) == len(content) - len(PRIVATE)


@pytest.mark.parametrize("kind", [b"uuid", b"free", b"skip", b"udta", b"prvt"])
def test_boxes_of_an_avif_that_make_no_picture_become_free_space(kind):
    plain = encoded(gradient(), "AVIF")
    stripped = strip(plain + box(kind, b"\0" * 16 + PRIVATE), "AVIF")

    assert stripped[len(plain) :] == box(b"free", bytes(16 + len(PRIVATE)))
    assert seen(stripped) == seen(plain)


def test_media_data_of_an_avif_that_nothing_points_at_becomes_zeros():
    plain = encoded(gradient(), "AVIF")
    media = plain.index(b"mdat") - 4
    size = int.from_bytes(plain[media : media + 4])
    assert media + size == len(plain)
    content = plain[:media] + struct.pack(">I", size + len(PRIVATE)) + plain[media + 4 :] + PRIVATE

    assert strip(content, "AVIF").endswith(bytes(len(PRIVATE)))
    assert seen(strip(content, "AVIF")) == seen(plain)


def test_a_preview_in_an_avif_goes():
    image = gradient()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    content = encoded(image, "AVIF").replace(
        b"auxl", b"thmb"
    )  # what was its alpha channel says it is a preview
    stripped = strip(content, "AVIF")
    media = content.index(b"mdat")

    assert seen(stripped) == seen(content)
    assert content[media:].count(0) + 20 < stripped[media:].count(0)


def test_the_times_and_the_maker_of_an_animation_go():
    content = photo("AVIF", frames=3)
    assert b"AOM Coding" in content
    stripped = strip(content, "AVIF")

    assert b"AOM Coding" not in stripped
    for header in (b"mvhd", b"tkhd", b"mdhd"):
        place = stripped.index(header) + 4
        wide = 16 if stripped[place] else 8
        assert stripped[place + 4 : place + 4 + wide] == bytes(wide)


# --- what is no image ------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9])
def test_half_a_file_is_refused(format_, kept):
    content = encoded(gradient((200, 150)), format_)

    with pytest.raises(InvalidImage) as refused:
        strip(content[: int(len(content) * kept)], format_)
    assert str(refused.value) == (
        "The file cannot be read as an image: its metadata cannot be told from its pixels."
    )


@pytest.mark.parametrize("format_", FORMATS)
def test_another_format_is_refused(format_):
    for other in FORMATS:
        if other != format_:
            with pytest.raises(InvalidImage):
                strip(encoded(gradient(), other), format_)


def _jpeg(middle: bytes) -> bytes:
    plain = encoded(gradient(), "JPEG")
    return plain[:2] + middle + plain[2:]


def _repeated(part: bytes, size: int = 2 * 1024**2) -> bytes:
    return part * (size // len(part))


def _with_extents() -> bytes:
    """An AVIF with an item of very many extents, each of the whole file."""
    extent = struct.pack(">II", 0, 0xFFFFFFFF)
    items = b"".join(struct.pack(">HHH", 1, 0, 65_535) + extent * 65_535 for _ in range(4))
    content = encoded(gradient(), "AVIF")
    meta = content.index(b"meta") - 4
    iloc = box(b"iloc", b"\0\0\0\0\x44\0" + struct.pack(">H", 4) + items)
    size = int.from_bytes(content[meta : meta + 4])
    inside = content[meta + 12 : meta + size].replace(b"iloc", b"skip") + iloc
    return content[:meta] + box(b"meta", bytes(4) + inside) + content[meta + size :]


# Each would take minutes, or all memory, if it were read more than once or one by one.
HOSTILE: dict[str, tuple[str, Callable[[], bytes]]] = {
    "fill bytes": ("JPEG", lambda: _jpeg(_repeated(b"\xff"))),
    "no marker": ("JPEG", lambda: b"\xff\xd8" + _repeated(b"\xff")),
    "small segments": ("JPEG", lambda: _jpeg(_repeated(segment(0xFE, b"")))),
    "pieces of EXIF": ("JPEG", lambda: _jpeg(_repeated(segment(0xE1, exif.PREFIX + b"x")))),
    "scans": ("JPEG", lambda: _jpeg(_repeated(segment(0xDA, b"")))),
    "small chunks": ("PNG", lambda: encoded(gradient(), "PNG")[:33] + _repeated(chunk(b"IDAT", b""))),
    "EXIF again and again": ("PNG", lambda: encoded(gradient(), "PNG")[:33] + _repeated(chunk(b"eXIf", b""))),
    "small blocks": ("GIF", lambda: encoded(gradient(), "GIF")[:-2] + _repeated(b"\1x")),
    "padding": ("GIF", lambda: encoded(gradient(), "GIF")[:-1] + bytes(2 * 1024**2)),
    "empty chunks": (
        "WEBP",
        lambda: b"RIFF" + struct.pack("<I", 4 + 2 * 1024**2) + b"WEBP" + _repeated(b"VP8 \0\0\0\0"),
    ),
    "small boxes": (
        "AVIF",
        lambda: box(b"ftyp", b"avif") + box(b"meta", bytes(4) + _repeated(box(b"free", b""))),
    ),
    "extents": ("AVIF", _with_extents),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_structure_costs_no_more_than_its_size(name):
    format_, make = HOSTILE[name]
    content = make()
    with suppress(InvalidImage):
        assert len(strip(content, format_)) <= len(content) + 1


SAMPLES = [
    *((each, photo(each, orientation=6)) for each in FORMATS),
    *((each, photo(each, frames=3)) for each in ANIMATED),
]
_changes = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 12), st.binary(max_size=12)), min_size=1, max_size=6
)


@given(st.sampled_from(SAMPLES), _changes, st.floats(0.5, 1))
def test_a_changed_file_is_stripped_or_refused_and_nothing_else(sample, changes, kept):
    format_, content = sample
    for place, removed, put in changes:
        at = int(place * len(content))
        content = content[:at] + put + content[at + removed :]
    content = content[: max(1, int(kept * len(content)))]
    try:
        stripped = strip(content, format_)
    except InvalidImage:
        return
    assert len(stripped) <= len(content) + 1
    assert strip(stripped, format_) == stripped


@given(st.sampled_from(FORMATS), st.binary(max_size=300))
def test_any_bytes_are_stripped_or_refused(format_, noise):
    begin = encoded(gradient((2, 2)), format_)[:40]
    with suppress(InvalidImage):
        strip(begin + noise, format_)


@pytest.mark.parametrize("format_", FORMATS)
def test_what_is_stripped_is_known_as_the_same_picture(format_):
    content = photo(format_, orientation=8 if format_ in WITH_EXIF else 1)
    found = [
        images.inspect(io.BytesIO(each), formats=FORMATS, max_pixels=10_000)
        for each in (content, strip(content, format_))
    ]

    assert found[0] is not None
    assert found[1] is not None
    assert (found[0].thumbhash, found[0].width, found[0].height) == (
        found[1].thumbhash,
        found[1].width,
        found[1].height,
    )
    assert found[1].exif is None
