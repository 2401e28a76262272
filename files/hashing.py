"""MD5 and SHA-256 of bytes that come in pieces; of many bytes, MD5 on a thread of its own.

MD5 takes 1.3 s for each GB, SHA-256 with the processor's help 0.5 s, and both let other threads run: with a
second core free, an upload takes the longer of the two and not their sum. With none free it takes 3 % more.
"""

import hashlib
import os
import threading
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

_BATCH = 1024 * 1024  # bytes handed over at once: a change of threads for each piece would cost what it saves
_WAITING = 2  # batches handed over and not yet hashed: past that, who sends waits
_ALONE_FROM = 4 * _BATCH  # bytes; below, starting a thread costs what it saves
# More uploads than processors keep all of them busy anyway, and what waits for a thread is memory.
_free_threads = threading.BoundedSemaphore(os.cpu_count() or 1)


class Hashes:
    """Both hashes of all pieces so far. Ended by `finish` or `close`, and then no thread is left."""

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self._size = 0
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._thread: ThreadPoolExecutor | None = None
        self._handed_over: deque[Future[None]] = deque()

    def update(self, piece: bytes) -> None:
        """Take the next bytes, which may not be changed afterwards."""
        self._size += len(piece)
        if self._thread is None:
            self._thread = self._started()
        if self._thread is None:
            self._md5.update(piece)
        else:
            self._batch.append(piece)
            self._batch_size += len(piece)
            if self._batch_size >= _BATCH:
                self._hand_over(self._thread)
        self._sha256.update(piece)

    @property
    def md5(self) -> str:
        """In hex."""
        self.finish()
        return self._md5.hexdigest()

    @property
    def sha256(self) -> str:
        """In hex."""
        return self._sha256.hexdigest()

    def finish(self) -> None:
        """Wait for what was handed over, and let go of the thread."""
        try:
            if self._thread is not None:
                self._hand_over(self._thread)
            while self._handed_over:
                self._handed_over.popleft().result()
        finally:
            self.close()

    def close(self) -> None:
        """End the thread, if there is one. Without `finish` before it, the hashes are of no use then."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None
            _free_threads.release()
        self._handed_over.clear()
        self._batch = []

    def _started(self) -> ThreadPoolExecutor | None:
        """A thread, where it is worth one and one is free."""
        if self._size < _ALONE_FROM or not _free_threads.acquire(blocking=False):
            return None
        return ThreadPoolExecutor(1, thread_name_prefix="md5")

    def _hand_over(self, thread: ThreadPoolExecutor) -> None:
        batch, self._batch, self._batch_size = self._batch, [], 0
        if len(self._handed_over) == _WAITING:
            self._handed_over.popleft().result()
        self._handed_over.append(thread.submit(self._update_md5, batch))

    def _update_md5(self, batch: Iterable[bytes]) -> None:
        for piece in batch:
            self._md5.update(piece)
