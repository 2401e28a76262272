"""The pages where files have an origin of their own: pictures come from there, and no cookie goes there."""

from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Request, expect

from tests.browser.conftest import PASSWORD, Watched, sign_in
from tests.browser.library import Library
from tests.browser.pictures import landscape
from tests.e2e.conftest import DEVELOPER, Start
from tests.e2e.server import free_port, manage

pytestmark = pytest.mark.browser

_ADD_READER = f"User.objects.create_user('reader', password={PASSWORD!r})"
# Resolves when the page has got the picture, and fails where its policy forbids that.
_SHOW = (
    "src => new Promise((done, failed) => Object.assign(new Image(), {src, onload: done, onerror: failed}))"
)


def test_pictures_come_from_where_no_cookie_goes(
    start: Start, context: BrowserContext, tmp_path: Path
) -> None:
    port = free_port()
    media = f"http://localhost:{port}/"
    settings = {"PORT": str(port), "ALLOWED_HOSTS": "127.0.0.1", "MEDIA_ORIGIN": media.rstrip("/")}
    picture = tmp_path / "sunset.jpg"
    picture.write_bytes(landscape("JPEG", sky=("#27173b", "#f2a65a"), ground="#1b1126"))
    asked: list[Request] = []
    context.on("request", lambda request: asked.append(request))  # noqa: PLW0108  Playwright marks it
    with start("apart", settings=DEVELOPER | settings) as service:
        added = manage("shell", "--command", _ADD_READER, environ=service.environ)
        assert added.returncode == 0, added.stderr
        watched = Watched(context.new_page(), service.url)
        sign_in(watched.open("/login/?next=/"), "reader")
        watched.page.wait_for_url(f"{service.url}/")
        library = Library.opened(watched)
        library.upload(picture)
        image = library.items.locator("img")
        expect(image).to_have_js_property("complete", True)
        assert image.evaluate("image => image.naturalWidth") > 0

        watched.open("/graphql")
        fetched = [request for request in asked if request.url.startswith(media)]
        watched.page.evaluate(_SHOW, fetched[0].url)
        assert not any("cookie" in request.all_headers() for request in fetched)
        assert any("cookie" in request.all_headers() for request in asked)
        assert all(url.startswith(media) for url in watched.abroad())
        assert watched.complaints == []
