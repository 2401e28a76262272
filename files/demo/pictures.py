"""Pictures that are drawn: landscapes, lights, tiles and things that move. The same each time, because chance
begins at a number that is given. Sizes in pixels."""

import math
import random
from collections.abc import Iterator, Sequence
from itertools import pairwise

from PIL import Image, ImageDraw, ImageFilter

type Colour = tuple[int, int, int]
type Size = tuple[int, int]

EVENING: Sequence[Colour] = ((38, 40, 92), (122, 84, 142), (238, 148, 118), (255, 214, 150))
EVENING_HILLS: tuple[Colour, Colour] = (206, 138, 138), (24, 22, 48)  # the farthest and the nearest

_RIDGES = 6
_HORIZON = 0.72  # of the height: there the sky has its last colour
_DRAWN_AT = 2400  # the width for which the sun was measured
_SUPERSAMPLING = 3  # edges are drawn this much larger, and become smooth as the picture is made smaller


def _mixed(one: Colour, other: Colour, part: float) -> Colour:
    red, green, blue = (round(a + (b - a) * part) for a, b in zip(one, other, strict=True))
    return red, green, blue


# --- landscapes ------------------------------------------------------------------------------------


def landscape(
    size: Size,
    *,
    sky: Sequence[Colour] = EVENING,
    hills: tuple[Colour, Colour] = EVENING_HILLS,
    sun: tuple[float, float] = (0.66, 0.52),
    light: Colour = (255, 240, 205),
    seed: int = 7,
) -> Image.Image:
    """Hills behind hills under a sun or moon; `sky` is from the zenith down, `sun` in parts of the size."""
    width, height = size
    chance, picture = random.Random(seed), _sky(size, sky)  # noqa: S311  draws
    picture.paste(light, mask=_sun(size, sun))
    draw = ImageDraw.Draw(picture)
    for number in range(_RIDGES):
        part = number / (_RIDGES - 1)
        outline = _ridge(size, chance, height * (0.6 + 0.3 * part), height / 1200 * (60 + 70 * part))
        draw.polygon([(0, height), *outline, (width, height)], fill=_mixed(*hills, part**0.8))
    return picture


def _sky(size: Size, colours: Sequence[Colour]) -> Image.Image:
    column = Image.new("RGB", (1, size[1]))
    for y in range(size[1]):
        place = min(y / (size[1] * _HORIZON), 0.999) * (len(colours) - 1)
        column.putpixel((0, y), _mixed(colours[int(place)], colours[int(place) + 1], place % 1))
    return column.resize(size)


def _sun(size: Size, place: tuple[float, float]) -> Image.Image:
    """How much of its light there is: a disc in a glow."""
    scale, mask = max(size) / _DRAWN_AT, Image.new("L", size)

    def disc(radius: float, light: int) -> None:
        x, y, radius = size[0] * place[0], size[1] * place[1], radius * scale
        ImageDraw.Draw(mask).ellipse((x - radius, y - radius, x + radius, y + radius), fill=light)

    for radius, light in ((420, 36), (260, 70), (150, 120)):
        disc(radius, light)
    mask = mask.filter(ImageFilter.GaussianBlur(70 * scale))
    disc(84, 255)
    return mask.filter(ImageFilter.GaussianBlur(3 * scale))


def _ridge(size: Size, chance: random.Random, base: float, height: float) -> list[tuple[float, float]]:
    """The outline of hills: a few waves of falling size."""
    waves = [
        (height / 2**n, 2**n * chance.uniform(0.7, 1.3), chance.uniform(0, math.tau)) for n in range(1, 8)
    ]
    return [
        (x, base - sum(high * math.sin(x / size[0] * math.tau * rate + shift) for high, rate, shift in waves))
        for x in range(0, size[0] + 8, 8)
    ]


# --- lights, tiles, bubbles ------------------------------------------------------------------------


def lights(size: Size, colours: Sequence[Colour], *, seed: int) -> Image.Image:
    """Colours that run into each other: soft spots, drawn small because nothing in them is sharp."""
    chance, small = random.Random(seed), (max(size[0] // 8, 1), max(size[1] // 8, 1))  # noqa: S311  draws
    picture = Image.new("RGB", small, colours[0])
    for number in range(14):
        spot, radius = Image.new("L", small), max(small) * chance.uniform(0.12, 0.3)
        x, y = chance.uniform(0, small[0]), chance.uniform(0, small[1])
        ImageDraw.Draw(spot).ellipse((x - radius, y - radius, x + radius, y + radius), fill=190)
        picture.paste(colours[number % len(colours)], mask=spot.filter(ImageFilter.GaussianBlur(radius / 2)))
    return picture.resize(size, Image.Resampling.BICUBIC)


def tiles(size: Size, colours: Sequence[Colour], *, side: int, seed: int) -> Image.Image:
    """Quarters of circles on squares, each turned by chance."""
    chance, scale = random.Random(seed), _SUPERSAMPLING  # noqa: S311  draws
    picture = Image.new("RGB", (size[0] * scale, size[1] * scale))
    draw, step = ImageDraw.Draw(picture), side * scale
    for left in range(0, picture.width, step):
        for top in range(0, picture.height, step):
            ground, shape = chance.sample(colours, 2)
            draw.rectangle((left, top, left + step, top + step), fill=ground)
            x, y = left + chance.choice((0, step)), top + chance.choice((0, step))
            _quarter(draw, (left, top, left + step, top + step), (x, y), shape)
    return picture.resize(size, Image.Resampling.LANCZOS)


def _quarter(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], corner: tuple[int, int], colour: Colour
) -> None:
    """Of a circle around a corner of the box, which it does not leave."""
    left, top, right, _ = box
    x, y = corner
    start = {(True, True): 0, (False, True): 90, (False, False): 180, (True, False): 270}[x == left, y == top]
    radius = right - left
    draw.pieslice((x - radius, y - radius, x + radius, y + radius), start, start + 90, fill=colour)


def bubbles(size: Size, colours: Sequence[Colour], *, seed: int) -> Image.Image:
    """Discs of coloured glass on nothing: an alpha channel with all there is between none and full."""
    chance, scale = random.Random(seed), _SUPERSAMPLING  # noqa: S311  draws
    large = size[0] * scale, size[1] * scale
    picture = Image.new("RGBA", large)
    for number in range(18):
        radius = min(large) * chance.uniform(0.06, 0.24)
        x, y = (chance.uniform(radius, side - radius) for side in large)
        layer, box = Image.new("RGBA", large), (x - radius, y - radius, x + radius, y + radius)
        colour = colours[number % len(colours)]
        ImageDraw.Draw(layer).ellipse(
            box, fill=(*colour, 120), outline=(*colour, 255), width=round(radius / 20)
        )
        picture = Image.alpha_composite(picture, layer)
    return picture.resize(size, Image.Resampling.LANCZOS)


# --- what moves ------------------------------------------------------------------------------------


def sea(size: Size, colours: Sequence[Colour], *, frames: int) -> Iterator[Image.Image]:
    """Waves before waves; the last frame leads to the first. The first colour is the sky's, the last the
    nearest wave's."""
    width, height = size
    for frame in range(frames):
        picture = _sky(size, (colours[0], (255, 255, 255)))
        draw = ImageDraw.Draw(picture)
        for number, colour in enumerate(colours[1:], start=1):
            base, high = height * (0.3 + 0.6 * number / len(colours)), height * 0.012 * number
            shift = math.tau * (frame / frames * (1 if number % 2 else -1) + number / 3)
            crest = [
                (x, base + high * math.sin(x / width * math.tau * 2 + shift)) for x in range(0, width + 4, 4)
            ]
            draw.polygon([(0, height), *crest, (width, height)], fill=colour)
        yield picture


def orbit(size: int, colours: Sequence[Colour], *, frames: int) -> Iterator[Image.Image]:
    """Moons around a planet, on plain ground: few colours, as a GIF likes it."""
    large, middle = size * _SUPERSAMPLING, size * _SUPERSAMPLING / 2
    ground, planet, *moons = colours
    for frame in range(frames):
        picture = Image.new("RGB", (large, large), ground)
        draw = ImageDraw.Draw(picture)
        draw.circle((middle, middle), large * 0.12, fill=planet)
        for number, colour in enumerate(moons, start=1):
            way = large * (0.14 + 0.08 * number)
            turn = math.tau * (frame / frames * (len(moons) + 1 - number) + number / 5)
            draw.circle((middle, middle), way, outline=_mixed(ground, planet, 0.3), width=_SUPERSAMPLING)
            at = middle + way * math.cos(turn), middle + way * math.sin(turn)
            draw.circle(at, large * 0.03, fill=colour)
        yield picture.resize((size, size), Image.Resampling.LANCZOS)


def chart(size: Size, values: Sequence[float], colour: Colour) -> Image.Image:
    """A curve over a grid, on white; for pages of documents."""
    picture = Image.new("RGB", size, "white")
    draw, (width, height) = ImageDraw.Draw(picture), size
    for line in range(1, 10):
        y = height * line / 10
        draw.line((width * 0.08, y, width * 0.92, y), fill=(226, 228, 234), width=2)
    step = width * 0.84 / (len(values) - 1)
    points = [(width * 0.08 + n * step, height * (0.9 - 0.8 * value)) for n, value in enumerate(values)]
    for one, other in pairwise(points):
        draw.line((*one, *other), fill=colour, width=6)
    for point in points:
        draw.circle(point, 9, fill="white", outline=colour, width=5)
    return picture
