"""Migrate and serve: the one command that the embedded default needs."""

import socket
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.core.wsgi import get_wsgi_application
from django.db import connections
from gunicorn.app.base import BaseApplication

_WORKERS = 2
_GRACE = 10  # seconds in which requests under way may end


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> WSGIHandler:
        return get_wsgi_application()


class Command(BaseCommand):
    help = (
        "Bring the database up to date and serve on HOST and PORT (127.0.0.1 and 8000 unless the environment "
        "or .env says otherwise) until Ctrl-C. Data goes to DATA_DIR (./var)."
    )
    requires_system_checks = ()  # `migrate` makes those that concern the database

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--workers", type=int, default=_WORKERS, help="processes (default: %(default)s)")

    def handle(self, *, workers: int, **_: Any) -> None:
        env = settings.ENV
        _check_port_is_free(env.host, env.port)
        call_command("migrate", verbosity=0, interactive=False)
        connections.close_all()  # the workers open their own
        host = f"[{env.host}]" if ":" in env.host else env.host
        _Server(
            {
                "bind": f"{host}:{env.port}",
                "workers": workers,
                "worker_class": "gthread",
                "threads": env.threads,
                "preload_app": True,
                "graceful_timeout": _GRACE,
                "timeout": 120,
                "loglevel": "warning",
                "when_ready": lambda _: self._announce(host, env.port),
            }
        ).run()

    def _announce(self, host: str, port: int) -> None:
        address = f"http://{host}:{port}"
        lines = ["", f"Coffer is ready at {address} (Ctrl-C stops it)."]
        if settings.GRAPHIQL:
            lines.append(f"  GraphiQL    {address}/graphql")
        lines.append(f"  Admin       {address}/admin/")
        lines.append(f"  A token     {_command()} create_token alice")
        self.stdout.write("\n".join([*lines, ""]))
        self.stdout.flush()


def _command() -> str:
    """How this program was called, so that the line can be copied as it stands."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    return f"{python} manage.py"


def _check_port_is_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another, such as PORT={port + 1}."
            ) from None
