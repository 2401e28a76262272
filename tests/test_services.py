"""Receiving, changing and deleting: bytes before rows, rows before bytes, and nothing left of what failed."""

import hashlib
import io
import logging
import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError, connections, transaction
from PIL import Image

from accounts.models import User
from files import metadata, profiles, receive, rendering, sandbox, services, storage
from files.disk import DiskDraft, DiskStorage
from files.errors import (
    EmptyFile,
    FileError,
    FileNotFound,
    FileTooLarge,
    ImageTooLarge,
    InvalidImage,
    InvalidInput,
    QuotaExceeded,
    StorageUnavailable,
    UnknownProfile,
    UnsupportedType,
)
from files.models import File, FileKind, Visibility, new_id
from files.receive import Received
from files.services import Deleted, Description, Usage
from tests.conftest import stored_files

KIB = 1024
MIB = 1024 * KIB
BYTES = b"\x00\x01\x02\x03" * 25  # of no type, 100 of them

PROFILES = """
[default]
max_size = "2 MiB"
types = ["*/*"]

[image]
max_size = "1 MiB"
types = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"]
max_pixels = 100_000

[public]
max_size = "2 MiB"
types = ["*/*"]
visibility = "public"

[avatar]
max_size = "2 MiB"
types = ["image/jpeg", "image/png"]
fit = [300, 300]

[stripped]
max_size = "1 MiB"
types = ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"]
strip = true

[document]
max_size = "2 MiB"
types = ["application/pdf"]
"""


@pytest.fixture(autouse=True)
def purposes(settings) -> None:
    settings.UPLOAD_PROFILES = profiles.parse(PROFILES, source="the test")
    settings.USER_QUOTA = None


@pytest.fixture
def incoming(settings) -> Path:
    return Path(settings.STAGING_DIR)


def received(content: bytes, *, name: str = "file.bin", limit: int = 2 * MIB) -> Received:
    """A file of a request, claimed to be a picture."""
    file = Received(name=name, content_type="image/x-claimed", limit=limit)
    file.write(content)
    return file


def upload(owner: User, content: bytes = BYTES, profile: str = "default", **description: Any) -> File:
    file = received(content)
    try:
        return services.upload(
            owner=owner, received=file, profile=profile, description=cast(Description, description)
        )
    finally:
        file.close()


def picture(
    width: int, height: int, format: str = "PNG", *, seed: int | None = None, **options: Any
) -> bytes:
    """One colour, or noise, which no format makes smaller."""
    if seed is None:
        image = Image.new("RGB", (width, height), (200, 30, 30))
    else:
        noise = random.Random(seed).randbytes(width * height * 3)
        image = Image.frombytes("RGB", (width, height), noise)
    target = io.BytesIO()
    image.save(target, format, **options)
    return target.getvalue()


def assert_nothing_is_left(root: Path, incoming: Path) -> None:
    assert not File.objects.exists()
    assert not root.exists() or stored_files(root) == []
    assert not incoming.exists() or list(incoming.iterdir()) == []


@contextmanager
def failing(error: Exception, *, on: str) -> Iterator[None]:
    """The database fails at statements on files that begin with this word."""

    def fail(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith(on) and "files_file" in sql:
            raise error
        return execute(sql, *rest)

    with connections["default"].execute_wrapper(fail):
        yield


@contextmanager
def failing_commit(monkeypatch: pytest.MonkeyPatch, *, took_place: bool) -> Iterator[None]:
    """The answer to a commit is an error, whether it took place or not."""
    database = connections["default"]
    commit = database.commit

    def fail() -> None:
        if took_place:
            commit()
        raise OperationalError("server closed the connection unexpectedly")

    with monkeypatch.context() as patched:
        patched.setattr(database, "commit", fail)
        yield


def refuse(*args: object, **options: object) -> Any:
    """Stands for any call to something that is down."""
    raise OSError(5, "Input/output error")


# --- what is recorded ------------------------------------------------------------------------------


def test_an_upload_is_stored_and_recorded(alice: User, storage_root: Path) -> None:
    file = upload(alice)
    file.refresh_from_db()
    assert stored_files(storage_root) == [file.key]
    assert (storage_root / file.key).read_bytes() == BYTES
    assert (file.owner, file.profile, file.storage, file.size) == (alice, "default", "default", len(BYTES))
    assert file.md5 == hashlib.md5(BYTES).hexdigest()
    assert file.sha256 == hashlib.sha256(BYTES).hexdigest()
    assert file.name == "file.bin"
    assert (file.title, file.description, file.tags, file.metadata) == (None, None, [], {})
    assert file.created_at == file.updated_at
    assert not file.is_image


def test_a_staged_upload_is_stored_and_its_staging_file_goes(
    alice: User, storage_root: Path, incoming: Path
) -> None:
    content = random.Random(1).randbytes(MIB)
    file = upload(alice, content)
    assert (storage_root / file.key).read_bytes() == content
    assert list(incoming.iterdir()) == []


def test_the_key_is_made_by_the_service_alone(alice: User) -> None:
    file = received(picture(8, 8), name="../../My secret.html")
    kept = services.upload(owner=alice, received=file, profile="image", description={"name": "own name"})
    file.close()
    assert kept.id.version == 7
    assert kept.key == f"image/{kept.created_at:%Y/%m/%d}/{kept.id}.png"
    assert re.fullmatch(r"image/\d{4}/\d{2}/\d{2}/[0-9a-f-]{36}\.png", kept.key)


def test_two_uploads_of_the_same_bytes_are_two_files(alice: User, storage_root: Path) -> None:
    first, second = upload(alice), upload(alice)
    assert first.key != second.key
    assert stored_files(storage_root) == sorted([first.key, second.key])


def test_what_the_client_says_of_a_file_is_recorded(alice: User) -> None:
    file = upload(
        alice,
        name="Report.bin",
        title=" Yearly report ",
        description="All of it.",
        tags=["a", "b", "a"],
        metadata={"pages": 3},
        visibility=Visibility.PUBLIC,
    )
    file.refresh_from_db()
    assert (file.name, file.title, file.description) == ("Report.bin", "Yearly report", "All of it.")
    assert (file.tags, file.metadata, file.visibility) == (["a", "b"], {"pages": 3}, "public")


@pytest.mark.parametrize("profile, visibility", [("default", "private"), ("public", "public")])
def test_the_profile_says_who_may_see_what_the_client_does_not(
    alice: User, profile: str, visibility: str
) -> None:
    nothing: Any = dict.fromkeys(("name", "title", "description", "tags", "metadata", "visibility"))
    file = upload(alice, profile=profile, **nothing)
    file.refresh_from_db()
    assert file.visibility == visibility
    assert (file.name, file.title, file.tags, file.metadata) == ("file.bin", None, [], {})


def test_an_image_is_measured(alice: User) -> None:
    file = upload(alice, picture(30, 20), "image")
    file.refresh_from_db()
    assert (file.kind, file.content_type, file.image_format) == ("image", "image/png", "PNG")
    assert (file.width, file.height, file.frames) == (30, 20, 1)
    assert file.dominant_color == "#c81e1e"
    assert file.thumbhash
    assert file.is_image


def test_an_avatar_is_made_to_fit_and_measured_as_it_is_kept(alice: User, storage_root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010F] = "A camera"
    original = picture(600, 400, "JPEG", exif=exif)
    file = upload(alice, original, "avatar")
    kept = (storage_root / file.key).read_bytes()
    assert kept != original
    assert (file.width, file.height) == (200, 300)
    assert file.size == len(kept)
    assert file.md5 == hashlib.md5(kept).hexdigest()
    assert file.sha256 == hashlib.sha256(kept).hexdigest()
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, image.size) == ("JPEG", (200, 300))
        assert dict(image.getexif()) == {}
    assert stored_files(storage_root) == [file.key]


def _photo(format_: str, *, orientation: int = 6) -> bytes:
    """With the place, the camera and the time."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112] = "Canon", "Canon EOS R5", orientation
    exif.get_ifd(0x8825)[29] = "PRIVATE-PLACE"
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 12:30:45"
    return picture(40, 24, format_, exif=exif)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_a_stripped_image_is_kept_and_measured_without_its_metadata(
    alice: User, storage_root: Path, format_: str
) -> None:
    original = _photo(format_) + b"PRIVATE-PLACE"
    assert original.count(b"PRIVATE-PLACE") == 2
    file = upload(alice, original, "stripped")

    kept = (storage_root / file.key).read_bytes()
    assert b"PRIVATE" not in kept
    assert b"Canon" not in kept
    assert (file.size, file.md5, file.sha256) == (
        len(kept),
        hashlib.md5(kept).hexdigest(),
        hashlib.sha256(kept).hexdigest(),
    )
    assert (file.taken_at, file.camera, file.lens) == ("", "", "")
    assert (file.width, file.height) == (24, 40)
    before, after = (Image.open(io.BytesIO(each)) for each in (original, kept))
    with before, after:
        assert before.tobytes() == after.tobytes()


def test_what_came_is_not_kept_where_its_metadata_cannot_be_taken_out(
    alice: User, storage_root: Path, incoming: Path
) -> None:
    original = picture(40, 24)[:-12]  # without the chunk that ends it, which decoders do not miss
    assert upload(alice, original, "image").is_image
    File.objects.all().delete()
    for path in storage_root.rglob("*.png"):
        path.unlink()

    with pytest.raises(InvalidImage, match="its metadata cannot be told from its pixels"):
        upload(alice, original, "stripped")
    assert_nothing_is_left(storage_root, incoming)


@pytest.mark.parametrize("made", ["another picture", "the same with its metadata"])
def test_what_was_stripped_has_to_be_the_same_picture_and_no_more(
    alice: User, storage_root: Path, incoming: Path, monkeypatch: pytest.MonkeyPatch, made: str
) -> None:
    original = _photo("JPEG")
    other = original if made == "the same with its metadata" else picture(40, 24, "JPEG", seed=1)
    run = sandbox.run
    monkeypatch.setattr(
        sandbox, "run", lambda do, *args, **kw: other if do is metadata.strip else run(do, *args, **kw)
    )

    with pytest.raises(InvalidImage, match="it does not look the same without its metadata"):
        upload(alice, original, "stripped")
    assert_nothing_is_left(storage_root, incoming)


def test_a_small_avatar_has_nothing_but_pixels(alice: User, storage_root: Path) -> None:
    file = upload(alice, _photo("JPEG"), "avatar")

    kept = (storage_root / file.key).read_bytes()
    assert b"PRIVATE" not in kept
    assert b"Exif" not in kept
    assert (file.width, file.height, file.camera) == (24, 40, "")


def test_what_the_camera_wrote_of_a_kept_original_is_in_its_row(alice: User) -> None:
    file = upload(alice, _photo("JPEG"), "image")

    assert (file.taken_at, file.camera, file.lens) == ("2024-05-01T12:30:45", "Canon EOS R5", "")


def test_a_small_avatar_is_not_enlarged(alice: User) -> None:
    file = upload(alice, picture(40, 10), "avatar")
    assert (file.width, file.height) == (40, 10)


# --- what fails ------------------------------------------------------------------------------------

NOISE = random.Random(2).randbytes(MIB + KIB)
NOISY_PICTURE = picture(500, 500, seed=3)
LARGE_PICTURE = picture(400, 300)

REFUSED = [
    pytest.param("default", b"", {}, EmptyFile, {}, id="empty"),
    pytest.param("image", NOISE, {}, FileTooLarge, {"size": MIB + KIB, "limit": MIB}, id="too large"),
    pytest.param(
        "default",
        NOISE * 2,
        {},
        FileTooLarge,
        {"size": 2 * MIB + 2 * KIB, "limit": 2 * MIB},
        id="too large for all",
    ),
    pytest.param(
        "document",
        NOISE,
        {},
        UnsupportedType,
        {"claimed": "image/x-claimed", "allowed": ["application/pdf"]},
        id="not a document",
    ),
    pytest.param("avatar", NOISY_PICTURE[: 600 * KIB], {}, InvalidImage, {}, id="half an avatar"),
    pytest.param("image", picture(99, 99, seed=4)[:5000], {}, InvalidImage, {}, id="half an image"),
    pytest.param(
        "image",
        LARGE_PICTURE,
        {},
        ImageTooLarge,
        {"width": 400, "height": 300, "pixels": 120_000, "limit": 100_000},
        id="too many pixels",
    ),
    pytest.param(
        "nothing",
        NOISE,
        {},
        UnknownProfile,
        {"profile": "nothing", "known": ["default", "image", "public", "avatar", "stripped", "document"]},
        id="unknown profile",
    ),
    pytest.param("default", NOISE, {"name": "a/b"}, InvalidInput, {"field": "name"}, id="bad name"),
    pytest.param("default", NOISE, {"tags": [""]}, InvalidInput, {"field": "tags"}, id="bad tags"),
    pytest.param("default", NOISE, {"metadata": [1]}, InvalidInput, {"field": "metadata"}, id="bad metadata"),
]


@pytest.mark.parametrize("profile, content, description, error, fields", REFUSED)
def test_a_refused_upload_says_why_and_leaves_nothing(
    alice: User,
    storage_root: Path,
    incoming: Path,
    profile: str,
    content: bytes,
    description: dict[str, Any],
    error: type[FileError],
    fields: dict[str, object],
) -> None:
    with pytest.raises(error) as raised:
        upload(alice, content, profile, **description)
    assert type(raised.value) is error
    assert {name: getattr(raised.value, name) for name in fields} == fields
    assert_nothing_is_left(storage_root, incoming)


def test_the_limit_that_is_told_is_the_profiles_own(alice: User) -> None:
    # What is received is cut off at the largest limit of all profiles, not at that of this one.
    file = received(NOISE * 2, limit=2 * MIB)
    with pytest.raises(FileTooLarge) as raised:
        services.upload(owner=alice, received=file, profile="image", description={})
    assert (raised.value.size, raised.value.limit) == (2 * MIB + 2 * KIB, MIB)
    file.close()


def test_bytes_that_could_not_be_staged_are_a_typed_error(
    alice: User, settings, storage_root: Path, tmp_path: Path
) -> None:
    (tmp_path / "in the way").write_bytes(b"")
    settings.STAGING_DIR = tmp_path / "in the way"
    with pytest.raises(StorageUnavailable):
        upload(alice, NOISE)
    assert not File.objects.exists()
    assert not storage_root.exists()


def test_a_fitted_image_that_could_not_be_staged_is_a_typed_error(
    alice: User, settings, monkeypatch, storage_root: Path, tmp_path: Path
) -> None:
    file = received(picture(50, 50))
    larger = picture(64, 64, seed=5)
    run = sandbox.run
    monkeypatch.setattr(
        sandbox, "run", lambda do, *args, **kw: larger if do is rendering.fit else run(do, *args, **kw)
    )
    monkeypatch.setattr(receive, "_MEMORY_SIZE", 1)
    (tmp_path / "in the way").write_bytes(b"")
    settings.STAGING_DIR = tmp_path / "in the way"
    with pytest.raises(StorageUnavailable):
        services.upload(owner=alice, received=file, profile="avatar", description={})
    file.close()
    assert not File.objects.exists()
    assert not storage_root.exists()


@pytest.mark.parametrize("error", [None, InvalidImage(reason="damaged"), StorageUnavailable()])
def test_the_staging_file_of_a_fitted_image_goes_too(
    alice: User, monkeypatch, storage_root: Path, incoming: Path, error: FileError | None
) -> None:
    monkeypatch.setattr(receive, "_MEMORY_SIZE", 1)

    def fail(**options: object) -> None:
        assert len(list(incoming.iterdir())) == 2
        if error is not None:
            raise error

    monkeypatch.setattr(storage, "save", fail)
    if error is None:
        upload(alice, picture(400, 400), "avatar")
    else:
        with pytest.raises(type(error)):
            upload(alice, picture(400, 400), "avatar")
    assert list(incoming.iterdir()) == []
    assert not storage_root.exists()


# --- bytes before rows -----------------------------------------------------------------------------


def test_a_storage_that_is_down_means_no_row(
    alice: User, monkeypatch, storage_root: Path, incoming: Path
) -> None:
    monkeypatch.setattr(DiskStorage, "_save", refuse)
    with pytest.raises(StorageUnavailable):
        upload(alice, NOISE)
    assert_nothing_is_left(storage_root, incoming)


def test_the_bytes_are_stored_before_the_row_is(alice: User, storage_root: Path) -> None:
    seen: list[list[str]] = []

    def look(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "files_file"'):
            seen.append(stored_files(storage_root))
        return execute(sql, *rest)

    with connections["default"].execute_wrapper(look):
        file = upload(alice)
    assert seen == [[file.key]]


@pytest.mark.parametrize(
    "error, raised",
    [
        (OperationalError("database is locked"), StorageUnavailable),
        (InterfaceError("connection already closed"), StorageUnavailable),
        (IntegrityError("a mistake of ours"), IntegrityError),
        (RuntimeError("a mistake of ours"), RuntimeError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_a_row_that_cannot_be_inserted_takes_its_bytes_along(
    alice: User, storage_root: Path, incoming: Path, error: Exception, raised: type[Exception]
) -> None:
    with failing(error, on="INSERT"), pytest.raises(raised):
        upload(alice, NOISE)
    assert_nothing_is_left(storage_root, incoming)


def test_an_insert_and_a_delete_that_both_fail_are_still_the_error_of_the_insert(
    alice: User, monkeypatch, storage_root: Path, caplog
) -> None:
    monkeypatch.setattr(DiskStorage, "delete", refuse)
    with failing(OperationalError("disk I/O error"), on="INSERT"), pytest.raises(StorageUnavailable):
        upload(alice)
    (orphan,) = stored_files(storage_root)
    assert any(orphan in record.getMessage() for record in caplog.records)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("took_place", [False, True], ids=["lost commit", "lost answer"])
def test_bytes_are_kept_when_it_is_not_certain_that_the_row_was_committed(
    alice: User, monkeypatch, storage_root: Path, caplog, took_place: bool
) -> None:
    with failing_commit(monkeypatch, took_place=took_place), pytest.raises(StorageUnavailable):
        upload(alice)
    (key,) = stored_files(storage_root)
    assert File.objects.filter(key=key).exists() is took_place
    assert any(key in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("error", [OperationalError("no route"), InterfaceError("closed")])
def test_a_database_that_is_down_before_the_bytes_travel_stores_nothing(
    alice: User, settings, storage_root: Path, incoming: Path, error: Exception
) -> None:
    settings.USER_QUOTA = MIB
    with failing(error, on="SELECT"), pytest.raises(StorageUnavailable):
        upload(alice, NOISE)
    assert not storage_root.exists()
    assert_nothing_is_left(storage_root, incoming)


# --- objects that are begun while the bytes come in ------------------------------------------------


def coming(
    owner: User, content: bytes, profile: str = "default", visibility: Visibility | None = None
) -> Received:
    """A file that goes into its object as a request would have it."""
    begin = services.begin(owner=owner, profile=profile, visibility=visibility)
    file = Received(name="file.bin", content_type="image/x-claimed", limit=2 * MIB, begin=begin)
    for start in range(0, len(content), 64 * KIB):
        file.write(content[start : start + 64 * KIB])
    return file


def keep(owner: User, file: Received, profile: str = "default", **description: Any) -> File:
    try:
        return services.upload(
            owner=owner, received=file, profile=profile, description=cast(Description, description)
        )
    finally:
        file.close()


def test_an_opaque_file_lies_in_its_storage_before_it_is_uploaded(
    alice: User, storage_root: Path, incoming: Path
) -> None:
    file = coming(alice, NOISE)
    (draft,) = (storage_root / ".drafts").iterdir()
    inode = draft.stat().st_ino
    kept = keep(alice, file)
    assert (storage_root / kept.key).stat().st_ino == inode
    assert (storage_root / kept.key).read_bytes() == NOISE
    assert stored_files(storage_root) == [kept.key]
    assert kept.key == f"default/{kept.created_at:%Y/%m/%d}/{kept.id}.bin"
    assert (kept.size, kept.sha256) == (len(NOISE), hashlib.sha256(NOISE).hexdigest())
    assert kept.md5 == hashlib.md5(NOISE).hexdigest()
    assert not incoming.exists()


@pytest.mark.parametrize("profile", ["image", "avatar", "nothing"])
def test_what_has_to_be_looked_at_whole_is_not_begun(alice: User, profile: str) -> None:
    assert services.begin(owner=alice, profile=profile, visibility=None) is None


PDF = b"%PDF-1.7\n" + NOISE


@pytest.mark.parametrize("profile, ending", [("default", ".pdf"), ("document", ".pdf"), ("public", ".pdf")])
def test_the_key_has_the_ending_of_the_type_that_the_head_shows(
    alice: User, profile: str, ending: str
) -> None:
    kept = keep(alice, coming(alice, PDF, profile), profile)
    assert kept.key.startswith(f"{profile}/")
    assert kept.key.endswith(ending)
    assert kept.content_type == "application/pdf"


def test_a_type_that_is_not_let_in_is_refused_before_a_byte_is_stored(
    alice: User, storage_root: Path
) -> None:
    file = coming(alice, NOISE, "document")
    assert not storage_root.exists()
    with pytest.raises(UnsupportedType) as raised:
        keep(alice, file, "document")
    assert (raised.value.claimed, raised.value.allowed) == ("image/x-claimed", ["application/pdf"])


def test_a_quota_that_is_full_is_refused_before_a_byte_is_stored(
    alice: User, storage_root: Path, settings
) -> None:
    settings.USER_QUOTA = 10 * KIB
    file = coming(alice, NOISE)
    assert not storage_root.exists()
    with pytest.raises(QuotaExceeded) as raised:
        keep(alice, file)
    assert (raised.value.size, raised.value.used, raised.value.quota) == (len(NOISE), 0, 10 * KIB)


def test_a_quota_that_is_met_later_leaves_nothing_either(
    alice: User, storage_root: Path, incoming: Path, settings
) -> None:
    settings.USER_QUOTA = len(NOISE) - 1
    with pytest.raises(QuotaExceeded):
        keep(alice, coming(alice, NOISE))
    assert_nothing_is_left(storage_root, incoming)


@pytest.mark.parametrize("error", [OperationalError("locked"), RuntimeError("a mistake of ours")])
def test_a_begun_object_goes_with_the_row_that_cannot_be_inserted(
    alice: User, storage_root: Path, incoming: Path, error: Exception
) -> None:
    file = coming(alice, NOISE)
    with failing(error, on="INSERT"), pytest.raises((StorageUnavailable, RuntimeError)):
        keep(alice, file)
    assert_nothing_is_left(storage_root, incoming)


def test_a_begun_object_goes_with_a_description_that_is_refused(
    alice: User, storage_root: Path, incoming: Path
) -> None:
    with pytest.raises(InvalidInput):
        keep(alice, coming(alice, NOISE), name="a/b")
    assert_nothing_is_left(storage_root, incoming)


def test_the_bytes_of_a_begun_object_are_stored_before_the_row_is(alice: User, storage_root: Path) -> None:
    seen: list[list[str]] = []

    def look(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('INSERT INTO "files_file"'):
            seen.append([each for each in stored_files(storage_root) if not each.startswith(".drafts")])
        return execute(sql, *rest)

    file = coming(alice, NOISE)
    with connections["default"].execute_wrapper(look):
        kept = keep(alice, file)
    assert seen == [[kept.key]]


def test_a_storage_that_cannot_be_written_ends_that_file_alone(
    alice: User, monkeypatch, storage_root: Path
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(DiskDraft, "write", refuse)
        bad = coming(alice, NOISE)
    good = coming(alice, NOISE)
    outcomes = services.upload_many(owner=alice, received=[bad, good], profile="default", description={})
    bad.close()
    good.close()
    assert isinstance(outcomes[0], StorageUnavailable)
    assert isinstance(outcomes[1], File)
    assert stored_files(storage_root) == [outcomes[1].key]


def test_an_object_that_was_begun_for_another_purpose_is_not_kept(
    alice: User, storage_root: Path, incoming: Path
) -> None:
    with pytest.raises(RuntimeError, match="was begun"):
        keep(alice, coming(alice, NOISE), "public")
    assert_nothing_is_left(storage_root, incoming)


# --- quota -----------------------------------------------------------------------------------------


def test_files_may_fill_the_quota_exactly(alice: User, settings) -> None:
    settings.USER_QUOTA = 2 * len(BYTES)
    upload(alice)
    upload(alice)
    with pytest.raises(QuotaExceeded) as raised:
        upload(alice, b"\x00")
    assert (raised.value.size, raised.value.used, raised.value.quota) == (1, 200, 200)
    assert File.objects.count() == 2


def test_a_file_past_the_quota_is_refused_before_its_bytes_travel(
    alice: User, settings, monkeypatch, storage_root: Path, incoming: Path
) -> None:
    settings.USER_QUOTA = len(NOISE) - 1
    monkeypatch.setattr(DiskStorage, "_save", refuse)
    with pytest.raises(QuotaExceeded) as raised:
        upload(alice, NOISE)
    assert (raised.value.size, raised.value.used, raised.value.quota) == (len(NOISE), 0, len(NOISE) - 1)
    assert_nothing_is_left(storage_root, incoming)


def test_the_quota_counts_what_is_kept_and_not_what_was_sent(alice: User, settings) -> None:
    original = picture(600, 600, seed=6, format="JPEG", quality=95)
    settings.USER_QUOTA = len(original) - 1
    assert upload(alice, original, "avatar").size < len(original)


def test_one_users_files_do_not_count_against_another(alice: User, bob: User, settings) -> None:
    settings.USER_QUOTA = len(BYTES)
    upload(alice)
    upload(bob)
    assert File.objects.count() == 2


@pytest.mark.parametrize(
    "deployment, own, quota",
    [(None, None, None), (500, None, 500), (500, 50, 50), (50, 500, 500), (None, 0, 0), (500, 0, 0)],
)
def test_a_users_own_quota_goes_before_the_deployments(
    alice: User, settings, deployment: int | None, own: int | None, quota: int | None
) -> None:
    settings.USER_QUOTA = deployment
    alice.quota = own
    assert services.quota_of(alice) == quota


@pytest.mark.parametrize("own, allowed", [(None, True), (100, True), (99, False), (0, False)])
def test_a_users_own_quota_is_kept_to(alice: User, own: int | None, allowed: bool) -> None:
    alice.quota = own
    alice.save()
    if allowed:
        upload(alice)
    else:
        with pytest.raises(QuotaExceeded):
            upload(alice)
    assert File.objects.exists() is allowed


def test_a_file_that_came_meanwhile_counts(alice: User, settings, monkeypatch, storage_root: Path) -> None:
    settings.USER_QUOTA = 150
    save = storage.save

    def save_when_another_has_come(**options: Any) -> None:
        save(**options)
        row(alice, size=100)

    monkeypatch.setattr(storage, "save", save_when_another_has_come)
    with pytest.raises(QuotaExceeded) as raised:
        upload(alice)
    assert raised.value.used == 100
    assert stored_files(storage_root) == []
    assert File.objects.count() == 1


# --- several files ---------------------------------------------------------------------------------


def test_each_of_several_files_succeeds_or_fails_alone_and_in_order(alice: User, storage_root: Path) -> None:
    sent = [received(content) for content in (BYTES, b"", BYTES + b"x", NOISE * 2)]
    outcomes = services.upload_many(
        owner=alice, received=sent, profile="default", description={"tags": ["trip"]}
    )
    assert [type(outcome) for outcome in outcomes] == [File, EmptyFile, File, FileTooLarge]
    kept = [outcome for outcome in outcomes if isinstance(outcome, File)]
    assert [file.size for file in kept] == [100, 101]
    assert [file.tags for file in kept] == [["trip"], ["trip"]]
    assert stored_files(storage_root) == sorted(file.key for file in kept)
    for each in sent:
        each.close()


# --- changing --------------------------------------------------------------------------------------


@pytest.fixture
def file(alice: User) -> File:
    return upload(
        alice,
        name="a.bin",
        title="Title",
        description="Words",
        tags=["a"],
        metadata={"a": 1},
        visibility="public",
    )


WRITABLE = ("name", "title", "description", "tags", "metadata", "visibility")


@pytest.mark.parametrize(
    "changes, after",
    [
        ({"name": "b.bin"}, {"name": "b.bin"}),
        ({"title": " New "}, {"title": "New"}),
        ({"title": None}, {"title": None}),
        ({"title": ""}, {"title": None}),
        ({"description": None}, {"description": None}),
        ({"tags": ["b", "c", "b"]}, {"tags": ["b", "c"]}),
        ({"tags": None}, {"tags": []}),
        ({"tags": []}, {"tags": []}),
        ({"metadata": {"b": 2}}, {"metadata": {"b": 2}}),
        ({"metadata": None}, {"metadata": {}}),
        ({"visibility": Visibility.PRIVATE}, {"visibility": "private"}),
        ({"title": None, "tags": ["z"]}, {"title": None, "tags": ["z"]}),
        ({}, {}),
    ],
)
def test_only_what_is_given_is_changed_and_null_empties(
    alice: User, file: File, changes: Description, after: dict[str, object]
) -> None:
    before: dict[str, Any] = {**File.objects.values().get()}
    services.update(viewer=alice, file_id=file.id, changes=changes)
    now: dict[str, Any] = {**File.objects.values().get()}
    assert now.pop("updated_at") > before.pop("updated_at")
    assert now == {**before, **after}


@pytest.mark.parametrize(
    "changes, field",
    [
        ({"name": None}, "name"),
        ({"visibility": None}, "visibility"),
        ({"name": ""}, "name"),
        ({"name": "../x"}, "name"),
        ({"title": "x" * 256}, "title"),
        ({"title": "fine", "metadata": "no object"}, "metadata"),
    ],
)
def test_a_change_that_cannot_be_made_changes_nothing(
    alice: User, file: File, changes: Description, field: str
) -> None:
    before = File.objects.values().get()
    with pytest.raises(InvalidInput) as raised:
        services.update(viewer=alice, file_id=file.id, changes=changes)
    assert raised.value.field == field
    assert File.objects.values().get() == before


def test_a_change_returns_the_file_as_it_is_now(alice: User, file: File) -> None:
    changed = services.update(viewer=alice, file_id=file.id, changes={"title": "New"})
    assert (changed.id, changed.title, changed.name) == (file.id, "New", "a.bin")


# --- deleting --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_deleting_removes_the_row_and_the_bytes(alice: User, file: File, storage_root: Path) -> None:
    assert services.delete(viewer=alice, file_id=file.id) == Deleted(id=file.id)
    assert not File.objects.exists()
    assert stored_files(storage_root) == []


@pytest.mark.django_db(transaction=True)
def test_the_bytes_are_there_until_the_deletion_is_certain(
    alice: User, file: File, storage_root: Path
) -> None:
    with transaction.atomic():
        services.delete(viewer=alice, file_id=file.id)
        assert not File.objects.exists()
        assert stored_files(storage_root) == [file.key]
    assert stored_files(storage_root) == []


@pytest.mark.django_db(transaction=True)
def test_a_deletion_that_is_rolled_back_keeps_row_and_bytes(
    alice: User, file: File, storage_root: Path
) -> None:
    with transaction.atomic():
        services.delete(viewer=alice, file_id=file.id)
        transaction.set_rollback(True)
    assert File.objects.get().key == file.key
    assert stored_files(storage_root) == [file.key]


@pytest.mark.django_db(transaction=True)
def test_a_deletion_that_cannot_be_committed_keeps_the_bytes(
    alice: User, file: File, monkeypatch, storage_root: Path
) -> None:
    with failing_commit(monkeypatch, took_place=False), pytest.raises(StorageUnavailable):
        services.delete(viewer=alice, file_id=file.id)
    assert File.objects.get().key == file.key
    assert stored_files(storage_root) == [file.key]


@pytest.mark.django_db(transaction=True)
def test_bytes_that_cannot_be_deleted_are_named_in_the_log_and_the_row_is_gone(
    alice: User, file: File, monkeypatch, storage_root: Path, caplog
) -> None:
    monkeypatch.setattr(DiskStorage, "delete", refuse)
    with caplog.at_level(logging.ERROR):
        assert services.delete(viewer=alice, file_id=file.id) == Deleted(id=file.id)
    assert not File.objects.exists()
    assert stored_files(storage_root) == [file.key]
    assert any(
        record.name == "files.services" and file.key in record.getMessage() for record in caplog.records
    )


@pytest.mark.django_db(transaction=True)
def test_a_file_whose_bytes_are_gone_already_can_be_deleted(
    alice: User, file: File, storage_root: Path, caplog
) -> None:
    (storage_root / file.key).unlink()
    services.delete(viewer=alice, file_id=file.id)
    assert not File.objects.exists()
    assert caplog.records == []


@pytest.mark.django_db(transaction=True)
def test_each_of_several_deletions_succeeds_or_fails_alone_and_in_order(
    alice: User, bob: User, storage_root: Path
) -> None:
    first, second, others = upload(alice), upload(alice), upload(bob)
    unknown = new_id()
    wanted = [first.id, unknown, others.id, second.id, first.id]
    outcomes = services.delete_many(viewer=alice, file_ids=wanted)
    assert [type(outcome) for outcome in outcomes] == [
        Deleted,
        FileNotFound,
        FileNotFound,
        Deleted,
        FileNotFound,
    ]
    assert [outcome.id for outcome in outcomes if isinstance(outcome, Deleted | FileNotFound)] == wanted
    assert stored_files(storage_root) == [others.key]


# --- who may ---------------------------------------------------------------------------------------


def change(viewer: User, file: File) -> object:
    return services.update(viewer=viewer, file_id=file.id, changes={"title": "Changed"})


def remove(viewer: User, file: File) -> object:
    return services.delete(viewer=viewer, file_id=file.id)


@pytest.mark.parametrize("act", [change, remove])
@pytest.mark.parametrize("visibility", Visibility.values)
def test_a_file_of_somebody_else_is_not_there(
    alice: User, bob: User, storage_root: Path, act: Callable[[User, File], object], visibility: str
) -> None:
    file = upload(alice, visibility=visibility)
    before = File.objects.values().get()
    with pytest.raises(FileNotFound) as theirs:
        act(bob, file)
    assert File.objects.values().get() == before
    assert stored_files(storage_root) == [file.key]
    with pytest.raises(FileNotFound) as nobodys:
        act(bob, File(id=new_id()))
    assert str(theirs.value) == str(nobodys.value)


@pytest.mark.parametrize("act", [change, remove])
def test_staff_may_change_and_delete_the_files_of_others(
    staff: User, file: File, act: Callable[[User, File], object]
) -> None:
    act(staff, file)
    assert not File.objects.filter(title="Title").exists()


@pytest.mark.parametrize("act", [change, remove])
@pytest.mark.parametrize("error", [OperationalError("no route"), InterfaceError("closed")])
def test_a_database_that_is_down_changes_nothing(
    alice: User, file: File, storage_root: Path, act: Callable[[User, File], object], error: Exception
) -> None:
    for statement in ("SELECT", "UPDATE" if act is change else "DELETE"):
        with failing(error, on=statement), pytest.raises(StorageUnavailable) as raised:
            act(alice, file)
        assert raised.value.__cause__ is error
    assert File.objects.get().title == "Title"
    assert stored_files(storage_root) == [file.key]


def test_the_files_of_a_user_who_is_deleted_stay_without_owner(
    alice: User, file: File, storage_root: Path
) -> None:
    alice.delete()
    assert File.objects.get().owner is None
    assert stored_files(storage_root) == [file.key]


# --- usage -----------------------------------------------------------------------------------------


def row(owner: User, *, size: int, kind: FileKind = FileKind.OTHER) -> File:
    file_id = new_id()
    return File.objects.create(
        id=file_id,
        owner=owner,
        name="row",
        profile="default",
        kind=kind,
        content_type="application/octet-stream",
        size=size,
        md5="0" * 32,
        sha256="0" * 64,
        storage="default",
        key=str(file_id),
    )


def test_usage_counts_the_owners_files_by_kind(alice: User, bob: User) -> None:
    row(alice, size=10, kind=FileKind.IMAGE)
    row(alice, size=20, kind=FileKind.IMAGE)
    row(alice, size=2**40, kind=FileKind.VIDEO)
    row(bob, size=5, kind=FileKind.IMAGE)
    assert services.usage(alice) == {FileKind.IMAGE: Usage(2, 30), FileKind.VIDEO: Usage(1, 2**40)}
    assert services.usage(bob) == {FileKind.IMAGE: Usage(1, 5)}


def test_usage_of_nothing_is_empty(alice: User) -> None:
    assert services.usage(alice) == {}


def test_usage_costs_one_query_however_many_files_there_are(
    alice: User, django_assert_num_queries: Callable[[int], AbstractContextManager[object]]
) -> None:
    for number in range(10):
        row(alice, size=number)
    with django_assert_num_queries(1):
        services.usage(alice)
