"""The log: how much is said, and how an event is written, as a line for people or as JSON for programs.

Nothing that a client sends can begin a line of its own, or move a terminal's cursor.
"""

import logging
import re
from datetime import UTC, datetime
from typing import Any

import orjson
from django.http import HttpRequest

from graph.request_info import CURRENT, RequestInfo

FORMATS = ("line", "json")
ACCESS = "graph.middleware"  # the logger that has a line for each request

# Control characters of both sets, what else ends lines, and what turns the direction of text around.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_UNSAFE_IN_TRACEBACK = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))


def settings(*, level: str, format_: str) -> dict[str, Any]:
    """Django's LOGGING. Requests have lines of their own only where programs read them."""
    access = level if format_ == "json" or level == "DEBUG" else _at_least("WARNING", level)
    # At DEBUG, the libraries of stores tell what they send, signatures and keys included.
    quiet = {
        name: {"level": _at_least("INFO", level)} for name in ("boto3", "botocore", "s3transfer", "urllib3")
    }
    # What servers say of themselves takes our form. uvicorn's line for each request has the query string,
    # and so signatures of addresses.
    servers = {
        name: {"handlers": [], "propagate": True, "level": level} for name in ("uvicorn", "uvicorn.error")
    }
    servers["gunicorn.error"] = {"handlers": [], "propagate": True, "level": _at_least("WARNING", level)}
    servers["uvicorn.access"] = {"handlers": [], "propagate": False, "level": "CRITICAL"}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": "config.logs.LineFormatter"},
            "json": {"()": "config.logs.JsonFormatter"},
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": format_}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            "django": {"handlers": [], "level": level, "propagate": True},
            # Anyone can send a wrong Host; a traceback for each would let strangers fill the log.
            "django.security.DisallowedHost": {"level": "CRITICAL"},
            ACCESS: {"level": access},
        }
        | quiet
        | servers,
    }


class LineFormatter(logging.Formatter):
    """`time LEVEL logger: message`; below it, indented, the traceback."""

    def format(self, record: logging.LogRecord) -> str:
        when = datetime.fromtimestamp(record.created).strftime("%Y-%m-%d %H:%M:%S,%f")[:-3]  # noqa: DTZ006  a person's
        lines = [f"{when} {record.levelname} {record.name}: {escaped(record.getMessage())}"]
        # Indented, so that nothing in the text of an exception looks like an event.
        lines += [f"    {line}" for line in _traceback(self, record).splitlines()]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object a line; fields without a value are left out."""

    def format(self, record: logging.LogRecord) -> str:
        info = _info(record)
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": escaped(record.getMessage()),
            "process": record.process,
        }
        if info is not None:
            fields |= {"request": info.id, "user": info.user, "operation": escaped(info.operation)}
        access: dict[str, Any] = record.__dict__.get("access", {})
        fields |= {
            name: escaped(value) if isinstance(value, str) else value for name, value in access.items()
        }
        fields["traceback"] = _traceback(self, record)
        return orjson.dumps(
            {name: value for name, value in fields.items() if value not in {None, ""}}
        ).decode()


def escaped(text: str) -> str:
    """The text with what could end a line, colour a terminal or mislead a reader written as in Python."""
    return _UNSAFE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


def _info(record: logging.LogRecord) -> RequestInfo | None:
    """Of the request, also where its answer has gone out from under another context."""
    said: RequestInfo | None = record.__dict__.get("request_info") or CURRENT.get()
    if said is None and isinstance(request := record.__dict__.get("request"), HttpRequest):
        said = vars(request).get("info")  # Django logs statuses when all middleware has ended
    return said


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    text = formatter.formatException(record.exc_info) if record.exc_info else ""
    return _UNSAFE_IN_TRACEBACK.sub(_escape, text)


def _at_least(floor: str, level: str) -> str:
    levels = logging.getLevelNamesMapping()
    return floor if levels[floor] > levels[level] else level
