"""ThumbHash, read back by a decoder of the tests' own."""

import base64
import math
from dataclasses import dataclass
from itertools import batched, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from files import thumbhash

type Colour = tuple[float, ...]

# The steps in which the format writes means: 1/63 of lightness, 2/63 of the colour differences.
STEP = 0.02


@dataclass(frozen=True)
class Decoded:
    """The mean as red, green, blue and alpha, 0 to 1; how many waves go across and down; and the waves."""

    mean: Colour
    has_alpha: bool
    columns: int
    rows: int
    landscape: bool
    lightness: dict[tuple[int, int], float]  # (x, y) -> amplitude
    length: int  # bytes in all
    expected_length: int  # bytes, by what the head says


def decode(encoded: str) -> Decoded:
    """The head of a ThumbHash and the waves of its lightness, by the description of the format."""
    raw = base64.b64decode(encoded, validate=True)
    head = int.from_bytes(raw[:3], "little")
    shape = int.from_bytes(raw[3:5], "little")
    lightness = (head & 63) / 63
    yellow_blue = (head >> 6 & 63) / 31.5 - 1
    red_green = (head >> 12 & 63) / 31.5 - 1
    scale = (head >> 18 & 31) / 31
    has_alpha = bool(head >> 23)
    landscape = bool(shape >> 15)
    longest = 5 if has_alpha else 7
    columns, rows = (longest, shape & 7) if landscape else (shape & 7, longest)

    blue = lightness - 2 / 3 * yellow_blue
    red = (3 * lightness - blue + red_green) / 2
    alpha = (raw[5] & 15) / 15 if has_alpha else 1.0

    nibbles = [half for byte in raw[6 if has_alpha else 5 :] for half in (byte & 15, byte >> 4)]
    waves = _waves(max(3, columns), max(3, rows))
    count = len(waves) + 2 * len(_waves(3, 3)) + (len(_waves(5, 5)) if has_alpha else 0)
    return Decoded(
        mean=(red, red - red_green, blue, alpha),
        has_alpha=has_alpha,
        columns=columns,
        rows=rows,
        landscape=landscape,
        lightness={wave: (half / 7.5 - 1) * scale for wave, half in zip(waves, nibbles, strict=False)},
        length=len(raw),
        expected_length=(6 if has_alpha else 5) + math.ceil(count / 2),
    )


def _waves(columns: int, rows: int) -> list[tuple[int, int]]:
    """The frequencies (across, down) that are kept, in their order, without the mean."""
    return [(x, y) for y, x in product(range(rows), range(columns)) if x * rows < columns * (rows - y)][1:]


def solid(colour: tuple[int, int, int, int], size: tuple[int, int] = (8, 8)) -> Image.Image:
    return Image.new("RGBA", size, colour)


def halves(first: int, second: int, *, across: bool) -> Image.Image:
    """An image of two greys, side by side or one above the other."""
    image = solid((first, first, first, 255), (16, 16))
    image.paste((second, second, second, 255), (8, 0, 16, 16) if across else (0, 8, 16, 16))
    return image


# --- colour ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "colour",
    [
        (0, 0, 0),
        (255, 255, 255),
        (128, 128, 128),
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
        (255, 255, 0),
        (30, 144, 255),
        (1, 2, 3),
    ],
)
def test_a_solid_colour_is_its_own_mean(colour):
    found = decode(thumbhash.encode(solid((*colour, 255))))

    expected = [value / 255 for value in colour]
    assert found.mean[:3] == pytest.approx(expected, abs=3 * STEP)
    assert found.has_alpha is False


def test_the_mean_is_that_of_all_pixels():
    image = solid((255, 0, 0, 255))
    image.paste((0, 0, 255, 255), (4, 0, 8, 8))

    assert decode(thumbhash.encode(image)).mean[:3] == pytest.approx((0.5, 0, 0.5), abs=3 * STEP)


@pytest.mark.parametrize(
    "image, wave, brighter_first",
    [
        (halves(255, 0, across=True), (1, 0), True),
        (halves(0, 255, across=True), (1, 0), False),
        (halves(255, 0, across=False), (0, 1), True),
        (halves(0, 255, across=False), (0, 1), False),
    ],
    ids=["bright left", "bright right", "bright top", "bright bottom"],
)
def test_the_strongest_wave_says_where_it_is_bright(image, wave, brighter_first):
    lightness = decode(thumbhash.encode(image)).lightness

    strongest = max(lightness, key=lambda each: abs(lightness[each]))
    assert strongest == wave
    assert (lightness[wave] > 0) is brighter_first
    # The first wave of a step from 0 to 1 in the middle: the mean of |cos| over half a turn, halved.
    assert abs(lightness[wave]) == pytest.approx(1 / math.pi, abs=0.02)


def test_a_solid_colour_has_no_waves():
    assert decode(thumbhash.encode(solid((128, 128, 128, 255), (64, 64)))).lightness[1, 0] == pytest.approx(
        0, abs=0.02
    )


# --- transparency ----------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0, 1, 64, 128, 254])
def test_transparency_is_kept(alpha):
    found = decode(thumbhash.encode(solid((200, 100, 50, alpha))))

    assert found.has_alpha is True
    assert found.mean[3] == pytest.approx(alpha / 255, abs=1 / 15)


def test_the_colour_of_what_is_transparent_does_not_count():
    image = solid((255, 0, 0, 255))
    image.paste((0, 255, 0, 0), (4, 0, 8, 8))

    found = decode(thumbhash.encode(image))
    assert found.mean[:3] == pytest.approx((1, 0, 0), abs=3 * STEP)
    assert found.mean[3] == pytest.approx(0.5, abs=1 / 15)


@pytest.mark.parametrize("colour", [(0, 0, 0, 0), (255, 255, 255, 0), (255, 0, 0, 0)])
def test_an_image_of_nothing_is_black_and_transparent(colour):
    found = decode(thumbhash.encode(solid(colour, (20, 10))))

    assert found.mean[3] == 0
    assert found.mean[:3] == pytest.approx((0, 0, 0), abs=3 * STEP)


def test_one_pixel_that_can_be_seen_through_is_enough():
    image = solid((9, 9, 9, 255))
    image.putpixel((3, 3), (9, 9, 9, 254))

    assert decode(thumbhash.encode(image)).has_alpha is True


# --- shape -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "size, alpha, columns, rows, landscape, length",
    [
        ((8, 8), 255, 7, 7, False, 24),
        ((1, 1), 255, 7, 7, False, 24),
        ((100, 100), 255, 7, 7, False, 24),
        ((100, 50), 255, 7, 4, True, 19),
        ((50, 100), 255, 4, 7, False, 19),
        ((64, 48), 255, 7, 5, True, 21),
        ((100, 1), 255, 7, 1, True, 17),
        ((1, 100), 255, 1, 7, False, 17),
        ((9, 8), 255, 7, 6, True, 23),
        ((8, 8), 0, 5, 5, False, 25),
        ((1, 1), 128, 5, 5, False, 25),
        ((100, 50), 128, 5, 2, True, 23),
        ((50, 100), 128, 2, 5, False, 23),
        ((100, 1), 128, 5, 1, True, 23),
    ],
)
def test_the_shape_and_the_length_follow_from_the_proportion(size, alpha, columns, rows, landscape, length):
    found = decode(thumbhash.encode(solid((10, 20, 30, alpha), size)))

    assert (found.columns, found.rows, found.landscape) == (columns, rows, landscape)
    assert found.length == length == found.expected_length


_pixels = st.tuples(st.integers(1, 12), st.integers(1, 12)).flatmap(
    lambda size: st.tuples(
        st.just(size), st.binary(min_size=4 * size[0] * size[1], max_size=4 * size[0] * size[1])
    )
)


@settings(deadline=None, max_examples=50)
@given(_pixels)
def test_every_image_can_be_encoded(drawn):
    size, raw = drawn
    found = decode(thumbhash.encode(Image.frombytes("RGBA", size, raw)))

    assert found.has_alpha is any(alpha < 255 for *_, alpha in batched(raw, 4))
    assert found.landscape is (size[0] > size[1])
    assert found.length == found.expected_length <= 25


def test_it_is_the_same_each_time():
    image = halves(10, 200, across=True)

    assert thumbhash.encode(image) == thumbhash.encode(image.copy())


# --- what it is not made for -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "P", "CMYK", "RGBa"])
def test_another_mode_is_refused(mode):
    with pytest.raises(ValueError, match="RGBA image of at most 100 x 100 pixels"):
        thumbhash.encode(Image.new(mode, (8, 8)))


@pytest.mark.parametrize("size", [(101, 100), (100, 101), (1, 101), (6000, 1)])
def test_a_larger_image_is_refused(size):
    with pytest.raises(ValueError, match="RGBA image of at most 100 x 100 pixels"):
        thumbhash.encode(Image.new("RGBA", size))
