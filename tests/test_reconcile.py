"""`manage.py reconcile`: what crashes leave is found and mended, and nothing else is touched."""

import io
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.core.management import call_command
from django.utils import timezone

from accounts.models import User
from files import keys, reconcile, storage
from files.errors import StorageUnavailable
from files.listing import StoredObject
from files.lookups import BytesOrder
from files.management import options
from files.models import File, Rendition
from tests import api, stores
from tests.stores import LONG_AGO, Ran, key, names, put

pytestmark = pytest.mark.django_db

NOW = "--grace=0s"


def run(*arguments: str) -> Ran:
    return stores.run("reconcile", *arguments)


def file(owner: User, content: bytes | None = b"bytes", *, age: timedelta = LONG_AGO, **fields: Any) -> File:
    """A row as old as its key, and the object unless there is no content."""
    name = fields.pop("key", None) or key(age)
    parsed = keys.parse(name)
    assert parsed is not None
    if content is not None:
        put(name, content, age=age)
        fields.setdefault("size", len(content))
    created = datetime.now(UTC) - age
    return api.record(owner, id=parsed.file_id, key=name, created_at=created, **fields)


def rendition(of: File, content: bytes | None = b"webp", *, made: bool = True) -> Rendition:
    then = timezone.now() - LONG_AGO
    row = Rendition.objects.create(
        file=of,
        variation="w16-inside-webp",
        storage=of.storage,
        key=f"{of.key.rpartition('.')[0]}.renditions/w16-inside-webp-01234567.webp",
        content_type="image/webp",
        size=4 if made else None,
        claimed_at=then,
        made_at=then if made else None,
    )
    if content is not None:
        put(row.key, content)
    return row


@pytest.fixture(params=["disk", "s3", "memory"])
def anywhere(request: pytest.FixtureRequest, settings) -> str:
    """The default storage is each kind in turn; one in memory knows nothing beyond Django's own methods."""
    if request.param == "memory":
        memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
        settings.STORAGES = {**settings.STORAGES, "default": memory}
    if request.param == "s3":
        in_bucket = stores.bucket(request.getfixturevalue("s3_server"))
        settings.STORAGES = {**settings.STORAGES, "default": in_bucket}
        made: Any = storages["default"]
        made.bucket.create()
    return str(request.param)


@pytest.fixture
def other(settings, tmp_path: Path) -> str:
    """A second storage."""
    settings.STORAGES = {**settings.STORAGES, "other": stores.disk(tmp_path / "other")}
    return "other"


# --- objects ---------------------------------------------------------------------------------------


def test_where_all_is_well_nothing_is_found(anywhere: str, alice: User) -> None:
    rendition(file(alice))
    ran = run(NOW)
    assert (ran.code, ran.report["findings"]) == (0, [])
    assert {name: ran.report[name] for name in ("complete", "objects", "rows", "left")} == {
        "complete": True,
        "objects": 2,
        "rows": 2,
        "left": 0,
    }


def test_a_storage_that_was_never_used_is_well() -> None:
    assert run().code == 0


def test_an_object_without_row_is_reported_and_stays(anywhere: str, alice: User) -> None:
    kept, orphan = file(alice), put(key())
    ran = run(NOW)
    assert (ran.code, ran.report["left"]) == (1, 1)
    (found,) = ran.report["findings"]
    assert (found["kind"], found["storage"], found["name"]) == ("object-without-row", "default", orphan)
    assert (found["size"], found["mended"]) == (5, False)
    assert names() == sorted([kept.key, orphan])


def test_applied_it_is_deleted_and_what_has_a_row_stays(anywhere: str, alice: User) -> None:
    kept = rendition(file(alice))
    put(key())
    put(f"{key().removesuffix('.bin')}.renditions/w16-inside-webp-01234567.webp")
    ran = run("--apply", NOW)
    assert (ran.code, ran.report["mended"]) == (0, {"object-without-row": 2})
    assert [found["mended"] for found in ran.report["findings"]] == [True, True]
    assert names() == sorted([kept.key, kept.file.key])
    assert run(NOW).report["findings"] == []


@pytest.mark.parametrize(
    "made, modified",
    [(timedelta(minutes=50), LONG_AGO), (LONG_AGO, timedelta(minutes=50)), (LONG_AGO, timedelta(hours=-1))],
    ids=["by its key", "by its date", "by a clock that is ahead"],
)
def test_an_object_that_is_young_is_left_alone(made: timedelta, modified: timedelta) -> None:
    put(key(made), age=modified)
    assert run("--apply").report["findings"] == []
    assert len(names()) == 1


def test_the_grace_time_is_what_it_is_said_to_be() -> None:
    put(key(timedelta(minutes=50)), age=timedelta(minutes=50))
    assert run("--grace", "51m").kinds == []
    assert run("--grace", "49m").kinds == ["object-without-row"]


def test_profiles_that_are_no_longer_configured_are_looked_at(alice: User) -> None:
    put(key(profile="gone"))
    file(alice, None, key=key(profile="lost"), profile="lost")
    assert run().kinds == ["file-without-object", "object-without-row"]


def test_an_upload_that_commits_after_the_listing_is_not_touched(
    anywhere: str, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, orphan = put(key()), put(key())
    mend = reconcile.mend

    def commit_first(findings: Any) -> Any:
        file(alice, None, key=late, size=5)
        return mend(findings)

    monkeypatch.setattr(reconcile, "mend", commit_first)
    ran = run("--apply", NOW)
    assert {found["name"]: found["mended"] for found in ran.report["findings"]} == {late: False, orphan: True}
    assert names() == [late]


def test_a_rendition_that_is_recorded_after_the_listing_is_not_touched(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = file(alice)
    mend = reconcile.mend

    def claim_first(findings: Any) -> Any:
        rendition(original, None)
        return mend(findings)

    put(f"{original.key.removesuffix('.bin')}.renditions/w16-inside-webp-01234567.webp")
    monkeypatch.setattr(reconcile, "mend", claim_first)
    run("--apply")
    assert len(names()) == 2


FOREIGN = [
    "readme.txt",
    "backups/2026/dump.sql",
    "default/notes.txt",
    "default/2026/notes.txt",
    "default/2026/13/31/a.bin",
    "default/2026/01/31/notes.txt",
    "default/2026/01/31/ü \n'\".bin",
    "default/2026/01/31/sub/0192f5d0-7b9c-7000-8000-000000000000.bin",
    "default/2026/01/31/0192f5d0-7b9c-4000-8000-000000000000.bin",
    "default/2026/02/30/0192f5d0-7b9c-7000-8000-000000000000.bin",
    "Default/2026/01/31/0192f5d0-7b9c-7000-8000-000000000000.bin",
]


@pytest.mark.parametrize("name", FOREIGN)
def test_what_coffer_did_not_name_is_reported_and_never_touched(name: str) -> None:
    put(name)
    ran = run("--apply", "--delete-rows", "--delete-copies", NOW)
    assert (ran.code, ran.kinds) == (0, ["foreign"])
    assert name.startswith(ran.names[0])
    assert names() == [name]


@pytest.mark.parametrize("anywhere", ["s3"], indirect=True)
def test_names_that_only_a_bucket_can_have_are_foreign(anywhere: str) -> None:
    client = storages["default"].connection.meta.client  # type: ignore[attr-defined]
    odd = [
        "default//x.bin",
        "../x",
        "default/2026/01/31//x",
        "default/2026/01/31/../x",
        "/x",
        "default/2026/",
    ]
    for name in [*odd, "default/2026/01/31/"]:
        client.put_object(Bucket=storages["default"].bucket_name, Key=name, Body=b"x")  # type: ignore[attr-defined]
    ran = run("--apply", NOW)
    assert set(ran.kinds) == {"foreign"}
    assert len(names()) == len(odd) + 1
    assert ran.code == 0


def test_an_object_of_another_size_than_its_row_is_reported_and_never_changed(
    anywhere: str, alice: User
) -> None:
    kept = file(alice, b"bytes", size=6)
    ran = run("--apply", "--delete-rows", "--delete-copies", NOW)
    assert (ran.code, ran.kinds) == (1, ["wrong-size"])
    assert ran.report["findings"][0]["row"] == str(kept.pk)
    assert names() == [kept.key]
    assert File.objects.exists()


# --- what was never finished -----------------------------------------------------------------------


def test_stale_temporary_files_are_removed_and_young_ones_are_not(settings, storage_root: Path) -> None:
    incoming, drafts = Path(settings.STAGING_DIR), storage_root / ".drafts"
    for folder in (incoming, drafts):
        folder.mkdir(parents=True)
        for name, age in (("old", 7200), ("young", 600)):
            (folder / name).write_bytes(b"half")
            then = datetime.now(UTC).timestamp() - age
            os.utime(folder / name, (then, then))
    assert run().kinds == ["temporary-file", "unfinished-upload"]
    assert (incoming / "old").exists()
    ran = run("--apply")
    assert (ran.code, ran.kinds) == (0, ["temporary-file", "unfinished-upload"])
    assert [path.name for folder in (incoming, drafts) for path in folder.iterdir()] == ["young", "young"]


@pytest.mark.parametrize("anywhere", ["s3"], indirect=True)
def test_unfinished_uploads_to_a_bucket_are_aborted_unless_they_are_foreign(anywhere: str) -> None:
    kept: Any = storages["default"]
    client = kept.connection.meta.client
    for name in (ours := key(), "backups/dump.sql"):
        begun = {"Bucket": kept.bucket_name, "Key": name}
        begun["UploadId"] = client.create_multipart_upload(**begun)["UploadId"]
        client.upload_part(**begun, PartNumber=1, Body=b"half")
    assert run("--apply").report["findings"] == []  # however old the beginning: a part came just now
    ran = run("--apply", NOW)
    assert {found["name"]: (found["kind"], found["mended"]) for found in ran.report["findings"]} == {
        ours: ("unfinished-upload", True),
        "backups/dump.sql": ("foreign", False),
    }
    assert [each.key for each in storage.unfinished(alias="default")] == ["backups/dump.sql"]


# --- renditions ------------------------------------------------------------------------------------


def test_a_claim_that_was_never_made_good_goes_with_what_was_stored_for_it(
    anywhere: str, alice: User
) -> None:
    claim = rendition(file(alice), made=False)
    assert run(NOW).kinds == ["unmade-rendition"]
    assert Rendition.objects.exists()
    assert run("--apply", NOW).code == 0
    assert not Rendition.objects.exists()
    assert names() == [claim.file.key]


def test_a_young_claim_and_one_that_was_made_good_meanwhile_stay(alice: User, monkeypatch) -> None:
    young = rendition(file(alice), made=False)
    Rendition.objects.update(claimed_at=timezone.now())
    assert run("--apply").report["findings"] == []
    Rendition.objects.update(claimed_at=timezone.now() - LONG_AGO)
    mend = reconcile.mend

    def make_first(findings: Any) -> Any:
        Rendition.objects.update(made_at=timezone.now(), size=4)
        return mend(findings)

    monkeypatch.setattr(reconcile, "mend", make_first)
    assert run("--apply").code == 1
    assert young.key in names()


def test_the_row_of_a_rendition_without_object_goes_so_that_it_is_made_again(
    anywhere: str, alice: User
) -> None:
    rendition(file(alice), None)
    assert run(NOW).kinds == ["rendition-without-object"]
    assert run("--apply", NOW).code == 0
    assert not Rendition.objects.exists()
    assert File.objects.exists()


# --- rows of files ---------------------------------------------------------------------------------


def test_a_file_without_object_is_reported_and_its_row_stays(anywhere: str, alice: User) -> None:
    lost = file(alice, None)
    ran = run("--apply", NOW)
    assert (ran.code, ran.kinds) == (1, ["file-without-object"])
    assert ran.report["findings"][0]["row"] == str(lost.pk)
    assert File.objects.exists()


def test_its_row_goes_when_that_is_asked_for_by_name(
    anywhere: str, alice: User, django_capture_on_commit_callbacks
) -> None:
    lost, kept = file(alice, None), file(alice)
    rendition(lost)
    assert run("--delete-rows", NOW).code == 1
    assert File.objects.count() == 2
    with django_capture_on_commit_callbacks(execute=True):
        ran = run("--apply", "--delete-rows", NOW)
    assert (ran.code, ran.report["mended"]) == (0, {"file-without-object": 1})
    assert list(File.objects.all()) == [kept]
    assert names() == [kept.key]


def test_a_row_whose_bytes_come_back_stays(alice: User, monkeypatch) -> None:
    lost = file(alice, None)
    mend = reconcile.mend

    def restore_first(findings: Any) -> Any:
        put(lost.key)
        return mend(findings)

    monkeypatch.setattr(reconcile, "mend", restore_first)
    assert run("--apply", "--delete-rows").code == 1
    assert File.objects.exists()


def test_the_row_of_a_young_file_is_left_alone(alice: User) -> None:
    file(alice, None, age=timedelta(minutes=50))
    assert run().report["findings"] == []


# --- two storages ----------------------------------------------------------------------------------


def copy(alice: User, other: str, *, there: bytes | None = b"bytes") -> File:
    """A file that was moved to the other storage, and whose source stayed."""
    moved = file(alice, storage=other)
    if there is not None:
        put(moved.key, there, alias=other)
    return moved


def test_copies_stay_until_they_are_asked_for_by_name(anywhere: str, alice: User, other: str) -> None:
    moved = copy(alice, other)
    ran = run("--apply", NOW)
    assert (ran.code, ran.kinds, ran.report["findings"][0]["named"]) == (1, ["copy"], other)
    assert run("--apply", "--delete-copies", NOW).code == 0
    assert (names(), names(other)) == ([], [moved.key])


@pytest.mark.parametrize("there", [None, b"byte"], ids=["missing", "cut off"])
def test_a_copy_stays_where_the_object_itself_is_not_whole(
    alice: User, other: str, there: bytes | None
) -> None:
    copy(alice, other, there=there)
    assert run("--apply", "--delete-copies").code == 1
    assert len(names()) == 1


def test_one_place_under_two_names_has_no_copies_that_could_be_deleted(alice: User, settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "other": settings.STORAGES["default"]}
    kept = file(alice)
    ran = run("--apply", "--delete-copies")
    assert (ran.code, ran.kinds) == (1, ["copy"])
    assert names() == [kept.key]


def test_one_storage_can_be_looked_at_alone(other: str) -> None:
    put(here := key())
    put(there := key(), alias=other)
    assert run().names == sorted([here, there])
    assert run("--storage", other).names == [there]


# --- how much is looked at -------------------------------------------------------------------------


def test_only_the_days_that_are_asked_for_are_listed(alice: User, monkeypatch) -> None:
    listed = []
    objects = storage.objects

    def watched(*, alias: str, prefix: str) -> Any:
        listed.append(prefix)
        return objects(alias=alias, prefix=prefix)

    for days in (400, 40, 3, 1):
        put(key(timedelta(days=days)))
        file(alice, None, age=timedelta(days=days))
    monkeypatch.setattr(storage, "objects", watched)
    assert len(run("--since", "2d").names) == 2
    assert listed == [f"default/{datetime.now(UTC) - timedelta(days=1):%Y/%m/%d}/"]
    assert len(run().names) == 8
    assert len(listed) == 5


# --- being careful ---------------------------------------------------------------------------------


def test_more_than_may_be_deleted_means_that_nothing_is() -> None:
    for _ in range(3):
        put(key())
    ran = run("--apply", "--max-deletions", "2")
    assert (ran.code, ran.report["overLimit"], ran.report["left"]) == (1, True, 3)
    assert "is it the right database?" in ran.errors
    assert len(ran.report["findings"]) == len(names()) == 3
    assert run("--apply", "--max-deletions", "3").code == 0


def test_a_storage_that_fails_ends_the_run_and_the_report_is_whole(monkeypatch) -> None:
    def fail(*arguments: object, **named: object) -> Iterator[StoredObject]:
        raise StorageUnavailable from ConnectionError("reset")

    orphan = put(key())
    monkeypatch.setattr(storage, "delete_many", fail)
    ran = run("--apply")
    assert (ran.code, ran.report["complete"], ran.names) == (2, False, [orphan])
    assert "A storage failed: reset" in ran.errors
    monkeypatch.setattr(storage, "objects", fail)
    ran = run("--apply")
    assert (ran.code, ran.report["complete"], ran.names) == (2, False, [])


def test_a_run_that_is_ended_says_so_and_the_report_is_whole(monkeypatch) -> None:
    orphan = put(key())

    def end(findings: object) -> Iterator[reconcile.Mended]:
        raise options.Ended
        yield

    monkeypatch.setattr(reconcile, "mend", end)
    ran = run("--apply")
    assert (ran.code, ran.report["complete"], ran.names) == (2, False, [orphan])
    assert "Ended before everything was looked at." in ran.errors
    assert names() == [orphan]


# --- the command -----------------------------------------------------------------------------------


def test_the_report_goes_to_a_file_and_the_summary_to_standard_error(tmp_path: Path) -> None:
    put(key())
    ran = run("--report", str(tmp_path / "report.json"))
    assert ran.report == {}
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["command"], report["found"]) == ("reconcile", {"object-without-row": 1})
    assert ran.errors.strip() == (
        "Looked at 1 objects and 0 rows. Found 1 object-without-row; mended 0, left 1."
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_shown_on_a_terminal_and_nowhere_else(alice: User) -> None:
    file(alice)
    terminal = Terminal()
    call_command("reconcile", stdout=io.StringIO(), stderr=terminal)
    assert "default: default/" in terminal.getvalue()
    assert "default/" not in run().errors


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--grace", "1"], "not a time"),
        (["--grace", "999999w"], "a hundred years"),
        (["--since", "yesterday"], "not a time"),
        (["--storage", "tape"], "there is default"),
        (["--storage", "staticfiles"], "there is default"),
        (["--max-deletions", "many"], "invalid int"),
        (["--report", "/nowhere/report.json"], "No such file or directory"),
    ],
)
def test_what_cannot_be_used_is_named(arguments: list[str], named: str) -> None:
    ran = run(*arguments)
    assert ran.code != 0
    assert named in ran.errors


def test_the_database_may_be_in_any_language_and_keys_are_in_the_order_of_bytes(alice: User) -> None:
    for profile in ("a", "a-b", "ab"):
        file(alice, key=key(profile=profile))
        file(alice, key=key(profile=profile, extension=".txt"))
    assert run().report["findings"] == []


def test_each_page_of_rows_is_sought_in_the_index() -> None:
    rows = File.objects.filter(key__bytes_gt="a", key__bytes_lt="b").order_by(BytesOrder("key"))
    plan = rows[:10].explain()
    assert "USING INDEX" in plan or "Index Scan using" in plan
    assert "TEMP B-TREE" not in plan
