"""Write out the audit log, or remove what was kept for long enough."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser

from audit import export, retention
from audit.models import Action
from files.management import options

_FORMATS: Mapping[str, Callable[[Iterable[dict[str, Any]]], Iterator[str]]] = {
    "jsonl": export.json_lines,
    "csv": export.csv_lines,
}


class Command(BaseCommand):
    help = (
        "Write the audit log to standard output, oldest first, one entry a line: who uploaded, changed or "
        "deleted what, what was refused, and what became of API tokens. Control characters are escaped, and "
        "in CSV what a spreadsheet would take for a formula begins with an apostrophe. `audit prune` removes "
        "old entries. Exit code: 0, or 2 if the database failed."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=options.moment,
            metavar="TIME",
            help="from then on: 2026-11-21, 2026-11-21T15:20 (UTC), or 2d for two days ago",
        )
        parser.add_argument("--until", type=options.moment, metavar="TIME", help="before then")
        parser.add_argument("--user", metavar="USERNAME", help="what this user did")
        parser.add_argument(
            "--action",
            choices=Action.values,
            metavar="ACTION",
            help=f"only this: {', '.join(Action.values)}",
        )
        parser.add_argument("--file", type=UUID, metavar="UUID", help="what became of this file")
        parser.add_argument("--format", choices=_FORMATS, default="jsonl", help="default: %(default)s")
        prune = parser.add_subparsers(dest="subcommand", metavar="[prune]").add_parser(
            "prune", help="remove old entries for good, and record that"
        )
        prune.add_argument(
            "--older-than",
            type=options.duration,
            required=True,
            metavar="TIME",
            help="remove what was recorded longer ago than this: 400d, 52w",
        )

    def handle(self, *, subcommand: str | None, **given: Any) -> None:
        with options.failures():
            if subcommand == "prune":
                self._prune(given["older_than"])
            else:
                self._export(**given)

    def _prune(self, older_than: timedelta) -> None:
        count = retention.prune(datetime.now(UTC) - older_than)
        self.stderr.write(f"Removed {count} entries.")

    def _export(self, *, format: str, **given: Any) -> None:
        entries = export.matching(
            since=given["since"],
            until=given["until"],
            username=given["user"],
            action=given["action"],
            file_id=given["file"],
        )
        try:
            for line in _FORMATS[format](export.oldest_first(entries)):
                self.stdout.write(line, ending="")
            self.stdout.flush()
        except BrokenPipeError:  # of `| head`: whoever reads has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
