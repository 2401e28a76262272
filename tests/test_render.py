"""Renditions of real images, against references that are computed in another way: by PSNR, not by bytes."""

import io
import math
import struct
import zlib
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageOps, ImageSequence, ImageStat

from files import images, rendering
from files.errors import InvalidImage
from files.geometry import CENTRE, MAX_SIDE, Fit, FocalPoint, Size
from files.rendering import Rendered
from files.variations import Format, Variation

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "AVIF")
JPEG, PNG, WEBP, AVIF, GIF = Format.JPEG, Format.PNG, Format.WEBP, Format.AVIF, Format.GIF
ORIENTATION = 0x0112
ALIKE = 35  # dB, beyond which nobody sees a difference
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def psnr(one: Image.Image, other: Image.Image) -> float:
    """In dB, over all channels of two images of the same size and mode."""
    assert (one.size, one.mode) == (other.size, other.mode)
    squares = ImageStat.Stat(ImageChops.difference(one, other)).sum2
    mean = sum(squares) / (one.width * one.height * len(squares))
    return 10 * math.log10(255**2 / mean) if mean else math.inf


def smooth(size: tuple[int, int] = (640, 480)) -> Image.Image:
    """A picture with no hard edge, unlike itself in every direction."""
    width, height = size
    down = Image.linear_gradient("L").resize(size)
    across = Image.linear_gradient("L").rotate(90).resize(size)
    round_ = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (down, across, round_))


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    target = io.BytesIO()
    best: dict[str, dict[str, object]] = {
        "JPEG": {"quality": 98, "subsampling": 0},
        "MPO": {"quality": 98, "subsampling": 0},
        "WEBP": {"lossless": True},
        "AVIF": {"quality": 98, "subsampling": "4:4:4"},
    }
    image.save(target, format_, **{**best.get(format_, {}), **options})
    return target.getvalue()


def turned(orientation: int) -> Image.Exif:
    """For one image each: saving takes out of it what the format says in another way."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def solid(color: object, size: tuple[int, int] = (12, 8), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, color)  # type: ignore[arg-type]


def variation(
    width: int | None = None,
    height: int | None = None,
    format_: Format = PNG,
    fit: Fit = Fit.INSIDE,
    quality: int | None = None,
    focal: FocalPoint = CENTRE,
    enlarge: bool = False,
) -> Variation:
    return Variation(
        width=width, height=height, fit=fit, format=format_, quality=quality, focal=focal, enlarge=enlarge
    )


def render(content: bytes, wanted: Variation) -> Rendered:
    return rendering.render(io.BytesIO(content), formats=FORMATS, variation=wanted)


def rendered(content: bytes, wanted: Variation) -> Image.Image:
    """What is made, decoded; that it is what it says it is holds for each."""
    made = render(content, wanted)
    image = Image.open(io.BytesIO(made.content))
    image.load()
    assert image.size == (made.width, made.height)
    assert image.format == wanted.format.value.upper()
    assert made.content_type == wanted.format.content_type
    return image


def frames_of(image: Image.Image) -> list[tuple[Image.Image, int]]:
    """Each frame in RGBA, with how long it is shown in milliseconds."""
    shown = []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        shown.append((frame.convert("RGBA"), int(frame.info.get("duration", 0))))
    return shown


# --- size and shape --------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [JPEG, PNG, WEBP, AVIF])
@pytest.mark.parametrize("source", FORMATS)
def test_each_format_is_made_of_each(source, format_):
    found = rendered(encoded(smooth(), source), variation(160, format_=format_))

    assert found.size == (160, 120)
    # GIF has 256 colours, which is seen.
    assert psnr(found.convert("RGB"), smooth().resize((160, 120), Image.Resampling.LANCZOS)) > (
        28 if source == "GIF" else ALIKE
    )


def _reference(fit: Fit, source: Image.Image) -> Image.Image:
    """By Pillow's own helpers."""
    if fit is Fit.COVER:
        return ImageOps.fit(source, (120, 120), Image.Resampling.LANCZOS)
    if fit is Fit.CONTAIN:
        return ImageOps.pad(source, (120, 120), Image.Resampling.LANCZOS, color="white")
    if fit is Fit.FILL:
        return source.resize((120, 120), Image.Resampling.LANCZOS)
    return ImageOps.contain(source, (120, 120), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("format_, orientation", list(product(["JPEG", "PNG", "WEBP", "AVIF"], range(1, 9))))
@pytest.mark.parametrize("fit", Fit)
def test_all_fits_of_all_orientations(format_, orientation, fit):
    stored = smooth((320, 240))
    content = encoded(stored, format_, exif=turned(orientation))
    tiff = Image.open(io.BytesIO(encoded(stored, "TIFF", exif=turned(orientation))))
    upright = ImageOps.exif_transpose(tiff).convert("RGB")

    found = rendered(content, variation(120, 120, PNG, fit))
    on_white = Image.alpha_composite(Image.new("RGBA", found.size, "white"), found.convert("RGBA"))
    assert psnr(on_white.convert("RGB"), _reference(fit, upright)) > ALIKE
    assert found.getexif().get(ORIENTATION, 1) == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("focal", [(0, 0), (1, 1), (0.2, 0.9), (0.5, 0.5)])
def test_the_focal_point_is_of_the_upright_image(orientation, focal):
    stored = smooth((320, 240))
    upright = ImageOps.exif_transpose(
        Image.open(io.BytesIO(encoded(stored, "PNG", exif=turned(orientation))))
    )
    width, height = upright.size
    kept = (width, width // 4)  # a strip, of the shape that is asked for
    top = min(max(focal[1] * height - kept[1] / 2, 0), height - kept[1])
    expected = upright.crop((0, round(top), width, round(top) + kept[1])).resize(
        (160, 40), Image.Resampling.LANCZOS
    )

    wanted = variation(160, 40, PNG, Fit.COVER, focal=FocalPoint(*focal))
    assert (
        psnr(rendered(encoded(stored, "PNG", exif=turned(orientation)), wanted).convert("RGB"), expected)
        > ALIKE
    )


def test_a_png_may_name_its_orientation_behind_its_pixels():
    content = encoded(smooth((320, 240)), "PNG")
    data = turned(6).tobytes().removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(data)) + b"eXIf" + data + struct.pack(">I", zlib.crc32(b"eXIf" + data))
    end = content.index(b"IEND") - 4

    found = rendered(content[:end] + chunk + content[end:], variation(120))
    assert found.size == (120, 160)
    upright = smooth((320, 240)).transpose(Image.Transpose.ROTATE_270)
    assert psnr(found.convert("RGB"), upright.resize((120, 160), Image.Resampling.LANCZOS)) > ALIKE


@pytest.mark.parametrize("size", [(6000, 1), (1, 6000), (1, 1)])
@pytest.mark.parametrize("fit", Fit)
@pytest.mark.parametrize("format_", [JPEG, PNG, WEBP, AVIF])
def test_images_of_one_pixels_width_have_renditions(size, fit, format_):
    content = encoded(solid((200, 30, 60), size), "PNG")
    wanted = variation(300, 300, format_, fit)

    found = rendered(content, wanted).convert("RGB")
    middle = found.getpixel((found.width // 2, found.height // 2))
    if fit is not Fit.CONTAIN:
        assert middle == pytest.approx((200, 30, 60), abs=12)


sides = st.integers(1, 90) | st.sampled_from([1, 2, 299, 6000])
wishes = st.tuples(st.integers(1, 400), st.none() | st.integers(1, 400)) | st.tuples(
    st.none(), st.integers(1, MAX_SIDE)
)


@settings(max_examples=60, deadline=None)
@given(
    source=st.tuples(sides, sides).filter(lambda source: min(source) < 300),
    orientation=st.integers(1, 8),
    wish=wishes,
    fit=st.sampled_from(Fit),
)
@example(source=(6000, 1), orientation=6, wish=(300, 200), fit=Fit.COVER)
@example(source=(6000, 1), orientation=1, wish=(None, 16), fit=Fit.INSIDE)
@example(source=(1, 20_000), orientation=1, wish=(16, None), fit=Fit.INSIDE)
@example(source=(1, 20_000), orientation=5, wish=(1, 400), fit=Fit.FILL)
def test_the_size_that_is_answered_is_the_size_that_is_made(source, orientation, wish, fit):
    content = encoded(solid(1, source, "1"), "PNG", exif=turned(orientation))
    facts = images.inspect(io.BytesIO(content), formats=FORMATS, max_pixels=10**7)
    assert facts is not None

    wanted = Variation.wanted(
        width=wish[0], height=wish[1], fit=fit, format=WEBP, quality=1, focal=FocalPoint(0.1, 0.9)
    )
    answered = wanted.size(Size(facts.width, facts.height))
    assert rendered(content, wanted).size == (answered.width, answered.height)


@pytest.mark.parametrize("fit", [Fit.INSIDE, Fit.COVER, Fit.FILL])
def test_a_small_image_stays_small_unless_asked(fit):
    content = encoded(smooth((40, 40)), "PNG")

    assert rendered(content, variation(160, 160, fit=fit)).size == (40, 40)
    assert rendered(content, variation(160, 160, fit=fit, enlarge=True)).size == (160, 160)


@pytest.mark.parametrize("wanted", [(100, None), (333, None), (640, None), (120, 120), (701, 333)])
@pytest.mark.parametrize("fit", [Fit.INSIDE, Fit.COVER])
def test_a_jpeg_decoded_at_a_smaller_scale_cannot_be_told_from_a_full_one(wanted, fit):
    picture = smooth((1602, 1201))
    full = Image.open(io.BytesIO(encoded(picture, "JPEG"))).convert("RGB")  # at its full size
    expected = encoded(full, "PNG")

    found = rendered(encoded(picture, "JPEG"), variation(wanted[0], wanted[1], fit=fit))
    assert psnr(found, rendered(expected, variation(wanted[0], wanted[1], fit=fit))) > ALIKE


@pytest.mark.parametrize("format_", [JPEG, WEBP, AVIF])
def test_quality_costs_bytes(format_):
    content = encoded(Image.effect_noise((200, 200), 60).convert("RGB"), "PNG")
    low, usual, high = (
        len(render(content, variation(200, format_=format_, quality=quality)).content)
        for quality in (20, None, 98)
    )
    assert low < usual < high


# --- pixels of every kind --------------------------------------------------------------------------


def half_transparent() -> Image.Image:
    """Green on the left; on the right red that cannot be seen."""
    image = Image.new("RGBA", (40, 20), (*GREEN, 255))
    image.paste((*RED, 0), (20, 0, 40, 20))
    return image


def half_transparent_file(format_: str, mode: str) -> bytes:
    image = half_transparent()
    if mode == "RGBA":
        return encoded(image, format_)
    paletted = Image.new("P", image.size, 0)
    paletted.putpalette([*GREEN, *RED])
    paletted.paste(1, (20, 0, 40, 20))
    return encoded(paletted, format_, transparency=1)


_transparent = pytest.mark.parametrize(
    "source, mode", [("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGBA"), ("AVIF", "RGBA")]
)


@_transparent
@pytest.mark.parametrize("format_", [PNG, WEBP, AVIF])
def test_what_is_transparent_stays_so(source, mode, format_):
    found = rendered(half_transparent_file(source, mode), variation(20, format_=format_)).convert("RGBA")

    assert found.getpixel((4, 5)) == pytest.approx((*GREEN, 255), abs=10)
    assert found.getchannel("A").getpixel((16, 5)) == pytest.approx(0, abs=4)


@_transparent
@pytest.mark.parametrize("fit", [Fit.INSIDE, Fit.COVER, Fit.CONTAIN, Fit.FILL])
def test_a_jpeg_has_white_where_the_image_is_transparent(source, mode, fit):
    found = rendered(half_transparent_file(source, mode), variation(20, 10, JPEG, fit, quality=98))

    assert found.mode == "RGB"
    assert found.getpixel((3, 5)) == pytest.approx(GREEN, abs=20)
    assert found.getpixel((17, 5)) == pytest.approx(WHITE, abs=20)


def test_half_opaque_colours_are_laid_on_white_in_a_jpeg():
    content = encoded(solid((255, 0, 0, 128), (40, 20), "RGBA"), "PNG")

    found = rendered(content, variation(20, format_=JPEG, quality=98))
    assert found.getpixel((10, 5)) == pytest.approx((255, 127, 127), abs=6)


def test_hidden_colours_do_not_bleed_into_what_is_seen():
    found = rendered(encoded(half_transparent(), "PNG"), variation(10)).convert("RGBA")

    seen = [
        color
        for x, y in product(range(10), range(5))
        if isinstance(color := found.getpixel((x, y)), tuple) and color[3] > 8
    ]
    assert seen
    assert max(color[0] for color in seen) < 8


@pytest.mark.parametrize(
    "mode, hidden, shown", [("RGB", RED, GREEN), ("L", 40, 200), ("1", 0, 1), ("P", 1, 0)]
)
def test_a_colour_that_stands_for_transparent_does_not_bleed(mode, hidden, shown):
    image = solid(shown, (40, 20), mode)
    if mode == "P":
        image.putpalette([*GREEN, *RED])
    image.paste(hidden, (20, 0, 40, 20))
    visible = image.convert("RGB").getpixel((3, 3))
    content = encoded(image, "PNG", transparency=hidden)

    # 13 is no divisor of 40: the edge is interpolated, and rings a little.
    found = rendered(content, variation(13)).convert("RGBA")
    assert found.getchannel("A").getpixel((11, 3)) == 0
    for x in range(13):
        pixel = found.getpixel((x, 3))
        assert isinstance(pixel, tuple)
        assert pixel[3] < 8 or pixel[:3] == pytest.approx(visible, abs=20)


def test_grey_with_transparency_is_interpolated_in_proportion_to_it():
    image = solid((90, 255), (40, 20), "LA")
    image.paste((255, 0), (20, 0, 40, 20))

    found = rendered(encoded(image, "PNG"), variation(13)).convert("RGBA")
    pixels = [found.getpixel((x, 3)) for x in range(13)]
    assert [each[3] for each in pixels if isinstance(each, tuple)][::12] == [255, 0]
    assert all(
        each[:3] == pytest.approx((90, 90, 90), abs=20)
        for each in pixels
        if isinstance(each, tuple) and each[3] > 7
    )


@pytest.mark.parametrize(
    "format_, ground", [(JPEG, (*WHITE, 255)), (PNG, (0, 0, 0, 0)), (WEBP, (0, 0, 0, 0))]
)
def test_contain_leaves_the_rest_of_the_box_empty(format_, ground):
    found = rendered(encoded(solid(BLUE, (80, 40)), "PNG"), variation(40, 40, format_, Fit.CONTAIN))

    found = found.convert("RGBA")
    assert found.size == (40, 40)
    assert found.getpixel((20, 20)) == pytest.approx((*BLUE, 255), abs=12)
    assert found.getchannel("A").getpixel((20, 2)) == ground[3]
    if ground[3]:
        assert found.getpixel((20, 37)) == pytest.approx(ground, abs=12)


@pytest.mark.parametrize(
    "mode, color, source, expected",
    [
        ("1", 1, "PNG", WHITE),
        ("1", 0, "PNG", (0, 0, 0)),
        ("L", 90, "PNG", (90, 90, 90)),
        ("L", 90, "JPEG", (90, 90, 90)),
        ("LA", (90, 255), "PNG", (90, 90, 90)),
        ("CMYK", (0, 255, 255, 0), "JPEG", RED),
        ("CMYK", (0, 0, 0, 255), "JPEG", (0, 0, 0)),
        ("I;16", 0, "PNG", (0, 0, 0)),
        ("I;16", 40_000, "PNG", (156, 156, 156)),
        ("I;16", 65_535, "PNG", WHITE),
    ],
)
@pytest.mark.parametrize("size", [(12, 8), (640, 480)], ids=["small", "large"])
@pytest.mark.parametrize("format_", [JPEG, PNG, WEBP, AVIF])
def test_every_kind_of_pixel_is_shown(mode, color, source, expected, size, format_):
    content = encoded(solid(color, size, mode), source)

    found = rendered(content, variation(64, format_=format_)).convert("RGB")
    assert found.getpixel((3, 3)) == pytest.approx(expected, abs=8)


def test_sixteen_bits_keep_their_shades():
    ramp = Image.new("I;16", (256, 16))
    for x, y in product(range(256), range(16)):
        ramp.putpixel((x, y), x * 257)
    expected = Image.linear_gradient("L").rotate(90).resize((256, 16)).convert("RGB")

    found = rendered(encoded(ramp, "PNG"), variation(128)).convert("RGB")
    assert psnr(found, expected.resize((128, 8), Image.Resampling.LANCZOS)) > ALIKE


def test_photos_of_phones_are_shown_by_their_first_view():
    picture = smooth((320, 240))
    content = encoded(picture, "MPO", save_all=True, append_images=[solid(RED, (320, 240))])

    for format_ in (JPEG, WEBP):
        found = rendered(content, variation(160, format_=format_, quality=95))
        assert getattr(found, "n_frames", 1) == 1
        assert psnr(found, picture.resize((160, 120), Image.Resampling.LANCZOS)) > ALIKE


# --- colour ----------------------------------------------------------------------------------------


def swapped_profile() -> bytes:
    """Of a screen whose red and blue have changed places: (255, 0, 0) there is blue in sRGB."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    count = struct.unpack(">I", profile[128:132])[0]
    table = bytearray(profile)
    places = {table[132 + 12 * n : 136 + 12 * n].decode(): 132 + 12 * n for n in range(count)}
    red, blue = places["rXYZ"], places["bXYZ"]
    table[red + 4 : red + 12], table[blue + 4 : blue + 12] = (
        table[blue + 4 : blue + 12],
        table[red + 4 : red + 12],
    )
    return bytes(table)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF"])
@pytest.mark.parametrize("format_", [JPEG, PNG, WEBP, AVIF])
def test_colours_are_brought_to_srgb(source, format_):
    content = encoded(solid((250, 20, 20), (80, 40)), source, icc_profile=swapped_profile())

    found = rendered(content, variation(40, format_=format_))
    assert found.convert("RGB").getpixel((20, 10)) == pytest.approx((20, 20, 250), abs=12)
    assert "icc_profile" not in found.info


def test_transparency_survives_a_colour_profile():
    content = encoded(half_transparent(), "PNG", icc_profile=swapped_profile())

    found = rendered(content, variation(20)).convert("RGBA")
    assert found.getpixel((4, 5)) == pytest.approx((*GREEN, 255), abs=12)
    assert found.getchannel("A").getpixel((16, 5)) == 0


def dark_profile() -> bytes:
    """Of a grey screen with a gamma of 4.4, twice that of sRGB: 128 there is about 50 in sRGB."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"dark\0" + bytes(78),
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061),
        b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, round(4.4 * 256)),
    }
    places, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, each in tags.items():
        content = each + bytes(-len(each) % 4)
        places += name + struct.pack(">2I", start + len(data), len(content))
        data += content
    size = struct.pack(">I", start + len(data))
    kind = b"mntrGRAYXYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp"
    white = struct.pack(">3i", 63190, 65536, 54061)
    head = size + bytes(4) + b"\2\x10\0\0" + kind + bytes(28) + white
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + places + data


@pytest.mark.parametrize("mode, color", [("L", 128), ("LA", (128, 255)), ("LA", (128, 160))])
def test_grey_is_brought_to_srgb_with_and_without_transparency(mode, color):
    content = encoded(solid(color, (80, 40), mode), "PNG", icc_profile=dark_profile())

    found = rendered(content, variation(40)).convert("RGBA")
    alpha = color[1] if isinstance(color, tuple) else 255
    expected = round(255 * _srgb((128 / 255) ** 4.4))
    assert found.getpixel((20, 10)) == pytest.approx((expected, expected, expected, alpha), abs=3)


def _srgb(light: float) -> float:
    """IEC 61966-2-1."""
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def test_a_profile_of_another_kind_of_pixel_is_left_out():
    content = encoded(solid((90, 255), (80, 40), "LA"), "PNG", icc_profile=swapped_profile())
    assert rendered(content, variation(40)).convert("RGB").getpixel((20, 10)) == (90, 90, 90)


@pytest.mark.parametrize("profile", [b"nonsense", b"\0" * 200])
def test_a_broken_profile_is_left_out(profile):
    found = rendered(encoded(solid(RED, (80, 40)), "PNG", icc_profile=profile), variation(40))
    assert found.convert("RGB").getpixel((20, 10)) == pytest.approx(RED, abs=2)


# --- movement --------------------------------------------------------------------------------------

SHOWN = [RED, GREEN, BLUE]
DURATIONS = [70, 200, 400]


def animation(source: str, **options: object) -> bytes:
    first, *others = (solid(color, (40, 20)) for color in SHOWN)
    return encoded(first, source, save_all=True, append_images=others, duration=DURATIONS, **options)


@pytest.mark.parametrize("format_", [WEBP, AVIF, GIF])
@pytest.mark.parametrize("source", ["GIF", "PNG"])
def test_an_animation_ends_before_a_frame_that_is_damaged(source, format_):
    whole = animation(source)
    damaged = whole[: len(whole) - 24]

    shown = frames_of(rendered(damaged, variation(20, format_=format_)))
    assert len(shown) == len(SHOWN) - 1
    assert shown[0][0].convert("RGB").getpixel((10, 5)) == pytest.approx(SHOWN[0], abs=16)


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("format_", [WEBP, AVIF, GIF])
def test_an_animation_stays_one(source, format_):
    found = rendered(animation(source), variation(20, format_=format_))

    shown = frames_of(found)
    assert [duration for _, duration in shown] == DURATIONS
    for (frame, _), color in zip(shown, SHOWN, strict=True):
        assert frame.size == (20, 10)
        assert frame.convert("RGB").getpixel((10, 5)) == pytest.approx(color, abs=16)


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG", "AVIF"])
@pytest.mark.parametrize("format_", [JPEG, PNG])
def test_a_still_shows_the_first_frame(source, format_):
    found = rendered(animation(source), variation(20, format_=format_, quality=95))

    assert getattr(found, "n_frames", 1) == 1
    assert found.convert("RGB").getpixel((10, 5)) == pytest.approx(RED, abs=16)


def test_a_frame_that_changes_a_part_of_the_picture_keeps_the_rest():
    first = solid(RED, (40, 20))
    second = first.copy()
    second.paste(BLUE, (30, 0, 40, 20))
    content = encoded(first, "GIF", save_all=True, append_images=[second], duration=100)

    shown = frames_of(rendered(content, variation(20, format_=WEBP)))
    assert shown[1][0].getpixel((4, 5)) == pytest.approx((*RED, 255), abs=16)
    assert shown[1][0].getpixel((18, 5)) == pytest.approx((*BLUE, 255), abs=16)


@pytest.mark.parametrize("format_", [WEBP, AVIF, GIF])
@pytest.mark.parametrize("first_is_opaque", [True, False])
def test_frames_may_differ_in_transparency(format_, first_is_opaque):
    frames = [solid((*BLUE, 255), (40, 20), "RGBA"), half_transparent()]
    if not first_is_opaque:
        frames.reverse()
    content = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100)

    shown = [frame for frame, _ in frames_of(rendered(content, variation(20, format_=format_)))]
    transparent = [min(frame.getchannel("A").tobytes()) < 8 for frame in shown]
    assert transparent == [not first_is_opaque, first_is_opaque]


@pytest.mark.parametrize("format_", [WEBP, AVIF, GIF])
def test_a_frame_with_holes_does_not_show_the_one_before(format_):
    image = solid((*BLUE, 255), (40, 20), "RGBA")
    content = encoded(image, "WEBP", save_all=True, append_images=[half_transparent()], lossless=True)

    _, (second, _) = frames_of(rendered(content, variation(20, format_=format_)))
    assert second.getpixel((4, 5)) == pytest.approx((*GREEN, 255), abs=16)
    assert second.getchannel("A").getpixel((16, 5)) == pytest.approx(0, abs=8)


def test_a_gif_has_the_colours_that_are_seen_most():
    picture = smooth((320, 240))

    found = rendered(encoded(picture, "PNG"), variation(160, format_=GIF)).convert("RGB")
    assert psnr(found, picture.resize((160, 120), Image.Resampling.LANCZOS)) > 28


def test_a_gif_is_as_transparent_as_it_can_be():
    image = Image.new("RGBA", (60, 20), (*GREEN, 255))
    image.paste((*RED, 0), (20, 0, 40, 20))
    image.paste((*BLUE, 150), (40, 0, 60, 20))

    found = rendered(encoded(image, "PNG"), variation(60, format_=GIF)).convert("RGBA")
    assert [found.getpixel((x, 9)) for x in (9, 49)] == [
        pytest.approx((*GREEN, 255), abs=8),
        pytest.approx((*BLUE, 255), abs=8),
    ]
    assert found.getchannel("A").getpixel((29, 9)) == 0


@pytest.mark.parametrize("loop", [0, 1, 3])
def test_a_gif_is_repeated_as_often_as_its_source(loop):
    found = rendered(animation("WEBP", loop=loop), variation(20, format_=GIF))
    assert found.info.get("loop", 1) == loop


@pytest.mark.parametrize(
    "source, options, loop",
    [
        ("GIF", {}, 1),  # which says nothing, and so is shown once
        ("GIF", {"loop": 0}, 0),
        ("WEBP", {"loop": 0}, 0),
        ("WEBP", {"loop": 3}, 3),
        ("PNG", {"loop": 2}, 2),
    ],
)
def test_an_animation_is_repeated_as_often_as_before(source, options, loop):
    assert rendered(animation(source, **options), variation(20, format_=WEBP)).info["loop"] == loop


# --- several at once -------------------------------------------------------------------------------

SEVERAL = (
    variation(80, format_=WEBP, quality=95),
    variation(480, format_=PNG),
    variation(200, 200, JPEG, Fit.COVER, quality=95, focal=FocalPoint(1, 0)),
    variation(1000, 700, AVIF, Fit.CONTAIN, quality=90),
)


@pytest.mark.parametrize("source", FORMATS)
@pytest.mark.parametrize("orientation", [1, 6])
def test_several_of_one_decode_look_like_each_of_its_own(source, orientation, monkeypatch):
    options = {} if source == "GIF" else {"exif": turned(orientation)}
    content = encoded(smooth((1600, 1200)), source, **options)
    alone = [rendered(content, each) for each in SEVERAL]

    decodes = []

    def counted(*args: object) -> images.Frame:
        decodes.append(args)
        return images.decoded(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(rendering, "decoded", counted)
    together = rendering.render_many(io.BytesIO(content), formats=FORMATS, variations=SEVERAL)
    assert len(decodes) == 1
    for made, each, wanted in zip(together, alone, SEVERAL, strict=True):
        assert made.content_type == wanted.format.content_type
        image = Image.open(io.BytesIO(made.content))
        assert image.size == (made.width, made.height) == each.size
        assert psnr(image.convert("RGB"), each.convert("RGB")) > ALIKE


def test_stills_and_animations_are_made_together():
    wishes = [variation(20, format_=format_) for format_ in (WEBP, JPEG, GIF, PNG)]
    made = rendering.render_many(io.BytesIO(animation("GIF")), formats=FORMATS, variations=wishes)

    shown = [frames_of(Image.open(io.BytesIO(each.content))) for each in made]
    assert [len(frames) for frames in shown] == [3, 1, 3, 1]
    for frames in shown:
        assert frames[0][0].convert("RGB").getpixel((10, 5)) == pytest.approx(RED, abs=16)
    assert shown[2][2][0].convert("RGB").getpixel((10, 5)) == pytest.approx(BLUE, abs=16)


def test_a_large_jpeg_is_never_decoded_whole_for_a_small_one(monkeypatch):
    sizes = []

    def seen(frame: images.Frame, plan: object) -> Image.Image:
        sizes.append(frame.pixels.size)
        return images.laid_out(frame, plan)  # type: ignore[arg-type]

    monkeypatch.setattr(rendering, "laid_out", seen)
    content = encoded(smooth((1600, 1200)), "JPEG")
    render(content, variation(150))
    assert sizes == [(200, 150)]
    sizes.clear()
    rendering.render_many(io.BytesIO(content), formats=FORMATS, variations=[variation(150), variation(300)])
    assert sizes == [(400, 300)] * 2


# --- nothing but pixels ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "AVIF", "GIF"])
@pytest.mark.parametrize("format_", [JPEG, PNG, WEBP, AVIF])
def test_nothing_of_the_source_but_its_pixels_is_kept(source, format_):
    exif = Image.Exif()
    exif[0x010E] = "SECRET in EXIF"
    options: dict[str, object] = {"exif": exif, "xmp": b"<x:xmpmeta>SECRET in XMP</x:xmpmeta>"}
    if source in {"JPEG", "GIF"}:
        options["comment"] = b"SECRET in a comment"
    if source == "GIF":
        options = {"comment": b"SECRET in a comment"}
    elif source != "PNG":
        options["icc_profile"] = swapped_profile()
    content = encoded(smooth((80, 40)), source, **options) + b"SECRET behind the end"
    assert content.count(b"SECRET") >= 2

    made = render(content, variation(40, format_=format_))
    for trace in (b"SECRET", b"Exif", b"eXIf", b"xmpmeta", b"ICC_PROFILE", b"iCCP", b"ICCP"):
        assert trace not in made.content
    kept = rendered(content, variation(40, format_=format_))
    assert not kept.info.keys() & {"exif", "xmp", "icc_profile", "comment", "XML:com.adobe.xmp"}


# --- what is no image ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", FORMATS)
def test_an_image_that_breaks_off_is_invalid(source):
    content = encoded(Image.effect_noise((64, 64), 100).convert("RGB"), source)
    with pytest.raises(InvalidImage):
        render(content[: len(content) // 2], variation(32))


def test_only_the_formats_that_are_named_are_decoded():
    with pytest.raises(InvalidImage):
        rendering.render(
            io.BytesIO(encoded(solid(RED), "GIF")), formats=("JPEG", "PNG"), variation=variation(32)
        )
