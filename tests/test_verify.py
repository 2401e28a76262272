"""`manage.py verify`: objects that are not what they were are named, and nothing is changed."""

import hashlib
import logging
import signal
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage

from accounts.models import User
from files import storage, verification
from files.management import options
from files.management.commands import verify
from files.models import File as FileRow
from tests import api, stores
from tests.stores import Ran

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> Ran:
    return stores.run("verify", *arguments)


def overwrite(storage_root: Path, file: FileRow, content: bytes) -> None:
    (storage_root / file.key).write_bytes(content)


def test_files_that_are_whole_are_found_whole(alice: User) -> None:
    kept = [api.keep(alice, b"x" * size) for size in (1, 3_000_000)]
    ran = run()
    assert (ran.code, ran.report["findings"]) == (0, [])
    assert {name: ran.report[name] for name in ("complete", "files", "bytes", "reached")} == {
        "complete": True,
        "files": 2,
        "bytes": 3_000_001,
        "reached": str(kept[-1].pk),
    }
    assert ran.errors.strip() == "Read 2 files, 3000001 bytes: all are whole."


def test_what_was_lost_cut_off_or_altered_is_named(alice: User, storage_root: Path) -> None:
    api.keep(alice, b"whole")
    lost, cut, longer, altered = (api.keep(alice, b"bytes") for _ in range(4))
    (storage_root / lost.key).unlink()
    overwrite(storage_root, cut, b"byte")
    overwrite(storage_root, longer, b"bytes!")
    overwrite(storage_root, altered, b"bytez")
    ran = run()
    assert ran.code == 1
    assert [(found["id"], found["fault"]) for found in ran.report["findings"]] == [
        (str(lost.pk), "missing"),
        (str(cut.pk), "wrong-size"),
        (str(longer.pk), "wrong-size"),
        (str(altered.pk), "altered"),
    ]
    assert ran.report["faults"] == {"missing": 1, "wrong-size": 2, "altered": 1}
    found = ran.report["findings"][-1]
    assert found["sha256"] == hashlib.sha256(b"bytes").hexdigest()
    assert (storage_root / altered.key).read_bytes() == b"bytez"


class Worn(InMemoryStorage):
    """Opens every object, and fails while one is read."""

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        class Content(ContentFile):
            def read(self, *arguments: Any) -> bytes:
                raise OSError(5, "Input/output error")

        return Content(b"")


@pytest.fixture
def worn(settings) -> str:
    settings.STORAGES = {**settings.STORAGES, "worn": {"BACKEND": "tests.test_verify.Worn"}}
    return "worn"


def test_an_object_that_cannot_be_read_does_not_keep_others_from_being_read(
    alice: User, worn: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad, good = api.record(alice, storage=worn), api.keep(alice, b"bytes")
    with caplog.at_level(logging.CRITICAL):
        ran = run()
    assert (ran.code, ran.report["files"], ran.report["reached"]) == (1, 2, str(good.pk))
    assert [(found["id"], found["fault"]) for found in ran.report["findings"]] == [
        (str(bad.pk), "unreadable")
    ]


def test_a_storage_that_reads_nothing_ends_the_run(alice: User, worn: str, monkeypatch) -> None:
    monkeypatch.setattr(verify, "_GIVE_UP", 3)
    for _ in range(5):
        api.record(alice, storage=worn)
    ran = run()
    assert (ran.code, ran.report["complete"], ran.report["files"]) == (2, False, 3)
    assert "the storage fails" in ran.errors


def test_a_run_that_is_ended_says_how_far_it_came_and_goes_on_from_there(
    alice: User, monkeypatch, storage_root: Path
) -> None:
    files = [api.keep(alice, b"bytes") for _ in range(4)]
    for file in files:
        overwrite(storage_root, file, b"other")
    fault_of = verification.fault_of

    def ended_at_the_third(file: FileRow) -> Any:
        if file == files[2]:
            signal.raise_signal(signal.SIGTERM)
        return fault_of(file)

    monkeypatch.setattr(verification, "fault_of", ended_at_the_third)
    before = signal.getsignal(signal.SIGTERM)
    ran = run()
    assert (ran.code, ran.report["complete"]) == (2, False)
    assert [found["id"] for found in ran.report["findings"]] == [str(file.pk) for file in files[:2]]
    assert f"--after {files[1].pk}" in ran.errors
    assert signal.getsignal(signal.SIGTERM) is before
    monkeypatch.undo()
    rest = run("--after", ran.report["reached"])
    assert [found["id"] for found in rest.report["findings"]] == [str(file.pk) for file in files[2:]]


def test_a_file_that_is_deleted_while_it_is_read_is_no_fault(
    alice: User, storage_root: Path, monkeypatch
) -> None:
    file = api.keep(alice, b"bytes")
    read = storage.read

    def delete_first(row: FileRow) -> Any:
        FileRow.objects.all().delete()
        (storage_root / file.key).unlink()
        return read(row)

    monkeypatch.setattr(storage, "read", delete_first)
    assert run().code == 0


def test_a_file_that_is_moved_while_it_is_read_is_read_in_its_new_place(
    alice: User, storage_root: Path, settings, tmp_path: Path, monkeypatch
) -> None:
    settings.STORAGES = {**settings.STORAGES, "other": stores.disk(tmp_path / "other")}
    file = api.keep(alice, b"bytes")
    read = storage.read

    def move_first(row: FileRow) -> Any:
        if row.storage == "default":
            storage.save(key=file.key, content=ContentFile(moved), alias="other")
            FileRow.objects.update(storage="other")
            (storage_root / file.key).unlink()
        return read(row)

    monkeypatch.setattr(storage, "read", move_first)
    moved = b"bytes"
    assert run().code == 0
    assert FileRow.objects.get().storage == "other"


def test_memory_does_not_grow_with_the_size_of_an_object(alice: User) -> None:
    api.keep(alice, b"x" * 30_000_000)
    run()
    tracemalloc.start()
    assert run().code == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6_000_000


def test_one_storage_can_be_read_alone(alice: User, settings, tmp_path: Path) -> None:
    settings.STORAGES = {**settings.STORAGES, "other": stores.disk(tmp_path / "other")}
    api.keep(alice, b"bytes")
    there = api.record(alice, storage="other")
    ran = run("--storage", "other")
    assert [found["id"] for found in ran.report["findings"]] == [str(there.pk)]
    assert ran.report["files"] == 1


def test_files_that_are_older_are_left_out(alice: User) -> None:
    api.keep(alice, b"old", created_at=datetime.now(UTC) - timedelta(days=3))
    api.keep(alice, b"new")
    assert run("--since", "2d").report["files"] == 1
    assert run("--since", "4d").report["files"] == 2


def test_a_sample_is_a_part_and_another_one_each_time(alice: User, monkeypatch) -> None:
    read: set[object] = set()
    monkeypatch.setattr(verification, "fault_of", lambda file: read.add(file.pk))
    for _ in range(300):
        api.record(alice)
    first = run("--sample", "50%").report["files"]
    assert 75 < first < 225
    before = set(read)
    run("--sample", "50%")
    assert len(read) > len(before)


def test_more_than_a_page_of_files_is_read(alice: User, monkeypatch) -> None:
    monkeypatch.setattr(verification, "_PAGE", 3)
    for _ in range(7):
        api.keep(alice, b"bytes")
    assert run().report["files"] == 7


@pytest.mark.parametrize("text", ["1", "0%", "101%", "-1%", "half", "%"])
def test_what_is_no_share_is_named(text: str) -> None:
    ran = run(f"--sample={text}")
    assert ran.code != 0
    assert "is not a share" in ran.errors


@pytest.mark.parametrize(
    "text, seconds", [("90s", 90), ("30m", 1800), ("1h", 3600), ("2d", 172_800), ("1w", 604_800), ("0s", 0)]
)
def test_times_have_units(text: str, seconds: int) -> None:
    assert options.duration(text) == timedelta(seconds=seconds)
