"""Migrate and serve: the one command that the embedded default needs."""

import os
import shlex
import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.servers.basehttp import get_internal_wsgi_application
from django.db import DatabaseError, connections
from gunicorn.app.base import BaseApplication
from gunicorn.workers.gthread import ThreadWorker

from accounts import first_user

_WORKERS = 2
_UNREAD_LIMIT = 64 * 1024  # bytes of a body that gunicorn reads away to keep a connection
_GRACE = 10  # seconds in which requests under way may end


class _Worker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threads, with a Ctrl-C that does not wait for a lock that the same thread may hold."""

    def handle_quit(self, sig: int, frame: Any) -> None:
        self.handle_exit(sig, frame)


def _say_close(worker: Any, request: Any) -> None:
    """gunicorn closes a connection on which much of a body was not read, and says that it keeps it."""
    length = dict(request.headers).get("CONTENT-LENGTH", "0")
    if not length.isdecimal() or int(length[:20]) > _UNREAD_LIMIT:
        request.force_close()


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


class Command(BaseCommand):
    help = (
        "Bring the database up to date and serve on HOST and PORT (127.0.0.1 and 8000 unless the environment "
        "or .env says otherwise) until Ctrl-C. Data goes to DATA_DIR (./var). In a database without any user "
        f"it makes the superuser {first_user.USERNAME}, and says the password, which is random, once, among "
        "the addresses."
    )
    requires_system_checks = ()  # `migrate` makes those that concern the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workers", type=int, default=_WORKERS, help="processes (default: %(default)s)")

    def handle(self, *, workers: int, **_: Any) -> None:
        env = settings.ENV
        _check_port_is_free(env.host, env.port)
        os.umask(0o027)  # what is written here is for this user, and at most read by its group
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        host = f"[{env.host}]" if ":" in env.host else env.host
        _Server(
            {
                "bind": f"{host}:{env.port}",
                "workers": workers,
                "worker_class": _Worker,
                "pre_request": _say_close,
                "threads": env.threads,
                "preload_app": True,
                "graceful_timeout": _GRACE,
                "timeout": 120,
                "loglevel": "warning",
                "when_ready": lambda _: self._announce(env, host),
            }
        ).run()

    def _announce(self, env: Any, host: str) -> None:
        address = f"http://{host}:{env.port}"
        lines = ["", f"Coffer is ready at {address} (Ctrl-C stops it)."]
        lines.append(f"  Library     {address}/")
        if settings.GRAPHIQL:
            lines.append(f"  GraphiQL    {address}/graphql")
        lines.append(f"  Admin       {address}/admin/")
        lines.append(f"  A token     {_command(env)} create_token alice")
        if settings.TASKS_BACKEND != "immediate":
            lines.append(f"  A worker    {_command(env)} worker  (has to run for background work)")
        # Only now that the port is surely ours: a start that fails would take the password along.
        password = first_user.make()
        _close(connections["default"])  # the workers, which are forked after this, open their own
        if password is not None:
            lines.append(f"  Sign in     as {first_user.USERNAME} with the password {password}")
            lines.append("              (shown this once; the library asks for one of your own)")
        self.stdout.write("\n".join([*lines, ""]))
        self.stdout.flush()


def _close(connection: Any) -> None:
    """The connection, and the pool it came from: workers that are forked must not share its sockets."""
    connection.close()
    if hasattr(connection, "close_pool"):
        connection.close_pool()


def _command(env: Any) -> str:
    """How this program was called, so that the line can be copied as it stands."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    is_default = env.data_dir == settings.BASE_DIR / "var"
    data_dir = "" if is_default else f"DATA_DIR={shlex.quote(str(env.data_dir))} "
    return f"{data_dir}{python} manage.py"


def _check_port_is_free(host: str, port: int) -> None:
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
