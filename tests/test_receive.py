"""Bytes as they come in: measured in one pass, kept until they are stored or forgotten, never left behind."""

import hashlib
import random
import resource
import stat
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from django.core.files.uploadhandler import StopUpload
from hypothesis import HealthCheck, given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from files.detection import HEAD_SIZE
from files.errors import FileTooLarge, QuotaExceeded, StorageUnavailable, UnsupportedType
from files.receive import Plan, Received, ReceivingHandler
from files.storage import Draft

KIB = 1024
MIB = 1024 * KIB
LARGE = random.Random(1).randbytes(MIB + 3)  # too large to be held in memory
CHUNK = 64 * KIB


@pytest.fixture
def incoming(settings) -> Path:
    """Where bytes wait; made when the first of them come."""
    return Path(settings.STAGING_DIR)


def left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.exists() else []


def receive(content: bytes, *, limit: int = 10 * MIB, chunk: int = CHUNK) -> Received:
    received = Received(name="file.bin", content_type="text/plain", limit=limit)
    for start in range(0, len(content), chunk):
        received.write(content[start : start + chunk])
    return received


def bytes_of(received: Received) -> bytes:
    with received.open() as file:
        return file.read()


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file of this process may grow past `size` bytes: to the writer, the same as a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# --- measures --------------------------------------------------------------------------------------


@example_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    size=st.one_of(
        st.integers(0, 200),
        st.sampled_from([HEAD_SIZE - 1, HEAD_SIZE, HEAD_SIZE + 1, 512 * KIB, 512 * KIB + 1]),
        st.integers(0, len(LARGE)),
    ),
    cuts=st.lists(st.integers(0, len(LARGE)), max_size=8),
)
def test_measures_do_not_depend_on_how_the_bytes_are_cut(incoming: Path, size: int, cuts: list[int]) -> None:
    content = LARGE[:size]
    edges = sorted({0, size, *(cut for cut in cuts if cut < size)})
    received = Received(name=None, content_type=None, limit=len(LARGE))
    with closing(received):
        for first, last in pairwise(edges):
            received.write(content[first:last])
        received.check()
        assert received.size == size
        assert received.md5 == hashlib.md5(content).hexdigest()
        assert received.sha256 == hashlib.sha256(content).hexdigest()
        assert received.head == content[:HEAD_SIZE]
        assert bytes_of(received) == content
    assert left_in(incoming) == []


def test_empty_chunks_change_nothing() -> None:
    received = Received(name=None, content_type=None, limit=10)
    for chunk in (b"", b"ab", b"", b"c", b""):
        received.write(chunk)
    received.check()
    assert (received.size, bytes_of(received)) == (3, b"abc")
    received.close()


def test_what_the_client_said_is_kept_as_it_was_said() -> None:
    received = Received(name="../a\u202eb.png", content_type="image/gif", limit=1)
    assert (received.name, received.content_type) == ("../a\u202eb.png", "image/gif")
    received.close()


def test_bytes_that_are_there_already_are_measured_like_others() -> None:
    received = Received.of_bytes(b"abc", name="abc.txt", content_type="text/plain")
    received.check()
    assert (received.size, received.head, bytes_of(received)) == (3, b"abc", b"abc")
    assert received.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert (received.name, received.content_type) == ("abc.txt", "text/plain")
    received.close()


def test_the_bytes_can_be_read_again_from_the_start() -> None:
    with closing(receive(LARGE)) as received:
        assert bytes_of(received) == LARGE
        with received.open() as file:
            assert file.read(10) == LARGE[:10]
        assert bytes_of(received) == LARGE


# --- where they wait -------------------------------------------------------------------------------


def test_a_small_file_never_touches_the_disk(incoming: Path) -> None:
    with closing(receive(LARGE[: 512 * KIB])) as received:
        assert left_in(incoming) == []
        assert received.staged(name="key", content_type="text/plain").staged_path is None


def test_a_large_file_waits_in_a_file_that_only_the_service_can_read(incoming: Path) -> None:
    with closing(receive(LARGE)) as received:
        (path,) = left_in(incoming)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert received.staged(name="key", content_type="text/plain").staged_path == str(path)
        assert path.read_bytes() == LARGE


def test_closing_forgets_a_large_file(incoming: Path) -> None:
    received = receive(LARGE)
    assert len(left_in(incoming)) == 1
    received.close()
    assert left_in(incoming) == []


def test_closing_twice_is_fine(incoming: Path) -> None:
    received = receive(LARGE)
    received.close()
    received.close()
    assert left_in(incoming) == []


def test_closing_is_fine_when_the_staged_file_is_gone_already(incoming: Path) -> None:
    received = receive(LARGE)
    (path,) = left_in(incoming)
    path.unlink()
    received.close()


def test_staged_bytes_bear_the_key_and_the_detected_type() -> None:
    with closing(receive(b"abc")) as received:
        staged = received.staged(name="image/key.png", content_type="image/png")
        assert (staged.name, staged.content_type, staged.size) == ("image/key.png", "image/png", 3)


@pytest.mark.parametrize("content", [b"abc", LARGE], ids=["in memory", "in a file"])
def test_closing_staged_bytes_leaves_them_for_the_next_storage(content: bytes) -> None:
    with closing(receive(content)) as received:
        for key in ("first", "second"):
            staged = received.staged(name=key, content_type="text/plain")
            assert b"".join(staged.chunks()) == content
            staged.close()


# --- the limit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 1000, 600 * KIB])
def test_a_file_may_be_exactly_as_large_as_the_limit(size: int) -> None:
    with closing(receive(LARGE[:size], limit=size)) as received:
        received.check()
        assert bytes_of(received) == LARGE[:size]


@pytest.mark.parametrize("limit", [0, 1000, 600 * KIB], ids=["nothing", "in memory", "in a file"])
def test_past_the_limit_the_true_size_is_told_and_no_bytes_are_kept(incoming: Path, limit: int) -> None:
    with closing(receive(LARGE, limit=limit)) as received:
        with pytest.raises(FileTooLarge) as raised:
            received.check()
        assert (raised.value.size, raised.value.limit) == (len(LARGE), limit)
        assert received.size == len(LARGE)
        assert left_in(incoming) == []
        with pytest.raises(ValueError, match="closed"), received.open() as file:
            file.read()


def test_bytes_past_the_limit_are_not_hoarded(incoming: Path) -> None:
    received = Received(name=None, content_type=None, limit=600 * KIB)
    for chunk in (LARGE[: 600 * KIB], b"x"):
        assert len(left_in(incoming)) <= 1
        received.write(chunk)
    assert left_in(incoming) == []
    received.write(LARGE)
    assert left_in(incoming) == []
    received.close()


# --- a disk that is full ---------------------------------------------------------------------------


def test_a_disk_that_fills_up_is_a_typed_error_and_leaves_nothing(incoming: Path, caplog) -> None:
    with room_for(700 * KIB), closing(receive(LARGE)) as received:
        assert left_in(incoming) == []
        with pytest.raises(StorageUnavailable) as raised:
            received.check()
    assert isinstance(raised.value.__cause__, OSError)
    assert len(caplog.records) == 1
    assert received.size == len(LARGE)


def test_after_a_failure_further_bytes_are_counted_and_not_kept(incoming: Path) -> None:
    with room_for(700 * KIB):
        received = receive(LARGE)
    received.write(b"more")
    assert received.size == len(LARGE) + 4
    assert left_in(incoming) == []
    with pytest.raises(StorageUnavailable):
        received.check()
    received.close()


def test_the_last_bytes_of_a_full_disk_are_missed_before_they_are_stored(incoming: Path) -> None:
    whole = 600 * KIB
    with room_for(whole), closing(receive(LARGE[:whole], chunk=whole)) as received:
        received.write(b"these wait in a buffer")
        assert len(left_in(incoming)) == 1
        with pytest.raises(StorageUnavailable):
            received.check()
        assert left_in(incoming) == []


def test_a_full_disk_does_not_matter_to_what_fits_into_memory(incoming: Path) -> None:
    with room_for(0), closing(receive(b"small")) as received:
        received.check()
        assert bytes_of(received) == b"small"


def test_a_folder_that_cannot_be_made_is_a_typed_error(settings, tmp_path: Path) -> None:
    (tmp_path / "in the way").write_bytes(b"")
    settings.STAGING_DIR = tmp_path / "in the way" / "incoming"
    with closing(receive(LARGE)) as received, pytest.raises(StorageUnavailable):
        received.check()


def test_closing_after_a_failure_is_fine(incoming: Path) -> None:
    with room_for(700 * KIB):
        received = receive(LARGE)
    received.close()
    received.close()
    assert left_in(incoming) == []


# --- a draft of the object -------------------------------------------------------------------------


class Target:
    """An object in the making, as `Received` sees it."""

    def __init__(self, fails_after: int | None = None) -> None:
        self.content = b""
        self.aborted = 0
        self.fails_after = fails_after

    def write(self, chunk: bytes) -> None:
        self.content += chunk
        if self.fails_after is not None and len(self.content) > self.fails_after:
            raise StorageUnavailable

    def commit(self, *, sha256: str, md5: str) -> None:
        raise AssertionError("only a service commits")

    def abort(self) -> None:
        self.aborted += 1


def drafted(content: bytes, target: Target, *, limit: int = 10 * MIB, chunk: int = CHUNK) -> Received:
    draft = Draft(target, key="key", alias="default")
    received = Received(name="file.bin", content_type=None, limit=limit, begin=lambda _: draft)
    for start in range(0, len(content), chunk):
        received.write(content[start : start + chunk])
    return received


def test_a_large_file_goes_into_its_draft_and_nowhere_else(incoming: Path) -> None:
    target = Target()
    with closing(drafted(LARGE, target)) as received:
        received.check()
        assert target.content == LARGE
        assert (received.size, received.head) == (len(LARGE), LARGE[:HEAD_SIZE])
        assert received.sha256 == hashlib.sha256(LARGE).hexdigest()
        assert received.md5 == hashlib.md5(LARGE).hexdigest()
        assert not incoming.exists()
    assert target.aborted == 1


def test_a_small_file_begins_no_draft() -> None:
    def begin(received: Received) -> Draft:
        raise AssertionError("nothing was to be begun")

    received = Received(name=None, content_type=None, limit=MIB, begin=begin)
    received.write(LARGE[: 512 * KIB])
    received.check()
    assert bytes_of(received) == LARGE[: 512 * KIB]
    received.close()


def test_a_draft_is_begun_when_the_head_is_known() -> None:
    heads: list[bytes] = []

    def begin(received: Received) -> Draft:
        heads.append(received.head)
        return Draft(Target(), key="key", alias="default")

    received = Received(name=None, content_type=None, limit=len(LARGE), begin=begin)
    received.write(LARGE)
    assert heads == [LARGE[:HEAD_SIZE]]
    received.close()


def test_a_file_for_which_no_draft_is_begun_is_refused_for_that_reason(incoming: Path) -> None:
    refusal = UnsupportedType(detected="a/b", claimed=None, allowed=[])

    def begin(received: Received) -> Draft:
        raise refusal

    received = Received(name=None, content_type=None, limit=len(LARGE), begin=begin)
    received.write(LARGE[: 600 * KIB])
    assert received.is_refused
    received.write(LARGE[600 * KIB :])
    assert received.size == len(LARGE)
    with pytest.raises(UnsupportedType) as raised:
        received.check()
    assert raised.value is refusal
    assert not incoming.exists()
    received.close()


def test_a_draft_that_cannot_be_written_is_aborted_at_once_and_told_at_the_end() -> None:
    target = Target(fails_after=700 * KIB)
    with closing(drafted(LARGE, target)) as received:
        assert target.aborted == 1
        assert len(target.content) < 800 * KIB
        assert received.size == len(LARGE)
        assert not received.is_refused
        with pytest.raises(StorageUnavailable):
            received.check()
    assert target.aborted == 1


def test_past_the_limit_the_draft_is_aborted() -> None:
    target = Target()
    with closing(drafted(LARGE, target, limit=900 * KIB)) as received:
        assert target.aborted == 1
        with pytest.raises(FileTooLarge):
            received.check()


def test_a_quota_that_was_full_is_told_with_the_true_size() -> None:
    def begin(received: Received) -> Draft:
        raise QuotaExceeded(size=received.size, used=5, quota=6)

    received = Received(name=None, content_type=None, limit=len(LARGE), begin=begin)
    for start in range(0, len(LARGE), CHUNK):
        received.write(LARGE[start : start + CHUNK])
    with pytest.raises(QuotaExceeded) as raised:
        received.check()
    assert raised.value.size == len(LARGE)
    received.close()


@pytest.mark.parametrize("end", ["closed", "finished", "too large"])
def test_no_thread_outlives_the_bytes(end: str) -> None:
    received = receive(LARGE * 6, limit=len(LARGE) * (5 if end == "too large" else 6))
    if end == "finished":
        received.finish()
    elif end == "closed":
        received.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("md5")]
    received.close()


# --- the parts of a request ------------------------------------------------------------------------


def begin(handler: ReceivingHandler, field: str, content: bytes) -> None:
    handler.new_file(field, f"{field}.bin", "text/plain", None, "utf-8", None)
    handler.receive_data_chunk(content, 0)


def test_each_part_is_received_under_its_name_and_its_limit() -> None:
    handler = ReceivingHandler()
    handler.plan = lambda: Plan({"a": 3, "b": 2}, 0, None)
    for field in ("a", "b"):
        begin(handler, field, b"abc")
        handler.file_complete(3)
    (name, fits), (other, large) = handler.complete
    assert (name, other) == ("a", "b")
    fits.check()
    assert (fits.name, bytes_of(fits)) == ("a.bin", b"abc")
    with pytest.raises(FileTooLarge):
        large.check()
    handler.close()


def test_only_the_planned_parts_become_drafts() -> None:
    target = Target()
    handler = ReceivingHandler()
    begins = {"a": lambda _: Draft(target, key="key", alias="default")}
    handler.plan = lambda: Plan({}, 10 * MIB, None, begins)
    for field in ("a", "b"):
        begin(handler, field, LARGE)
        handler.file_complete(len(LARGE))
    (_, drafted), (_, staged) = handler.complete
    assert (drafted.draft is not None, staged.draft) == (True, None)
    assert target.content == bytes_of(staged) == LARGE
    handler.close()
    assert target.aborted == 1


def test_a_refused_part_ends_the_request_if_nobody_wants_another() -> None:
    def refuse(received: Received) -> Draft:
        raise UnsupportedType(detected="a/b", claimed=None, allowed=[])

    handler = ReceivingHandler()
    handler.plan = lambda: Plan({}, 10 * MIB, frozenset({"a"}), {"a": refuse})
    with pytest.raises(StopUpload):
        begin(handler, "a", LARGE)
    assert handler.was_cut
    ((name, received),) = handler.complete
    assert (name, received.is_refused) == ("a", True)
    handler.close()


def test_a_part_that_broke_off_is_not_complete_and_is_forgotten_too(incoming: Path) -> None:
    handler = ReceivingHandler()
    handler.plan = lambda: Plan({}, 10 * MIB, None)
    begin(handler, "whole", LARGE)
    handler.file_complete(len(LARGE))
    begin(handler, "half", LARGE)
    assert [name for name, _ in handler.complete] == ["whole"]
    assert len(left_in(incoming)) == 2
    handler.close()
    assert left_in(incoming) == []
