"""Downloads by signed URLs, under WSGI and ASGI alike: whole, in ranges, conditional, and refused."""

import io
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.e2e import server
from tests.e2e.conftest import Large
from tests.e2e.server import Service, wait_for

pytestmark = pytest.mark.e2e

MIB = 1024 * 1024
NAME = "naïve 文件.txt"
URL = """
    query ($id: ID!, $expiresIn: Int, $download: Boolean) {
        file(id: $id) { url(expiresIn: $expiresIn, download: $download) { url } }
    }
"""


@dataclass(frozen=True)
class Kept:
    """One file of the service's, and its bytes."""

    service: Service
    content: bytes
    result: dict[str, Any]

    @property
    def url(self) -> str:
        address: str = self.result["url"]["url"]
        return address

    def url_for(self, *, expires_in: int | None = None, download: bool = False) -> str:
        asked = self.service.run(URL, id=self.result["id"], expiresIn=expires_in, download=download)
        address: str = asked["file"]["url"]["url"]
        return address


@pytest.fixture
def kept(either_service: Service) -> Kept:
    content = secrets.token_bytes(700_000)
    return Kept(either_service, content, either_service.upload(content, NAME))


@pytest.fixture
def anyone() -> Iterator[httpx.Client]:
    """Somebody who was given a URL and has no token."""
    with httpx.Client(trust_env=False, timeout=server.ANSWERS_WITHIN) as client:
        yield client


def assert_refused(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["errors"][0]["message"]


# --- what comes ------------------------------------------------------------------------------------


def test_the_whole_file_comes_as_it_went(kept: Kept, anyone: httpx.Client) -> None:
    answer = anyone.get(kept.url)
    assert answer.status_code == 200
    assert answer.content == kept.content
    assert answer.headers["Content-Length"] == str(len(kept.content))
    assert answer.headers["Content-Type"] == kept.result["contentType"]
    assert answer.headers["ETag"] == f'"{kept.result["sha256"]}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    assert (
        answer.headers["Content-Disposition"]
        == "attachment; filename*=utf-8''na%C3%AFve%20%E6%96%87%E4%BB%B6.txt"
    )


def test_only_a_raster_image_is_shown_by_a_browser(either_service: Service, anyone: httpx.Client) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), "red").save(buffer, "PNG")
    image = Kept(
        either_service,
        buffer.getvalue(),
        either_service.upload(buffer.getvalue(), "dot.png", profile="image"),
    )
    shown = anyone.get(image.url)
    assert (shown.content, shown.headers["Content-Type"]) == (image.content, "image/png")
    assert shown.headers["Content-Disposition"] == 'inline; filename="dot.png"'
    saved = anyone.get(image.url_for(download=True))
    assert saved.headers["Content-Disposition"] == 'attachment; filename="dot.png"'


def test_head_says_all_that_get_says_and_sends_nothing(kept: Kept, anyone: httpx.Client) -> None:
    head, whole = anyone.head(kept.url), anyone.get(kept.url)
    assert head.status_code == 200
    assert head.content == b""
    varying = {"date", "connection", "server", "cache-control", "x-request-id"}
    assert {name: value for name, value in head.headers.items() if name not in varying} == {
        name: value for name, value in whole.headers.items() if name not in varying
    }


@pytest.mark.parametrize(
    "asked, part",
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=100000-499999", slice(100_000, 500_000)),
        ("bytes=699999-", slice(699_999, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=300000-9999999", slice(300_000, None)),
    ],
)
def test_one_range_comes_alone(kept: Kept, anyone: httpx.Client, asked: str, part: slice) -> None:
    answer = anyone.get(kept.url, headers={"Range": asked})
    first, last, _ = part.indices(len(kept.content))
    assert answer.status_code == 206
    assert answer.headers["Content-Range"] == f"bytes {first}-{last - 1}/{len(kept.content)}"
    assert answer.headers["Content-Length"] == str(last - first)
    assert answer.content == kept.content[part]


def test_several_ranges_come_as_parts_of_one_answer(kept: Kept, anyone: httpx.Client) -> None:
    answer = anyone.get(kept.url, headers={"Range": "bytes=0-9, 600000-699999, 400000-400001"})
    assert answer.status_code == 206
    assert len(answer.content) == int(answer.headers["Content-Length"])
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    wanted = [(0, 9), (600_000, 699_999), (400_000, 400_001)]
    parts = [part for part in message_from_bytes(head + answer.content).walk() if not part.is_multipart()]
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {first}-{last}/{len(kept.content)}" for first, last in wanted
    ]
    # The email package mends line ends in what it takes for text; the bytes are compared as they came.
    for first, last in wanted:
        assert b"\r\n\r\n" + kept.content[first : last + 1] + b"\r\n--" in answer.content


def test_a_range_past_the_end_is_refused(kept: Kept, anyone: httpx.Client) -> None:
    answer = anyone.get(kept.url, headers={"Range": "bytes=700000-"})
    assert_refused(answer, 416)
    assert answer.headers["Content-Range"] == "bytes */700000"


def test_what_a_client_has_already_is_not_sent_again(kept: Kept, anyone: httpx.Client) -> None:
    etag = anyone.head(kept.url).headers["ETag"]
    unchanged = anyone.get(kept.url, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == etag
    assert anyone.get(kept.url, headers={"If-None-Match": '"another"'}).status_code == 200
    resumed = {"Range": "bytes=10-19", "If-Range": etag}
    assert anyone.get(kept.url, headers=resumed).content == kept.content[10:20]
    restarted = {"Range": "bytes=10-19", "If-Range": '"another"'}
    assert anyone.get(kept.url, headers=restarted).content == kept.content


# --- what does not ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern, replacement",
    [
        (r"signature=.", "signature=-"),
        (r"&signature=.*", ""),
        (r"signature=.*", "signature=%C3%A9%00"),
        (r"expires=(\d+)", r"expires=9\1"),
        (r"expires=(\d+)", "expires=never"),
        (r"expires=", "download=1&expires="),
        (r"\?.*", ""),
        (r"/files/[0-9a-f-]{36}/", "/files/00000000-0000-7000-8000-000000000000/"),
    ],
)
def test_a_url_that_was_changed_opens_nothing(
    kept: Kept, anyone: httpx.Client, pattern: str, replacement: str
) -> None:
    changed = re.sub(pattern, replacement, kept.url)
    assert changed != kept.url
    assert_refused(anyone.get(changed), 403)


def test_a_url_opens_nothing_after_its_time(kept: Kept, anyone: httpx.Client) -> None:
    url = kept.url_for(expires_in=1)
    assert anyone.get(url).status_code in {200, 403}  # it may have expired on the way
    wait_for("the URL to expire", lambda: anyone.head(url).status_code == 403)
    assert_refused(anyone.get(url), 403)


def test_a_deleted_file_is_gone_for_those_who_have_its_url(kept: Kept, anyone: httpx.Client) -> None:
    kept.service.delete(kept.result["id"])
    assert_refused(anyone.get(kept.url), 404)


def test_nothing_is_written_by_a_url(kept: Kept, anyone: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE"):
        answer = anyone.request(method, kept.url)
        assert_refused(answer, 405)
        assert answer.headers["Allow"] == "GET, HEAD"
    assert anyone.get(kept.url).content == kept.content


def test_the_body_of_a_request_that_cannot_be_is_not_waited_for(service: Service) -> None:
    # The cookie is made up; with it, a check for forged requests looks for its token in the body.
    path = "/files/00000000-0000-7000-8000-000000000000/any.txt"
    sent = server.one_file(b"x")
    head = sent.head(None, length=10**9, more=f"Cookie: csrftoken={'a' * 32}\r\n")
    with service.connect() as connection:
        connection.sendall(head.replace(b"/graphql", path.encode(), 1))
        status, headers, _ = server.read_answer(connection)
    assert (status, headers["content-type"]) == (405, "application/json")


# --- large ones ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_slow_reader_of_a_large_file_costs_little_memory_and_keeps_nobody_waiting(
    kind: str, request: pytest.FixtureRequest, anyone: httpx.Client
) -> None:
    service: Service = request.getfixturevalue(f"{kind}_service")
    large: Large = request.getfixturevalue(f"{kind}_large")
    received = bytearray()
    with (
        server.measured(service) as memory,
        anyone.stream("GET", large.result["url"]["url"]) as answer,
    ):
        assert answer.headers["Content-Length"] == str(len(large.content))
        for number, chunk in enumerate(answer.iter_bytes(MIB)):
            received += chunk
            if number < 10:  # meanwhile the server could read ahead without end
                assert service.run("{ viewer { username } }") == {"viewer": {"username": "alice"}}
    assert received == large.content
    assert memory.growth < 16 * MIB


@pytest.mark.parametrize("kind", ["wsgi", "asgi"])
def test_a_reader_that_goes_away_leaves_no_open_file(
    kind: str, request: pytest.FixtureRequest, anyone: httpx.Client
) -> None:
    service: Service = request.getfixturevalue(f"{kind}_service")
    large: Large = request.getfixturevalue(f"{kind}_large")
    key = large.result["storage"]["objectKey"]
    with anyone.stream("GET", large.result["url"]["url"]) as answer:
        chunks = answer.iter_bytes(MIB)
        next(chunks)
        assert opened(service, key) == 1
    ranged = anyone.get(large.result["url"]["url"], headers={"Range": "bytes=-10"})
    assert ranged.content == large.content[-10:]
    wait_for("the file to be closed", lambda: opened(service, key) == 0)


def opened(service: Service, key: str) -> int:
    """How many times the service has the object open."""
    count = 0
    for pid in service.processes():
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                count += str(descriptor.readlink()).endswith(key)
            except FileNotFoundError:  # closed meanwhile
                continue
    return count
