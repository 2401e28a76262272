"""Moving files between storages: wherever it ends, the row names a whole object."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from accounts.models import User
from files import profiles, relocation, renditions, services, storage
from files.errors import StorageUnavailable
from files.models import File, Rendition, Visibility
from files.receive import Received
from files.relocation import RelocationFailed
from files.variations import Format, Variation
from tests.api import keep, picture
from tests.conftest import stored_files

CONTENT = bytes(range(256)) * 10_000  # more than is held in memory
SMALL = Variation(width=16, height=None, format=Format.WEBP)
STEPS = ("open_key", "save", "delete", "exists")


class Killed(BaseException):
    """The end of the process, as far as one can test it in one."""


@pytest.fixture
def places(settings, tmp_path: Path) -> dict[str, Path]:
    """Three storages, by alias."""
    places = {alias: tmp_path / alias for alias in ("default", "public", "archive")}
    backend = "files.disk.DiskStorage"
    for alias, folder in places.items():
        entry = {"BACKEND": backend, "OPTIONS": {"location": folder}}
        settings.STORAGES = {**settings.STORAGES, alias: entry}
    return places


@pytest.fixture
def file(alice: User, places: dict[str, Path]) -> File:
    return keep(alice, CONTENT, name="a.bin")


@pytest.fixture
def image(alice: User, places: dict[str, Path]) -> File:
    """With one rendition that is made."""
    given = {"profile": "image", "image_format": "PNG", "width": 40, "height": 20, "frames": 1}
    file = keep(alice, picture("PNG"), name="a.png", content_type="image/png", **given)
    renditions.get_or_make(file, SMALL)
    return file


def read(row: File | Rendition) -> bytes:
    row.refresh_from_db()
    with storage.open_object(row) as stored:
        return stored.read()


def keys(places: dict[str, Path]) -> dict[str, int]:
    """How many objects each storage has."""
    found = {alias: len(stored_files(folder)) for alias, folder in places.items()}
    return {alias: count for alias, count in found.items() if count}


def test_a_file_is_moved_with_its_bytes_and_under_its_key(file: File, places: dict[str, Path]) -> None:
    key = file.key
    relocation.move(file, "archive")
    assert file.storage == "archive"
    assert read(file) == CONTENT
    assert (file.storage, file.key) == ("archive", key)
    assert keys(places) == {"archive": 1}


def test_the_old_object_stays_where_that_is_asked_for(file: File, places: dict[str, Path]) -> None:
    relocation.move(file, "archive", delete_source=False)
    assert keys(places) == {"default": 1, "archive": 1}
    assert read(file) == CONTENT


def test_a_file_that_is_there_already_is_left_alone(file: File, places: dict[str, Path]) -> None:
    relocation.move(file, "default")
    assert keys(places) == {"default": 1}


def test_renditions_come_along(image: File, places: dict[str, Path]) -> None:
    rendition = image.renditions.get()
    before = read(rendition)
    relocation.move(image, "archive")
    assert read(rendition) == before
    assert rendition.storage == "archive"
    assert keys(places) == {"archive": 2}


def test_renditions_that_an_earlier_move_left_come_along_later(image: File, places: dict[str, Path]) -> None:
    File.objects.filter(pk=image.pk).update(storage="archive")
    (places["archive"] / image.key).parent.mkdir(parents=True)
    (places["default"] / image.key).rename(places["archive"] / image.key)
    relocation.move(image, "archive")
    assert keys(places) == {"archive": 2}


def test_a_rendition_without_an_object_does_not_stop_its_file(image: File, places: dict[str, Path]) -> None:
    storage.delete(key=image.renditions.get().key, alias="default")
    relocation.move(image, "archive")
    assert not image.renditions.exists()
    assert keys(places) == {"archive": 1}


def test_a_rendition_that_is_being_made_is_taken_back_by_its_maker(
    image: File, places: dict[str, Path], monkeypatch
) -> None:
    other = Variation(width=32, height=None, format=Format.WEBP)
    save = storage.save

    def late(**given: Any) -> None:
        save(**given)
        if given["alias"] == "default":
            relocation.move(File.objects.get(pk=image.pk), "archive")

    monkeypatch.setattr(storage, "save", late)
    with pytest.raises(FileNotFoundError):
        renditions.get_or_make(image, other)
    assert keys(places) == {"archive": 2}
    image.refresh_from_db()
    assert renditions.get_or_make(image, other).storage == "archive"


def test_a_rendition_that_was_claimed_before_the_move_is_not_kept_beside_it(
    image: File, places: dict[str, Path]
) -> None:
    stale = File.objects.get(pk=image.pk)
    relocation.move(image, "archive")
    with pytest.raises(FileNotFoundError):
        renditions.get_or_make(stale, Variation(width=32, height=None, format=Format.WEBP))
    assert keys(places) == {"archive": 2}


# --- what goes wrong -------------------------------------------------------------------------------


def test_an_object_that_is_not_what_was_received_is_not_moved(file: File, places: dict[str, Path]) -> None:
    (places["default"] / file.key).chmod(0o600)
    (places["default"] / file.key).write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(RelocationFailed, match="is not what was received"):
        relocation.move(file, "archive")
    assert keys(places) == {"default": 1}
    file.refresh_from_db()
    assert file.storage == "default"


def test_a_copy_that_is_not_like_its_original_does_not_count(
    file: File, places: dict[str, Path], monkeypatch
) -> None:
    def spoil(**given: Any) -> None:
        path = places[given["alias"]] / given["key"]
        path.parent.mkdir(parents=True)
        path.write_bytes(CONTENT[:-1])

    monkeypatch.setattr(storage, "save", spoil)
    with pytest.raises(RelocationFailed, match="is not like it"):
        relocation.move(file, "archive")
    assert keys(places) == {"default": 1}
    assert read(file) == CONTENT


def test_half_a_copy_of_an_earlier_attempt_is_replaced(file: File, places: dict[str, Path]) -> None:
    half = places["archive"] / file.key
    half.parent.mkdir(parents=True)
    half.write_bytes(CONTENT[:1000])
    relocation.move(file, "archive")
    assert read(file) == CONTENT
    assert keys(places) == {"archive": 1}


def test_two_names_of_one_place_lose_nothing(file: File, places: dict[str, Path], settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "again": settings.STORAGES["default"]}
    with pytest.raises(RelocationFailed, match="are one place"):
        relocation.move(file, "again")
    assert read(file) == CONTENT
    assert keys(places) == {"default": 1}


def test_a_storage_that_is_down_leaves_the_file_where_it_is(
    file: File, places: dict[str, Path], monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no route to the storage")

    monkeypatch.setattr(storages["archive"], "_save", fail)
    with pytest.raises(StorageUnavailable):
        relocation.move(file, "archive")
    assert read(file) == CONTENT
    assert keys(places) == {"default": 1}


def test_a_file_that_is_deleted_meanwhile_leaves_nothing(
    file: File, places: dict[str, Path], monkeypatch, django_capture_on_commit_callbacks
) -> None:
    save = storage.save

    def deleting(**given: Any) -> None:
        save(**given)
        with django_capture_on_commit_callbacks(execute=True):
            services.delete_row(File.objects.get(pk=file.pk), by=None)

    monkeypatch.setattr(storage, "save", deleting)
    with pytest.raises(FileNotFoundError):
        relocation.move(file, "archive")
    assert keys(places) == {}


def test_a_file_that_is_deleted_after_its_move_by_an_old_copy_of_its_row_leaves_nothing(
    file: File, places: dict[str, Path], django_capture_on_commit_callbacks
) -> None:
    stale = File.objects.get(pk=file.pk)
    relocation.move(file, "archive")
    with django_capture_on_commit_callbacks(execute=True):
        services.delete_row(stale, by=None)
    assert keys(places) == {}


def test_who_moves_it_back_before_the_old_object_goes_keeps_it(
    file: File, places: dict[str, Path], monkeypatch
) -> None:
    delete = relocation._delete_unless_named

    def back_first(row: File, alias: str) -> None:
        monkeypatch.undo()
        relocation.move(File.objects.get(pk=file.pk), "default")
        delete(row, alias)

    monkeypatch.setattr(relocation, "_delete_unless_named", back_first)
    relocation.move(file, "archive")
    assert read(file) == CONTENT
    assert keys(places) == {"default": 1}


def test_who_moves_it_back_after_the_old_object_went_copies_it_again(
    file: File, places: dict[str, Path], monkeypatch
) -> None:
    relocation.move(file, "archive", delete_source=False)
    switched = relocation._switched

    def too_late(row: File, source: str, to_alias: str) -> bool:
        monkeypatch.undo()
        storage.delete(key=row.key, alias=to_alias)  # as who moved it here does in the end
        return switched(row, source, to_alias)

    monkeypatch.setattr(relocation, "_switched", too_late)
    relocation.move(file, "default")
    assert read(file) == CONTENT
    assert keys(places) == {"default": 1}


def test_of_two_that_move_it_at_once_both_succeed(file: File, places: dict[str, Path], monkeypatch) -> None:
    save = storage.save

    def other_first(**given: Any) -> None:
        monkeypatch.undo()
        relocation.move(File.objects.get(pk=file.pk), "archive")
        save(**given)

    monkeypatch.setattr(storage, "save", other_first)
    relocation.move(file, "archive")
    assert read(file) == CONTENT
    assert keys(places) == {"archive": 1}


def killed_at(monkeypatch, number: int) -> Iterator[None]:
    """The process ends just before, and just after, each thing that is asked of a storage: 0, 1, 2, ..."""
    calls = iter(range(-number, 1_000))

    def wrap(act: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **given: Any) -> Any:
            if next(calls) == 0:
                raise Killed
            outcome = act(*args, **given)
            if next(calls) == 0:
                if hasattr(outcome, "close"):
                    outcome.close()  # as the end of the process does
                raise Killed
            return outcome

        return wrapped

    for step in STEPS:
        monkeypatch.setattr(storage, step, wrap(getattr(storage, step)))
    yield


@pytest.mark.parametrize("leftover", [False, True], ids=["first attempt", "over half a copy"])
def test_wherever_it_is_killed_nothing_is_lost_and_the_next_attempt_completes_it(
    image: File, places: dict[str, Path], monkeypatch, leftover: bool
) -> None:
    original = picture("PNG")
    ended, number = False, -1
    while not ended:
        number += 1
        if leftover:
            half = places["archive"] / image.key
            half.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(b"half")
        with monkeypatch.context() as killing:
            for _ in killed_at(killing, number):
                try:
                    relocation.move(File.objects.get(pk=image.pk), "archive")
                    ended = True
                except Killed:
                    ended = False
        assert read(image) == original
        relocation.move(image, "archive")
        assert read(image) == original
        relocation.move(image, "default")
        assert read(image) == original
        assert image.renditions.get().storage == "default"
    assert number > 20


def test_bytes_are_verified_by_what_was_recorded_when_they_came_in(file: File) -> None:
    assert file.sha256 == hashlib.sha256(CONTENT).hexdigest()
    File.objects.filter(pk=file.pk).update(sha256="0" * 64)
    file.refresh_from_db()
    with pytest.raises(RelocationFailed):
        relocation.move(file, "archive")


# --- where a file belongs --------------------------------------------------------------------------

PROFILES = """
[default]
max_size = "2 MiB"
types = ["*/*"]

[kept]
max_size = "2 MiB"
types = ["*/*"]
storage = "archive"
"""


@pytest.fixture
def purposes(settings, places: dict[str, Path]) -> None:
    settings.UPLOAD_PROFILES = profiles.parse(PROFILES, source="the test", storages=places)


@pytest.mark.parametrize(
    "profile, visibility, alias",
    [
        ("default", Visibility.PRIVATE, "default"),
        ("default", Visibility.PUBLIC, "public"),
        ("kept", Visibility.PRIVATE, "archive"),
        ("kept", Visibility.PUBLIC, "archive"),
    ],
)
def test_an_upload_goes_to_the_storage_of_its_profile_or_its_visibility(
    alice: User, purposes: None, places: dict[str, Path], profile: str, visibility: Visibility, alias: str
) -> None:
    received = Received.of_bytes(b"bytes", name="a.bin")
    file = services.upload(
        owner=alice, received=received, profile=profile, description={"visibility": visibility}
    )
    received.close()
    assert file.storage == alias
    assert keys(places) == {alias: 1}


def test_without_a_storage_for_what_is_public_it_lies_with_the_rest() -> None:
    assert storage.alias_for(None, Visibility.PUBLIC) == "default"


@pytest.mark.django_db(transaction=True)
def test_a_file_that_is_published_moves_and_its_answer_says_so(
    alice: User, purposes: None, places: dict[str, Path], file: File
) -> None:
    updated = services.update(viewer=alice, file_id=file.pk, changes={"visibility": Visibility.PUBLIC})
    assert updated.storage == "public"
    assert keys(places) == {"public": 1}
    services.update(viewer=alice, file_id=file.pk, changes={"visibility": Visibility.PRIVATE})
    assert read(file) == CONTENT
    assert keys(places) == {"default": 1}


@pytest.mark.django_db(transaction=True)
def test_a_change_of_anything_else_moves_nothing(
    alice: User, purposes: None, places: dict[str, Path], file: File
) -> None:
    relocation.move(file, "archive")
    services.update(viewer=alice, file_id=file.pk, changes={"title": "elsewhere"})
    assert keys(places) == {"archive": 1}


@pytest.mark.django_db(transaction=True)
def test_a_change_holds_when_the_move_fails(
    alice: User, purposes: None, places: dict[str, Path], file: File, monkeypatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no route to the storage")

    monkeypatch.setattr(storages["public"], "_save", fail)
    updated = services.update(viewer=alice, file_id=file.pk, changes={"visibility": Visibility.PUBLIC})
    assert (updated.visibility, updated.storage) == (Visibility.PUBLIC, "default")
    assert read(file) == CONTENT


def test_what_is_probed_with_leaves_nothing(places: dict[str, Path]) -> None:
    storage.save(key="a/b", content=ContentFile(b"bytes"), alias="archive")
    relocation._check_are_two("default", "archive")
    assert keys(places) == {"archive": 1}
