"""What operators run, over more objects than other tests have the time for."""

import gc
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.files.storage import InMemoryStorage
from django.db import connection
from django.test.utils import CaptureQueriesContext

from files.listing import StoredObject
from files.models import File
from files.reconcile import Scan
from tests.e2e import server
from tests.stores import id_at


class Many(InMemoryStorage):
    """As many objects as are asked for, made up while they are listed."""

    count = 0
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)

    @classmethod
    def key(cls, number: int) -> str:
        return f"default/2026/01/31/019c13f0-0000-7000-8000-{number:012x}.bin"

    def children(self, prefix: str) -> Iterator[str]:
        parts = ["default/", "2026/", "01/", "31/"]
        yield parts[prefix.count("/")]

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        for number in range(self.count):
            yield StoredObject(self.key(number), 1, self.moment)


def peak_of_a_scan(count: int, monkeypatch) -> tuple[int, int, int]:
    """Memory in bytes, queries, and findings, over so many objects of which each tenth has no row."""
    monkeypatch.setattr(Many, "count", count)
    File.objects.bulk_create(
        File(
            id=id_at(Many.moment),
            name="x",
            profile="default",
            size=1,
            storage="default",
            key=Many.key(number),
            created_at=Many.moment,
        )
        for number in range(count)
        if number % 10
    )
    scan = Scan(aliases=["default"], before=datetime.now(UTC))
    with CaptureQueriesContext(connection) as queries:
        gc.collect()
        tracemalloc.start()
        found = sum(1 for _ in scan.findings())
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    File.objects.all().delete()
    assert (scan.objects, scan.rows) == (count, count - count // 10)
    return peak, len(queries), found


@pytest.mark.django_db
def test_memory_and_queries_do_not_grow_with_the_objects(settings, monkeypatch) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "tests.long.test_many_objects.Many"}}
    peak_of_a_scan(2_000, monkeypatch)
    small, *_ = peak_of_a_scan(2_000, monkeypatch)
    large, queries, found = peak_of_a_scan(10_000, monkeypatch)
    assert found == 1_000
    assert large - small < 1_000_000  # of 8000 more objects and rows, which would take three times that
    assert queries <= 20  # ten pages of rows, and a few questions for days and renditions


FILL = """
from accounts.models import User
from tests import api, stores
alice = User.objects.create_user("alice")
for number in range(60):
    api.keep(alice, b"%d" % number, key=stores.key())
"""


@pytest.mark.e2e
def test_many_workers_move_everything_once(tmp_path: Path) -> None:
    more = {"STORAGES": "there", "THERE_STORAGE": "local"}
    environ = server.environment(tmp_path, 8000, more)
    for arguments in (["migrate", "--verbosity", "0"], ["shell", "--verbosity", "0", "--command", FILL]):
        made = server.manage(*arguments, environ=environ)
        assert made.returncode == 0, made.stderr
    moved = server.manage("migrate_storage", "--to", "there", "--delete-source", environ=environ)
    assert moved.returncode == 0, moved.stderr
    assert "Moved 60 files, 110 bytes; 0 could not be moved." in moved.stderr
    here, there = ([*(tmp_path / name).rglob("*.bin")] for name in ("files", "files-there"))
    assert (len(here), len(there)) == (0, 60)
    assert server.manage("verify", environ=environ).returncode == 0
    assert server.manage("reconcile", "--grace", "0s", environ=environ).returncode == 0
