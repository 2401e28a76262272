"""Find what crashes left, and mend it if told to."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from files import reconcile, storage
from files.management import options
from files.management.options import Progress, Report
from files.reconcile import Finding, Kind, Scan

# What --apply removes; the rest only if it is asked for by name, or never.
_SAFE = {
    Kind.OBJECT_WITHOUT_ROW,
    Kind.UNFINISHED_UPLOAD,
    Kind.TEMPORARY_FILE,
    Kind.UNMADE_RENDITION,
    Kind.RENDITION_WITHOUT_OBJECT,
}


class Command(BaseCommand):
    help = (
        "Compare rows with objects and report what does not belong together: objects without row, rows "
        "without object, uploads that were never finished, temporary files, and renditions that were claimed "
        "and never made. Without --apply nothing is changed. What is younger than the grace time is left "
        "alone, and so is what Coffer did not make (`foreign` in the report). The report is one JSON object. "
        "Exit code: 0 if nothing is left (foreign objects do not count), 1 if something is, 2 if not "
        "everything could be done."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--apply",
            action="store_true",
            help="remove objects without row, unfinished uploads, temporary files, and rows of renditions "
            "that are not there",
        )
        parser.add_argument(
            "--delete-rows",
            action="store_true",
            help="with --apply: also the rows of files whose bytes are lost",
        )
        parser.add_argument(
            "--delete-copies",
            action="store_true",
            help="with --apply: also objects whose row names another storage, if they are there as well",
        )
        parser.add_argument(
            "--max-deletions",
            type=int,
            default=1000,
            metavar="N",
            help="with --apply: if more is to be removed, remove nothing; a wrong database looks like that "
            "(default: %(default)s)",
        )
        parser.add_argument(
            "--grace",
            type=options.duration,
            default="1h",
            metavar="TIME",
            help="leave alone what is younger: 90s, 30m, 1h, 2d (default: %(default)s)",
        )
        parser.add_argument(
            "--since",
            type=options.duration,
            metavar="TIME",
            help="only the days from so long ago until now (default: all days)",
        )
        options.add_storage(parser)
        options.add_report(parser)

    def handle(self, *, grace: timedelta, since: timedelta | None, report: Path | None, **given: Any) -> None:
        now = datetime.now(UTC)
        progress = Progress(self.stderr)
        scan = Scan(
            aliases=[given["storage"]] if given["storage"] else storage.aliases(),
            before=now - grace,
            since=(now - since).date() if since else None,
            on_progress=lambda scan, where: progress.show(
                f"{where}  {scan.objects} objects, {scan.rows} rows"
            ),
        )
        removed = _removed(given) if given["apply"] else frozenset()
        head = {"command": "reconcile", "applied": given["apply"], "storages": scan.aliases}
        with options.failures(), options.reporting(report, self.stdout, head) as written, options.endable():
            run = _Run(scan, written, removed, given["max_deletions"])
            try:
                run.look()
                run.mend()
                run.complete = True
            except options.Ended:
                pass
            finally:
                progress.clear()
                run.end()
        self.stderr.write(run.sentence())
        options.leave(run.code())


def _removed(given: dict[str, Any]) -> frozenset[Kind]:
    asked = {Kind.FILE_WITHOUT_OBJECT: given["delete_rows"], Kind.COPY: given["delete_copies"]}
    return frozenset(_SAFE | {kind for kind, is_asked in asked.items() if is_asked})


class _Run:
    """One run: findings are reported when their fate is known."""

    def __init__(self, scan: Scan, report: Report, removed: frozenset[Kind], limit: int) -> None:
        self.complete = False
        self._scan = scan
        self._report = report
        self._removed = removed
        self._limit = limit
        self._held: list[Finding] = []
        self._is_over = False
        self._found: Counter[str] = Counter()
        self._mended: Counter[str] = Counter()

    def look(self) -> None:
        for found in self._scan.findings():
            self._found[found.kind] += 1
            if found.kind not in self._removed or self._is_over:
                self._add(found, done=False)
                continue
            self._held.append(found)
            if len(self._held) > self._limit:
                self._is_over = True
                self._give_up()

    def mend(self) -> None:
        held, self._held = self._held, []
        left = {id(found): found for found in held}
        try:
            for mended in reconcile.mend(held):
                del left[id(mended.finding)]
                self._mended[mended.finding.kind] += mended.done
                self._add(mended.finding, done=mended.done)
        finally:
            self._held = list(left.values())

    def end(self) -> None:
        self._give_up()
        self._report.end(
            {
                "complete": self.complete,
                "overLimit": self._is_over,
                "objects": self._scan.objects,
                "rows": self._scan.rows,
                "found": dict(self._found),
                "mended": dict(+self._mended),
                "left": self._left(),
            }
        )

    def code(self) -> int:
        if not self.complete:
            return options.FAILED
        return options.FOUND if self._left() else 0

    def sentence(self) -> str:
        counts = ", ".join(f"{count} {kind}" for kind, count in sorted(self._found.items())) or "nothing"
        lines = [
            f"Looked at {self._scan.objects} objects and {self._scan.rows} rows. Found {counts}; "
            f"mended {self._mended.total()}, left {self._left()}."
        ]
        if self._is_over:
            lines.append(f"More than {self._limit} to remove, so nothing was: is it the right database?")
        if not self.complete:
            lines.append("Ended before everything was looked at.")
        return "\n".join(lines)

    def _left(self) -> int:
        return self._found.total() - self._mended.total() - self._found[Kind.FOREIGN]

    def _give_up(self) -> None:
        for found in self._held:
            self._add(found, done=False)
        self._held = []

    def _add(self, found: Finding, *, done: bool) -> None:
        self._report.add(
            {
                "kind": found.kind,
                "storage": found.storage,
                "name": found.name,
                "size": found.size,
                "time": found.time,
                "row": found.row,
                "named": found.named,
                "mended": done,
            }
        )
