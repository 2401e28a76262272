"""Decoding in processes that can be killed: bound in time and memory, and shut in where the kernel can.

Bytes of strangers may hang, bloat, crash or take over what decodes them. So `run` calls a function of
`files.images` or `files.metadata` in a worker, kills the worker when its time is up, and believes nothing
that comes back: an answer is JSON and plain bytes, and becomes a value only if it is of the type that the
function is declared to return, or one of the errors of `files.errors`. multiprocessing, concurrent.futures,
loky and pebble unpickle what a worker sends, which runs whatever a worker that was taken over wants to have
run.
"""

import atexit
import ctypes
import fcntl
import functools
import importlib
import io
import logging
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import IO, Any, Concatenate, cast, get_args, get_origin, get_type_hints

import orjson
from PIL import AvifImagePlugin, Image

from files.errors import LEAVES, FileError, InvalidImage, StorageUnavailable

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
_STARTS_WITHIN = 30.0  # seconds; a fifth of one is usual
_MAX_CALLS = 500  # decoders leak, so a worker is replaced after so many calls
_MAX_RESIDENT = 256 * _MIB  # or when so much of it stays in memory after a call; it begins with 30 MiB
_MAX_HEAD = 64 * 1024  # bytes of JSON in an answer
MAX_BYTES = 64 * _MIB  # of encoded images in an answer
_MAX_TRACEBACK = 8 * 1024  # characters
_MAX_FILES = 16  # open at once in a worker, which needs its connection and the file
_MAX_THREADS = 2  # of AVIF, which takes one for each processor, and memory for each
_NICE = 5  # requests go before decoding
_LENGTH = struct.Struct(">I")
# The same numbers on every architecture but Alpha; Python has no names for them.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_NO_NEW_PRIVILEGES = 38  # of prctl, without which Landlock is for root alone

_TOO_LONG = "it takes too long to decode"
_TOO_MUCH = "it takes too much memory to decode"
_CRASHED = "its decoder crashed"
# By what ended a worker; SIGKILL is what a kernel without memory sends.
_ENDS = {-signal.SIGKILL: _TOO_MUCH, -signal.SIGALRM: _TOO_LONG}

_VALUE, _FAILURE = "value", "failure"  # kinds of answers; the others are the names of errors
_ERRORS = {leaf.__name__: leaf for leaf in LEAVES}


class SandboxError(Exception):
    """The function raised what is no FileError; the message is the worker's traceback."""


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
        seconds: float = 10.0,
        memory: int = 1024 * _MIB,
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


run = Sandbox("files.images", "files.metadata").run


# --- on the side of the service --------------------------------------------------------------------


class _Worker:
    """One process and the connection to it. Nothing that it sends is trusted."""

    def __init__(self, modules: tuple[str, ...], memory: int) -> None:
        self._calls = 0
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-SP", "-m", "files.sandbox", str(memory), *modules],
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
            _answer(self._connection, NoneType, time.monotonic() + _STARTS_WITHIN)
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
            socket.send_fds(self._connection, [_LENGTH.pack(len(request))], descriptors)
            self._connection.sendall(request)
            return _answer(self._connection, _hints(function)["return"], deadline)
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
        return self._calls >= _MAX_CALLS or _memory_of(self._process.pid)[1] > _MAX_RESIDENT

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


def _answer(connection: socket.socket, hint: Any, deadline: float) -> object:
    """Raises TimeoutError; OSError, EOFError or ValueError where what comes is not an answer."""
    (length,) = _LENGTH.unpack(_receive(connection, _LENGTH.size, deadline))
    if length > _MAX_HEAD:
        raise ValueError("The head of the answer is too long.")
    kind, value, sizes = _typed(orjson.loads(_receive(connection, length, deadline)), list)
    sizes = [_typed(size, int) for size in _typed(sizes, list)]
    if min(sizes, default=0) < 0 or sum(sizes) > MAX_BYTES:
        raise ValueError("The bytes of the answer are too many.")
    blobs = [_receive(connection, size, deadline) for size in sizes]
    if kind == _VALUE:
        return _revived(value, hint, blobs)
    if kind == _FAILURE:
        return SandboxError(_typed(value, str))
    if _typed(kind, str) not in _ERRORS:
        raise ValueError("The answer is of no known kind.")
    return _revived(value, _ERRORS[kind], blobs)


def _revived(value: object, hint: Any, blobs: list[bytes]) -> object:
    """The value from its JSON. Raises ValueError where it is not of the type, TypeError for a type that is
    not known here."""
    if hint in {NoneType, bool, int, float, str}:
        return _typed(value, hint)
    if hint is bytes:
        if (index := _typed(value, int)) not in range(len(blobs)):
            raise ValueError("The answer has no such bytes.")
        return blobs[index]
    if NoneType in get_args(hint):
        (other,) = set(get_args(hint)) - {NoneType}
        return None if value is None else _revived(value, other, blobs)
    if get_origin(hint) is list:
        return [_revived(each, get_args(hint)[0], blobs) for each in _typed(value, list)]
    if not isinstance(hint, type) or not is_dataclass(hint):
        raise TypeError(f"A worker cannot answer with {hint}.")
    given, hints = _typed(value, dict), _hints(hint)
    if set(given) != {field.name for field in fields(hint)}:
        raise ValueError("The answer has other fields than its type.")
    return hint(**{name: _revived(each, hints[name], blobs) for name, each in given.items()})


def _typed[T](value: object, expected: type[T]) -> T:
    if type(value) is not expected:  # a bool is not taken for an int
        raise ValueError(f"The answer has {type(value).__name__} instead of {expected.__name__}.")
    return value


@functools.cache
def _hints(annotated: Any) -> dict[str, Any]:
    return get_type_hints(annotated)


# --- on either side --------------------------------------------------------------------------------


def _receive(connection: socket.socket, size: int, deadline: float | None = None) -> bytes:
    """So many bytes, before `deadline` of the monotonic clock. Raises TimeoutError and EOFError."""
    data = bytearray(size)
    missing = memoryview(data)
    while missing:
        if deadline is not None:
            if (left := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            connection.settimeout(left)
        count = connection.recv_into(missing)
        if not count:
            raise EOFError
        missing = missing[count:]
    return bytes(data)


def _memory_of(process: int | str) -> tuple[int, int]:
    """Bytes of address space, and those resident in memory; zeros where the system has no such file."""
    try:
        size, resident, *_ = Path(f"/proc/{process}/statm").read_text().split()
    except OSError:
        return 0, 0
    return int(size) * resource.getpagesize(), int(resident) * resource.getpagesize()


# --- in the worker ---------------------------------------------------------------------------------


def _serve(memory: int, modules: list[str]) -> None:
    """Answer calls until the service closes the connection."""
    connection = socket.socket(fileno=0)
    for module in modules:
        importlib.import_module(module)
    AvifImagePlugin.DEFAULT_MAX_THREADS = _MAX_THREADS
    Image.init()  # loads the decoders, whose libraries may lie where they cannot be read any more below
    _shut_in(memory)
    connection.sendall(_packed(_VALUE, None))
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, _LENGTH.size, 1)
        if not head:
            return
        request = _receive(connection, *_LENGTH.unpack(head))
        connection.sendall(_called(request, descriptors))


def _called(request: bytes, descriptors: list[int]) -> bytes:
    """The answer to a request, which is the service's and can be trusted."""
    module, name, seconds, content, args, kwargs = pickle.loads(request)  # noqa: S301
    try:
        with (
            io.BytesIO(content) if content is not None else os.fdopen(descriptors[0], "rb") as file,
            _mortal(seconds),
        ):
            file.seek(0)  # some systems share the position with the service
            return _packed(_VALUE, vars(sys.modules[module])[name](file, *args, **kwargs))
    except MemoryError:
        return _packed(InvalidImage.__name__, InvalidImage(reason=_TOO_MUCH))
    except FileError as error:
        known = InvalidImage(reason=_TOO_MUCH) if isinstance(error.__cause__, MemoryError) else error
        return _packed(type(known).__name__, known)
    except Exception:  # a defect, to be shown on the other side
        return _packed(_FAILURE, traceback.format_exc()[-_MAX_TRACEBACK:])


def _packed(kind: str, value: object) -> bytes:
    """JSON, in which bytes are their number among those that follow it."""
    blobs: list[bytes] = []

    def number(each: object) -> int:
        blobs.append(_typed(each, bytes))
        return len(blobs) - 1

    data = orjson.dumps([kind, value], default=number)
    head = b"[%s,%s]" % (data[1:-1], orjson.dumps([len(blob) for blob in blobs]))
    return b"".join([_LENGTH.pack(len(head)), head, *blobs])


@contextmanager
def _mortal(seconds: float) -> Iterator[None]:
    """Meanwhile the kernel ends this process when the service goes, or when the service does not end it in
    time, also in code that never comes back to Python. PR_SET_PDEATHSIG would not do: it looks at the thread
    that started the worker, not at the service."""
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)  # SIGIO when the connection is closed
    try:
        yield
    finally:
        fcntl.fcntl(0, fcntl.F_SETFL, flags)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _shut_in(memory: int) -> None:
    """Leave this process what decoding needs: the connection, `memory` more bytes, and code to load."""
    os.nice(_NICE)
    os.dup2(1, 2)  # until here, what goes wrong is seen where the service's errors are
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGIO, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a service that is told to end finishes its requests first
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))
    if sys.platform == "linux":
        limit = _memory_of("self")[0] + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # rather this one than the service
        _forbid_files()


def _forbid_files() -> None:
    """By Landlock, as far as the kernel has it: no file can be opened any more but to read code, no program
    run, no TCP connection made, and no signal sent to another process. See landlock(7)."""
    version = landlock_version()
    if not version:
        return
    on_files = 13 + (version >= 2) + (version >= 3) + (version >= 5)  # how many rights the kernel knows
    on_network = 2 if version >= 4 else 0
    on_processes = 2 if version >= 6 else 0
    rights = struct.pack("=QQQ", *((1 << count) - 1 for count in (on_files, on_network, on_processes)))
    ruleset = _system_call(_CREATE_RULESET, rights, len(rights), 0)
    reading = 1 << 2 | 1 << 3  # files, folders
    for module in (os, Image, sys.modules[__name__]):
        folder = os.open(Path(str(module.__file__)).parent, os.O_PATH)
        _system_call(_ADD_RULE, ruleset, 1, struct.pack("=Qi", reading, folder), 0)
        os.close(folder)
    ctypes.CDLL(None).prctl(_NO_NEW_PRIVILEGES, *map(ctypes.c_ulong, (1, 0, 0, 0)))
    _system_call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def landlock_version() -> int:
    """Of the kernel's interface; 0 where there is none."""
    try:
        return _system_call(_CREATE_RULESET, None, 0, 1) if sys.platform == "linux" else 0
    except OSError:
        return 0


def _system_call(number: int, *arguments: int | bytes | None) -> int:
    wide = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    result: int = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"system call {number}")
    return result


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2:])
