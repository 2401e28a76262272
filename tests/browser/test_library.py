"""The library in a browser: files come in, are found, looked at, changed and deleted, over GraphQL alone."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import ImageStat
from playwright.sync_api import Route, expect

from files.demo import shelf
from tests.browser.conftest import Watched, sign_in
from tests.browser.graphiql import GraphiQL
from tests.browser.library import Library
from tests.browser.pictures import landscape, screenshot
from tests.e2e.conftest import CLIENTS, Node
from tests.e2e.server import Service, wait_for

pytestmark = pytest.mark.browser

BYTES_A_SECOND = 200_000  # of a slow line
LARGE = 6_000_000  # bytes: half a minute of it

type Make = Callable[[str], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """A file of that name: a picture or text by its ending, and empty if the name says so."""

    def made(name: str) -> Path:
        path = tmp_path / name
        formats = {".png": "PNG", ".jpg": "JPEG"}
        if path.suffix in formats:
            path.write_bytes(landscape(formats[path.suffix], sky=("#27173b", "#f2a65a"), ground="#1b1126"))
        else:
            path.write_text("" if "empty" in name else f"This is {name}.")
        return path

    return made


def axe(watched: Watched, node: Node) -> list[str]:
    """The serious and critical findings of axe-core on the page as it is; `node` has installed it."""
    watched.page.evaluate((CLIENTS / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found: dict[str, Any] = watched.page.evaluate("axe.run()")
    assert found["passes"]
    return [
        f"{each['id']}: {[place['html'] for place in each['nodes']]}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


# --- uploads ---------------------------------------------------------------------------------------


def test_many_files_are_sent_and_each_is_told_its_own_outcome(
    signed_in: Watched, service: Service, make: Make
) -> None:
    library = Library.opened(signed_in)
    before = service.rows()
    library.pick(make("sunset.jpg"), make("notes.txt"), make("empty.txt"))
    expect(library.said_of("sunset.jpg")).to_have_text("Kept.")
    expect(library.said_of("notes.txt")).to_have_text("Kept.")
    expect(library.said_of("empty.txt")).to_have_text(
        "The file is empty; send a file with at least one byte."
    )
    expect(library.items).to_have_count(2)
    expect(library.page.get_by_text("2 files")).to_be_visible()
    assert service.rows() == before + 2


def test_files_can_be_dropped_anywhere(signed_in: Watched) -> None:
    library = Library.opened(signed_in)
    dropped = library.page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(['One.'], 'one.txt'));
            transfer.items.add(new File(['Two.'], 'two.txt'));
            return transfer;
        }"""
    )
    library.page.dispatch_event("header", "drop", {"dataTransfer": dropped})
    expect(library.items).to_have_count(2)
    assert sorted(library.names()) == ["one.txt", "two.txt"]


def test_a_cancelled_file_leaves_nothing_and_the_next_one_comes(
    signed_in: Watched, service: Service, make: Make, tmp_path: Path
) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(LARGE))
    library = Library.opened(signed_in)
    line = library.page.context.new_cdp_session(library.page)
    slow = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": BYTES_A_SECOND, "offline": False}
    line.send("Network.emulateNetworkConditions", slow)
    before = service.kept()
    library.pick(large)
    progress = library.page.get_by_label("Sent of large.bin")
    wait_for("some progress", lambda: progress.evaluate("(bar) => bar.value") > 0.05)
    library.page.get_by_role("button", name="Cancel large.bin").click()
    expect(library.said_of("large.bin")).to_have_text("Cancelled.")
    wait_for("the end of the request", lambda: service.kept() == before)
    library.upload(make("notes.txt"))


def test_a_profile_that_is_chosen_decides(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.page.get_by_label("Profile").select_option("image")
    library.pick(make("notes.txt"))
    expect(library.said_of("notes.txt")).to_contain_text("text/plain, which this profile does not accept")
    expect(library.items).to_have_count(0)


# --- finding ---------------------------------------------------------------------------------------


def test_a_picture_begins_as_a_blur_and_sharpens(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    library.page.route("**/renditions/**", hold)
    library.upload(make("sunset.jpg"))
    picture = library.items.locator("img")
    expect(picture).to_have_attribute("data-sharp", "false")
    assert "data:image/png" in picture.evaluate("(img) => getComputedStyle(img).backgroundImage")
    wait_for("a request", lambda: bool(held))
    for each in held:
        each.continue_()
    expect(picture).to_have_attribute("data-sharp", "true")
    assert picture.evaluate("(img) => [img.naturalWidth > 0, getComputedStyle(img).backgroundImage]") == [
        True,
        "none",
    ]


def test_files_are_found_by_name_kind_and_tag_and_put_in_order(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("beach.png"), make("a letter.txt"), make("zebra.txt"))
    page = library.page
    page.get_by_label("Order").select_option("by name")
    expect(library.items.locator(".name")).to_have_text(["a letter.txt", "beach.png", "zebra.txt"])

    page.get_by_label("Kind").select_option("Image")
    expect(library.items.locator(".name")).to_have_text(["beach.png"])
    page.get_by_label("Kind").select_option("any")
    page.get_by_role("searchbox", name="Name").fill("ZEB")
    expect(library.items.locator(".name")).to_have_text(["zebra.txt"])
    page.get_by_role("searchbox", name="Name").fill("")

    drawer = library.open("a letter.txt")
    drawer.get_by_label("Tags").fill("post, paper")
    drawer.get_by_role("button", name="Save").click()
    expect(drawer.get_by_text("Saved.")).to_be_visible()
    drawer.get_by_role("button", name="Close").click()
    page.get_by_role("searchbox", name="Tags").fill("paper")
    expect(library.items.locator(".name")).to_have_text(["a letter.txt"])
    page.get_by_role("searchbox", name="Tags").fill("paper, stone")
    expect(page.get_by_text("0 files")).to_be_visible()


def test_one_can_look_at_ones_own_files_alone(signed_in: Watched, service: Service, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("notes.txt"))
    theirs = service.upload(b"Read me.", "theirs.txt", visibility="PUBLIC")
    try:
        library = Library.opened(signed_in)
        expect(library.items.locator(".name")).to_have_text(["theirs.txt", "notes.txt"])
        library.page.get_by_label("Only mine").check()
        expect(library.items.locator(".name")).to_have_text(["notes.txt"])
        library.page.get_by_label("Only mine").uncheck()
        expect(library.items).to_have_count(2)
    finally:
        service.delete(theirs["id"])


def test_further_pages_come_as_one_scrolls(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.pick(*(make(f"{number}.txt") for number in range(60)))
    expect(library.page.get_by_text("60 files")).to_be_visible()
    expect(library.items).to_have_count(48)
    library.items.last.scroll_into_view_if_needed()
    expect(library.items).to_have_count(60)
    assert len(set(library.names())) == 60
    expect(library.page.get_by_role("button", name="More")).to_have_count(0)


# --- one file --------------------------------------------------------------------------------------


def test_what_is_said_of_a_file_can_be_changed(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("sunset.jpg"))
    drawer = library.open("sunset.jpg")
    drawer.get_by_label("Title").fill("The evening")
    drawer.get_by_label("Description").fill("A sun over hills")
    drawer.get_by_label("Tags").fill("hills, sun")
    drawer.get_by_label("Seen by").select_option("PUBLIC")
    drawer.get_by_role("button", name="Save").click()
    expect(drawer.get_by_text("Saved.")).to_be_visible()

    drawer = Library.opened(signed_in).open("The evening")
    expect(drawer.get_by_label("Title")).to_have_value("The evening")
    expect(drawer.get_by_label("Description")).to_have_value("A sun over hills")
    expect(drawer.get_by_label("Tags")).to_have_value("hills, sun")
    expect(drawer.get_by_label("Seen by")).to_have_value("PUBLIC")
    expect(drawer.get_by_alt_text("A sun over hills")).to_be_visible()
    expect(drawer.get_by_text("1200 × 800")).to_be_visible()
    expect(drawer.get_by_role("link", name="thumbnail")).to_have_attribute(
        "href", re.compile("/renditions/.*signature=")
    )
    drawer.get_by_label("Seen by").select_option("PRIVATE")  # the other tests' readers would see it
    drawer.get_by_role("button", name="Save").click()
    expect(drawer.get_by_text("Saved.")).to_be_visible()


def test_what_one_may_not_change_offers_nothing_to_change(
    signed_in: Watched, service: Service, make: Make
) -> None:
    about = {"description": "A sun over hills", "tags": ["hills", "sun"], "visibility": "PUBLIC"}
    theirs = service.upload(make("theirs.jpg").read_bytes(), "theirs.jpg", profile="image", **about)
    try:
        drawer = Library.opened(signed_in).open("theirs.jpg")
        expect(drawer.get_by_alt_text("A sun over hills")).to_be_visible()
        expect(drawer.get_by_text("A sun over hills")).to_be_visible()
        expect(drawer.get_by_text("hills, sun")).to_be_visible()
        expect(drawer.get_by_text("alice")).to_be_visible()
        for name in ("Save", "Delete"):
            expect(drawer.get_by_role("button", name=name)).to_have_count(0)
        assert drawer.locator("input:not([readonly]), select, textarea, .focal-point").count() == 0
    finally:
        service.delete(theirs["id"])


def test_a_click_on_the_picture_says_what_stays_in_sight(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("sunset.jpg"))
    drawer = library.open("sunset.jpg")
    picture = drawer.locator(".focal-picture")
    expect(picture.locator("img")).to_have_attribute("data-sharp", "true")
    drawer.get_by_label("Title").fill("Not saved yet")
    box = picture.bounding_box()
    assert box
    picture.click(position={"x": box["width"] / 4, "y": box["height"] * 3 / 4})
    expect(drawer.get_by_label("From the left")).to_have_value("25")
    expect(drawer.get_by_label("From the top")).to_have_value("75")
    expect(drawer.get_by_label("Title")).to_have_value("Not saved yet")

    drawer.get_by_label("From the left").fill("10")  # the same without a mouse
    drawer.get_by_label("From the left").press("Enter")
    expect(drawer.get_by_text("Saved.")).to_be_visible()
    drawer = Library.opened(signed_in).open("sunset.jpg")
    expect(drawer.get_by_label("From the left")).to_have_value("10")
    expect(drawer.get_by_label("From the top")).to_have_value("75")


def test_a_file_is_deleted_only_after_a_second_word(signed_in: Watched, service: Service, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("notes.txt"))
    before = service.rows()
    drawer = library.open("notes.txt")
    library.page.once("dialog", lambda dialog: dialog.dismiss())
    drawer.get_by_role("button", name="Delete").click()
    assert service.rows() == before
    library.page.once("dialog", lambda dialog: dialog.accept())
    drawer.get_by_role("button", name="Delete").click()
    expect(library.items).to_have_count(0)
    expect(library.page.get_by_role("dialog")).to_have_count(0)
    assert service.rows() == before - 1


def test_its_address_and_its_graphql_can_be_taken_along(signed_in: Watched, make: Make) -> None:
    signed_in.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    library = Library.opened(signed_in)
    library.upload(make("notes.txt"))
    drawer = library.open("notes.txt")
    drawer.get_by_role("button", name="Copy address").click()
    expect(drawer.get_by_text("Copied.")).to_be_visible()
    address = library.page.evaluate("navigator.clipboard.readText()")
    assert library.page.request.get(address).text() == "This is notes.txt."

    drawer.get_by_role("button", name="Copy as GraphQL").click()
    expect(drawer.get_by_text("Copied.")).to_have_count(2)
    copied = library.page.evaluate("navigator.clipboard.readText()")
    drawer.get_by_role("link", name="Open in GraphiQL").click()
    graphiql = GraphiQL(library.page)
    library.page.locator(".graphiql-query-editor .view-line").first.wait_for()
    file = graphiql.run()["data"]["file"]
    assert file["name"] == "notes.txt"
    assert copied.startswith("query File($id: ID!)")
    assert json.dumps(file["id"]) in copied


# --- for everybody ---------------------------------------------------------------------------------


def test_it_can_be_used_by_keys_alone(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.upload(make("notes.txt"))
    page = library.page
    page.get_by_label("Order").focus()
    page.keyboard.press("Tab")
    expect(library.items).to_be_focused()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    expect(drawer.get_by_role("heading", name="notes.txt")).to_be_visible()
    for _ in range(30):  # it keeps the focus to itself
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
        )
    page.keyboard.press("Escape")
    expect(drawer).to_have_count(0)
    expect(library.items).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    signed_in: Watched, node: Node, make: Make, scheme: Literal["light", "dark"]
) -> None:
    signed_in.page.emulate_media(color_scheme=scheme)
    library = Library.opened(signed_in)
    library.pick(make("sunset.jpg"), make("notes.txt"), make("empty.txt"))
    expect(library.items).to_have_count(2)
    expect(library.said_of("empty.txt")).to_contain_text("empty")
    assert axe(signed_in, node) == []
    library.open("sunset.jpg")
    assert axe(signed_in, node) == []


def test_axe_finds_nothing_serious_where_one_signs_in(watched: Watched, node: Node) -> None:
    watched.open("/")
    sign_in(watched.page, "nobody", "wrong")
    expect(watched.page.get_by_text("Please enter a correct username")).to_be_visible()
    assert axe(watched, node) == []


def test_axe_finds_nothing_serious_where_one_changes_ones_password(signed_in: Watched, node: Node) -> None:
    Library.opened(signed_in).page.get_by_role("link", name="Password").click()
    expect(signed_in.page.get_by_role("button", name="Change password")).to_be_visible()
    assert axe(signed_in, node) == []


def test_it_fits_a_narrow_screen(signed_in: Watched, make: Make) -> None:
    library = Library.opened(signed_in)
    library.page.set_viewport_size({"width": 360, "height": 640})
    library.upload(make("sunset.jpg"), make(f"{'a long name ' * 12}.txt"))
    assert overflowing(library) == []
    library.open("sunset.jpg")
    assert overflowing(library) == []


def overflowing(library: Library) -> list[str]:
    """What reaches beyond the right edge of the screen."""
    found: list[str] = library.page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter((each) => each.getBoundingClientRect().right > innerWidth + 1)
            .map((each) => each.outerHTML.slice(0, 100))"""
    )
    return found


@pytest.mark.parametrize("scheme, is_dark", [("light", False), ("dark", True)])
def test_it_is_dark_for_those_who_like_it_dark(
    signed_in: Watched, tmp_path: Path, scheme: Literal["light", "dark"], is_dark: bool
) -> None:
    names = [
        "minutes.txt",
        "tiles.png",
        "glacier.jpg",
        "moonrise.png",
        "dunes.jpg",
        "sea.webp",
        "evening.jpg",
    ]
    files = [tmp_path / name for name in names]
    for path in files:
        path.write_bytes(next(each.make() for each in shelf.FILES if each.name == path.name))
    signed_in.page.emulate_media(color_scheme=scheme)
    library = Library.opened(signed_in)
    library.upload(*files)
    expect(library.items.locator("img[data-sharp=true]")).to_have_count(len(files) - 1)
    shot = screenshot(library.page, "library-dark" if is_dark else "library")
    assert (ImageStat.Stat(shot.convert("L")).median[0] < 100) == is_dark
