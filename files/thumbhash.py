"""ThumbHash: a picture in about 25 bytes, from which a client draws a blurred placeholder; pure.

The format is Evan Wallace's (github.com/evanw/thumbhash): the lowest frequencies of a cosine transform of
lightness, of two colour differences and, where there is any, of transparency, in four bits each. The one
Python package for it (thumbhash 0.1.2) fails on transparent images and takes tenths of a second, because it
sums pixel by pixel; here the transform is done row by row, then column by column, with `math.sumprod`.
"""

import base64
import math
from collections.abc import Sequence
from itertools import batched

from PIL import Image

# The format allows 100; the 7 x 7 frequencies that are kept do not change visibly above this.
MAX_SIDE = 64

type Channel = list[list[float]]  # rows of values


def encode(image: Image.Image) -> str:
    """The ThumbHash, in base64, of an RGBA image with at most 100 pixels a side. Raises ValueError."""
    width, height = image.size
    if image.mode != "RGBA" or max(width, height) > 100:
        raise ValueError("A ThumbHash is made of an RGBA image of at most 100 x 100 pixels.")
    lightness, yellow_blue, red_green, alpha = _channels(image)
    opaque = all(min(row) >= 1 for row in alpha)
    longest = max(width, height)
    limit = 7 if opaque else 5
    columns = max(1, round(limit * width / longest))
    rows = max(1, round(limit * height / longest))

    l_mean, l_waves, l_scale = _transform(lightness, max(3, columns), max(3, rows))
    p_mean, p_waves, p_scale = _transform(yellow_blue, 3, 3)
    q_mean, q_waves, q_scale = _transform(red_green, 3, 3)
    landscape = width > height
    header = (
        round(63 * l_mean)
        | round(31.5 + 31.5 * p_mean) << 6
        | round(31.5 + 31.5 * q_mean) << 12
        | round(31 * l_scale) << 18
        | (not opaque) << 23
    )
    shape = (
        (rows if landscape else columns)
        | round(63 * p_scale) << 3
        | round(63 * q_scale) << 9
        | landscape << 15
    )
    encoded = header.to_bytes(3, "little") + shape.to_bytes(2, "little")
    waves = [*l_waves, *p_waves, *q_waves]
    if not opaque:
        a_mean, a_waves, a_scale = _transform(alpha, 5, 5)
        encoded += bytes([round(15 * a_mean) | round(15 * a_scale) << 4])
        waves += a_waves
    nibbles = [round(15 * wave) for wave in waves]
    if len(nibbles) % 2:
        nibbles.append(0)
    encoded += bytes(low | high << 4 for low, high in batched(nibbles, 2))
    return base64.b64encode(encoded).decode()


def _channels(image: Image.Image) -> tuple[Channel, Channel, Channel, Channel]:
    """Lightness, yellow-blue, red-green and alpha, all 0 to 1, transparent pixels in the mean colour."""
    width = image.width
    reds, greens, blues, alphas = ([value / 255 for value in band.tobytes()] for band in image.split())
    weight = math.fsum(alphas)
    mean = [math.sumprod(band, alphas) / weight if weight else 0.0 for band in (reds, greens, blues)]
    if weight < len(alphas):
        reds, greens, blues = (
            [average * (1 - alpha) + value * alpha for value, alpha in zip(band, alphas, strict=True)]
            for band, average in zip((reds, greens, blues), mean, strict=True)
        )
    pixels = list(zip(reds, greens, blues, strict=True))
    return (
        _in_rows([(red + green + blue) / 3 for red, green, blue in pixels], width),
        _in_rows([(red + green) / 2 - blue for red, green, blue in pixels], width),
        _in_rows([red - green for red, green, _ in pixels], width),
        _in_rows(alphas, width),
    )


def _in_rows(values: Sequence[float], width: int) -> Channel:
    return [list(row) for row in batched(values, width)]


def _transform(channel: Channel, columns: int, rows: int) -> tuple[float, list[float], float]:
    """The mean, the waves scaled to 0..1, and the scale, of the triangle of the lowest frequencies."""
    height, width = len(channel), len(channel[0])
    across = [
        [math.sumprod(row, wave) for row in channel]
        for wave in (_wave(each, width) for each in range(columns))
    ]
    found = [
        math.sumprod(across[x], _wave(y, height)) / (width * height)
        for y in range(rows)
        for x in range(columns)
        if x * rows < columns * (rows - y)
    ]
    mean, waves = found[0], found[1:]
    scale = max((abs(wave) for wave in waves), default=0.0)
    return mean, [0.5 + 0.5 * wave / scale for wave in waves] if scale else waves, scale


def _wave(frequency: int, length: int) -> list[float]:
    return [math.cos(math.pi / length * frequency * (step + 0.5)) for step in range(length)]
