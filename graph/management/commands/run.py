"""Migrate and serve: the one command that the embedded default needs."""

import shlex
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from accounts import first_user
from graph import server

_WORKERS = 2
_GRACE = 10  # seconds in which requests under way may end


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
        server.prepare(env.host, env.port)
        try:
            call_command("migrate", verbosity=0, interactive=False)
        except DatabaseError as error:
            raise CommandError(f"The database cannot be used: {error}") from None
        server.serve(
            host=env.host,
            port=env.port,
            workers=workers,
            threads=env.threads,
            grace=_GRACE,
            when_ready=lambda: self._announce(env),
        )

    def _announce(self, env: Any) -> None:
        address = server.address(env.host, env.port)
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
        if password is not None:
            lines.append(f"  Sign in     as {first_user.USERNAME} with the password {password}")
            lines.append("              (shown this once; the library asks for one of your own)")
        self.stdout.write("\n".join([*lines, ""]))
        self.stdout.flush()


def _command(env: Any) -> str:
    """How this program was called, so that the line can be copied as it stands."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    is_default = env.data_dir == settings.BASE_DIR / "var"
    data_dir = "" if is_default else f"DATA_DIR={shlex.quote(str(env.data_dir))} "
    return f"{data_dir}{python} manage.py"
