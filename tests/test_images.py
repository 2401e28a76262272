"""What an image is, and the copy that is made to fit: with real files of every format, whole and broken."""

import base64
import io
import struct
import zlib
from itertools import product

import pytest
from PIL import Image, ImageCms, ImageDraw, ImageSequence, PngImagePlugin

from files import images, rendering
from files.errors import ImageTooLarge, InvalidImage
from files.images import ImageFacts

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
MANY_PIXELS = 50_000_000

CONTENT_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "GIF": "image/gif",
    "WEBP": "image/webp",
    "AVIF": "image/avif",
}
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
ORIENTATION = 0x0112


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, format_, **options)
    return target.getvalue()


def solid(color: object, size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def noise(size: tuple[int, int] = (64, 64)) -> Image.Image:
    """Pixels that no format makes small, so that half of the file is half of the pixels."""
    return Image.effect_noise(size, 100).convert("RGB")


def inspect(
    content: bytes, formats: tuple[str, ...] = FORMATS, max_pixels: int = MANY_PIXELS
) -> ImageFacts | None:
    return images.inspect(io.BytesIO(content), formats=formats, max_pixels=max_pixels)


def facts(content: bytes) -> ImageFacts:
    found = inspect(content)
    assert found is not None
    return found


def fit(content: bytes, box: tuple[int, int] = (300, 300), formats: tuple[str, ...] = FORMATS) -> bytes:
    return rendering.fit(io.BytesIO(content), formats=formats, box=box)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def color_of(found: ImageFacts) -> tuple[int, ...]:
    assert found.dominant_color[0] == "#"
    return tuple(bytes.fromhex(found.dominant_color[1:]))


def has_alpha(found: ImageFacts) -> bool:
    return bool(base64.b64decode(found.thumbhash)[2] & 0x80)


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_head(width: int, height: int, *chunks: bytes) -> bytes:
    """A PNG of 8-bit RGB as far as its first pixels, of which there are none."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + chunk(b"IDAT", b"")


def close_to(color: tuple[int, ...]) -> object:
    """Lossy formats and conversions may be off by a few steps of 255."""
    return pytest.approx(color, abs=8)


# --- what an image is ------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_is_known_by_its_bytes(format_):
    found = facts(encoded(solid((200, 30, 60)), format_))

    assert found.format == format_
    assert found.content_type == CONTENT_TYPES[format_]
    assert (found.width, found.height, found.frames) == (12, 8, 1)
    assert color_of(found) == close_to((200, 30, 60))
    assert not has_alpha(found)
    assert len(base64.b64decode(found.thumbhash, validate=True)) <= 25


@pytest.mark.parametrize(
    "mode, color, format_, expected",
    [
        ("1", 1, "PNG", WHITE),
        ("1", 0, "PNG", (0, 0, 0)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("L", 90, "JPEG", (90, 90, 90)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("RGB", (200, 30, 60), "WEBP", (200, 30, 60)),
        ("RGB", (200, 30, 60), "AVIF", (200, 30, 60)),
        ("RGBA", (200, 30, 60, 255), "PNG", (200, 30, 60)),
        ("RGBA", (200, 30, 60, 254), "WEBP", (200, 30, 60)),
        ("RGBA", (200, 30, 60, 254), "AVIF", (200, 30, 60)),
        ("CMYK", (0, 255, 255, 0), "JPEG", RED),
        ("CMYK", (0, 0, 0, 255), "JPEG", (0, 0, 0)),
        ("I;16", 0, "PNG", (0, 0, 0)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("I;16", 65_535, "PNG", WHITE),
    ],
)
@pytest.mark.parametrize("size", [(12, 8), (640, 480)], ids=["small", "large"])
def test_every_kind_of_pixel_is_read(mode, color, format_, expected, size):
    content = encoded(solid(color, size, mode), format_)
    assert opened(content).mode == mode

    found = facts(content)
    assert (found.width, found.height) == size
    assert color_of(found) == close_to(expected)
    assert opened(fit(content)).convert("RGB").getpixel((2, 2)) == close_to(expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (6000, 1), (1, 6000)])
@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_may_be_one_pixel_wide(format_, size):
    found = facts(encoded(solid((9, 99, 9), size), format_))

    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    "format_, frames",
    [("GIF", 1), ("GIF", 5), ("WEBP", 3), ("PNG", 4), ("AVIF", 3)],
)
def test_frames_are_counted(format_, frames):
    shown = [solid((40 * number, 0, 255 - 40 * number), (16, 16)) for number in range(frames)]
    content = encoded(shown[0], format_, save_all=True, append_images=shown[1:], duration=50)

    found = facts(content)
    assert (found.width, found.height, found.frames) == (16, 16, frames)
    assert color_of(found) == close_to(BLUE)  # that of the first


@pytest.mark.parametrize("reader", ["inspect", "fit"])
def test_the_further_views_in_a_phones_photo_are_left_out(reader):
    second_view = noise((24, 16))
    content = encoded(solid(RED, (24, 16)), "MPO", save_all=True, append_images=[second_view])
    assert opened(content).format == "MPO"

    if reader == "inspect":
        found = facts(content)
        assert (found.format, found.content_type, found.frames) == ("JPEG", "image/jpeg", 1)
        assert (found.width, found.height) == (24, 16)
    else:
        kept = opened(fit(content))
        assert (kept.format, getattr(kept, "n_frames", 1)) == ("JPEG", 1)
        assert len(fit(content)) < len(encoded(second_view, "JPEG"))


# --- transparency ----------------------------------------------------------------------------------


def half_transparent(mode: str) -> Image.Image:
    """Green on the left; on the right red that cannot be seen."""
    image = Image.new("RGBA", (20, 10), (0, 255, 0, 255))
    image.paste((255, 0, 0, 0), (10, 0, 20, 10))
    if mode == "RGBA":
        return image
    paletted = Image.new("P", (20, 10), 0)
    paletted.putpalette([0, 255, 0, 255, 0, 0])
    paletted.paste(1, (10, 0, 20, 10))
    return paletted


def half_transparent_file(format_: str, mode: str) -> bytes:
    image = half_transparent(mode)
    return encoded(image, format_, transparency=1) if mode == "P" else encoded(image, format_)


_transparent = pytest.mark.parametrize(
    "format_, mode", [("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGBA"), ("AVIF", "RGBA")]
)


@_transparent
def test_what_is_transparent_is_so_in_the_placeholder_and_has_no_colour(format_, mode):
    found = facts(half_transparent_file(format_, mode))

    assert has_alpha(found)
    assert color_of(found) == close_to(GREEN)


@_transparent
def test_what_is_transparent_stays_so_when_made_to_fit(format_, mode):
    kept = opened(fit(half_transparent_file(format_, mode), (10, 10))).convert("RGBA")

    assert kept.size == (10, 5)
    assert kept.getpixel((1, 2)) == close_to((*GREEN, 255))
    assert kept.getchannel("A").getpixel((8, 2)) == 0


def test_one_colour_may_stand_for_transparent():
    image = solid(BLUE, (20, 10))
    image.paste(RED, (10, 0, 20, 10))

    found = facts(encoded(image, "PNG", transparency=RED))
    assert has_alpha(found)
    assert color_of(found) == close_to(BLUE)


def test_an_image_of_nothing_but_transparency_is_one():
    found = facts(encoded(solid((255, 0, 0, 0), mode="RGBA"), "PNG"))

    assert has_alpha(found)
    assert found.dominant_color.startswith("#")


# --- which way is up -------------------------------------------------------------------------------

# Where the first row and the first column of the stored pixels belong (Exif 2.3, tag 274).
STORED: dict[int, tuple[str, str]] = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}
OPPOSITE = {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}
# The colours of the quarters of the image as it is to be seen.
CORNERS = {
    frozenset({"top", "left"}): RED,
    frozenset({"top", "right"}): GREEN,
    frozenset({"bottom", "left"}): BLUE,
    frozenset({"bottom", "right"}): WHITE,
}
UPRIGHT = (48, 32)


def photo(orientation: int, format_: str, size: tuple[int, int] = UPRIGHT) -> bytes:
    """A file that is to be seen as `size` with a colour in each quarter, stored as a camera does."""
    row, column = STORED[orientation]
    width, height = size if row in {"top", "bottom"} else size[::-1]
    image = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(image)
    for last_row, last_column in product((False, True), repeat=2):
        corner = {OPPOSITE[row] if last_row else row, OPPOSITE[column] if last_column else column}
        left, top = last_column * width // 2, last_row * height // 2
        draw.rectangle((left, top, left + width // 2 - 1, top + height // 2 - 1), CORNERS[frozenset(corner)])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 95, "subsampling": 0},
        "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    }
    return encoded(image, format_, exif=exif, **options.get(format_, {}))


def quarters(image: Image.Image) -> list[object]:
    """The colours in the middle of the quarters: top left, top right, bottom left, bottom right."""
    width, height = image.size
    places = product((height // 4, 3 * height // 4), (width // 4, 3 * width // 4))
    return [image.convert("RGB").getpixel((x, y)) for y, x in places]


_turned = pytest.mark.parametrize(
    "orientation, format_", list(product(STORED, ["JPEG", "PNG", "WEBP", "AVIF"]))
)


@_turned
def test_width_and_height_are_those_of_the_upright_image(orientation, format_):
    found = facts(photo(orientation, format_))

    assert (found.width, found.height) == UPRIGHT
    landscape = base64.b64decode(found.thumbhash)[4] >> 7
    assert landscape == 1


@_turned
@pytest.mark.parametrize("box, size", [((300, 300), (48, 32)), ((24, 24), (24, 16)), ((100, 8), (12, 8))])
def test_a_photo_is_made_to_fit_upright(orientation, format_, box, size):
    kept = opened(fit(photo(orientation, format_), box))

    assert kept.size == size
    assert kept.getexif().get(ORIENTATION, 1) == 1
    expected = [RED, GREEN, BLUE, WHITE]
    for found, color in zip(quarters(kept), expected, strict=True):
        assert found == pytest.approx(color, abs=30)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    content = encoded(solid(RED), "JPEG", exif=exif)

    assert (facts(content).width, facts(content).height) == (12, 8)
    assert opened(fit(content)).size == (12, 8)


@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0AAAAAAAA",
        b"Exif\0\0II*\0",
        b"Exif\0\0II*\0\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\xff\xff",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x01A\0\0\0\0\0\0\0",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x08\0\0\0\0",
        b"garbage",
    ],
    ids=["empty", "no TIFF", "cut", "far away", "too many", "too much", "text", "fraction", "no EXIF"],
)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_broken_exif_is_no_reason_to_refuse_pixels(format_, exif):
    # With a resolution of its own Pillow does not look into the EXIF of a JPEG before we do.
    content = encoded(solid(RED), format_, exif=exif, dpi=(72, 72))

    assert (facts(content).width, facts(content).height) == (12, 8)
    assert opened(fit(content)).size == (12, 8)


def _with_exif_segments(count: int, *, fill: bytes = b"") -> bytes:
    """A JPEG with its EXIF in so many pieces, each of which is one of its own, behind as many fill bytes."""
    piece = b"Exif\0\0MM\0*\0\0\0\x08\0\0"
    segment = fill + b"\xff\xe1" + struct.pack(">H", 2 + len(piece)) + piece
    plain = encoded(solid(RED), "JPEG")
    return plain[:2] + segment * count + plain[2:]


# Any number of these may stand before a marker (ITU-T T.81, B.1.1.2).
_fills = pytest.mark.parametrize("fill", [b"", b"\xff", b"\xff" * 5], ids=["next", "one apart", "apart"])


@_fills
def test_exif_may_come_in_some_pieces(fill):
    assert facts(_with_exif_segments(10, fill=fill)).width == 12


@_fills
def test_exif_in_thousands_of_pieces_is_refused(fill):
    # Joining them takes Pillow time that grows with the square of their number: minutes for 20 MiB.
    with pytest.raises(InvalidImage):
        inspect(_with_exif_segments(5_000, fill=fill))


# --- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_may_have_as_many_pixels_as_the_limit(format_):
    content = encoded(solid(RED, (12, 8)), format_)

    assert inspect(content, max_pixels=96) is not None
    with pytest.raises(ImageTooLarge) as refused:
        inspect(content, max_pixels=95)
    error = refused.value
    assert (error.width, error.height, error.pixels, error.limit) == (12, 8, 96, 95)


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_pixels_of_all_frames_count(format_):
    shown = [solid((60 * number, 0, 0), (10, 10)) for number in range(4)]
    content = encoded(shown[0], format_, save_all=True, append_images=shown[1:])

    assert inspect(content, max_pixels=400) is not None
    with pytest.raises(ImageTooLarge) as refused:
        inspect(content, max_pixels=399)
    assert refused.value.pixels == 400


@pytest.mark.parametrize(
    "width, height",
    [(8_000, 8_000), (10_000, 10_000), (30_000, 30_000), (2**31 - 1, 1), (1, 2**31 - 1)],
)
def test_too_many_pixels_are_refused_by_the_header_alone(width, height):
    with pytest.raises(ImageTooLarge) as refused:
        inspect(png_head(width, height))

    error = refused.value
    assert (error.width, error.height, error.pixels) == (width, height, width * height)
    assert error.limit == MANY_PIXELS


def test_frames_that_are_only_claimed_count_too():
    with pytest.raises(ImageTooLarge) as refused:
        inspect(png_head(1_000, 1_000, chunk(b"acTL", struct.pack(">II", 51, 0))))

    assert refused.value.pixels > MANY_PIXELS


# --- what is no image ------------------------------------------------------------------------------


@pytest.mark.parametrize("named, sent", [each for each in product(FORMATS, FORMATS) if each[0] != each[1]])
def test_a_format_that_is_not_named_is_not_opened(named, sent):
    content = encoded(noise((8, 8)), sent)

    assert inspect(content, formats=(named,)) is None
    with pytest.raises(InvalidImage):
        fit(content, formats=(named,))


@pytest.mark.parametrize(
    "format_", ["BMP", "TIFF", "ICO", "PPM", "TGA", "PCX", "SGI", "EPS", "PDF", "JPEG2000"]
)
def test_the_many_other_formats_of_pillow_are_not_opened(format_):
    assert inspect(encoded(noise((16, 16)), format_)) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"hello",
        b"GIF",
        b"\x89PNG",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"push graphic-context\nviewbox 0 0 1 1\n",
        b"#define x_width 1\n#define x_height 1\n",
        b"\0" * 10_000,
    ],
    ids=lambda value: value[:12].decode("latin-1"),
)
def test_other_bytes_are_no_image(content):
    assert inspect(content) is None


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_of_which_a_part_is_missing_is_refused(format_, kept):
    whole = encoded(noise(), format_)
    content = whole[: int(len(whole) * kept)]

    if format_ == "AVIF" and kept < 0.9:
        # Its decoder does not even open it, as it would not open anything else.
        assert inspect(content) is None
    else:
        with pytest.raises(InvalidImage):
            inspect(content)
    with pytest.raises(InvalidImage):
        fit(content)


def _idat(png: bytes) -> tuple[int, int]:
    """Where the data of the first chunk of pixels begins and ends."""
    begin = png.index(b"IDAT") + 4
    return begin, begin + int.from_bytes(png[begin - 8 : begin - 4], "big")


@pytest.mark.parametrize("at", [0.0, 0.2, 0.5, 0.9])
def test_pixels_that_cannot_be_unpacked_are_refused_though_every_checksum_is_right(at):
    # Pillow raises this once, and shows the pixels up to there when it is asked again.
    png = encoded(noise(), "PNG")
    begin, end = _idat(png)
    packed = bytearray(png[begin:end])
    place = int(len(packed) * at)
    packed[place : place + 64] = b"\xff" * 64
    content = png[: begin - 8] + chunk(b"IDAT", bytes(packed)) + png[end + 4 :]

    for read in (inspect, fit):
        with pytest.raises(InvalidImage):
            read(content)


def test_pixels_that_end_too_soon_are_refused_though_the_file_does_not():
    png = encoded(noise(), "PNG")
    begin, end = _idat(png)
    content = png[: begin - 8] + chunk(b"IDAT", png[begin : (begin + end) // 2]) + chunk(b"IEND", b"")

    for read in (inspect, fit):
        with pytest.raises(InvalidImage):
            read(content)


@pytest.mark.parametrize("format_", FORMATS)
def test_an_image_with_something_else_inside_raises_nothing_else(format_):
    whole = bytearray(encoded(noise((32, 32)), format_))
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        changed = bytes(whole[:place]) + bytes([whole[place] ^ 0xFF]) + bytes(whole[place + 1 :])
        for read in (inspect, fit):
            try:
                read(changed)
            except (InvalidImage, ImageTooLarge):
                continue


def test_a_refusal_says_what_is_wrong():
    whole = encoded(noise(), "PNG")

    with pytest.raises(InvalidImage) as refused:
        inspect(whole[:-2_000])
    assert str(refused.value) == "The file cannot be read as an image: it is damaged or not complete."


# --- made to fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, box, expected",
    [
        ((600, 300), (300, 300), (300, 150)),
        ((300, 600), (300, 300), (150, 300)),
        ((600, 600), (300, 300), (300, 300)),
        ((301, 300), (300, 300), (300, 299)),
        ((1000, 400), (100, 100), (100, 40)),
        ((1000, 400), (500, 100), (250, 100)),
        ((1000, 400), (100, 500), (100, 40)),
        ((640, 480), (300, 300), (300, 225)),
        # never enlarged
        ((300, 300), (300, 300), (300, 300)),
        ((299, 1), (300, 300), (299, 1)),
        ((1, 1), (300, 300), (1, 1)),
        ((200, 100), (1000, 50_000), (200, 100)),
        # a side is never lost
        ((6000, 1), (300, 300), (300, 1)),
        ((1, 6000), (300, 300), (1, 300)),
        ((6000, 1), (10, 10), (10, 1)),
        ((6000, 10), (300, 300), (300, 1)),
        ((600, 300), (1, 1), (1, 1)),
    ],
)
@pytest.mark.parametrize("format_", ["PNG", "JPEG"])
def test_an_image_is_made_to_fit_in_its_proportion(format_, size, box, expected):
    kept = opened(fit(encoded(solid((9, 99, 199), size), format_), box))

    assert kept.size == expected
    assert kept.convert("RGB").getpixel((0, 0)) == close_to((9, 99, 199))


@pytest.mark.parametrize(
    "given, made", [("JPEG", "JPEG"), ("PNG", "PNG"), ("WEBP", "WEBP"), ("AVIF", "AVIF"), ("GIF", "PNG")]
)
def test_a_format_stays_what_it_is_but_for_gif(given, made):
    kept = opened(fit(encoded(solid((9, 99, 199), (40, 20)), given), (20, 20)))

    assert kept.format == made
    assert kept.size == (20, 10)
    assert kept.convert("RGB").getpixel((5, 5)) == close_to((9, 99, 199))


@pytest.mark.parametrize("format_", ["GIF", "WEBP", "PNG", "AVIF"])
def test_the_first_frame_is_the_one_that_is_kept(format_):
    shown = [solid(RED, (40, 20)), solid(GREEN, (40, 20)), solid(BLUE, (40, 20))]
    content = encoded(shown[0], format_, save_all=True, append_images=shown[1:], duration=50)

    kept = opened(fit(content, (20, 20)))
    assert len(list(ImageSequence.Iterator(kept))) == 1
    assert kept.convert("RGB").getpixel((5, 5)) == close_to(RED)


# What is in a photo beside its pixels; none of it may be in the copy.
PRIVATE = b"PRIVATE-7f3a"
_TEXT = PRIVATE.decode()


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = _TEXT  # ImageDescription
    exif[0x010F] = _TEXT  # Make
    exif[ORIENTATION] = 6
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2] = "N", (52.0, 31.0, 12.0)
    gps[29] = _TEXT
    return exif


def _profile(name: bytes = b"") -> bytes:
    """An sRGB profile, with something of ours behind it."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + name


def _with_everything(format_: str, *, profiled: bool) -> bytes:
    image = solid((9, 99, 199), (40, 20))
    xmp = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + PRIVATE + b"</x:xmpmeta>"
    options: dict[str, object] = {"icc_profile": _profile(PRIVATE)} if profiled else {}
    if format_ == "GIF":
        options |= {"comment": PRIVATE}
    elif format_ == "PNG":
        text = PngImagePlugin.PngInfo()
        text.add_text("Comment", _TEXT)
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        text.add(b"prVt", PRIVATE)
        options |= {"pnginfo": text, "exif": _exif()}
    else:
        options |= {"exif": _exif(), "xmp": xmp}
    if format_ == "JPEG":
        photoshop = b"Photoshop 3.0\0" + PRIVATE
        segment = b"\xff\xed" + struct.pack(">H", 2 + len(photoshop)) + photoshop
        options |= {"comment": PRIVATE, "extra": segment, "dpi": (123, 123)}
    return encoded(image, format_, **options) + PRIVATE


@pytest.mark.parametrize("box", [(300, 300), (10, 10)], ids=["as it is", "smaller"])
@pytest.mark.parametrize("profiled", [False, True], ids=["no profile", "profile"])
@pytest.mark.parametrize("format_", FORMATS)
def test_nothing_but_pixels_is_in_the_copy(format_, profiled, box):
    content = _with_everything(format_, profiled=profiled)
    assert content.count(PRIVATE) >= 2

    kept = fit(content, box)

    assert PRIVATE not in kept
    image = opened(kept)
    assert dict(image.getexif()) == {}
    assert not {"exif", "xmp", "XML:com.adobe.xmp", "comment", "icc_profile", "photoshop"} & set(image.info)
    assert image.info.get("dpi") != (123, 123)


@pytest.mark.parametrize("format_", FORMATS)
def test_the_copy_ends_where_its_format_ends(format_):
    content = encoded(solid((9, 99, 199), (40, 20)), format_)

    assert fit(content + b"<?php phpinfo(); ?>" + PRIVATE) == fit(content)


# --- colour profiles -------------------------------------------------------------------------------


def swapped_profile() -> bytes:
    """A profile in which red and blue have changed places, so that it cannot be overlooked."""
    profile = _profile()
    return profile.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)


@pytest.mark.parametrize(
    "format_, mode",
    [
        ("JPEG", "RGB"),
        ("PNG", "RGB"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("WEBP", "RGB"),
        ("AVIF", "RGB"),
    ],
)
def test_colours_are_converted_by_the_profile_of_the_image(format_, mode):
    image = solid(RED, (40, 20)).convert(mode)
    content = encoded(image, format_, icc_profile=swapped_profile())

    assert color_of(facts(content)) == close_to(BLUE)
    kept = opened(fit(content, (20, 20)))
    assert kept.convert("RGB").getpixel((5, 5)) == close_to(BLUE)
    assert "icc_profile" not in kept.info


def test_a_profile_leaves_transparency_as_it_is():
    content = encoded(half_transparent("RGBA"), "PNG", icc_profile=swapped_profile())

    kept = opened(fit(content)).convert("RGBA")
    assert kept.getpixel((2, 2)) == close_to((*GREEN, 255))
    assert kept.getchannel("A").getpixel((17, 2)) == 0


@pytest.mark.parametrize(
    "profile",
    [b"x", b"\0" * 128, b"\xff" * 4_000, _profile()[:200], _profile()[:-500], _profile()[200:]],
    ids=["a letter", "zeros", "noise", "head", "cut", "no head"],
)
@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP"])
def test_a_broken_profile_is_no_reason_to_refuse_pixels(format_, profile):
    content = encoded(solid((9, 99, 199), (40, 20)), format_, icc_profile=profile)

    assert color_of(facts(content)) == close_to((9, 99, 199))
    assert opened(fit(content)).convert("RGB").getpixel((5, 5)) == close_to((9, 99, 199))


@pytest.mark.parametrize(
    "mode, color, format_, expected",
    [
        ("L", 90, "JPEG", (90, 90, 90)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("1", 1, "PNG", WHITE),
        ("CMYK", (0, 255, 255, 0), "JPEG", RED),
    ],
)
def test_a_profile_for_other_pixels_is_left_aside(mode, color, format_, expected):
    content = encoded(solid(color, (40, 20), mode), format_, icc_profile=swapped_profile())

    assert color_of(facts(content)) == close_to(expected)
    assert opened(fit(content)).convert("RGB").getpixel((5, 5)) == close_to(expected)
