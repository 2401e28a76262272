"""A proxy between the service and a store, with a fault to each of its connections. HTTP/1.1, in a thread of
its own, on the loopback; every connection has one request."""

import asyncio
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET

from tests.e2e import server

_CHUNK = 64 * 1024
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: [^\r]*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What befalls a connection, nothing by default."""

    refuses: bool = False  # reset at once
    is_silent: bool = False  # all that comes is read, and nothing is answered
    delay: float = 0  # seconds before an answer
    request_bytes: int | None = None  # that pass, then the connection is reset
    answer_bytes: int | None = None
    status: HTTPStatus | None = None  # the proxy's own answer, with the code of an error of S3
    code: str = ""


class FaultProxy:
    """Between `port` and the store at `upstream`. `inflict` holds for the connections that come."""

    def __init__(self, upstream: int) -> None:
        self.port = server.free_port()
        self.faulted = 0
        self._upstream = upstream
        self._fault = Fault()
        self._left: int | None = None
        self._since: re.Pattern[bytes] | None = None
        self._choose: Callable[[], Fault] | None = None
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = asyncio.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        assert self._started.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def inflict(self, fault: Fault, *, times: int | None = None, since: str = "") -> None:
        """The fault for the next `times` connections, or for all until another call; none before a request
        whose first line has what `since` describes."""
        self._since = re.compile(since.encode()) if since else None
        self._fault, self._left, self.faulted = fault, times, 0

    def inflict_some(self, choose: Callable[[], Fault]) -> None:
        """What `choose` says, asked anew for each connection in the proxy's thread, until `heal`."""
        self._choose, self.faulted = choose, 0

    def heal(self) -> None:
        self._fault, self._left, self._choose = Fault(), None, None

    # --- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self._started.set()
        await self._stopped.wait()
        listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._connect(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n") if self._since else b""
            await self._answer(self._take(head), head, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            _reset(writer)
        finally:
            writer.close()

    def _take(self, head: bytes) -> Fault:
        if self._choose is not None:
            chosen = self._choose()
            self.faulted += chosen != Fault()
            return chosen
        if self._since and not self._since.search(head.partition(b"\r\n")[0]):
            return Fault()
        self._since = None
        if self._left == 0 or self._fault == Fault():
            return Fault()
        if self._left is not None:
            self._left -= 1
        self.faulted += 1
        return self._fault

    async def _answer(
        self, fault: Fault, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if fault.refuses:
            raise ConnectionResetError
        if fault.is_silent:
            while await reader.read(_CHUNK):
                pass
            return
        head = head or await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        size = int(length[1]) if length else 0
        if fault.status is not None:
            await _pass(reader, None, size)
            await _refuse(fault, writer, has_body=not head.startswith(b"HEAD"))
            return
        store_reader, store_writer = await asyncio.open_connection("127.0.0.1", self._upstream)
        try:
            store_writer.write(_CONNECTION.sub(b"", head).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
            await _pass(reader, store_writer, size if fault.request_bytes is None else fault.request_bytes)
            if fault.request_bytes is not None:
                raise ConnectionResetError
            answer = await store_reader.read(_CHUNK)  # the store has done what it was asked
            await asyncio.sleep(fault.delay)
            limit = fault.answer_bytes
            while answer:
                writer.write(answer if limit is None else answer[:limit])
                await writer.drain()
                if limit is not None:
                    raise ConnectionResetError
                answer = await store_reader.read(_CHUNK)
        finally:
            store_writer.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, size: int) -> None:
    """So many bytes, to the writer or to nobody."""
    while size:
        chunk = await reader.read(min(size, _CHUNK))
        if not chunk:
            raise ConnectionResetError
        size -= len(chunk)
        if writer is not None:
            writer.write(chunk)
            await writer.drain()


async def _refuse(fault: Fault, writer: asyncio.StreamWriter, *, has_body: bool) -> None:
    assert fault.status is not None
    body = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>no</Message></Error>".encode()
    head = (
        f"HTTP/1.1 {fault.status.value} {fault.status.phrase}\r\nContent-Type: application/xml\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode() + (body if has_body else b""))
    await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """An RST, and no end that would look like one of a whole answer."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
