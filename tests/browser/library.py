"""The library page as its readers have it before them: uploads, filters, the grid and the drawer."""

from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Watched


@dataclass(frozen=True)
class Library:
    page: Page

    @classmethod
    def opened(cls, watched: Watched) -> "Library":
        library = cls(watched.open("/"))
        expect(library.page.get_by_label("Profile").locator("option")).not_to_have_count(1)
        return library

    def pick(self, *files: Path) -> None:
        self.page.get_by_label("Pick files").set_input_files(files)

    def upload(self, *files: Path) -> None:
        """Pick them, and wait until they are in the grid."""
        before = self.items.count()
        self.pick(*files)
        expect(self.items).to_have_count(before + len(files))

    @property
    def items(self) -> Locator:
        return self.page.get_by_role("list", name="Files").get_by_role("button")

    def names(self) -> list[str]:
        return self.items.locator(".name").all_inner_texts()

    def said_of(self, name: str) -> Locator:
        """What the list of uploads says of one file."""
        uploads = self.page.get_by_role("region", name="Uploads")
        return uploads.get_by_role("listitem").filter(has_text=name).get_by_role("status")

    def open(self, name: str) -> Locator:
        self.items.filter(has_text=name).click()
        drawer = self.page.get_by_role("dialog")
        expect(drawer.get_by_role("button", name="Copy address")).to_be_visible()
        return drawer
