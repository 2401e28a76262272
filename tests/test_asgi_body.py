"""Bodies under ASGI: nothing is received unasked or past the limit, and nothing is copied to disk."""

import asyncio
import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import RequestDataTooBig
from django.test import Client as Browser

from accounts import tokens
from accounts.models import Scope, User
from config import asgi
from config.asgi import StreamedBody, StreamingASGIHandler, application
from files.models import File
from tests.conftest import stored_files
from tests.test_body import GOOD, HELLO, MULTIPART, ONE, PLACE, file, form, operations

KIB = 1024
MIB = 1024 * KIB
JSON = "application/json"
VIEWER = b'{"query": "{ viewer { username } }"}'

type Message = dict[str, Any]


def pieces(body: bytes, size: int) -> list[Message]:
    """The body as a server hands it on, `size` bytes at a time."""
    cut = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    return [
        {"type": "http.request", "body": piece, "more_body": number < len(cut)}
        for number, piece in enumerate(cut, 1)
    ]


GONE: Message = {"type": "http.disconnect"}


@dataclass
class Sender:
    """A client that sends these messages, each when it is asked for, and then falls silent."""

    messages: Iterator[Message]
    received: int = 0  # bytes
    asked: int = 0

    async def receive(self) -> Message:
        self.asked += 1
        message = next(self.messages, None)
        if message is None:
            await asyncio.Event().wait()
            raise AssertionError
        self.received += len(message.get("body", b""))
        return message


# --- the stream ------------------------------------------------------------------------------------


def read_from(messages: Iterable[Message], read: Callable[[StreamedBody], Any], *, limit: int = MIB) -> Any:
    """What `read` makes of the body, in a thread of its own as a view is."""
    sender = Sender(iter(messages))

    async def run() -> Any:
        body = StreamedBody(sender.receive, limit=limit)
        return await asyncio.to_thread(read, body)

    return asyncio.run(run()), sender


BODY = bytes(range(256)) * 40


@pytest.mark.parametrize("size", [1, 7, 1000, 10_000, 20_000])
def test_the_body_is_whole_however_it_was_cut(size):
    found, sender = read_from(pieces(BODY, size), lambda body: body.read())
    assert found == BODY
    assert sender.received == len(BODY)


@pytest.mark.parametrize("size", [1, 3, 1024, 100_000])
def test_a_read_gives_as_much_as_was_asked_for_until_the_end(size):
    def read(body: StreamedBody) -> list[bytes]:
        return list(iter(lambda: body.read(size), b""))

    found, _ = read_from(pieces(BODY, 1000), read)
    assert b"".join(found) == BODY
    assert {len(piece) for piece in found[:-1]} <= {size}
    assert len(found[-1]) <= size


@pytest.mark.parametrize("everything", [None, -1])
def test_no_size_is_all_that_is_left(everything):
    found, _ = read_from(pieces(BODY, 100), lambda body: (body.read(10), body.read(everything), body.read()))
    assert found == (BODY[:10], BODY[10:], b"")


@pytest.mark.parametrize(
    "size, lines",
    [
        (-1, [b"a\n", b"\n", b"bcd\n", b"e"]),
        (None, [b"a\n", b"\n", b"bcd\n", b"e"]),
        (2, [b"a\n", b"\n", b"bc", b"d\n", b"e"]),
    ],
)
def test_lines_are_read_as_of_any_file(size, lines):
    def read(body: StreamedBody) -> list[bytes]:
        return list(iter(lambda: body.readline(size), b""))

    assert read_from(pieces(b"a\n\nbcd\ne", 2), read)[0] == lines


def test_empty_messages_are_no_end():
    messages: list[Message] = [
        {"type": "http.request", "more_body": True},
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"", "more_body": True},
        {"type": "http.request", "body": b"b"},
    ]
    assert read_from(messages, lambda body: body.read())[0] == b"ab"


def test_a_request_without_a_body_is_at_its_end_at_once():
    async def run() -> tuple[bytes, int]:
        sender = Sender(iter([]))
        body = StreamedBody(sender.receive, limit=None)
        return await asyncio.to_thread(body.read), sender.asked

    assert asyncio.run(run()) == (b"", 0)


def endless(size: int = 64 * KIB) -> Iterator[Message]:
    while True:
        yield {"type": "http.request", "body": b"x" * size, "more_body": True}


def test_a_body_is_cut_off_at_the_limit():
    def read(body: StreamedBody) -> None:
        with pytest.raises(RequestDataTooBig):
            body.read()

    _, sender = read_from(endless(), read, limit=2 * MIB)
    assert 2 * MIB < sender.received <= 2 * MIB + asgi._BATCH


def test_a_body_may_be_as_large_as_the_limit():
    found, _ = read_from(pieces(BODY, 999), lambda body: body.read(), limit=len(BODY))
    assert found == BODY


def test_a_slow_reader_slows_the_client():
    """What a server holds back then, and with it the client's network, is not taken from it."""

    def read(body: StreamedBody) -> list[int]:
        counts = []
        for _ in range(5):
            body.read(1000)
            counts.append(sender.received)
        return counts

    sender = Sender(endless(16 * KIB))

    async def run() -> list[int]:
        return await asyncio.to_thread(read, StreamedBody(sender.receive, limit=100 * MIB))

    assert asyncio.run(run()) == [asgi._BATCH] * 5


def test_a_client_that_goes_away_is_an_error_of_the_reader():
    def read(body: StreamedBody) -> None:
        with pytest.raises(ConnectionResetError):
            body.read()

    read_from([*pieces(BODY, 5000)[:2], GONE], read)


def test_a_client_that_falls_silent_is_given_up(monkeypatch):
    monkeypatch.setattr(asgi, "_IDLE", 0.01)

    def read(body: StreamedBody) -> None:
        with pytest.raises(TimeoutError):
            body.read()

    read_from(pieces(BODY, 5000)[:1], read)


def test_reading_on_the_event_loop_fails_at_once_instead_of_never():
    async def run() -> None:
        body = StreamedBody(Sender(iter(pieces(BODY, 1000))).receive, limit=MIB)
        for read in (body.read, body.readline):
            with pytest.raises(RuntimeError, match="event loop"):
                read()

    asyncio.run(run())


def test_a_client_that_goes_away_later_is_noticed():
    async def run() -> bytes:
        body = StreamedBody(Sender(iter([*pieces(BODY, 5000), GONE])).receive, limit=MIB)
        gone = asyncio.create_task(body.disconnected())
        found = await asyncio.to_thread(body.read)
        await asyncio.wait_for(gone, 5)
        return found

    assert asyncio.run(run()) == BODY


# --- the application -------------------------------------------------------------------------------


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Client:
    """Speaks ASGI to the application. Views run in the thread of the test, where its rows are."""

    def __init__(self, secret: str | None) -> None:
        self.secret = secret
        self.sender = Sender(iter([]))

    def post(
        self,
        messages: Iterable[Message],
        content_type: str | bytes = MULTIPART,
        *,
        method: str = "POST",
        **headers: str,
    ) -> Answer:
        self.sender = Sender(iter(messages))
        raw = content_type if isinstance(content_type, bytes) else content_type.encode()
        given = {"host": "localhost", **headers}
        if self.secret is not None:
            given["authorization"] = f"Bearer {self.secret}"
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": "/graphql",
            "query_string": b"",
            "headers": [
                (b"content-type", raw),
                *((name.replace("_", "-").encode(), value.encode()) for name, value in given.items()),
            ],
        }
        answer = Answer()

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message.get("body", b"")

        async_to_sync(application)(scope, self.sender.receive, send)
        return answer

    def whole(self, body: bytes, content_type: str = MULTIPART, size: int = 64 * KIB, **more: str) -> Answer:
        """The answer to a request with an honest length."""
        return self.post(pieces(body, size), content_type, content_length=str(len(body)), **more)


@pytest.fixture
def client(alice: User, settings) -> Client:
    settings.RATE_LIMIT_USER = settings.RATE_LIMIT_ADDRESS = 0
    return Client(tokens.issue(user=alice, name="tests")[1])


@pytest.fixture(autouse=True)
def no_copy(monkeypatch) -> None:
    """Django's own handler would have each body in such a file before the view is called."""

    def copied(*_: object, **__: object) -> None:
        raise AssertionError("The body was copied.")

    monkeypatch.setattr(tempfile, "SpooledTemporaryFile", copied)
    monkeypatch.setattr(tempfile, "TemporaryFile", copied)


def assert_refused(answer: Answer, status: int, code: str) -> None:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert f'"code":"{code}"'.encode() in answer.body


def test_json_and_uploads_are_answered(client):
    answer = client.whole(VIEWER, JSON)
    assert (answer.status, answer.body) == (200, b'{"data":{"viewer":{"username":"alice"}}}')
    assert b'"__typename":"File"' in client.whole(form(GOOD, PLACE, HELLO)).body
    assert File.objects.count() == 1


def test_a_body_of_unknown_length_is_read_to_its_end(client):
    answer = client.post(pieces(VIEWER, 10), JSON, transfer_encoding="chunked")
    assert (answer.status, answer.body) == (200, b'{"data":{"viewer":{"username":"alice"}}}')
    body = form(GOOD, PLACE, file("0", b"x" * 3 * MIB))
    assert b'"size":3145728' in client.post(pieces(body, 50_000), transfer_encoding="chunked").body


def test_a_request_without_a_body_is_no_request(client):
    for content_type in (JSON, MULTIPART):
        assert client.post([], content_type).status == 400


UNFINISHED = form(GOOD, PLACE, HELLO).removesuffix(b"\r\n--limit--\r\n")


@pytest.mark.parametrize(
    "content_type, start, limit",
    [
        (JSON, b"{", MIB),
        ("APPLICATION/JSON", b"{", MIB),
        (MULTIPART, UNFINISHED, 3 * MIB),
        ("MULTIPART/FORM-DATA; boundary=limit", UNFINISHED, 3 * MIB),
    ],
)
@pytest.mark.parametrize(
    "claim",
    [{"transfer_encoding": "chunked"}, {"content_length": "10"}, {"content_length": "1000000"}],
    ids=["no length", "a false length", "another false length"],
)
def test_a_body_without_an_end_is_cut_off_at_the_limit(client, settings, content_type, start, limit, claim):
    settings.MAX_REQUEST_SIZE = 3 * MIB
    messages = chained([{"type": "http.request", "body": start, "more_body": True}], endless())
    assert_refused(client.post(messages, content_type, **claim), 413, "REQUEST_TOO_LARGE")
    assert limit < client.sender.received <= limit + 2 * asgi._BATCH


def chained(*parts: Iterable[Message]) -> Iterator[Message]:
    for each in parts:
        yield from each


@pytest.mark.parametrize("content_type", [JSON, MULTIPART])
def test_a_length_past_the_limit_is_refused_before_a_byte_is_received(client, settings, content_type):
    settings.MAX_REQUEST_SIZE = settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    answer = client.post(endless(), content_type, content_length="1001")
    assert_refused(answer, 413, "REQUEST_TOO_LARGE")
    assert client.sender.asked == 0


def read_only(user: User) -> str:
    return tokens.issue(user=user, name="tests", scopes=[Scope.READ])[1]


@pytest.mark.parametrize(
    "secret, content_type, status, code",
    [
        (lambda user: "coffer_wrong", JSON, 401, "UNAUTHENTICATED"),
        (lambda user: "coffer_wrong", MULTIPART, 401, "UNAUTHENTICATED"),
        (lambda user: None, MULTIPART, 401, "UNAUTHENTICATED"),
        (read_only, MULTIPART, 403, "FORBIDDEN"),
        (lambda user: None, "text/plain", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (lambda user: None, "application/x-www-form-urlencoded", 415, "UNSUPPORTED_MEDIA_TYPE"),
        (lambda user: None, "multipart/mixed; boundary=limit", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_who_may_not_is_refused_before_a_byte_is_received(client, alice, secret, content_type, status, code):
    client.secret = secret(alice)
    answer = client.post(endless(), content_type, content_length="100000")
    assert_refused(answer, status, code)
    assert client.sender.asked == 0


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset*=nope''x",
        "multipart/form-data; boundary*=nope''x",
        "application/json" + "; a=b" * 5_000,
        b"application/json; charset=\xff",
        b"\xff\xfe",
        "",
        ";",
    ],
    ids=["charset", "boundary", "long", "not ASCII", "nothing of ASCII", "empty", "punctuation"],
)
def test_a_content_type_that_cannot_be_read_is_none(client, content_type):
    for secret in (client.secret, None):
        client.secret = secret
        answer = client.post(endless(), content_type, content_length="100000")
        assert_refused(answer, 415, "UNSUPPORTED_MEDIA_TYPE")
        assert client.sender.asked == 0


def test_an_upload_is_written_to_its_storage_while_it_comes_in(client, storage_root):
    drafts = storage_root / ".drafts"
    written: list[int] = []

    def watched() -> Iterator[Message]:
        for message in pieces(form(GOOD, PLACE, file("0", b"x" * 4 * MIB)), 64 * KIB):
            written.append(sum(path.stat().st_size for path in drafts.glob("*")))
            yield message

    assert b'"size":4194304' in client.post(watched(), transfer_encoding="chunked").body
    assert written == sorted(written)
    assert written[-1] > 3 * MIB
    assert stored_files(drafts) == []


def test_a_file_past_its_limit_is_answered_while_it_is_still_coming(client, settings):
    head = form(operations(ONE, {"input": {"file": None, "profile": "avatar"}}), PLACE, HELLO)
    start = {"type": "http.request", "body": head.removesuffix(b"\r\n--limit--\r\n"), "more_body": True}
    answer = client.post(chained([start], endless()), content_length="900000000")
    assert answer.status == 200
    assert b'"__typename":"FileTooLarge"' in answer.body
    assert client.sender.received < 5_000_000 + MIB
    assert stored_files(Path(settings.STAGING_DIR)) == []


@pytest.mark.parametrize("end", [[GONE], []], ids=["goes away", "falls silent"])
@pytest.mark.parametrize("content_type", [JSON, MULTIPART])
def test_a_client_that_does_not_end_its_request_leaves_nothing(
    client, settings, monkeypatch, end, content_type
):
    monkeypatch.setattr(asgi, "_IDLE", 0.01)
    body = form(GOOD, PLACE, file("0", b"x" * MIB)) if content_type == MULTIPART else VIEWER
    messages = pieces(body, len(body) - 10)[:1]
    answer = client.post(chained(messages, end), content_type, content_length=str(len(body)))
    assert_refused(answer, 400, "BAD_REQUEST")
    assert stored_files(Path(settings.STAGING_DIR)) == []
    assert File.objects.count() == 0


def test_the_view_is_not_run_on_the_event_loop(client, monkeypatch):
    seen: list[bool] = []
    read = StreamedBody.read

    def recorded(body: StreamedBody, size: int | None = -1) -> bytes:
        seen.append(threading.get_ident() == body._loop_thread)
        return read(body, size)

    monkeypatch.setattr(StreamedBody, "read", recorded)
    assert client.whole(VIEWER, JSON).status == 200
    assert seen
    assert not any(seen)


def test_a_cookie_without_the_token_of_its_page_is_refused_before_a_byte_is_received(client, alice):
    browser = Browser()
    browser.force_login(alice)
    client.secret = None
    cookie = "; ".join(f"{name}={morsel.value}" for name, morsel in browser.cookies.items())
    answer = client.post(endless(), JSON, content_length="100", cookie=cookie)
    assert_refused(answer, 403, "CSRF_FAILED")
    assert client.sender.asked == 0


# --- the end of the server -------------------------------------------------------------------------


def silent() -> Any:
    """`receive` of a client that sends the beginning of its body, and falls silent."""
    messages = iter([{"type": "http.request", "body": b"begun", "more_body": True}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def test_a_server_that_stops_ends_who_waits_for_the_body():
    async def run() -> None:
        body = StreamedBody(silent(), limit=1000)
        reading = asyncio.create_task(asyncio.to_thread(body.read))
        await asyncio.sleep(0.1)  # it waits for the second message by now
        body.abort()
        with pytest.raises(ConnectionResetError, match="stops"):
            await reading
        with pytest.raises(ConnectionResetError):
            await asyncio.to_thread(body.read)

    asyncio.run(run())


def test_the_lifespan_ends_when_what_was_under_way_has():
    """As uvicorn does it: it asks for the end of the application, and then its process ends."""
    handler, told, ended = StreamingASGIHandler(), [], threading.Event()

    async def run() -> None:
        body = StreamedBody(silent(), limit=1000)
        answering = asyncio.create_task(asyncio.to_thread(read_to_the_end, body, ended))
        handler._answering[answering] = body
        events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

        async def receive() -> dict[str, Any]:
            await asyncio.sleep(0.1)
            return next(events)

        async def send(message: dict[str, Any]) -> None:
            told.append((message["type"], ended.is_set()))

        await handler({"type": "lifespan"}, receive, send)
        await answering

    asyncio.run(run())
    assert told == [("lifespan.startup.complete", False), ("lifespan.shutdown.complete", True)]


def read_to_the_end(body: StreamedBody, ended: threading.Event) -> None:
    with contextlib.suppress(ConnectionResetError):
        body.read()
    ended.set()
