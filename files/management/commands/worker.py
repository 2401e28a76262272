"""Run background work: what `TASKS_BACKEND` needs, as one command."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from files import retries, supervisor


class Command(BaseCommand):
    help = (
        "Run the tasks that TASKS_BACKEND=db or rq queues (presets of images, moves of files) until SIGTERM "
        "or Ctrl-C, which finish the tasks under way; a second one does not wait for them. Any number of "
        "these commands may run, on any machine that reaches the database and the storages. A process that "
        "is killed is replaced, and its task tried again. A task that fails is tried "
        f"{retries.MAX_ATTEMPTS} times in all, {', '.join(map(str, retries.BACKOFF))} seconds apart. What "
        "has become of tasks is forgotten by itself."
    )
    requires_system_checks = ()  # some ask the database, which may come up later than this

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--processes", type=int, default=1, help="how many tasks may run at once (default: %(default)s)"
        )

    def handle(self, *, processes: int, **_: Any) -> None:
        if processes < 1:
            raise CommandError("--processes has to be 1 or more.")
        match settings.TASKS_BACKEND:
            case "db":
                from files import db_engine

                supervisor.run([db_engine.work] * processes)
            case "rq":
                from files import rq_engine

                supervisor.run(rq_engine.jobs(processes))
            case _:
                raise CommandError(
                    "TASKS_BACKEND is immediate: the service does everything itself, and there is nothing "
                    "for a worker to do."
                )
