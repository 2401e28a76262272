"""Pictures for the pages to show, and of the pages for the docs."""

import io
import os
from pathlib import Path

from PIL import Image, ImageDraw
from playwright.sync_api import Page

COLOURS = 160  # enough for a page, and a third of the bytes of all that there are


def landscape(format_: str, *, sky: tuple[str, str], ground: str) -> bytes:
    """A sky over hills, so that renditions of it are worth looking at."""
    size = (1200, 800)
    gradient = Image.linear_gradient("L").resize(size)
    image = Image.composite(Image.new("RGB", size, sky[1]), Image.new("RGB", size, sky[0]), gradient)
    draw = ImageDraw.Draw(image)
    draw.ellipse((780, 180, 900, 300), fill="#fff4d6")
    hills = [(0, 620), (300, 420), (520, 640), (820, 380), (1200, 660)]
    draw.polygon([*hills, (1200, 800), (0, 800)], fill=ground)
    target = io.BytesIO()
    image.save(target, format_)
    return target.getvalue()


def screenshot(page: Page, name: str) -> Image.Image:
    """What the page looks like; also kept for the docs, if `make screenshots` asks for it."""
    image = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))).convert("RGB")
    if folder := os.environ.get("SCREENSHOTS"):
        image.quantize(COLOURS).save(Path(folder) / f"{name}.png", optimize=True)
    return image
