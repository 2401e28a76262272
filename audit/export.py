"""The audit log as lines: JSON Lines or CSV, one entry a line whatever is in it, in constant memory."""

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet, Value
from django.db.models.fields.tuple_lookups import TupleGreaterThan

from audit.models import Action, Entry

_PAGE = 1000  # rows of one query

COLUMNS = (
    "id",
    "at",
    "action",
    "code",
    "user_id",
    "username",
    "via",
    "token_id",
    "address",
    "owner",
    "as_staff",
    "file_id",
    "name",
    "size",
    "md5",
    "sha256",
    "profile",
    "details",
)

# What a terminal obeys, or what some reader takes for the end of a line.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# What makes a spreadsheet take a cell for a formula, in either width.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")


def matching(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    username: str | None = None,
    action: Action | None = None,
    file_id: UUID | None = None,
) -> QuerySet[Entry]:
    """The entries from `since` on and before `until`, of whatever else is given."""
    wanted: dict[str, Any] = {
        "at__gte": since,
        "at__lt": until,
        "username": username,
        "file_id": file_id,
        "action": action,
    }
    return Entry.objects.filter(**{name: value for name, value in wanted.items() if value is not None})


def oldest_first(entries: QuerySet[Entry]) -> Iterator[dict[str, Any]]:
    """All of them, a page at a time: no transaction and no cursor stays open while they are written."""
    rows = entries.order_by("at", "id").values(*COLUMNS)
    page = list(rows[:_PAGE])
    while page:
        yield from page
        last = (Value(page[-1]["at"]), Value(page[-1]["id"]))
        page = list(rows.filter(TupleGreaterThan((F("at"), F("id")), last))[:_PAGE])


def json_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        yield json.dumps(entry, default=_text) + "\n"  # all but printable ASCII is escaped


def csv_lines(entries: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield _csv_line(COLUMNS)
    for entry in entries:
        yield _csv_line(_cell(entry[column]) for column in COLUMNS)


def _csv_line(cells: Iterable[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _cell(value: object) -> str:
    if value is None or value == {}:
        return ""
    if isinstance(value, bool | dict):
        return json.dumps(value)
    text = _escaped(_text(value))
    return f"'{text}" if _FORMULA.match(text) else text


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _text(value: object) -> str:
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)
