"""Decoding in processes that can be killed: bound in time and memory, and shut in where the kernel can.

Bytes of strangers may hang, bloat, crash or take over what decodes them. So `run` calls a function of
`files.images`, `files.rendering` or `files.metadata` in a worker (`files.sandbox_worker`), kills the worker
when its time is up, and believes nothing that comes back (`files.sandbox_wire`). multiprocessing,
concurrent.futures, loky and pebble unpickle what a worker sends.
"""

import atexit
import io
import logging
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import NoneType
from typing import IO, Concatenate, cast

from files import sandbox_worker
from files.errors import FileError, InvalidImage, StorageUnavailable
from files.sandbox_wire import LENGTH, SandboxError, answer, hints_of

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
# What a request waits for at the most, so that it is answered within 10 s.
_DECODES_WITHIN = 8.0  # seconds; the slowest image of 50 megapixels takes about half of it
# With the 30 MiB that a worker begins with, less than 1 GiB; an image of 50 megapixels takes up to 770 MiB.
_MEMORY = 960 * _MIB
_STARTS_WITHIN = 30.0  # seconds; a fifth of one is usual
_MAX_CALLS = 500  # decoders leak, so a worker is replaced after so many calls
_MAX_RESIDENT = 256 * _MIB  # or when so much of it stays in memory after a call; it begins with 30 MiB

_TOO_LONG = "it takes too long to decode"
_CRASHED = "its decoder crashed"
# By what ended a worker; SIGKILL is what a kernel without memory sends.
_ENDS = {-signal.SIGKILL: sandbox_worker.TOO_MUCH, -signal.SIGALRM: _TOO_LONG}


class Sandbox:
    """Processes that call functions of `modules`, started when they are needed and kept for the next call.

    At most `workers` of them; a call waits `patience` seconds for one, then may take `seconds`, and `memory`
    bytes beyond what a worker starts with.
    """

    def __init__(
        self,
        *modules: str,
        workers: int = os.cpu_count() or 1,
        patience: float = 20.0,
        seconds: float = _DECODES_WITHIN,
        memory: int = _MEMORY,
    ) -> None:
        self._modules = modules
        self._workers = workers
        self._patience = patience
        self._seconds = seconds
        self._memory = memory
        self._reset()
        atexit.register(self.close)
        os.register_at_fork(after_in_child=self._forget)

    def run[**P, R](
        self,
        function: Callable[Concatenate[IO[bytes], P], R],
        file: IO[bytes],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """`function(file, ...)` in a worker, which reads the file from its start and cannot write to it.

        The function has to be declared to return bytes, str, int, float, bool, a dataclass or a list of
        these, or None. Raises what it raises of FileError; InvalidImage where it takes too long, takes too
        much memory or crashes; StorageUnavailable where no worker can be had.
        """
        place, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", "")
        if place not in self._modules or vars(sys.modules[place]).get(name) is not function:
            raise ValueError(f"{function} is not a function of {' or '.join(self._modules)}.")
        try:
            with _readable(file) as (content, descriptors):
                request = pickle.dumps((place, name, self._seconds, content, args, kwargs))
                with self._worker() as worker:
                    outcome = worker.call(function, request, descriptors, self._seconds)
        except OSError as error:
            logger.exception("%s.%s could not be called in a worker.", place, name)
            raise StorageUnavailable from error
        if isinstance(outcome, FileError | SandboxError):
            raise outcome
        return cast(R, outcome)

    def close(self) -> None:
        """End all workers, busy or not. The next call starts new ones."""
        workers = list(self._all)
        self._reset()
        for worker in workers:
            worker.end()

    def _reset(self) -> None:
        self._free = threading.BoundedSemaphore(self._workers)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()

    def _forget(self) -> None:
        """After a fork the workers are the other process's, and have to see when that one has gone."""
        for worker in self._all:
            worker.disown()
        self._reset()

    @contextmanager
    def _worker(self) -> Iterator["_Worker"]:
        """A worker for this thread alone; ended if anything goes wrong while it is."""
        free, idle = self._free, self._idle
        if not free.acquire(timeout=self._patience):
            raise StorageUnavailable
        try:
            worker = self._take()
            try:
                yield worker
            except BaseException:
                self._end(worker)
                raise
            if worker.is_worn():
                self._end(worker)
            else:
                idle.append(worker)
        finally:
            free.release()

    def _take(self) -> "_Worker":
        with suppress(IndexError):  # none is idle
            while True:
                worker = self._idle.pop()
                if worker.is_alive():
                    return worker
                self._end(worker)
        worker = _Worker(self._modules, self._memory)
        self._all.add(worker)
        try:
            worker.wait()
        except BaseException:
            self._end(worker)
            raise
        return worker

    def _end(self, worker: "_Worker") -> None:
        worker.end()
        self._all.discard(worker)


run = Sandbox("files.images", "files.metadata", "files.rendering").run


class _Worker:
    """One process and the connection to it. Nothing that it sends is trusted."""

    def __init__(self, modules: tuple[str, ...], memory: int) -> None:
        self._calls = 0
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-SP", "-m", sandbox_worker.__name__, str(memory), *modules],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                # Nothing of the service's own, which has secrets. With more arenas, malloc reserves much of
                # the bounded address space for each thread of a decoder.
                env={"PYTHONPATH": os.pathsep.join(sys.path), "MALLOC_ARENA_MAX": "1"},
                start_new_session=True,  # a Ctrl-C is for the service alone
            )

    def wait(self) -> None:
        """Until it is ready to be called. Raises OSError if it does not get there."""
        try:
            answer(self._connection, NoneType, time.monotonic() + _STARTS_WITHIN)
        except (EOFError, ValueError) as error:
            raise OSError(f"A worker ended with {self.end(patience=1)} before it was ready.") from error

    def call(
        self, function: Callable[..., object], request: bytes, descriptors: list[int], seconds: float
    ) -> object:
        """What the function returned, or the FileError or SandboxError that is to be raised.

        Raises InvalidImage if there is no such answer; then the worker is of no more use.
        """
        self._calls += 1
        deadline = time.monotonic() + seconds
        try:
            self._connection.settimeout(seconds)
            socket.send_fds(self._connection, [LENGTH.pack(len(request))], descriptors)
            self._connection.sendall(request)
            return answer(self._connection, hints_of(function)["return"], deadline)
        except TimeoutError:
            logger.warning("%s took more than %s s.", function.__qualname__, seconds)
            raise InvalidImage(reason=_TOO_LONG) from None
        except (OSError, EOFError, ValueError) as error:
            code = self.end(patience=1)
            logger.warning("%s ended its worker with %s: %r", function.__qualname__, code, error)
            raise InvalidImage(reason=_ENDS.get(code, _CRASHED)) from error

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def is_worn(self) -> bool:
        return self._calls >= _MAX_CALLS or _resident(self._process.pid) > _MAX_RESIDENT

    def end(self, *, patience: float = 0) -> int:
        """The exit code, or the negative signal: the worker's own if it ends within `patience` seconds."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(patience)
        self._process.kill()
        self._connection.close()
        return self._process.wait()

    def disown(self) -> None:
        self._connection.close()
        self._process.returncode = 0  # no child of this process, so there is nothing to wait for


@contextmanager
def _readable(file: IO[bytes]) -> Iterator[tuple[bytes | None, list[int]]]:
    """The content of a file in memory; for one on disk a descriptor that only reads, from the start."""
    try:
        number = file.fileno()
    except io.UnsupportedOperation:
        number = None
    if number is None:
        file.seek(0)
        yield file.read(), []
        return
    file.flush()
    descriptor = os.open(f"/dev/fd/{number}", os.O_RDONLY)
    try:
        yield None, [descriptor]
    finally:
        os.close(descriptor)


def _resident(process: int) -> int:
    """Its bytes in memory; 0 where the system has no such file."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
