"""Bytes of a large file on their way to the device past the page cache: O_DIRECT of open(2).

Through the cache a GB takes 0.5 to 0.9 s of a processor, most of it to find, fill and give back pages, and
2 s where they are new to a virtual machine. Past it, it takes 0.1 s, and what others read stays in the cache.
"""

import errno
import fcntl
import mmap
import os
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

BLOCK = 2 * 1024 * 1024  # bytes of one write; a multiple of what any device wants
_BUFFERS = 2  # one is filled while the other is written
# As with the hashes: more uploads than processors keep all of them busy, and each has its buffers.
_free = threading.BoundedSemaphore(os.cpu_count() or 1)
# macOS and BSD have other means; there files go through the cache.
_DIRECT = os.O_DIRECT if sys.platform.startswith("linux") else 0


def direct_writer(descriptor: int) -> "DirectWriter | None":
    """One for the file, which has been written up to a multiple of `BLOCK`. None where the file system takes
    no such writes, and where there are as many writers as processors."""
    if not _DIRECT or not _free.acquire(blocking=False):
        return None
    try:
        return DirectWriter(descriptor)
    except OSError:
        _free.release()
        return None


class DirectWriter:
    """Writes what it is given on a thread of its own. Ended by `finish` or `close`, and then none is left."""

    def __init__(self, descriptor: int) -> None:
        """Raises OSError where the file system takes no such writes."""
        self._descriptor = descriptor
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="direct")
        self._has_ended = False
        self._buffer = _buffer()
        self._filled = 0
        self._under_way: deque[tuple[Future[None], mmap.mmap]] = deque()
        _set_direct(descriptor, is_direct=True)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes. Raises OSError for earlier ones that could not be written."""
        rest = memoryview(chunk)
        while rest:
            piece = rest[: BLOCK - self._filled]
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            rest = rest[len(piece) :]
            if self._filled == BLOCK:
                self._hand_over()

    def finish(self) -> None:
        """Wait until all bytes are written; they still need a sync. Raises OSError."""
        try:
            while self._under_way:
                self._under_way.popleft()[0].result()
            _set_direct(self._descriptor, is_direct=False)  # the rest is no whole block
            _write(self._descriptor, memoryview(self._buffer)[: self._filled])
        finally:
            self.close()

    def close(self) -> None:
        """End the thread. Without `finish` before it, not all bytes are written."""
        if not self._has_ended:
            self._has_ended = True
            self._thread.shutdown(cancel_futures=True)
            self._under_way.clear()
            _free.release()

    def _hand_over(self) -> None:
        written = self._thread.submit(_write, self._descriptor, memoryview(self._buffer))
        self._under_way.append((written, self._buffer))
        self._filled = 0
        if len(self._under_way) < _BUFFERS:
            self._buffer = _buffer()
        else:
            written, self._buffer = self._under_way.popleft()
            written.result()  # raises its error


def _buffer() -> mmap.mmap:
    """Begins at a page, as such writes have to."""
    return mmap.mmap(-1, BLOCK)


def _write(descriptor: int, block: memoryview) -> None:
    while block:
        try:
            block = block[os.write(descriptor, block) :]
        except OSError as error:
            # Of a file system that wants other blocks, or after a short write to a disk that is nearly full.
            if error.errno != errno.EINVAL or not _is_direct(descriptor):
                raise
            _set_direct(descriptor, is_direct=False)


def _is_direct(descriptor: int) -> bool:
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & _DIRECT)


def _set_direct(descriptor: int, *, is_direct: bool) -> None:
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | _DIRECT if is_direct else flags & ~_DIRECT)
