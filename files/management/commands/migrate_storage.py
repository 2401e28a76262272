"""Move files, with their renditions, from one storage to another."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import batched
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.models import Exists, OuterRef, Q, QuerySet

from files import pooling, reconcile, relocation, storage
from files.errors import StorageUnavailable
from files.management import options
from files.management.options import Progress, Report
from files.models import File, Rendition
from files.relocation import RelocationFailed

_PAGE = 1000  # rows of one query, and objects of one deletion
_MAX_WORKERS = 64  # each has a connection to the database
_GIVE_UP = 10  # files in a row at which a storage failed: it will at the next as well


class Command(BaseCommand):
    help = (
        "Move files and their renditions to another storage while the service runs. Each object is copied, "
        "read back and compared by its SHA-256; then its row names the new storage. Whenever this ends, also "
        "by a kill, run it again: what has moved is skipped, and what was copied is verified and used. The "
        "source stays unless --delete-source is given, now or in a later run. The report is one JSON object "
        "with the files that could not be moved. Exit code: 0 if all is moved, 1 if some files could not be, "
        "2 if not everything could be tried."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--to", type=options.alias, required=True, metavar="ALIAS", help="where to")
        parser.add_argument(
            "--from",
            type=options.alias,
            dest="source",
            metavar="ALIAS",
            help="only what lies here (default: whatever lies elsewhere)",
        )
        parser.add_argument("--profile", metavar="NAME", help="only files of this upload profile")
        parser.add_argument(
            "--workers", type=int, default=8, metavar="N", help="moves at a time (default: %(default)s)"
        )
        parser.add_argument(
            "--delete-source",
            action="store_true",
            help="delete each object once its row names the new storage, also of files that moved earlier",
        )
        options.add_report(parser)

    def handle(
        self,
        *,
        to: str,
        source: str | None,
        profile: str | None,
        workers: int,
        delete_source: bool,
        report: Path | None,
        **_: Any,
    ) -> None:
        if not 1 <= workers <= _MAX_WORKERS:
            raise CommandError(f"--workers {workers}: use 1 to {_MAX_WORKERS}.", returncode=options.FAILED)
        if source == to:
            raise CommandError("--from and --to are the same.", returncode=options.FAILED)
        sources = [source] if source else [alias for alias in storage.aliases() if alias != to]
        progress = Progress(self.stderr)
        head = {"command": "migrate_storage", "to": to, "from": sources, "profile": profile}
        with options.failures():
            _check_are_apart(sources, to)
            with options.reporting(report, self.stdout, head) as written, options.endable():
                run = _Run(written, progress, _waiting(sources, profile).count())
                move = partial(_move, to=to, delete_source=delete_source)
                try:
                    for outcome in _outcomes(_files(sources, profile), move, workers):
                        run.take(outcome)
                    if delete_source:
                        run.delete_copies(sources, to, profile)
                    run.complete = True
                except options.Ended:
                    pass
                finally:
                    progress.clear()
                    run.end()
        self.stderr.write(run.sentence())
        options.leave(run.code())


def _check_are_apart(sources: Sequence[str], to: str) -> None:
    for source in sources:
        if not storage.are_apart(to, source):
            message = f"{source} and {to} are one place: moving there would be copying an object onto itself."
            raise CommandError(message, returncode=options.FAILED)


def _waiting(sources: Sequence[str], profile: str | None) -> QuerySet[File]:
    """Files that lie there, or of which a rendition does: a kill may come between the two."""
    renditions = Rendition.objects.filter(file=OuterRef("pk"), storage__in=sources)
    files = File.objects.filter(Q(storage__in=sources) | Exists(renditions)).order_by("pk")
    return files.filter(profile=profile) if profile else files


def _files(sources: Sequence[str], profile: str | None) -> Iterator[File]:
    waiting = _waiting(sources, profile)
    page = list(waiting[:_PAGE])
    while page:
        yield from page
        page = list(waiting.filter(pk__gt=page[-1].pk)[:_PAGE])


@dataclass(frozen=True, slots=True)
class _Outcome:
    file: File
    source: str
    problem: str | None = None
    is_storage_down: bool = False


def _move(file: File, *, to: str, delete_source: bool) -> _Outcome:
    source = file.storage
    try:
        relocation.move(file, to, delete_source=delete_source)
    except StorageUnavailable as error:
        return _Outcome(file, source, f"a storage failed: {error.__cause__}", is_storage_down=True)
    except FileNotFoundError:
        if not File.objects.filter(pk=file.pk).exists():  # deleted meanwhile: nothing is left to be moved
            return _Outcome(file, source)
        return _Outcome(file, source, "its object is missing")
    except RelocationFailed as error:
        return _Outcome(file, source, str(error))
    return _Outcome(file, source)


def _outcomes(files: Iterator[File], move: Callable[[File], _Outcome], workers: int) -> Iterator[_Outcome]:
    """Each file's, as they come; only so many are under way that the workers have something to do."""
    if workers == 1:
        yield from map(move, files)
        return

    def in_thread(file: File) -> _Outcome:
        try:
            return move(file)
        finally:
            pooling.release()

    pending: set[Future[_Outcome]] = set()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for file in files:
                pending.add(pool.submit(in_thread, file))
                if len(pending) >= 2 * workers:
                    done, pending = wait(pending, return_when=FIRST_COMPLETED)
                    yield from (each.result() for each in done)
            yield from (each.result() for each in pending)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


class _Run:
    def __init__(self, report: Report, progress: Progress, total: int) -> None:
        self.complete = False
        self._report = report
        self._progress = progress
        self._total = total
        self._moved = 0
        self._bytes = 0
        self._failed = 0
        self._deleted = 0
        self._is_down = 0  # files in a row

    def take(self, outcome: _Outcome) -> None:
        if outcome.problem is None:
            self._moved += 1
            self._bytes += outcome.file.size
        else:
            self._failed += 1
            self._report.add(
                {
                    "id": outcome.file.pk,
                    "storage": outcome.source,
                    "key": outcome.file.key,
                    "problem": outcome.problem,
                }
            )
        self._progress.show(
            f"{self._moved} of {self._total} files, {self._bytes} bytes, {self._failed} failed"
        )
        self._is_down = self._is_down + 1 if outcome.is_storage_down else 0
        if self._is_down == _GIVE_UP:
            raise options.Ended

    def delete_copies(self, sources: Sequence[str], to: str, profile: str | None) -> None:
        """What earlier runs, or a kill, left in the sources of files that have moved."""
        for source in sources:
            copies = reconcile.copies(source, named=to)
            wanted = (each for each in copies if not profile or each.name.startswith(f"{profile}/"))
            for batch in batched(wanted, _PAGE):
                self._deleted += sum(mended.done for mended in reconcile.mend(batch))
                self._progress.show(f"{self._deleted} objects deleted from {source}")

    def end(self) -> None:
        self._report.end(
            {
                "complete": self.complete,
                "moved": self._moved,
                "bytes": self._bytes,
                "failed": self._failed,
                "copiesDeleted": self._deleted,
            }
        )

    def code(self) -> int:
        if not self.complete:
            return options.FAILED
        return options.FOUND if self._failed else 0

    def sentence(self) -> str:
        sentence = f"Moved {self._moved} files, {self._bytes} bytes; {self._failed} could not be moved."
        if self._deleted:
            sentence += f" Deleted {self._deleted} objects that were left in the source."
        if not self.complete:
            sentence += "\nEnded before everything was tried. Run it again; what has moved is skipped."
        return sentence
