"""What runs in a worker of the sandbox: it leaves itself what decoding needs, then answers calls.

The bytes that are decoded may take this process over. So the kernel forbids it, before the first of them
comes, what decoding does not need, and the service trusts nothing that it says.
"""

import fcntl
import importlib
import io
import os
import pickle
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import AvifImagePlugin, Image

from files import fence
from files.errors import FileError, InvalidImage
from files.sandbox_wire import FAILURE, LENGTH, VALUE, packed, receive

TOO_MUCH = "it takes too much memory to decode"

_MAX_TRACEBACK = 8 * 1024  # characters
_MAX_FILES = 16  # open at once, where the connection and the file are needed
_MAX_THREADS = 2  # of AVIF, which takes one for each processor, and memory for each
_NICE = 5  # requests go before decoding


def serve(memory: int, modules: list[str]) -> None:
    """Answer calls until the service closes the connection."""
    connection = socket.socket(fileno=0)
    for module in modules:
        importlib.import_module(module)
    AvifImagePlugin.DEFAULT_MAX_THREADS = _MAX_THREADS
    Image.init()  # loads the decoders, whose libraries may lie where they cannot be read any more below
    _shut_in(memory)
    connection.sendall(packed(VALUE, None))
    while True:
        head, descriptors, _, _ = socket.recv_fds(connection, LENGTH.size, 1)
        if not head:
            return
        request = receive(connection, *LENGTH.unpack(head))
        connection.sendall(_called(request, descriptors))


def _called(request: bytes, descriptors: list[int]) -> bytes:
    """The answer to a request, which is the service's and can be trusted."""
    module, name, seconds, content, args, kwargs = pickle.loads(request)  # noqa: S301  # nosec B301
    try:
        with (
            io.BytesIO(content) if content is not None else os.fdopen(descriptors[0], "rb") as file,
            _mortal(seconds),
        ):
            file.seek(0)  # some systems share the position with the service
            return packed(VALUE, vars(sys.modules[module])[name](file, *args, **kwargs))
    except MemoryError:
        return packed(InvalidImage.__name__, InvalidImage(reason=TOO_MUCH))
    except FileError as error:
        known = InvalidImage(reason=TOO_MUCH) if isinstance(error.__cause__, MemoryError) else error
        return packed(type(known).__name__, known)
    except Exception:  # a defect, to be shown on the other side
        return packed(FAILURE, traceback.format_exc()[-_MAX_TRACEBACK:])


@contextmanager
def _mortal(seconds: float) -> Iterator[None]:
    """Meanwhile the kernel ends this process when the service goes, or when the service does not end it in
    time, also in code that never comes back to Python. PR_SET_PDEATHSIG would not do: it looks at the thread
    that started the worker, not at the service."""
    flags = fcntl.fcntl(0, fcntl.F_GETFL)
    signal.setitimer(signal.ITIMER_REAL, seconds + 1)
    fcntl.fcntl(0, fcntl.F_SETFL, flags | os.O_ASYNC)  # SIGIO when the connection is closed
    if select.select([0], [], [], 0)[0]:  # it was closed before
        os._exit(1)
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
        limit = _address_space() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")  # rather this one than the service
        fence.forbid_files(*(Path(str(module.__file__)).parent for module in (os, Image, fence)))
        fence.forbid_sockets_and_processes()


def _address_space() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


if __name__ == "__main__":
    serve(int(sys.argv[1]), sys.argv[2:])
