"""Read objects again and report which are not what they were."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandParser

from files import storage, verification
from files.management import options
from files.management.options import Progress, Report
from files.models import File
from files.verification import Fault

_GIVE_UP = 10  # unreadable objects in a row: it is the storage that fails, and not they


class Command(BaseCommand):
    help = (
        "Read the bytes of files again and compare them with the size and the SHA-256 of their rows. Nothing "
        "is changed. The report is one JSON object; each finding has the id of a file. Ctrl-C and SIGTERM "
        "end it; `reached` in the report is then what --after goes on from. Exit code: 0 if all files that "
        "were read are whole, 1 if one is not, 2 if not everything could be looked at."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since",
            type=options.duration,
            metavar="TIME",
            help="only files made since so long ago: 90s, 30m, 1h, 2d (default: all)",
        )
        parser.add_argument(
            "--sample",
            type=options.share,
            default="100%",
            metavar="SHARE",
            help="only so many, chosen at random each time: 1%%, 0.5%% (default: all)",
        )
        parser.add_argument("--after", type=UUID, metavar="ID", help="only files behind this one")
        options.add_storage(parser)
        options.add_report(parser)

    def handle(
        self,
        *,
        since: timedelta | None,
        sample: float,
        after: UUID | None,
        report: Path | None,
        **given: Any,
    ) -> None:
        aliases = [given["storage"]] if given["storage"] else storage.aliases()
        head = {"command": "verify", "storages": aliases, "sample": f"{sample:.4%}"}
        progress = Progress(self.stderr)
        with options.failures(), options.reporting(report, self.stdout, head) as written, options.endable():
            run = _Run(written, progress)
            try:
                made_since = datetime.now(UTC) - since if since else None
                for file in verification.files(aliases=aliases, since=made_since, after=after):
                    if sample >= 1 or random.random() < sample:  # noqa: S311  nothing secret is chosen
                        run.read(file)
                    run.reached = file.pk
                run.complete = True
            except options.Ended:
                pass
            finally:
                progress.clear()
                run.end()
        self.stderr.write(run.sentence())
        options.leave(run.code())


class _Run:
    def __init__(self, report: Report, progress: Progress) -> None:
        self.complete = False
        self.reached: UUID | None = None
        self._report = report
        self._progress = progress
        self._files = 0
        self._bytes = 0
        self._faults: Counter[Fault] = Counter()
        self._unreadable = 0  # in a row

    def read(self, file: File) -> None:
        fault = verification.fault_of(file)
        self._files += 1
        self._bytes += file.size
        self._progress.show(f"{self._files} files, {self._bytes} bytes, {self._faults.total()} faults")
        self._unreadable = self._unreadable + 1 if fault is Fault.UNREADABLE else 0
        if fault is not None:
            self._faults[fault] += 1
            self._report.add(
                {
                    "fault": fault,
                    "id": file.pk,
                    "storage": file.storage,
                    "key": file.key,
                    "size": file.size,
                    "sha256": file.sha256,
                }
            )
        if self._unreadable == _GIVE_UP:
            raise options.Ended

    def end(self) -> None:
        self._report.end(
            {
                "complete": self.complete,
                "reached": self.reached,
                "files": self._files,
                "bytes": self._bytes,
                "faults": dict(self._faults),
            }
        )

    def code(self) -> int:
        if not self.complete:
            return options.FAILED
        return options.FOUND if self._faults else 0

    def sentence(self) -> str:
        counts = ", ".join(f"{count} {fault}" for fault, count in sorted(self._faults.items()))
        sentence = f"Read {self._files} files, {self._bytes} bytes: {counts or 'all are whole'}."
        if self._unreadable == _GIVE_UP:
            sentence += f"\nGave up after {_GIVE_UP} unreadable objects in a row: the storage fails."
        if not self.complete and self.reached:
            sentence += f"\nEnded before all were read. To go on: --after {self.reached}"
        return sentence
