"""`manage.py migrate_storage`: everything arrives whole, whatever happens on the way, and can be resumed."""

import signal
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.utils import timezone

from accounts.models import User
from files import relocation, storage
from files.errors import StorageUnavailable
from files.management.commands import migrate_storage
from files.models import File, Rendition
from tests import api, stores
from tests.stores import Ran, key, names

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).resolve().parent.parent


def run(*arguments: str) -> Ran:
    # The tests' database is in memory and locks whole tables, so the threads are for the last test alone.
    return stores.run("migrate_storage", "--workers", "1", *arguments)


@pytest.fixture(params=["disk to disk", "disk to s3"])
def there(request: pytest.FixtureRequest, settings, tmp_path: Path) -> str:
    """Where files are moved to."""
    if request.param == "disk to s3":
        target = stores.bucket(request.getfixturevalue("s3_server"))
    else:
        target = stores.disk(tmp_path / "there")
    settings.STORAGES = {**settings.STORAGES, "there": target}
    if request.param == "disk to s3":
        made: Any = storages["there"]
        made.bucket.create()
    return "there"


@pytest.fixture
def on_disk(settings, tmp_path: Path) -> str:
    settings.STORAGES = {**settings.STORAGES, "there": stores.disk(tmp_path / "there")}
    return "there"


def file(owner: User, content: bytes = b"bytes", profile: str = "default") -> File:
    return api.keep(owner, content, key=key(profile=profile), profile=profile)


def rendition(of: File, content: bytes = b"webp") -> Rendition:
    made = f"{of.key.rpartition('.')[0]}.renditions/w16-inside-webp-01234567.webp"
    storage.save(key=made, content=ContentFile(content), alias=of.storage)
    return Rendition.objects.create(
        file=of,
        variation="w16-inside-webp",
        storage=of.storage,
        key=made,
        content_type="image/webp",
        size=len(content),
        made_at=timezone.now(),
    )


def content(row: File | Rendition) -> bytes:
    row.refresh_from_db()
    return b"".join(storage.read(row))


def test_files_and_renditions_move_and_the_source_stays(there: str, alice: User) -> None:
    kept = [file(alice, b"%d" % number) for number in range(3)]
    made = rendition(kept[0])
    ran = run("--to", there)
    assert (ran.code, ran.report["findings"]) == (0, [])
    assert (ran.report["moved"], ran.report["bytes"], ran.report["complete"]) == (3, 3, True)
    rows: list[File | Rendition] = [*kept, made]
    assert [content(row) for row in rows] == [b"0", b"1", b"2", b"webp"]
    assert {row.storage for row in rows} == {there}
    assert names() == names(there) == sorted(row.key for row in rows)


def test_the_source_is_deleted_when_that_is_asked_for(there: str, alice: User) -> None:
    made = rendition(file(alice))
    assert run("--to", there, "--delete-source").code == 0
    assert (names(), len(names(there))) == ([], 2)
    assert content(made) == b"webp"


def test_the_source_can_be_deleted_by_a_later_run(there: str, alice: User) -> None:
    rendition(file(alice))
    run("--to", there)
    stays = api.keep(alice, b"here", key=key(profile="kept"), profile="kept")
    orphan = stores.put(key())
    ran = run("--to", there, "--delete-source", "--profile", "default")
    assert (ran.code, ran.report["moved"], ran.report["copiesDeleted"]) == (0, 0, 2)
    assert names() == sorted([stays.key, orphan])  # it is not for this command to say what an orphan is
    assert "Deleted 2 objects that were left in the source." in ran.errors


def test_a_source_stays_while_the_moved_object_is_not_whole(
    on_disk: str, alice: User, tmp_path: Path
) -> None:
    moved = file(alice)
    run("--to", on_disk)
    (tmp_path / "there" / moved.key).write_bytes(b"byte")
    assert run("--to", on_disk, "--delete-source").report["copiesDeleted"] == 0
    assert names() == [moved.key]


def test_what_has_moved_is_skipped(there: str, alice: User, monkeypatch) -> None:
    file(alice)
    run("--to", there)
    monkeypatch.setattr(relocation, "move", None)
    ran = run("--to", there)
    assert (ran.code, ran.report["moved"]) == (0, 0)


def test_a_rendition_whose_file_has_moved_moves_too(there: str, alice: User) -> None:
    made = rendition(moved := file(alice))
    run("--to", there)
    Rendition.objects.update(storage="default")
    File.objects.update(storage=there)
    assert run("--to", there).code == 0
    assert content(made) == b"webp"
    assert (made.storage, content(moved)) == (there, b"bytes")


@pytest.mark.parametrize("left", [b"bytes", b"byt", b"bytez"], ids=["whole", "cut off", "altered"])
def test_what_an_earlier_run_copied_is_verified_and_not_assumed(there: str, alice: User, left: bytes) -> None:
    kept = file(alice)
    storage.save(key=kept.key, content=ContentFile(left), alias=there)
    assert run("--to", there).code == 0
    assert content(kept) == b"bytes"
    assert kept.storage == there


def test_a_damaged_file_stays_and_the_others_move(there: str, alice: User, storage_root: Path) -> None:
    damaged, lost, kept = file(alice), file(alice), file(alice)
    (storage_root / damaged.key).write_bytes(b"bytez")
    (storage_root / lost.key).unlink()
    ran = run("--to", there, "--delete-source")
    assert (ran.code, ran.report["moved"], ran.report["failed"]) == (1, 1, 2)
    problems = {found["id"]: found["problem"] for found in ran.report["findings"]}
    assert "is not what was received" in problems[str(damaged.pk)]
    assert problems[str(lost.pk)] == "its object is missing"
    assert (names(), names(there)) == ([damaged.key], [kept.key])


def test_a_file_that_is_deleted_on_the_way_is_no_failure(on_disk: str, alice: User, monkeypatch) -> None:
    file(alice)
    move = relocation.move

    def delete_first(*arguments: Any, **named: Any) -> None:
        File.objects.all().delete()
        move(*arguments, **named)

    monkeypatch.setattr(relocation, "move", delete_first)
    assert run("--to", on_disk).code == 0


def test_one_profile_and_one_source_can_be_chosen(
    on_disk: str, alice: User, settings, tmp_path: Path
) -> None:
    settings.STORAGES = {**settings.STORAGES, "third": stores.disk(tmp_path / "third")}
    avatar, other = file(alice, profile="avatar"), file(alice)
    run("--to", "third", "--profile", "avatar", "--delete-source")
    avatar.refresh_from_db()
    assert (names(), names("third")) == ([other.key], [avatar.key])
    run("--to", on_disk, "--from", "third")
    avatar.refresh_from_db()
    other.refresh_from_db()
    assert (avatar.storage, other.storage) == (on_disk, "default")
    assert run("--to", on_disk).report["from"] == ["default", "third"]


def test_more_than_a_page_of_files_is_moved(on_disk: str, alice: User, monkeypatch) -> None:
    monkeypatch.setattr(migrate_storage, "_PAGE", 3)
    for _ in range(7):
        file(alice)
    assert run("--to", on_disk, "--delete-source").report["moved"] == 7
    assert (names(), len(names(on_disk))) == ([], 7)


def test_one_place_under_two_names_is_refused_before_anything_is_touched(alice: User, settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "same": settings.STORAGES["default"]}
    kept = file(alice)
    ran = run("--to", "same", "--delete-source")
    assert ran.code == 2
    assert "default and same are one place" in ran.errors
    assert names() == [kept.key]
    assert content(kept) == b"bytes"


def test_a_storage_that_is_down_ends_the_run(on_disk: str, alice: User, monkeypatch) -> None:
    def fail(*arguments: object, **named: object) -> None:
        raise StorageUnavailable from ConnectionError("reset")

    monkeypatch.setattr(migrate_storage, "_GIVE_UP", 3)
    for _ in range(5):
        file(alice)
    monkeypatch.setattr(relocation, "move", fail)
    ran = run("--to", on_disk)
    assert (ran.code, ran.report["complete"], ran.report["failed"]) == (2, False, 3)
    assert ran.report["findings"][0]["problem"] == "a storage failed: reset"


def test_a_run_that_is_ended_has_a_whole_report_and_can_be_run_again(
    on_disk: str, alice: User, monkeypatch
) -> None:
    files = [file(alice) for _ in range(4)]
    move = relocation.move

    def ended_at_the_third(moved: File, *arguments: Any, **named: Any) -> None:
        if moved == files[2]:
            signal.raise_signal(signal.SIGINT)
        move(moved, *arguments, **named)

    monkeypatch.setattr(relocation, "move", ended_at_the_third)
    ran = run("--to", on_disk, "--delete-source")
    assert (ran.code, ran.report["complete"], ran.report["moved"]) == (2, False, 2)
    monkeypatch.undo()
    ran = run("--to", on_disk, "--delete-source")
    assert (ran.code, ran.report["moved"]) == (0, 2)
    assert [content(each) for each in files] == [b"bytes"] * 4


@pytest.mark.parametrize(
    "arguments, named",
    [
        ([], "--to"),
        (["--to", "tape"], "there is default, there"),
        (["--to", "there", "--from", "there"], "are the same"),
        (["--to", "there", "--workers", "0"], "use 1 to 64"),
        (["--to", "there", "--workers", "65"], "use 1 to 64"),
    ],
)
def test_what_cannot_be_used_is_named(on_disk: str, arguments: list[str], named: str) -> None:
    ran = run(*arguments)
    assert ran.code != 0
    assert named in ran.errors
