"""What the commands that walk through storages share: arguments, the report, the line of progress.

The line is two writes to a terminal. tqdm does more, and would be one more package in every deployment.
"""

import argparse
import contextlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TextIO

from django.core.management.base import CommandError, CommandParser

from files import storage
from files.errors import StorageUnavailable
from files.outages import DATABASE_ERRORS, is_outage

FOUND = 1  # exit code: something is left
FAILED = 2  # exit code: not everything could be looked at

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
_SECONDS_BETWEEN = 0.2  # of the line of progress: a terminal that is written to without end slows the work


def duration(text: str) -> timedelta:
    """`90s`, `30m`, `1h`, `2d` or `1w`. Raises ArgumentTypeError, also for what is longer than time."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time; write for example 90s, 30m, 1h, 2d or 1w")
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if length > timedelta(days=36_500):
        raise argparse.ArgumentTypeError(f"{text!r} is more than a hundred years")
    return length


def moment(text: str) -> datetime:
    """`2d` ago, `2026-11-21` or `2026-11-21T15:20`, in UTC unless it says otherwise. Raises
    ArgumentTypeError."""
    if _DURATION.fullmatch(text):
        return datetime.now(UTC) - duration(text)
    try:
        named = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no moment; write for example 2026-11-21, 2026-11-21T15:20 or 2d"
        ) from None
    return named if named.tzinfo else named.replace(tzinfo=UTC)


def share(text: str) -> float:
    """`1%` as 0.01. Raises ArgumentTypeError."""
    match = _SHARE.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share; write for example 1% or 0.5%")
    return float(match[1]) / 100


def alias(text: str) -> str:
    """The name of a storage that files may lie in. Raises ArgumentTypeError."""
    if text not in storage.aliases():
        known = ", ".join(storage.aliases())
        raise argparse.ArgumentTypeError(f"there is no storage {text!r}; there is {known}")
    return text


def add_storage(parser: CommandParser) -> None:
    parser.add_argument("--storage", type=alias, metavar="ALIAS", help="only this one (default: all)")


def add_report(parser: CommandParser) -> None:
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where the JSON report goes (default: standard output)"
    )


class Report:
    """One JSON object, written as it comes: what is true of the run, a list of findings, and a summary."""

    def __init__(self, output: TextIO, head: Mapping[str, object]) -> None:
        self._output = output
        self._first = True
        self._output.write(json.dumps(dict(head), default=_json)[:-1] + ', "findings": [')

    def add(self, finding: Mapping[str, object]) -> None:
        self._output.write(("" if self._first else ",") + "\n  " + json.dumps(dict(finding), default=_json))
        self._first = False

    def end(self, summary: Mapping[str, object]) -> None:
        last = "" if self._first else "\n"
        self._output.write(f"{last}], {json.dumps(dict(summary), default=_json)[1:]}\n")


@contextmanager
def reporting(path: Path | None, stdout: Any, head: Mapping[str, object]) -> Iterator[Report]:
    """A report to the file, or to standard output. Raises CommandError if the file cannot be written."""
    with contextlib.ExitStack() as opened:
        try:
            output = opened.enter_context(path.open("w")) if path else stdout
        except OSError as error:
            raise CommandError(f"--report {path}: {error.strerror}.", returncode=FAILED) from None
        if path is None:
            stdout.ending = ""  # Django's wrapper would end each piece with a new line
        yield Report(output, {"began": datetime.now(UTC), **head})


class Progress:
    """One line on standard error that is written over and over; nothing where that is no terminal."""

    def __init__(self, output: Any) -> None:
        self._output = output
        self._is_shown = output.isatty()
        self._next = 0.0

    def show(self, text: str) -> None:
        now = time.monotonic()
        if self._is_shown and now >= self._next:
            self._next = now + _SECONDS_BETWEEN
            self._output.write(f"\r\x1b[K{text[:100]}", ending="")
            self._output.flush()

    def clear(self) -> None:
        if self._is_shown:
            self._output.write("\r\x1b[K", ending="")


class Ended(BaseException):
    """Somebody asked the command to end: nothing that handles errors may take it for one."""


@contextmanager
def endable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise Ended, so that the report is ended as well."""

    def end(number: int, frame: object) -> None:
        raise Ended

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def failures() -> Iterator[None]:
    """A storage or a database that fails ends the command with a sentence and its own exit code."""
    try:
        yield
    except StorageUnavailable as error:
        cause = f": {error.__cause__}" if error.__cause__ else ""
        message = f"A storage failed{cause}. What was done is done; run it again."
        raise CommandError(message, returncode=FAILED) from error
    except DATABASE_ERRORS as error:
        if not is_outage(error):
            raise
        raise CommandError(f"The database failed: {error}. Run it again.", returncode=FAILED) from error


def leave(code: int) -> None:
    """End with this exit code, unless it is 0: a caller in the same process then goes on."""
    if code:
        sys.exit(code)


def _json(value: object) -> str:  # of what JSON has no type for
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else str(value)
