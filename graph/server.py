"""The server that Coffer recommends, gunicorn with threads: what it bears with, and how it ends.

`manage.py run` and `manage.py serve` start it. docs/servers.md compares it with others. It believes nothing
that a proxy says: `graph.proxies` decides that.
"""

import contextlib
import gc
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management.base import CommandError
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import connections
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import TConn, ThreadWorker

from graph.threads import Threads

_UNREAD_LIMIT = 64 * 1024  # bytes of a body that gunicorn reads away to keep a connection
_IDLE = 60.0  # seconds without a byte after which a client counts as gone, as in config.asgi
# Seconds for which a connection waits for another request. A waiting one costs no thread; proxies close
# theirs after 60 s, and should be the first, or they send a request into a connection that is being closed.
_KEEP_ALIVE = 75
_MAX_LINE = 8190  # bytes of a request line, the most that gunicorn takes: a query by GET is one
_MAX_HEADERS, _MAX_HEADER = 100, 8190  # how many, and bytes of one
_AT_ONCE = 2  # requests that run in a process: one has the interpreter while the other waits for the disk
_LEAVES_TO_OTHERS = 0.0005  # seconds after each connection, for which the others may take the next
_MAX_CONNECTIONS = 2000  # of one process, most of them waiting
_HEARTBEAT = 120  # seconds without a sign of life after which a process is replaced; it gives one a second
_CLEANUP = 5  # seconds beyond the grace, in which what was cut off is removed
# gunicorn makes its file there under a name that nobody can know before, and unlinks it.
_MEMORY = "/dev/shm"  # noqa: S108  # nosec B108


class _Connection(TConn):  # type: ignore[misc]
    """A client that falls silent in the middle is gone: its thread is needed."""

    is_closed = False

    def init(self) -> None:
        super().init()
        self.sock.settimeout(_IDLE)

    def close(self, graceful: bool = False) -> None:
        if not self.is_closed:
            self.is_closed = True
            super().close(graceful)


class Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, which end what does not end by itself.

    When the grace is over, an upload sees the end of its bytes, as if its client had gone, and is refused and
    removed as any other that breaks off. gunicorn would have its process killed, and leave what was staged.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._open: set[TConn] = set()
        self._cut_at = float("inf")  # by time.monotonic
        self.log.error_log.addFilter(_is_no_silence)

    def get_thread_pool(self) -> Threads:
        return Threads(self.cfg.threads, at_once=_AT_ONCE)

    def handle_exit(self, sig: int, frame: Any) -> None:
        self._cut_at = min(self._cut_at, time.monotonic() + self.cfg.graceful_timeout - _CLEANUP)
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: Any) -> None:
        # A Ctrl-C, which must not wait for a lock that the same thread may hold.
        self.handle_exit(sig, frame)

    def accept(self, listener: socket.socket) -> None:
        super().accept(listener)
        # Of connections that come all at once this process would else take the most, because it is awake.
        time.sleep(_LEAVES_TO_OTHERS)

    def enqueue_req(self, conn: TConn) -> None:
        conn.__class__ = _Connection  # gunicorn makes them, and has no setting for their class
        self._open.add(conn)
        super().enqueue_req(conn)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        self._open.discard(conn)
        super().finish_request(conn, fs)

    def handle(self, conn: TConn) -> Any:
        """Closes on the thread of the request. gunicorn would do it on the one that takes in all connections,
        and wait there for each client to close its end, up to 2 s."""
        keeps = super().handle(conn)
        if not keeps:
            conn.close(graceful=True)
        return keeps

    def handle_request(self, req: Any, conn: TConn) -> bool:
        if not _keeps_the_connection(req):
            req.force_close()
        return bool(super().handle_request(req, conn))

    def notify(self) -> None:
        """Called once a second, and by the main thread alone."""
        super().notify()
        if self.alive:
            return
        for conn in self.pending_conns:  # they have asked nothing yet
            _shut(conn, socket.SHUT_RD)
        late = time.monotonic() - self._cut_at
        if late > 0:
            # First what it reads, so that it can still be answered; then what waits for a client to read.
            for conn in self._open:
                _shut(conn, socket.SHUT_RD if late < _CLEANUP / 2 else socket.SHUT_RDWR)


def _shut(conn: TConn, how: int) -> None:
    with contextlib.suppress(OSError):  # it has gone
        conn.sock.shutdown(how)


def _is_no_silence(record: logging.LogRecord) -> bool:
    """A traceback for each client that falls silent would let strangers fill the log."""
    return record.exc_info is None or not isinstance(record.exc_info[1], TimeoutError)


def _keeps_the_connection(request: Any) -> bool:
    """gunicorn closes a connection on which much of a body was not read, and would say that it keeps it."""
    length = dict(request.headers).get("CONTENT-LENGTH", "0")
    return bool(length.isdecimal() and int(length[:20]) <= _UNREAD_LIMIT)


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIHandler:
        application: WSGIHandler = get_internal_wsgi_application()
        return application


def serve(
    *, host: str, port: int, workers: int, threads: int, grace: int, when_ready: Callable[[], None]
) -> None:
    """Serve in so many processes, each with so many threads, until SIGTERM or Ctrl-C; never returns.

    Requests under way may take `grace` seconds more. Processes are not replaced after some number of
    requests: what leaks are decoders, which run elsewhere and are replaced there (`files.sandbox`).
    """

    def ready(_: object) -> None:
        when_ready()
        # What was read by now is kept for good: no process looks through it for garbage, or gets a copy of
        # it because it did.
        gc.collect()
        gc.freeze()
        _close(connections["default"])  # the processes, which are forked after this, open their own

    _Server(
        {
            "bind": address(host, port).removeprefix("http://"),
            "workers": workers,
            "worker_class": Worker,
            "threads": threads,
            "worker_connections": max(_MAX_CONNECTIONS, 2 * threads),
            "preload_app": True,  # read once, before there are threads; the processes share its memory
            "when_ready": ready,
            "keepalive": _KEEP_ALIVE,
            "limit_request_line": _MAX_LINE,
            "limit_request_fields": _MAX_HEADERS,
            "limit_request_field_size": _MAX_HEADER,
            "graceful_timeout": grace + _CLEANUP,
            "timeout": _HEARTBEAT,
            "worker_tmp_dir": _heartbeat_folder(),
            "forwarded_allow_ips": "",
            "secure_scheme_headers": {},
            "forwarder_headers": "",
            "control_socket_disable": True,  # it would write a socket to the home of the user
            "loglevel": "warning",
            "logconfig_dict": settings.LOGGING,
        }
    ).run()


def address(host: str, port: int) -> str:
    """Of the service, as a browser on this machine has it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _heartbeat_folder() -> str | None:
    """In memory: on a busy disk the touch of a file can take so long that the process counts as dead. None
    where there is no such folder, for the one that Python chooses."""
    try:
        with tempfile.TemporaryFile(dir=_MEMORY):
            return _MEMORY
    except OSError:
        return None


def _close(connection: Any) -> None:
    """The connection, and the pool it came from: workers that are forked must not share its sockets."""
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def prepare(host: str, port: int) -> None:
    """Before anything is written: for this user, and at most read by its group. Raises CommandError, in one
    sentence, for a port that is taken."""
    os.umask(0o027)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port}: {error.strerror}. "
                f"Choose another HOST or PORT, such as PORT={port + 1}."
            ) from None
