"""Downloads under ASGI: the same bytes, read off the event loop, and no file open for a client that left."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.files.base import File as Content
from django.test import AsyncClient

from accounts.models import User
from config.asgi import application
from files.disk import DiskStorage
from files.models import File
from tests.api import address, keep

# Several times what is read at once.
LARGE = b"0123456789abcdef" * 100_000

type Message = Mapping[str, Any]


@pytest.fixture
def file(alice: User) -> File:
    return keep(alice, LARGE)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Content[bytes]]]:
    """The files that the storage has opened, as they are opened."""
    found: list[Content[bytes]] = []
    open_ = DiskStorage.open

    def recording(storage: DiskStorage, name: str, mode: str = "rb") -> Content[bytes]:
        found.append(open_(storage, name, mode))
        return found[-1]

    monkeypatch.setattr(DiskStorage, "open", recording)
    yield found
    for content in found:  # what a failing test left open must not fail another
        content.close()


def fetch(path: str, **headers: str) -> tuple[Any, list[bytes]]:
    """The response and the pieces that it came in. Views run in this thread, where the test's rows are."""

    async def run() -> tuple[Any, list[bytes]]:
        answer: Any = await AsyncClient().get(path, headers=headers)
        if not answer.streaming:
            return answer, [answer.content]
        assert isinstance(answer.streaming_content, AsyncIterator)
        return answer, [piece async for piece in answer.streaming_content]

    return async_to_sync(run)()


def test_the_whole_file_comes_piece_by_piece(file, opened):
    answer, pieces = fetch(address(file))
    assert answer.status_code == 200
    assert b"".join(pieces) == LARGE
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 512 * 1024
    assert answer.headers["Content-Length"] == str(len(LARGE))
    assert [content.closed for content in opened] == [True]


def test_one_range_comes_as_that_part(file, opened):
    answer, pieces = fetch(address(file), Range="bytes=5-899999")
    assert answer.status_code == 206
    assert b"".join(pieces) == LARGE[5:900_000]
    assert answer.headers["Content-Range"] == f"bytes 5-899999/{len(LARGE)}"
    assert [content.closed for content in opened] == [True]


def test_several_ranges_come_in_one_body(file, opened):
    answer, pieces = fetch(address(file), Range="bytes=0-4,-5")
    assert answer.status_code == 206
    boundary = answer.headers["Content-Type"].removeprefix("multipart/byteranges; boundary=")
    size = len(LARGE)
    assert b"".join(pieces).decode() == (
        f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: bytes 0-4/{size}\r\n\r\n01234"
        f"\r\n--{boundary}\r\nContent-Type: application/octet-stream\r\n"
        f"Content-Range: bytes {size - 5}-{size - 1}/{size}\r\n\r\nbcdef"
        f"\r\n--{boundary}--\r\n"
    )
    assert [content.closed for content in opened] == [True]


@pytest.mark.parametrize(
    "headers, status",
    [({"If-None-Match": "*"}, 304), ({"Range": "bytes=9999999-"}, 416), ({"If-Match": '"other"'}, 412)],
)
def test_what_needs_no_bytes_opens_nothing(file, opened, headers, status):
    answer, _ = fetch(address(file), **headers)
    assert answer.status_code == status
    assert opened == []


def test_refusals_are_the_same(file):
    assert fetch(address(file)[:-1])[0].status_code == 403
    path = address(file)
    file.delete()
    assert fetch(path)[0].status_code == 404


def test_pieces_are_read_off_the_event_loop(file, monkeypatch):
    """A slow disk must not keep every other client waiting."""
    on_the_loop: list[bool] = []
    open_ = DiskStorage.open

    class Watched:
        def __init__(self, content: Content[bytes]) -> None:
            self.seek, self.close, self._content = content.seek, content.close, content

        def read(self, size: int) -> bytes:
            try:
                asyncio.get_running_loop()
                on_the_loop.append(True)
            except RuntimeError:
                on_the_loop.append(False)
            return self._content.read(size)

    monkeypatch.setattr(DiskStorage, "open", lambda *args: Watched(open_(*args)))
    assert b"".join(fetch(address(file))[1]) == LARGE
    assert len(on_the_loop) > 1
    assert not any(on_the_loop)


# --- clients that leave ----------------------------------------------------------------------------


def visit(path: str, *, leave: Callable[[list[Message]], bool]) -> list[Message]:
    """What the ASGI application sends to a client that hangs up as soon as `leave` says so."""
    target, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": target,
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Message] = []

    async def run() -> None:
        gone = asyncio.Event()
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            if leave(sent):
                gone.set()
                await asyncio.sleep(0)  # the server learns of it before the next piece

        async with asyncio.timeout(10):
            await application(scope, receive, send)

    async_to_sync(run)()
    return sent


def content_of(messages: list[Message]) -> bytes:
    return b"".join(message.get("body", b"") for message in messages)


def test_a_client_that_stays_gets_all_and_the_file_is_closed(file, opened):
    messages = visit(address(file), leave=lambda _: False)
    assert messages[0]["status"] == 200
    assert content_of(messages) == LARGE
    assert not messages[-1].get("more_body")
    assert [content.closed for content in opened] == [True]


def test_a_client_that_leaves_in_the_middle_leaves_no_file_open(file, opened):
    messages = visit(address(file), leave=lambda sent: len(sent) == 2)
    assert messages[0]["status"] == 200
    assert 0 < len(content_of(messages)) < len(LARGE)
    assert [content.closed for content in opened] == [True]


def test_a_client_that_leaves_before_the_first_byte_leaves_no_file_open(file, opened):
    messages = visit(address(file), leave=lambda sent: len(sent) == 1)
    assert len(content_of(messages)) < len(LARGE)
    assert [content.closed for content in opened] == [True]


def test_a_connection_that_breaks_leaves_no_file_open(file, opened):
    """Some servers raise from `send` instead of telling that the client is gone."""

    def broken(sent: list[Message]) -> bool:
        if len(sent) == 2:
            raise ConnectionResetError
        return False

    with pytest.raises(ConnectionResetError):
        visit(address(file), leave=broken)
    assert [content.closed for content in opened] == [True]
