"""Coffer beside its peers and beside what the machine can do, as one table.

Both sides of a ratio are measured in the same run and by turns, so that what disturbs the machine disturbs
both; figures are medians. The peers are the npm packages of bench/package-lock.json, which `make bench`
installs: Apollo Server with graphql-upload, and GraphQL Yoga, both of which hash and keep files as Coffer
does. All servers listen on the loopback, on free ports. Nothing is left behind.

groups of rows:
{groups}

    make bench                                     all of it, within about half an hour
    make bench ARGS="--only pages --only small"    some groups
    make bench ARGS="--quick"                      whether everything runs; its figures mean nothing
    make bench ARGS="--markdown"                   as docs/performance.md has it
"""

import argparse
import importlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from types import FrameType

from bench import machine
from bench.run import FULL, QUICK, NotMeasured, Run, Scale
from bench.table import Row, markdown, plain

GIB = 1024**3


@dataclass(frozen=True)
class Group:
    """Rows that one function measures; `disk` in GiB is what it needs for scratch at full scale.

    The module is imported when its turn comes: those that start the service need Django to be set up.
    """

    about: str
    module: str
    function: str
    disk: float

    def measure(self, run: Run) -> list[Row]:
        rows: list[Row] = getattr(importlib.import_module(f"bench.{self.module}"), self.function)(run)
        return rows


GROUPS = {
    "upload": Group("1 GiB upload against Apollo, Yoga and MD5 alone", "uploads", "measure", 4),
    "written": Group("bytes written to disk for each byte uploaded", "uploads", "measure_written", 3),
    "memory": Group("memory during a 2 GiB upload, and 64 at once", "memory", "measure", 5),
    "small": Group("uploads of 20 KiB a second against Apollo and Yoga", "rates", "measure_small", 2),
    "pages": Group("pages of files a second against Apollo and Yoga", "rates", "measure_pages", 1),
    "depth": Group("page 10,000 against page 1, SQLite and PostgreSQL", "rates", "measure_depth", 4),
    "slow": Group("a client that queries beside 50 slow uploads", "slow", "measure", 1),
    "download": Group("memory while 1 GiB is downloaded", "memory", "measure_download", 3),
    "s3": Group("upload into a bucket against boto3's own", "bucket", "measure", 2),
    "images": Group("renditions against sharp and Pillow", "pictures", "measure", 1),
}


def main() -> int:
    given = _arguments()
    groups = {name: group for name, group in GROUPS.items() if not given.only or name in given.only}
    signal.signal(signal.SIGTERM, _interrupt)  # as Ctrl-C does: what was started is ended, the folder removed
    rows: list[Row] = []
    failures: dict[str, str] = {}
    load = machine.load()
    with tempfile.TemporaryDirectory(prefix="coffer-bench-", dir=given.folder) as name:
        scratch = Path(name)
        scratch.chmod(0o711)  # PostgreSQL does not run as root, and its folder lies in here
        if problem := _unfit(scratch, list(groups.values()), quick=given.quick):
            print(problem, file=sys.stderr)
            return 2
        _set_up(scratch)
        until = time.monotonic() + given.minutes * 60
        for number, (title, group) in enumerate(groups.items()):
            _say(f"[{number + 1}/{len(groups)}] {title}: {group.about}")
            try:
                rows += _measured(group, scratch, given, until, len(groups) - number)
            except (NotMeasured, OSError, AssertionError, subprocess.SubprocessError, ValueError) as error:
                failures[title] = f"{type(error).__name__}: {error}"
                _say(f"  not measured: {failures[title]}")
            except KeyboardInterrupt:  # what was found until then is worth its line
                failures[title] = "interrupted"
                break
    _report(rows, given, load)
    for title, failure in failures.items():
        print(f"{title} could not be measured: {failure}", file=sys.stderr)
    missed = [row for row in rows if row.is_missed]
    return 1 if failures or (given.strict and missed) else 0


def _arguments() -> argparse.Namespace:
    groups = "\n".join(f"    {name:10} {group.about}" for name, group in GROUPS.items())
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=(__doc__ or "").format(groups=groups),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--only", action="append", choices=GROUPS, metavar="GROUP", help="this group; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help="turns of each side (default: 5, or 1 with --quick)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument(
        "--minutes",
        type=float,
        default=30,
        help="each group has a fair part of them, after which it begins no further round (default: 30)",
    )
    parser.add_argument("--folder", type=Path, help="for scratch, on a real disk (default: the system's)")
    parser.add_argument("--markdown", action="store_true", help="print what docs/performance.md holds")
    parser.add_argument("--strict", action="store_true", help="fail if a bar is not met")
    given = parser.parse_args()
    if given.rounds is None:
        given.rounds = 1 if given.quick else 5
    if given.rounds < 1:
        parser.error("--rounds: at least one")
    return given


def _measured(
    group: Group, scratch: Path, given: argparse.Namespace, until: float, groups_left: int
) -> list[Row]:
    """The group's rows; what it kept in its folder is removed."""
    scale: Scale = QUICK if given.quick else FULL
    now = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="group-", dir=scratch) as name:
        folder = Path(name)
        folder.chmod(0o711)
        part = max(0, until - now) / groups_left
        return group.measure(Run(scale=scale, rounds=given.rounds, until=now + part, folder=folder))


def _unfit(scratch: Path, groups: Sequence[Group], *, quick: bool) -> str:
    """Why the benchmarks cannot use that folder, if they cannot."""
    need = (0.5 if quick else max(group.disk for group in groups)) * GIB
    free = shutil.disk_usage(scratch).free
    if free < need:
        return (
            f"{scratch.parent} has {free / GIB:.1f} GiB free, and {need / GIB:.1f} are needed: give --folder."
        )
    if not machine.is_disk(scratch):
        return f"{scratch.parent} is not on a disk but in memory: give --folder."
    return ""


def _set_up(scratch: Path) -> None:
    """This process asks for no data of its own, and all that it starts keeps its scratch in that folder."""
    os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
    os.environ |= {"DJANGO_SETTINGS_MODULE": "tests.settings", "LOG_LEVEL": "ERROR"}
    import django

    django.setup()


def _report(rows: Sequence[Row], given: argparse.Namespace, load: float) -> None:
    python, node = platform.python_version(), _node()
    print(
        f"{datetime.now(UTC):%-d %B %Y}; {machine.processors()} x {machine.name()}, Python {python}, "
        f"Django {metadata.version('Django')}, Node {node}; at most {given.rounds} rounds"
        f"{' of tiny sizes' if given.quick else ''}; load at the start {load:.1f}.\n"
    )
    print((markdown if given.markdown else plain)(rows))


def _node() -> str:
    done = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return done.stdout.strip().removeprefix("v")


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
