"""The one way to the storages: keys, and errors that are the same whatever lies behind."""

import contextvars
import hashlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.core.files.base import ContentFile, File
from django.core.files.storage import InMemoryStorage, Storage, storages

from files import storage
from files.disk import DiskDraft, DiskStorage
from files.errors import StorageUnavailable
from files.faults import Fault
from files.models import File as FileRow
from files.receive import Received
from files.storage import UnexpectedKey
from tests.conftest import stored_files

KEY = "default/2026/01/31/object.bin"


class Failing(Storage):
    """Raises one exception, whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        raise self.error

    def _save(self, name: str, content: File[bytes]) -> str:
        raise self.error

    def delete(self, name: str) -> None:
        raise self.error

    def exists(self, name: str) -> bool:
        return False


class Renaming(InMemoryStorage):
    """Keeps everything under a name of its own."""

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        return f"{name}-renamed"


class SomebodysError(Exception):
    """Of a library that this service knows nothing of."""


def use(settings, backend: str, **options: Any) -> Storage:
    """The default storage, which from now on is of this class."""
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend, "OPTIONS": options}}
    return storages["default"]


def row(key: str = KEY) -> FileRow:
    return FileRow(key=key, storage="default")


def attempt(verb: str) -> None:
    """Each of the three things that are done with objects."""
    match verb:
        case "save":
            storage.save(key=KEY, content=ContentFile(b"bytes"))
        case "open":
            storage.open_object(row())
        case "delete":
            storage.delete(key=KEY, alias="default")


ERRORS = [
    OSError(28, "No space left on device"),
    PermissionError(13, "Permission denied"),
    ConnectionError("reset"),
    TimeoutError("timed out"),
    ValueError("a bad answer"),
    KeyError("ETag"),
    SomebodysError("503 Slow Down"),
]


@pytest.mark.parametrize("verb", ["save", "open", "delete"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_storage_raises_becomes_one_typed_error(
    settings, caplog, verb: str, error: Exception
) -> None:
    use(settings, "tests.test_storage.Failing", error=error)
    with caplog.at_level(logging.ERROR), pytest.raises(StorageUnavailable) as raised:
        attempt(verb)
    assert raised.value.__cause__ is error
    assert raised.value.retryable
    assert str(error) not in str(raised.value)
    (record,) = caplog.records
    assert KEY in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_end_of_the_process_is_no_error_of_a_storage(settings, error: type[BaseException]) -> None:
    use(settings, "tests.test_storage.Failing", error=error())
    with pytest.raises(error):
        attempt("save")


def test_a_missing_object_stays_a_file_not_found_error(settings) -> None:
    use(settings, "tests.test_storage.Failing", error=FileNotFoundError(2, "No such file"))
    with pytest.raises(FileNotFoundError):
        attempt("open")


def test_deleting_a_missing_object_is_done_already(settings) -> None:
    use(settings, "tests.test_storage.Failing", error=FileNotFoundError(2, "No such file"))
    attempt("delete")


def test_a_file_that_is_missing_while_saving_means_that_nothing_can_be_saved(settings) -> None:
    use(settings, "tests.test_storage.Failing", error=FileNotFoundError(2, "No such file"))
    with pytest.raises(StorageUnavailable):
        attempt("save")


def test_a_disk_that_is_not_mounted_is_a_typed_error(storage_root: Path) -> None:
    storage_root.symlink_to(storage_root.parent / "not mounted")
    with pytest.raises(StorageUnavailable):
        attempt("save")


def test_a_folder_that_is_a_file_is_a_typed_error_and_nothing_is_changed(storage_root: Path) -> None:
    storage_root.mkdir()
    (storage_root / "default").write_bytes(b"in the way")
    with pytest.raises(StorageUnavailable):
        attempt("save")
    assert stored_files(storage_root) == ["default"]


def test_an_object_is_kept_under_exactly_its_key(storage_root: Path) -> None:
    storage.save(key=KEY, content=ContentFile(b"bytes"))
    assert stored_files(storage_root) == [KEY]
    with storage.open_object(row()) as file:
        assert file.read() == b"bytes"


def test_a_storage_that_renames_is_refused_and_its_object_removed(settings) -> None:
    renaming = use(settings, "tests.test_storage.Renaming")
    with pytest.raises(StorageUnavailable) as raised:
        storage.save(key=KEY, content=ContentFile(b"bytes"))
    assert isinstance(raised.value.__cause__, UnexpectedKey)
    assert not renaming.exists(f"{KEY}-renamed")
    assert not renaming.exists(KEY)


def test_a_key_that_is_taken_is_refused_and_what_is_there_stays(storage_root: Path) -> None:
    storage.save(key=KEY, content=ContentFile(b"first"))
    with pytest.raises(StorageUnavailable):
        storage.save(key=KEY, content=ContentFile(b"second"))
    assert stored_files(storage_root) == [KEY]
    assert (storage_root / KEY).read_bytes() == b"first"


def test_deleting_is_idempotent(storage_root: Path) -> None:
    storage.save(key=KEY, content=ContentFile(b"bytes"))
    storage.delete(key=KEY, alias="default")
    storage.delete(key=KEY, alias="default")
    assert stored_files(storage_root) == []


@pytest.mark.parametrize("key", ["../outside", "/etc/hostname", "a/../../outside"])
def test_a_key_that_leads_out_opens_nothing(storage_root: Path, key: str) -> None:
    storage_root.mkdir()
    (storage_root.parent / "outside").write_text("secret")
    with pytest.raises(StorageUnavailable):
        storage.open_object(row(key))


def test_a_storage_that_is_no_longer_configured_is_a_typed_error() -> None:
    with pytest.raises(StorageUnavailable):
        storage.open_object(FileRow(key=KEY, storage="gone"))


def test_the_bytes_may_be_asked_for_again_after_a_storage_has_closed_them(storage_root: Path) -> None:
    received = Received.of_bytes(b"bytes")
    for key in ("first", "second"):
        content = received.staged(name=key, content_type="text/plain")
        storage.save(key=key, content=content)
        content.close()
    received.close()
    digests = {hashlib.sha256((storage_root / key).read_bytes()).hexdigest() for key in ("first", "second")}
    assert digests == {received.sha256}


def test_a_key_is_made_of_the_profile_the_day_and_the_id() -> None:
    key = storage.key_of(
        file_id=UUID("0192f5d0-7b9c-7000-8000-000000000000"),
        profile="avatar",
        extension=".png",
        now=datetime(2026, 1, 5, 23, 59, tzinfo=UTC),
    )
    assert key == "avatar/2026/01/05/0192f5d0-7b9c-7000-8000-000000000000.png"


S3_OPTIONS = {
    "bucket_name": "pictures",
    "access_key": "an-access-key",
    "secret_key": "a-secret-key",
    "endpoint_url": "http://127.0.0.1:1/",
}


@pytest.mark.parametrize(
    "backend, options, described",
    [
        ("files.s3.S3Storage", S3_OPTIONS, ("s3", "pictures")),
        ("django.core.files.storage.InMemoryStorage", {}, ("inmemory", None)),
        ("tests.test_storage.Renaming", {}, ("renaming", None)),
    ],
)
def test_a_storage_is_described_by_its_kind_and_its_bucket(
    settings, backend: str, options: dict[str, str], described: tuple[str, str | None]
) -> None:
    use(settings, backend, **options)
    assert storage.describe("default") == described


def test_the_description_of_a_disk_has_no_path(storage_root: Path) -> None:
    assert storage.describe("default") == ("disk", None)
    assert str(storage_root) not in str(storage.describe("default"))


# --- objects in the making -------------------------------------------------------------------------


class Opaque(InMemoryStorage):
    """One of the user's own, which knows nothing of drafts, and looks at what it is given."""

    def _save(self, name: str, content: File[bytes]) -> str:
        self.content_type = content.content_type  # type: ignore[attr-defined]
        return super()._save(name, content)  # type: ignore[misc]


def made(content: bytes) -> storage.Draft:
    draft = storage.begin(key=KEY, alias="default", content_type="image/png")
    try:
        draft.write(content[:3])
        draft.write(content[3:])
        draft.commit(sha256=hashlib.sha256(content).hexdigest(), md5=hashlib.md5(content).hexdigest())
    except BaseException:
        draft.abort()
        raise
    return draft


@pytest.mark.parametrize("size", [0, 5, 2_000_000])
def test_a_storage_without_drafts_gets_the_object_as_a_file(settings, size: int) -> None:
    opaque = use(settings, f"{__name__}.Opaque")
    content = b"x" * size
    made(content)
    with opaque.open(KEY) as kept:
        assert kept.read() == content
    assert opaque.content_type == "image/png"  # type: ignore[attr-defined]
    assert not stored_files(Path(settings.STAGING_DIR))


def test_a_storage_without_drafts_is_given_nothing_before_the_commit(settings) -> None:
    opaque = use(settings, f"{__name__}.Opaque")
    draft = storage.begin(key=KEY, alias="default", content_type="image/png")
    draft.write(b"x" * 2_000_000)
    assert not opaque.exists(KEY)
    draft.abort()
    assert not opaque.exists(KEY)
    assert not stored_files(Path(settings.STAGING_DIR))


def test_a_storage_that_renames_a_draft_has_not_stored_it(settings) -> None:
    renaming = use(settings, f"{__name__}.Renaming")
    with pytest.raises(StorageUnavailable):
        made(b"bytes")
    assert renaming.listdir("default/2026/01/31") == ([], [])


@pytest.mark.parametrize("step", ["begin", "write", "commit"])
def test_whatever_a_draft_raises_is_storage_unavailable(monkeypatch, caplog, storage_root, step: str) -> None:
    def fail(*_: object, **__: object) -> None:
        raise SomebodysError

    monkeypatch.setattr(*((DiskStorage, step) if step == "begin" else (DiskDraft, step)), fail)
    with pytest.raises(StorageUnavailable) as raised:
        made(b"bytes")
    assert isinstance(raised.value.__cause__, SomebodysError)
    assert any(KEY in record.getMessage() for record in caplog.records)
    assert stored_files(storage_root) == []


def test_what_cannot_be_aborted_is_in_the_log_alone(monkeypatch, caplog) -> None:
    abort = DiskDraft.abort

    def fail(draft: DiskDraft) -> None:
        abort(draft)
        raise SomebodysError

    monkeypatch.setattr(DiskDraft, "abort", fail)
    storage.begin(key=KEY, alias="default", content_type="text/plain").abort()
    assert any(KEY in record.getMessage() for record in caplog.records)


def test_what_was_committed_stays_whatever_comes_after(storage_root: Path) -> None:
    draft = made(b"bytes")
    draft.abort()
    with pytest.raises(RuntimeError):
        draft.commit(sha256="", md5="")
    assert stored_files(storage_root) == [KEY]


def test_what_was_aborted_cannot_be_committed(storage_root: Path) -> None:
    draft = storage.begin(key=KEY, alias="default", content_type="text/plain")
    draft.abort()
    draft.abort()
    with pytest.raises(RuntimeError):
        draft.commit(sha256="", md5="")
    assert stored_files(storage_root) == []


def test_the_id_of_a_file_is_found_in_its_key() -> None:
    file_id = UUID("0192f5d0-7b9c-7000-8000-000000000000")
    now = datetime(2026, 1, 31, tzinfo=UTC)
    for extension in (".png", ".tar.gz", ""):
        key = storage.key_of(file_id=file_id, profile="a", extension=extension, now=now)
        assert storage.id_of(key) == file_id


@pytest.mark.parametrize(
    "fault, passes",
    [
        (Fault.UNREACHABLE, True),
        (Fault.FULL, True),
        (None, True),
        (Fault.DENIED, False),
        (Fault.CLOCK, False),
    ],
)
def test_what_only_the_operator_can_mend_is_not_to_be_tried_again(
    settings, monkeypatch, fault: Fault | None, passes: bool
) -> None:
    use(settings, "tests.test_storage.Failing", error=OSError("no"))
    monkeypatch.setattr(Failing, "fault", lambda self, error: fault, raising=False)
    with pytest.raises(StorageUnavailable) as raised:
        attempt("save")
    assert raised.value.retryable is passes
    assert ("Try again later" in str(raised.value)) is passes


def test_a_request_asks_a_storage_that_keeps_failing_no_more(monkeypatch) -> None:
    asked = []

    def fail(name: str, content: object) -> str:
        asked.append(name)
        raise TimeoutError

    monkeypatch.setattr(storages["default"], "save", fail)
    monkeypatch.setattr(storage, "_PATIENCE", 0.0)

    def save_both() -> None:
        for key in ("a", "b"):
            with pytest.raises(StorageUnavailable):
                storage.save(key=key, content=ContentFile(b"x"))

    def in_a_request() -> None:
        with storage.patience():
            save_both()

    contextvars.Context().run(save_both)
    assert asked == ["a", "b"]  # a command goes on
    asked.clear()
    contextvars.Context().run(in_a_request)
    assert asked == ["a"]
    contextvars.Context().run(in_a_request)
    assert asked == ["a", "a"]  # the next request has its own
