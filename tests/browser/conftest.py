"""Chromium over a running service. Every test judges what its page asked for and what its policy forbade."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

from tests.e2e.conftest import DEVELOPER, Start, node, prepared, pytest_runtest_makereport, start
from tests.e2e.server import Service, manage

__all__ = ["node", "prepared", "pytest_runtest_makereport", "start"]  # pytest finds them here

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",  # as root it does not start with one
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 30_000  # milliseconds until something that has to appear is missed; only failures take as long
PASSWORD = "correct horse battery staple"
READERS = 60  # users who can sign in; each test is one of its own
_next_reader = count()

_ADD_READERS = f"""
from django.contrib.auth.hashers import make_password
password = make_password({PASSWORD!r})
User.objects.bulk_create(User(username=f"reader{{n}}", password=password) for n in range({READERS}))
"""

expect.set_options(timeout=PATIENCE)

# Told by the page itself; what workers do is told by the console alone.
_REPORT_VIOLATIONS = """
    document.addEventListener('securitypolicyviolation', (event) =>
        console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`));
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def service(start: Start) -> Iterator[Service]:
    with start("browsed", settings=DEVELOPER) as service:
        added = manage("shell", "--command", _ADD_READERS, environ=service.environ)
        assert added.returncode == 0, added.stderr
        yield service


@dataclass
class Watched:
    """One tab of a browser with an empty profile, and what it did."""

    page: Page
    origin: str
    reader: str = ""
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.context.on("request", self._note_request)
        self.page.on("console", self._note_message)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.add_init_script(_REPORT_VIOLATIONS)

    def _note_request(self, request: Request) -> None:
        self.asked.append(request.url)

    def _note_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(f"{message.text} ({message.location['url']})")

    def abroad(self) -> list[str]:
        """The addresses that it asked outside of the service."""
        own = urlsplit(self.origin)
        return [
            url
            for url in self.asked
            if (parts := urlsplit(url)).scheme not in {"data", "blob"} and parts[:2] != own[:2]
        ]

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.origin}{path}")
        return self.page


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()


@pytest.fixture
def watched(context: BrowserContext, service: Service) -> Iterator[Watched]:
    """Whatever a test does with a page: it stays at home, and its policy has nothing to forbid."""
    yield from watch(context, service)


@pytest.fixture
def signed_in(context: BrowserContext, service: Service) -> Iterator[Watched]:
    """The same, with the session of somebody who has no files yet."""
    reader = f"reader{next(_next_reader)}"
    page = context.new_page()
    page.goto(f"{service.url}/")
    sign_in(page, reader)
    page.wait_for_url(f"{service.url}/")
    page.close()
    for watched in watch(context, service):
        watched.reader = reader
        yield watched


def watch(context: BrowserContext, service: Service) -> Iterator[Watched]:
    watched = Watched(context.new_page(), service.url)
    yield watched
    assert watched.abroad() == []
    assert watched.complaints == []


def sign_in(page: Page, reader: str, password: str = PASSWORD) -> None:
    page.get_by_label("Username").fill(reader)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
