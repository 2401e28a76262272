"""The ASGI application, for uvicorn, daphne and their kind.

Django's own handler writes the whole body of a request to disk before a view is called, so that no view can
refuse it, and an upload is written twice. Here the body is handed to the thread of the request as it comes.
"""

import asyncio
import contextvars
import io
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from typing import Any

import django
from django.conf import settings
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.handlers.asgi import ASGIHandler, ASGIRequest

from config.memory import keep_buffers
from config.requests import AnyContentType

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

type Message = dict[str, Any]
type Receive = Callable[[], Awaitable[Message]]

_BATCH = 256 * 1024  # bytes fetched from the event loop at once: each time costs a change of threads
_ABORTED = "The server stops before the request was complete."
_CLEANUP = 5.0  # seconds in which what was cut off is removed when the server stops
_IDLE = 60.0  # seconds without a byte after which a client counts as gone


class StreamedBody(io.RawIOBase):
    """The body of one request, read by the request's thread while the event loop receives it.

    Nothing is received before it is asked for, so a slow reader slows the client and fills no memory. Also
    takes the place of `receive` in Django's handler, which passes it to `read_body` and
    `listen_for_disconnect`.
    """

    def __init__(self, receive: Receive, *, limit: int | None) -> None:
        """`limit` in bytes; None for a request without a body."""
        super().__init__()
        self._left = limit or 0
        self._receive = receive
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        # The event loop may go on with what it is asked here after the request has ended, under the
        # context variables that it was asked with: those of the request's thread would be dead by then.
        self._context = contextvars.copy_context()
        self._buffer = bytearray()
        self._complete = asyncio.Event()
        self._fetching: Future[bytes] | None = None
        self._aborted = False
        if limit is None:
            self._complete.set()

    def read(self, size: int | None = -1) -> bytes:
        """At most `size` bytes, fewer only at the end; all that are left for None or a negative size.

        Raises ConnectionResetError if the client goes away before the end, TimeoutError if it falls silent,
        and RequestDataTooBig past the limit.
        """
        wanted = None if size is None or size < 0 else size
        while not self._complete.is_set() and (wanted is None or len(self._buffer) < wanted):
            self._fetch()
        end = len(self._buffer) if wanted is None else wanted
        data = bytes(self._buffer[:end])
        del self._buffer[:end]
        return data

    def readline(self, size: int | None = -1) -> bytes:
        """For what of Django reads lines; none of it does so for GraphQL."""
        while b"\n" not in self._buffer and not self._complete.is_set():
            self._fetch()
        end = self._buffer.find(b"\n") + 1 or len(self._buffer)
        return self.read(end if size is None or size < 0 else min(size, end))

    def readable(self) -> bool:
        return True

    async def disconnected(self) -> None:
        """Return when the client has gone. Before the body is complete, `read` is who finds that out."""
        await self._complete.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass

    def abort(self) -> None:
        """End whatever waits for bytes, as if the client had gone. Called on the event loop."""
        self._aborted = True
        if self._fetching is not None:
            self._fetching.cancel()

    def _fetch(self) -> None:
        if threading.get_ident() == self._loop_thread:
            raise RuntimeError(
                "The body of a request cannot be read on the event loop: it would wait for itself."
            )
        if self._aborted:
            raise ConnectionResetError(_ABORTED)
        more = self._receive_batch(len(self._buffer))
        self._fetching = self._context.copy().run(asyncio.run_coroutine_threadsafe, more, self._loop)
        try:
            batch = self._fetching.result()
        except CancelledError:
            raise ConnectionResetError(_ABORTED) from None
        self._left -= len(batch)
        if self._left < 0:
            raise RequestDataTooBig("The body of the request is larger than the service takes.")
        self._buffer += batch

    async def _receive_batch(self, have: int) -> bytes:
        batch = bytearray()
        while not batch or have + len(batch) < _BATCH:
            async with asyncio.timeout(_IDLE):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("The client went away before its request was complete.")
            batch += message.get("body", b"")
            if not message.get("more_body", False):
                self._complete.set()
                break
        return bytes(batch)


class _Request(AnyContentType, ASGIRequest):
    pass


class StreamingASGIHandler(ASGIHandler):
    """Django's handler, without the copy of each body on disk."""

    request_class = _Request

    def __init__(self) -> None:
        super().__init__()
        self._answering: dict[asyncio.Task[Any], StreamedBody] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await super().__call__(scope, receive, send)

    async def handle(self, scope: Any, receive: Any, send: Any) -> None:
        """The request, in a task of its own: a server that stops cancels what is under way, and Django would
        then wait for the thread, which waits for the body."""
        body: Any = StreamedBody(receive, limit=_limit(scope))
        answering = asyncio.create_task(super().handle(scope, body, send))
        self._answering[answering] = body
        answering.add_done_callback(self._answering.pop)
        try:
            await asyncio.shield(answering)
        except asyncio.CancelledError:
            body.abort()
            await answering
            raise

    async def _live(self, receive: Any, send: Any) -> None:
        """The lifespan protocol: what is under way when the server's patience is over is ended, and what was
        received of it removed, before the process ends."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        for body in self._answering.values():
            body.abort()
        if self._answering:
            await asyncio.wait(self._answering, timeout=_CLEANUP)
        await send({"type": "lifespan.shutdown.complete"})

    async def read_body(self, receive: Any) -> Any:
        return receive

    async def listen_for_disconnect(self, receive: Any) -> None:
        await receive.disconnected()
        raise RequestAborted


def _limit(scope: Any) -> int | None:
    """In bytes; None where there is no body. Django bounds what it reads into memory by the length that the
    client claims, if it does."""
    headers = dict(scope["headers"])
    if not headers.keys() & {b"content-length", b"transfer-encoding"} and scope["http_version"] < "2":
        return None
    if scope["method"] in {"GET", "HEAD"}:
        return None
    if headers.get(b"content-type", b"").lower().startswith(b"multipart/"):
        return int(settings.MAX_REQUEST_SIZE)
    return int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


keep_buffers()
django.setup(set_prefix=False)
application = StreamingASGIHandler()
