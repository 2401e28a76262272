"""The log: what an event looks like in each format, and that nothing in it can pass for another event."""

import json
import logging
import sys
from typing import Any

import pytest

from config import logs
from graph.request_info import CURRENT, RequestInfo

# What a client may put into a name: line ends of every kind, colours, a bell, and text that runs backwards.
HOSTILE = "a\r\nb\x1b[31m\x07\x85c\u2028d\u202etxt.exe\u2066\x00\x9b2J"


def record(message: str, *arguments: object, **extra: Any) -> logging.LogRecord:
    made = logging.LogRecord("files.storage", logging.ERROR, "storage.py", 1, message, arguments, None)
    made.__dict__.update(extra)
    return made


def failed(message: str) -> logging.LogRecord:
    made = record("The storage failed.")
    try:
        raise ValueError(message)
    except ValueError:
        made.exc_info = sys.exc_info()
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    (line,) = logs.JsonFormatter().format(made).splitlines()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.mark.parametrize("formatter", [logs.LineFormatter, logs.JsonFormatter])
def test_a_hostile_name_stays_within_its_line(formatter):
    line = formatter().format(record("Opened %s.", HOSTILE))
    assert line.isprintable()
    assert len(line.splitlines()) == 1


def test_what_is_escaped_stays_so_once_json_was_read():
    message = as_json(record("Opened %s.", HOSTILE))["message"]
    assert message.isprintable()
    assert message.startswith(r"Opened a\r\nb\x1b[31m\x07")


def test_text_in_every_script_is_left_as_it_is():
    assert logs.escaped("Übersicht 数据 😀 naïve.txt") == "Übersicht 数据 😀 naïve.txt"


def test_halves_of_surrogate_pairs_are_no_error():
    assert as_json(record("%s", "\udce9"))["message"] == r"\udce9"


def test_the_text_of_an_exception_cannot_look_like_an_event():
    forged = "2026-01-01 00:00:00,000 INFO graph: nothing happened"
    first, *others = logs.LineFormatter().format(failed(f"no\n{forged}\r\x1b[2J")).splitlines()
    assert first.endswith("The storage failed.")
    assert any(forged in line for line in others)
    assert all(line.startswith("    ") and line.isprintable() for line in others)


def test_json_has_the_traceback_in_the_line_of_its_event():
    traceback = as_json(failed("no\r\x1b"))["traceback"]
    assert traceback.startswith("Traceback (most recent call last):\n")
    assert traceback.endswith(r"ValueError: no\r\x1b")


def test_an_event_of_a_request_says_which_and_whose():
    token = CURRENT.set(RequestInfo("abc", "query", "Files", 7))
    try:
        event = as_json(record("Something."))
    finally:
        CURRENT.reset(token)
    assert {name: event[name] for name in ("request", "operation", "user")} == {
        "request": "abc",
        "operation": "Files",
        "user": 7,
    }


def test_an_event_outside_of_requests_says_when_and_where():
    event = as_json(record("Something."))
    assert list(event) == ["time", "level", "logger", "message", "process"]
    assert (event["level"], event["logger"], event["message"]) == ("ERROR", "files.storage", "Something.")
    assert event["time"].endswith("+00:00")


def test_a_line_is_what_people_read():
    assert (
        logs.LineFormatter().format(record("Some %s.", "thing")).endswith(" ERROR files.storage: Some thing.")
    )


@pytest.mark.parametrize(
    "level, format_, access",
    [
        ("INFO", "json", "INFO"),
        ("INFO", "line", "WARNING"),
        ("DEBUG", "line", "DEBUG"),
        ("ERROR", "json", "ERROR"),
    ],
)
def test_requests_have_lines_where_programs_read_them(level, format_, access):
    assert logs.settings(level=level, format_=format_)["loggers"][logs.ACCESS]["level"] == access


def test_libraries_never_tell_what_they_send():
    loggers = logs.settings(level="DEBUG", format_="json")["loggers"]
    assert {loggers[name]["level"] for name in ("botocore", "boto3", "urllib3", "s3transfer")} == {"INFO"}
