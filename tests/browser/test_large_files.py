"""A file of hundreds of megabytes goes through the library: the page stays awake, and the service small."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import PASSWORD, Watched, sign_in, watch
from tests.browser.library import Library
from tests.e2e.conftest import Start
from tests.e2e.server import Service, manage, measured

pytestmark = pytest.mark.browser

MIB = 1024 * 1024
SIZE = 300 * MIB
GROWTH = 32 * MIB  # of the memory of all processes of the service together
BEAT = 50  # milliseconds
ASLEEP = 2_000  # milliseconds; far more than a busy machine takes away, and less than reading the file would

_PROFILES = """
[default]
description = "Any file, kept as it is."
max_size = "512 MiB"
types = ["*/*"]
"""
_SET_PASSWORD = f"""
alice = User.objects.get(username="alice")
alice.set_password({PASSWORD!r})
alice.save()
"""


@pytest.fixture
def roomy(start: Start, tmp_path: Path) -> Iterator[Service]:
    """A service that takes large files, and to which alice can sign in."""
    profiles = tmp_path / "profiles.toml"
    profiles.write_text(_PROFILES)
    with start("roomy", settings={"COFFER_PROFILES": str(profiles)}) as service:
        told = manage("shell", "--command", _SET_PASSWORD, environ=service.environ)
        assert told.returncode == 0, told.stderr
        for number in range(4):  # what any first upload takes once is not meant: both workers have had some
            service.upload(bytes(MIB), f"warm-up {number}.bin")
        yield service


@pytest.fixture
def alices(context: BrowserContext, roomy: Service) -> Iterator[Watched]:
    page = context.new_page()
    page.goto(f"{roomy.url}/")
    sign_in(page, "alice")
    page.wait_for_url(f"{roomy.url}/")
    page.close()
    yield from watch(context, roomy)


def start_heart(page: Page) -> None:
    """It beats as often as the page comes to it, and remembers the longest pause."""
    page.evaluate(
        """(beat) => {
            const heart = window.heart = { beats: 0, longest: 0, last: performance.now() };
            heart.note = () => {
                const now = performance.now();
                heart.longest = Math.max(heart.longest, now - heart.last);
                heart.last = now;
                heart.beats += 1;
            };
            setInterval(heart.note, beat);
        }""",
        BEAT,
    )


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is measured by /proc of Linux")
def test_the_page_stays_awake_and_the_service_small(alices: Watched, roomy: Service, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(SIZE)  # a hole, which takes no room here
    library = Library.opened(alices)
    start_heart(library.page)
    with measured(roomy) as memory:
        library.pick(large)
        expect(library.said_of("large.bin")).to_have_text("Kept.")
    heart = library.page.evaluate("(heart.note(), { beats: heart.beats, longest: heart.longest })")
    answer = roomy.run('{ files(filters: {nameContains: "large.bin"}) { edges { node { id size } } } }')
    (edge,) = answer["files"]["edges"]
    roomy.delete(edge["node"]["id"])  # pytest keeps the folders of some runs
    assert edge["node"]["size"] == SIZE
    assert heart["beats"] > 1
    assert heart["longest"] < ASLEEP
    assert memory.growth < GROWTH
