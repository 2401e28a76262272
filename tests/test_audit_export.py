"""`manage.py audit`: one entry a line whatever is in it, in constant memory; and what is old goes."""

import csv
import io
import json
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from accounts.models import User
from audit import export, log, retention
from audit.models import Action, Entry, Via
from tests.plans import assert_served_by

pytestmark = pytest.mark.django_db

FILE = uuid.UUID("01a1fd5c-c904-75b6-83dc-a7b4ca183698")
HOSTILE = 'a\r\nb\x1b[31m\x07\x7f\x9b31m\u2028\u202e",\ud800;ü'


def run(*arguments: str) -> str:
    output = io.StringIO()
    call_command("audit", *arguments, stdout=output, stderr=io.StringIO())
    return output.getvalue()


def lines(*arguments: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(*arguments).splitlines()]


def add(action: Action = Action.UPLOAD, *, by: User | None = None, **fields: Any) -> Entry:
    entry = log.entry(action, by=by, **fields)
    log.write([entry])
    return entry


def days_ago(days: float) -> datetime:
    return timezone.now() - timedelta(days=days)


# --- export ----------------------------------------------------------------------------------------


def test_an_entry_is_a_line_of_json(alice: User) -> None:
    at = datetime(2026, 11, 21, 10, 30, 15, 123456, tzinfo=UTC)
    origin = log.Origin(via=Via.TOKEN, address="2001:db8::1", token_id=7)
    with log.coming_from(origin):
        add(by=alice, at=at, file_id=FILE, name="ü.txt", size=15, details={"visibility": "public"})
    assert lines() == [
        {
            "id": Entry.objects.get().pk,
            "at": "2026-11-21T10:30:15.123+00:00",
            "action": "upload",
            "code": "",
            "user_id": alice.pk,
            "username": "alice",
            "via": "token",
            "token_id": 7,
            "address": "2001:db8::1",
            "owner": "",
            "as_staff": False,
            "file_id": str(FILE),
            "name": "ü.txt",
            "size": 15,
            "md5": "",
            "sha256": "",
            "profile": "",
            "details": {"visibility": "public"},
        }
    ]


def test_the_export_names_every_field() -> None:
    assert set(export.COLUMNS) == {field.name for field in Entry._meta.fields}


def entries_with(**fields: Any) -> Iterable[dict[str, Any]]:
    """One as from the database, which would not keep all that is tried here."""
    return [dict.fromkeys(export.COLUMNS) | {"details": {}} | fields]


def test_whatever_is_in_a_name_it_stays_on_one_line_of_json() -> None:
    (line,) = export.json_lines(entries_with(name=HOSTILE, details={"name": [HOSTILE, "b"]}))
    assert line[:-1].isascii()
    assert line[:-1].isprintable()
    assert line.endswith("\n")
    read = json.loads(line)
    assert read["name"] == HOSTILE
    assert read["details"]["name"] == [HOSTILE, "b"]


def test_whatever_is_in_a_name_it_stays_on_one_line_of_csv() -> None:
    head, line = export.csv_lines(entries_with(name=HOSTILE, username="x\ny", details={"name": [HOSTILE]}))
    assert head == ",".join(export.COLUMNS) + "\n"
    assert line[:-1].isprintable()
    assert line.count("\n") == 1
    (row,) = csv.DictReader(io.StringIO(head + line))
    assert row["name"] == 'a\\u000d\\u000ab\\u001b[31m\\u0007\\u007f\\u009b31m\\u2028\\u202e",\\ud800;ü'
    assert row["username"] == "x\\u000ay"
    assert json.loads(row["details"]) == {"name": [HOSTILE]}


@pytest.mark.parametrize(
    "name", ["=1+1", "+1", "-1", "@SUM(A1)", "  =1", "\t=1", "\uff1d1", "\n@x", '=cmd|" /C calc"!A0']
)
def test_what_a_spreadsheet_would_run_is_text(name: str) -> None:
    head, line = export.csv_lines(entries_with(name=name, username=name))
    (row,) = csv.DictReader(io.StringIO(head + line))
    assert row["name"] == row["username"]
    assert row["name"][0] in {"'", "\\"}


def test_what_is_no_formula_is_written_as_it_is() -> None:
    head, line = export.csv_lines(entries_with(name="a=1 - b.txt", size=15, as_staff=True))
    (row,) = csv.DictReader(io.StringIO(head + line))
    assert (row["name"], row["size"], row["as_staff"], row["details"]) == ("a=1 - b.txt", "15", "true", "")


def test_csv_has_the_same_entries(alice: User) -> None:
    add(by=alice, name="a.txt")
    add(Action.DELETE, by=alice, name="b.txt")
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv"))))
    assert [(row["action"], row["username"], row["name"]) for row in rows] == [
        ("upload", "alice", "a.txt"),
        ("delete", "alice", "b.txt"),
    ]


def test_what_is_wanted_is_written_oldest_first(alice: User, bob: User) -> None:
    add(by=alice, at=days_ago(1), name="1")
    add(by=bob, at=days_ago(3), name="3")
    add(Action.DELETE, by=alice, at=days_ago(5), name="5", file_id=FILE)
    add(Action.REFUSAL, by=bob, at=days_ago(7), name="7")

    def named(*arguments: str) -> str:
        return "".join(line["name"] for line in lines(*arguments))

    assert named() == "7531"
    assert named("--since", "4d") == "31"
    assert named("--until", "4d") == "75"
    assert named("--since", "6d", "--until", f"{days_ago(2):%Y-%m-%dT%H:%M}") == "53"
    assert named("--until", "2020-01-31") == ""
    assert named("--user", "alice") == "51"
    assert named("--user", "ALICE") == ""
    assert named("--action", "refusal") == "7"
    assert named("--file", str(FILE)) == "5"
    assert named("--user", "bob", "--since", "4d") == "3"


def test_a_moment_without_an_offset_is_in_utc() -> None:
    add(at=datetime(2026, 11, 21, 15, 20, tzinfo=UTC))
    assert len(lines("--since", "2026-11-21T15:20")) == 1
    assert len(lines("--since", "2026-11-21T15:21")) == 0
    assert len(lines("--since", "2026-11-21T16:20+01:00", "--until", "2026-11-21T15:21Z")) == 1


@pytest.mark.parametrize(
    "arguments",
    [("--since", "yesterday"), ("--file", "x"), ("--action", "x"), ("--format", "xml"), ("prune",)],
)
def test_what_cannot_be_understood_is_refused(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_entries_are_read_a_page_at_a_time_and_each_once(monkeypatch) -> None:
    monkeypatch.setattr(export, "_PAGE", 3)
    same = days_ago(1)
    ids = [add(at=same, size=number).size for number in range(7)] + [add(size=7).size]
    with CaptureQueriesContext(connection) as captured:
        assert [line["size"] for line in lines()] == ids
    assert len(captured) == 4
    assert all("LIMIT 3" in each["sql"] for each in captured)


@pytest.mark.parametrize(
    "given, index",
    [
        ({}, "audit_at"),
        ({"since": days_ago(2), "until": days_ago(1)}, "audit_at"),
        ({"username": "alice"}, "audit_username"),
        ({"action": Action.DELETE}, "audit_action"),
        ({"file_id": FILE}, "audit_file"),
    ],
)
def test_what_is_asked_for_is_sought_in_an_index(monkeypatch, given: dict[str, Any], index: str) -> None:
    monkeypatch.setattr(export, "_PAGE", 1)
    for _ in range(2):
        by = User(pk=1, username="alice")
        add(Action.DELETE, by=by, file_id=FILE, at=days_ago(1.5))
    with CaptureQueriesContext(connection) as captured:
        assert len(list(export.oldest_first(export.matching(**given)))) == 2
    for each in captured:
        assert_served_by(each["sql"], index)


def test_a_database_that_fails_has_its_own_exit_code(monkeypatch) -> None:
    def down(_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr(export, "oldest_first", down)
    with pytest.raises(CommandError, match="The database failed") as failed:
        run()
    assert failed.value.returncode == 2


# --- retention -------------------------------------------------------------------------------------


def test_what_is_older_goes_and_that_is_recorded(monkeypatch) -> None:
    monkeypatch.setattr(retention, "_PIECE", 2)
    for days in (500, 450, 410, 401, 399, 1):
        add(at=days_ago(days), size=days)
    run("prune", "--older-than", "400d")
    *kept, pruned = lines()
    assert [line["size"] for line in kept] == [399, 1]
    assert (pruned["action"], pruned["via"], pruned["username"]) == ("prune", "system", "")
    before = datetime.fromisoformat(pruned["details"]["before"])
    assert abs(before - days_ago(400)) < timedelta(minutes=5)


def test_where_nothing_is_old_nothing_is_recorded() -> None:
    add(at=days_ago(399))
    run("prune", "--older-than", "400d")
    assert [entry.action for entry in Entry.objects.all()] == [Action.UPLOAD]


def test_what_is_pruned_is_sought_in_an_index() -> None:
    add(at=days_ago(500))
    with CaptureQueriesContext(connection) as captured:
        retention.prune(days_ago(400))
    asked = [each["sql"] for each in captured if each["sql"].startswith("SELECT")]
    assert len(asked) == 3  # is there any, which, and which are left
    for sql in asked:
        assert_served_by(sql, "audit_at")
