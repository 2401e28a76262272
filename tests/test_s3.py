"""Objects on S3: sent while they come in, in bounded memory, checked, and gone if they are not wanted."""

import base64
import hashlib
import random
import socket
import threading
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSHTTPConnection
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from database import prepared
from files import buckets, profiles, s3_drafts
from files.models import File
from files.s3 import S3Storage
from files.s3_drafts import DamagedObject, S3Draft
from tests.api import Api
from tests.test_body import GOOD, PLACE, file, form
from tests.test_receive import left_in

MIB = 1024 * 1024
SHIPPED_PART = 8 * MIB
SHIPPED_LARGE_PART = 16 * MIB
# Of most tests: what they are about is the same with parts that take less time.
PART = MIB
LARGE_PART = 2 * MIB
KEY = "default/2026/01/31/0192f5d0-7b9c-7000-8000-000000000000.bin"
LARGE = random.Random(1).randbytes(20 * MIB + 7)  # three parts as they are shipped
CONTENT = LARGE[: 2 * PART + PART // 2 + 7]  # three parts

PROFILES = """
[default]
max_size = "12 MiB"
types = ["*/*"]

[document]
max_size = "12 MiB"
types = ["application/pdf"]

[image]
max_size = "12 MiB"
types = ["image/png"]
"""


@pytest.fixture(autouse=True)
def large_parts(monkeypatch) -> Callable[[int], None]:
    """As if others had all large parts that there may be; or so many are still to be had."""

    def left(number: int) -> None:
        monkeypatch.setattr(s3_drafts, "_large_parts", threading.BoundedSemaphore(number))

    monkeypatch.setattr(s3_drafts, "_large_parts", threading.Semaphore(0))
    return left


@pytest.fixture
def shipped(s3_server: str, settings) -> S3Storage:
    """The default storage, in an empty bucket."""
    options = {
        "access_key": "test",
        "secret_key": "test",
        "bucket_name": f"coffer-{uuid.uuid4()}",
        "region_name": "us-east-1",
        "endpoint_url": s3_server,
        "object_parameters": {"CacheControl": "max-age=86400"},
    }
    settings.STORAGES = {
        **settings.STORAGES,
        "default": {"BACKEND": "files.s3.S3Storage", "OPTIONS": options},
    }
    storage = storages["default"]
    assert isinstance(storage, S3Storage)
    storage.bucket.create()
    return storage


@pytest.fixture
def storage(shipped: S3Storage, monkeypatch) -> S3Storage:
    """The same, with smaller parts than the service has, and than S3 takes."""
    monkeypatch.setattr(s3_drafts, "_PART_SIZE", PART)
    monkeypatch.setattr(s3_drafts, "_LARGE_PART_SIZE", LARGE_PART)
    monkeypatch.setattr("moto.s3.models.S3_UPLOAD_PART_MIN_SIZE", PART)
    return shipped


@pytest.fixture
def client(shipped: S3Storage) -> Any:
    return shipped.bucket.meta.client


@pytest.fixture
def asked(client: Any) -> list[str]:
    """The names of the operations that the store is asked for, in their order."""
    names: list[str] = []
    client.meta.events.register("before-call.s3", lambda model, **_: names.append(model.name))
    return names


@pytest.fixture
def sizes(client: Any, monkeypatch) -> list[int]:
    """Those of the parts that are sent, in bytes."""
    found: list[int] = []
    upload = client.upload_part

    def measured(**given: Any) -> Any:
        found.append(len(given["Body"]))
        return upload(**given)

    monkeypatch.setattr(client, "upload_part", measured)
    return found


@pytest.fixture
def incoming(settings) -> Path:
    return Path(settings.STAGING_DIR)


def begin(storage: S3Storage, content_type: str = "text/plain") -> S3Draft:
    return storage.begin(KEY, content_type=content_type)


def fill(draft: S3Draft, content: bytes, chunk: int = PART // 8) -> None:
    for start in range(0, len(content), chunk):
        draft.write(content[start : start + chunk])


def commit(draft: S3Draft, content: bytes) -> None:
    draft.commit(sha256=hashlib.sha256(content).hexdigest(), md5=hashlib.md5(content).hexdigest())


def fill_and_commit(draft: S3Draft, content: bytes, chunk: int = PART // 8) -> None:
    fill(draft, content, chunk)
    commit(draft, content)


def store(storage: S3Storage, content: bytes, chunk: int = PART // 8) -> None:
    fill_and_commit(begin(storage), content, chunk)


def stored(storage: S3Storage, key: str = KEY) -> dict[str, Any]:
    """What the store says of the object, its bytes included."""
    answer: dict[str, Any] = storage.bucket.meta.client.get_object(Bucket=storage.bucket_name, Key=key)
    with closing(answer["Body"]) as body:
        return {**answer, "Body": body.read()}


def all_there(storage: S3Storage) -> list[str]:
    """Objects and unfinished uploads."""
    uploads = storage.bucket.meta.client.list_multipart_uploads(Bucket=storage.bucket_name)
    return [
        *(each.key for each in storage.bucket.objects.all()),
        *(f"unfinished {each['Key']}" for each in uploads.get("Uploads", [])),
    ]


def senders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith(("s3", "md5"))]


def tags(storage: S3Storage) -> dict[str, str]:
    answer = storage.bucket.meta.client.get_object_tagging(Bucket=storage.bucket_name, Key=KEY)
    return {tag["Key"]: tag["Value"] for tag in answer["TagSet"]}


def refusal(code: str, status: int) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "Any")


def unanswered() -> BotoCoreError:
    return ReadTimeoutError(endpoint_url="the store")


# --- what is asked of the store --------------------------------------------------------------------


@pytest.mark.parametrize(
    "size", [0, 1, 600_000, SHIPPED_PART], ids=["nothing", "a byte", "small", "one part"]
)
def test_what_fits_into_one_part_takes_one_request(shipped: S3Storage, asked: list[str], size: int) -> None:
    content = LARGE[:size]
    store(shipped, content)
    assert asked == ["PutObject"]
    assert stored(shipped)["Body"] == content


def test_a_larger_object_is_sent_in_parts(shipped: S3Storage, asked: list[str]) -> None:
    store(shipped, LARGE)
    parts = ["UploadPart"] * 3
    assert asked == ["CreateMultipartUpload", *parts, "CompleteMultipartUpload", "PutObjectTagging"]
    assert stored(shipped)["Body"] == LARGE
    assert stored(shipped)["ETag"].endswith('-3"')
    assert all_there(shipped) == [KEY]
    assert senders() == []


@pytest.mark.parametrize("chunk", [125_003, PART, len(CONTENT)], ids=["odd", "one part", "all at once"])
def test_parts_do_not_depend_on_how_the_bytes_are_cut(
    storage: S3Storage, sizes: list[int], chunk: int
) -> None:
    store(storage, CONTENT, chunk)
    assert sorted(sizes, reverse=True) == [PART, PART, len(CONTENT) - 2 * PART]
    assert stored(storage)["Body"] == CONTENT


@pytest.mark.parametrize("chunk", [125_003, PART, LARGE_PART, len(CONTENT)])
def test_while_few_are_sent_their_parts_are_larger(
    storage: S3Storage, large_parts, sizes: list[int], chunk: int
) -> None:
    large_parts(1)
    store(storage, CONTENT, chunk)
    assert sorted(sizes, reverse=True) == [LARGE_PART, len(CONTENT) - LARGE_PART]
    assert stored(storage)["Body"] == CONTENT
    assert stored(storage)["ETag"].endswith('-2"')


@pytest.mark.parametrize("ends", ["committed", "aborted", "failed"])
def test_larger_parts_are_for_the_next_when_one_has_ended(
    storage: S3Storage, client: Any, large_parts, sizes: list[int], monkeypatch, ends: str
) -> None:
    large_parts(1)
    first = storage.begin("first.bin", content_type="text/plain")
    fill(first, CONTENT)
    store(storage, CONTENT)
    match ends:
        case "committed":
            commit(first, CONTENT)
        case "aborted":
            first.abort()
        case "failed":
            with monkeypatch.context() as patch:
                losing(patch, client, "complete_multipart_upload", is_done=False)
                losing(patch, client, "head_object", is_done=False)
                with pytest.raises(BotoCoreError):
                    commit(first, CONTENT)
            first.abort()
    first.abort()  # once more is no second place for another
    assert (sizes.count(LARGE_PART), sizes.count(PART)) == (1, 2)
    third, fourth = (storage.begin(name, content_type="text/plain") for name in ("third.bin", "fourth.bin"))
    fill(third, CONTENT)
    fill_and_commit(fourth, CONTENT)
    commit(third, CONTENT)
    assert (sizes.count(LARGE_PART), sizes.count(PART)) == (2, 4)


def test_small_objects_leave_larger_parts_to_others(
    storage: S3Storage, large_parts, sizes: list[int]
) -> None:
    large_parts(1)
    small = storage.begin("small.bin", content_type="text/plain")
    fill(small, CONTENT[:PART])
    store(storage, CONTENT)
    commit(small, CONTENT[:PART])
    assert sorted(sizes, reverse=True) == [LARGE_PART, len(CONTENT) - LARGE_PART]


def test_what_fits_into_a_larger_part_is_sent_at_once(
    shipped: S3Storage, large_parts, asked: list[str]
) -> None:
    large_parts(1)
    store(shipped, LARGE[:SHIPPED_LARGE_PART])
    assert asked == ["PutObject"]
    assert stored(shipped)["Body"] == LARGE[:SHIPPED_LARGE_PART]


def test_an_object_of_more_parts_than_are_in_memory_is_what_was_sent(storage: S3Storage) -> None:
    content = CONTENT * 2  # the last part is a short one in memory that an earlier one has filled
    store(storage, content)
    assert stored(storage)["Body"] == content
    assert stored(storage)["ETag"].endswith('-6"')


@pytest.mark.parametrize("size", [1000, PART + 1], ids=["at once", "in parts"])
def test_an_object_bears_its_type_and_what_the_storage_says_of_all(storage: S3Storage, size: int) -> None:
    storage.object_parameters = {"CacheControl": "max-age=5", "Metadata": {"from": "here"}}
    store(storage, CONTENT[:size])
    found = stored(storage)
    assert (found["ContentType"], found["CacheControl"]) == ("text/plain", "max-age=5")
    assert found["Metadata"]["from"] == "here"


def test_the_sha256_is_metadata_of_an_object_that_was_sent_at_once(storage: S3Storage) -> None:
    store(storage, b"bytes")
    assert stored(storage)["Metadata"] == {"sha256": hashlib.sha256(b"bytes").hexdigest()}


def test_the_sha256_is_a_tag_of_an_object_in_parts(storage: S3Storage) -> None:
    store(storage, CONTENT)
    assert tags(storage) == {"sha256": hashlib.sha256(CONTENT).hexdigest()}


@pytest.mark.parametrize(
    "error, times",
    [
        (refusal("NotImplemented", 501), 1),
        (refusal("AccessDenied", 403), 1),
        (refusal("SlowDown", 503), 2),
        (unanswered(), 2),
    ],
    ids=["not known", "not allowed", "too busy", "no answer"],
)
def test_a_store_without_tags_is_asked_once_and_keeps_the_object(
    storage: S3Storage, client: Any, monkeypatch, error: Exception, times: int
) -> None:
    asked: list[str] = []

    def refuse(**given: Any) -> None:
        asked.append(given["Key"])
        raise error

    monkeypatch.setattr(client, "put_object_tagging", refuse)
    for _ in range(2):
        store(storage, CONTENT)
    assert asked == [KEY] * times
    assert stored(storage)["Body"] == CONTENT


def test_tags_of_the_operator_are_not_replaced(storage: S3Storage) -> None:
    storage.object_parameters = {"Tagging": "team=files"}
    store(storage, CONTENT)
    assert tags(storage) == {"team": "files"}


def test_a_packed_file_is_not_labelled_as_to_be_unpacked(storage: S3Storage) -> None:
    key = KEY.replace(".bin", ".gz")
    draft = storage.begin(key, content_type="application/gzip")
    draft.write(b"packed")
    commit(draft, b"packed")
    assert "ContentEncoding" not in stored(storage, key)
    assert stored(storage, key)["ContentType"] == "application/gzip"


def test_saving_is_the_same_way(storage: S3Storage, asked: list[str]) -> None:
    assert storage.save(KEY, ContentFile(b"bytes")) == KEY
    assert asked[-1] == "PutObject"
    assert stored(storage)["Metadata"] == {"sha256": hashlib.sha256(b"bytes").hexdigest()}


def test_content_that_cannot_be_read_leaves_nothing(storage: S3Storage) -> None:
    class Broken(ContentFile[bytes]):
        def chunks(self, chunk_size: int | None = None) -> Iterator[bytes]:
            yield CONTENT
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        storage.save(KEY, Broken(b""))
    assert all_there(storage) == []
    assert senders() == []


@pytest.mark.parametrize(
    "largest, are_few, part",
    [
        (MIB, False, 8),
        (80_000 * MIB, False, 8),
        (80_001 * MIB, False, 9),
        (80_001 * MIB, True, 16),
        (160_001 * MIB, True, 17),
        (1024 * 1024 * MIB, False, 105),
    ],
)
def test_parts_are_as_large_as_ten_thousand_of_them_have_to_be(
    shipped: S3Storage,
    settings,
    client: Any,
    large_parts,
    monkeypatch,
    largest: int,
    are_few: bool,
    part: int,
) -> None:
    settings.MAX_REQUEST_SIZE = largest
    if are_few:
        large_parts(1)
    sizes: list[int] = []

    def measured(**given: Any) -> Any:
        sizes.append(len(given["Body"]))
        return {"ETag": ""}

    monkeypatch.setattr(client, "upload_part", measured)
    draft = begin(shipped)
    piece = bytes(MIB)
    for _ in range(part):
        draft.write(piece)
    assert sizes == []
    draft.write(b"x")
    draft.abort()  # waits for the part
    assert sizes == [part * MIB]


# --- memory ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "are_few, part", [(False, SHIPPED_PART), (True, SHIPPED_LARGE_PART)], ids=["many", "few"]
)
def test_three_parts_are_in_memory_and_no_more(
    shipped: S3Storage, client: Any, large_parts, monkeypatch, are_few: bool, part: int
) -> None:
    if are_few:
        large_parts(1)

    def take(**given: Any) -> dict[str, str]:
        return {"ETag": f'"{hashlib.md5(given["Body"]).hexdigest()}"'}

    # The store's threads are in this process, and their memory is not meant.
    monkeypatch.setattr(client, "create_multipart_upload", lambda **given: {"UploadId": "x"})
    monkeypatch.setattr(client, "abort_multipart_upload", lambda **given: None)
    monkeypatch.setattr(client, "upload_part", take)
    draft = begin(shipped)
    piece = bytes(MIB)
    draft.write(piece)
    tracemalloc.start()
    try:
        for _ in range(100):
            draft.write(piece)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        draft.abort()
    assert peak < 3.5 * part


# --- what is not wanted ----------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1000, PART + 1, len(CONTENT)])
def test_an_aborted_object_leaves_nothing(storage: S3Storage, size: int) -> None:
    draft = begin(storage)
    fill(draft, CONTENT[:size])
    draft.abort()
    draft.abort()
    assert all_there(storage) == []
    assert senders() == []


@pytest.mark.parametrize("fails_at", [1, 2, 3])
def test_a_part_that_cannot_be_sent_is_an_error_and_leaves_nothing(
    storage: S3Storage, client: Any, monkeypatch, fails_at: int
) -> None:
    upload = client.upload_part

    def fail(**given: Any) -> Any:
        if given["PartNumber"] == fails_at:
            raise unanswered()
        return upload(**given)

    monkeypatch.setattr(client, "upload_part", fail)
    draft = begin(storage)
    with pytest.raises(ReadTimeoutError):
        fill_and_commit(draft, CONTENT)
    draft.abort()
    assert all_there(storage) == []
    assert senders() == []


# --- what the store says it has --------------------------------------------------------------------


def answering(monkeypatch, client: Any, operation: str, **more: Any) -> None:
    """The store does what it is asked for, and answers with something else."""
    do = getattr(client, operation)
    monkeypatch.setattr(client, operation, lambda **given: {**do(**given), **more})


WRONG = '"' + "0" * 32 + '"'
MAKING = [("put_object", 1000), ("upload_part", len(CONTENT)), ("complete_multipart_upload", len(CONTENT))]


@pytest.mark.parametrize("operation, size", MAKING)
def test_bytes_that_were_changed_on_the_way_are_noticed(
    storage: S3Storage, client: Any, monkeypatch, operation: str, size: int
) -> None:
    etag = '"' + "0" * 32 + '-3"' if operation.startswith("complete") else WRONG
    answering(monkeypatch, client, operation, ETag=etag)
    draft = begin(storage)
    with pytest.raises(DamagedObject):
        fill_and_commit(draft, CONTENT[:size])
    draft.abort()
    assert all_there(storage) == []


@pytest.mark.parametrize("operation, size", MAKING)
@pytest.mark.parametrize(
    "answer",
    [
        {"ETag": WRONG, "ServerSideEncryption": "aws:kms"},
        {"ETag": WRONG, "ServerSideEncryption": "aws:kms:dsse"},
        {"ETag": WRONG, "SSECustomerAlgorithm": "AES256"},
        {"ETag": '"an-etag-of-its-own"'},
    ],
    ids=["KMS", "KMS twice", "the client's key", "no MD5"],
)
def test_an_etag_that_is_no_md5_is_not_judged(
    storage: S3Storage, client: Any, monkeypatch, operation: str, size: int, answer: dict[str, str]
) -> None:
    draft = begin(storage)
    fill(draft, CONTENT[:size])
    answering(monkeypatch, client, operation, **answer)
    if operation == "upload_part":  # moto wants its own ETags back
        monkeypatch.setattr(client, "complete_multipart_upload", lambda **given: {"ETag": ""})
        monkeypatch.setattr(client, "put_object_tagging", lambda **given: None)
    commit(draft, CONTENT[:size])
    draft.abort()


def test_what_is_sent_is_vouched_for_by_its_md5(storage: S3Storage, client: Any) -> None:
    seen: list[bytes] = []

    def look(request: Any, **_: Any) -> None:
        if request.method == "PUT" and "tagging" not in request.url:
            assert not any(name.lower().startswith("x-amz-checksum") for name in request.headers)
            seen.append(base64.b64decode(request.headers["Content-MD5"]))

    client.meta.events.register("before-send.s3", look)
    store(storage, b"bytes")
    fill_and_commit(storage.begin(f"{KEY}.other", content_type="text/plain"), CONTENT)
    parts = [CONTENT[start : start + PART] for start in range(0, len(CONTENT), PART)]
    assert sorted(seen) == sorted(hashlib.md5(sent).digest() for sent in (b"bytes", *parts))


def unsigned(storage: S3Storage) -> set[str]:
    """What is sent without a hash of the body in the signature."""
    found: set[str] = set()

    def look(request: Any, event_name: str, **_: Any) -> None:
        if request.headers["X-Amz-Content-SHA256"] == b"UNSIGNED-PAYLOAD":
            assert b"content-md5;" in request.headers["Authorization"]
            found.add(event_name.rpartition(".")[2])

    storage.bucket.meta.client.meta.events.register("before-send.s3", look)
    store(storage, b"bytes")
    fill_and_commit(storage.begin(f"{KEY}.other", content_type="text/plain"), CONTENT)
    return found


def test_what_bears_its_md5_is_not_hashed_for_the_signature_too(storage: S3Storage) -> None:
    assert unsigned(storage) == {"PutObject", "UploadPart"}


def test_the_signature_has_a_hash_of_all_bytes_where_the_operator_wants_it(
    storage: S3Storage, s3_server: str
) -> None:
    strict = S3Storage(
        access_key="test",
        secret_key="test",
        bucket_name=storage.bucket_name,
        region_name="us-east-1",
        endpoint_url=s3_server,
        client_config=Config(s3={"payload_signing_enabled": True}),
    )
    assert unsigned(strict) == set()


def test_a_slow_store_has_its_time_for_each_piece_of_a_part(storage: S3Storage, monkeypatch) -> None:
    given: list[bytes] = []
    send = AWSHTTPConnection.send

    def note(self: AWSHTTPConnection, data: Any) -> Any:
        given.append(bytes(data))
        return send(self, data)

    monkeypatch.setattr(AWSHTTPConnection, "send", note)
    store(storage, CONTENT[:PART])
    assert max(len(each) for each in given) <= 256 * 1024
    assert b"".join(given).endswith(CONTENT[:PART])


# --- answers that are lost -------------------------------------------------------------------------


def losing(monkeypatch, client: Any, operation: str, *, is_done: bool) -> None:
    """The request is done or not, and its answer does not come."""
    do = getattr(client, operation)

    def lose(**given: Any) -> None:
        if is_done:
            do(**given)
        raise unanswered()

    monkeypatch.setattr(client, operation, lose)


@pytest.mark.parametrize(
    "operation, size", [("put_object", 1000), ("complete_multipart_upload", len(CONTENT))]
)
def test_an_object_whose_answer_was_lost_is_found(
    storage: S3Storage, client: Any, monkeypatch, operation: str, size: int
) -> None:
    losing(monkeypatch, client, operation, is_done=True)
    store(storage, CONTENT[:size])
    assert stored(storage)["Body"] == CONTENT[:size]
    assert all_there(storage) == [KEY]


def test_an_upload_that_an_earlier_attempt_completed_is_found(
    storage: S3Storage, client: Any, monkeypatch
) -> None:
    do = client.complete_multipart_upload

    def attempt_twice(**given: Any) -> Any:
        do(**given)
        raise refusal("NoSuchUpload", 404)

    monkeypatch.setattr(client, "complete_multipart_upload", attempt_twice)
    store(storage, CONTENT)
    assert stored(storage)["Body"] == CONTENT


@pytest.mark.parametrize(
    "operation, size", [("put_object", 1000), ("complete_multipart_upload", len(CONTENT))]
)
def test_an_object_that_was_not_made_is_an_error_and_leaves_nothing(
    storage: S3Storage, client: Any, monkeypatch, operation: str, size: int
) -> None:
    losing(monkeypatch, client, operation, is_done=False)
    draft = begin(storage)
    fill(draft, CONTENT[:size])
    with pytest.raises(ReadTimeoutError):
        commit(draft, CONTENT[:size])
    draft.abort()
    assert all_there(storage) == []


@pytest.mark.parametrize(
    "operation, size", [("put_object", 1000), ("complete_multipart_upload", len(CONTENT))]
)
def test_an_object_of_which_nobody_knows_is_removed_with_the_draft(
    storage: S3Storage, client: Any, monkeypatch, operation: str, size: int
) -> None:
    losing(monkeypatch, client, operation, is_done=True)
    losing(monkeypatch, client, "head_object", is_done=False)
    draft = begin(storage)
    fill(draft, CONTENT[:size])
    with pytest.raises(ReadTimeoutError):
        commit(draft, CONTENT[:size])
    draft.abort()
    assert all_there(storage) == []


def test_a_refusal_is_believed_without_asking_again(
    storage: S3Storage, client: Any, asked: list[str], monkeypatch
) -> None:
    def refuse(**given: Any) -> None:
        raise refusal("AccessDenied", 403)

    monkeypatch.setattr(client, "put_object", refuse)
    with pytest.raises(ClientError):
        store(storage, b"bytes")
    assert "HeadObject" not in asked


def test_an_object_that_was_there_before_is_neither_taken_for_ours_nor_removed(
    storage: S3Storage, client: Any, monkeypatch
) -> None:
    client.put_object(Bucket=storage.bucket_name, Key=KEY, Body=b"first")

    def refuse(**given: Any) -> None:
        raise refusal("PreconditionFailed", 412)

    monkeypatch.setattr(client, "put_object", refuse)
    draft = begin(storage)
    draft.write(b"other")
    with pytest.raises(FileExistsError):
        commit(draft, b"other")
    draft.abort()
    assert stored(storage)["Body"] == b"first"


def test_an_object_that_nobody_can_look_at_is_not_called_another_one(
    storage: S3Storage, client: Any, monkeypatch
) -> None:
    """It may be what an earlier attempt has put there, whose answer was lost."""

    def refuse(**given: Any) -> None:
        raise refusal("PreconditionFailed", 412)

    monkeypatch.setattr(client, "put_object", refuse)
    losing(monkeypatch, client, "head_object", is_done=False)
    draft = begin(storage)
    draft.write(b"bytes")
    with pytest.raises(ReadTimeoutError):
        commit(draft, b"bytes")


# --- many at once ----------------------------------------------------------------------------------


def test_sixteen_objects_are_sent_at_the_same_time(storage: S3Storage) -> None:
    contents = [bytes([number]) * (PART + number) for number in range(16)]

    def send(number: int) -> None:
        draft = storage.begin(f"{number}.bin", content_type="text/plain")
        fill(draft, contents[number])
        commit(draft, contents[number])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(send, range(16)))
    for number, content in enumerate(contents):
        assert stored(storage, f"{number}.bin")["Body"] == content
    assert len(all_there(storage)) == 16
    assert senders() == []


# --- by way of a request ---------------------------------------------------------------------------


@pytest.fixture
def uploading(shipped: S3Storage, api: Api, settings, incoming: Path) -> Iterator[Api]:
    """Alice's client; nothing of what it sends may touch the disk, nor leave a thread."""
    settings.UPLOAD_PROFILES = profiles.parse(PROFILES, source="the test")
    yield api
    assert left_in(incoming) == []
    assert not incoming.exists()
    assert senders() == []


PLENTY = CONTENT[: PART + PART // 4]  # more than a part


def test_an_upload_is_sent_while_it_comes_in(uploading: Api, shipped: S3Storage, asked: list[str]) -> None:
    content = LARGE[: 10 * MIB]
    result = uploading.upload(content)
    row = File.objects.get()
    assert result["sha256"] == row.sha256 == hashlib.sha256(content).hexdigest()
    assert result["md5"] == hashlib.md5(content).hexdigest()
    assert stored(shipped, row.key)["Body"] == content
    assert stored(shipped, row.key)["ContentType"] == row.content_type
    assert asked[:2] == ["CreateMultipartUpload", "UploadPart"]
    assert all_there(shipped) == [row.key]


REFUSED: dict[str, tuple[bytes, dict[str, Any]]] = {
    "FileTooLarge": (LARGE[: 13 * MIB], {}),
    "UnsupportedType": (PLENTY, {"profile": "document"}),
    "InvalidInput": (PLENTY, {"title": "x" * 300}),
    "QuotaExceeded": (PLENTY, {}),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_an_upload_that_is_refused_leaves_nothing(
    uploading: Api, storage: S3Storage, settings, kind: str
) -> None:
    content, given = REFUSED[kind]
    if kind == "QuotaExceeded":
        settings.USER_QUOTA = PART + PART // 8
    assert uploading.upload(content, **given)["__typename"] == kind
    assert all_there(storage) == []
    assert not File.objects.exists()


@pytest.mark.parametrize("quota", [0, 600_000])
def test_a_full_quota_and_a_wrong_type_are_refused_before_a_byte_is_sent(
    uploading: Api, storage: S3Storage, asked: list[str], settings, quota: int
) -> None:
    assert uploading.upload(PLENTY, profile="document")["__typename"] == "UnsupportedType"
    settings.USER_QUOTA = quota
    assert uploading.upload(PLENTY)["__typename"] == "QuotaExceeded"
    assert asked == []


def test_an_upload_that_breaks_off_leaves_nothing(uploading: Api, storage: S3Storage) -> None:
    body = form(GOOD, PLACE, file("0", PLENTY))[:-100]
    answer = uploading.client.generic(
        "POST", "/graphql", body, content_type="multipart/form-data; boundary=limit"
    )
    assert answer.status_code == 400
    assert all_there(storage) == []


def test_a_request_that_fails_for_reasons_of_its_own_leaves_nothing(
    uploading: Api, storage: S3Storage, monkeypatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(prepared, "insert", fail)
    sent = {"variables.input.file": ("a.bin", PLENTY, "")}
    query = "mutation ($input: UploadFileInput!) { uploadFile(input: $input) { __typename } }"
    answer = uploading.multipart(query, {"input": {"file": None}}, sent).json()
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert all_there(storage) == []


@pytest.mark.parametrize("operation", ["create_multipart_upload", "upload_part", "complete_multipart_upload"])
def test_a_store_that_fails_spoils_one_file_and_not_its_neighbour(
    uploading: Api, storage: S3Storage, client: Any, monkeypatch, operation: str
) -> None:
    do: Callable[..., Any] = getattr(client, operation)
    asked: list[str] = []

    def fail_at_first(**given: Any) -> Any:
        asked.append(given["Key"])
        if given["Key"] == asked[0]:
            raise unanswered()
        return do(**given)

    monkeypatch.setattr(client, operation, fail_at_first)
    results = uploading.upload_many([("bad.bin", PLENTY, ""), ("good.bin", PLENTY, "")])
    assert [each["__typename"] for each in results] == ["StorageUnavailable", "File"]
    assert all_there(storage) == [File.objects.get().key]


# --- how long it may take --------------------------------------------------------------------------


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a store that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def attempts(monkeypatch) -> list[float]:
    """A tenth of each time that is allowed; the seconds of silence that each attempt is granted."""
    for name in ("READ_TIMEOUT", "CALL_TIMEOUT", "SLOW_READ_TIMEOUT", "CLEANING_TIMEOUT"):
        monkeypatch.setattr(buckets, name, getattr(buckets, name) / 10)
    return []


def grants(client: Any, attempts: list[float]) -> None:
    def note(request: Any, **_: Any) -> None:
        attempts.append(request.context["read_timeout"])

    client.meta.events.register("before-send.s3", note)


def test_all_attempts_of_a_call_end_in_time(silent: str, attempts: list[float]) -> None:
    storage = S3Storage(access_key="k", secret_key="k", bucket_name="b", endpoint_url=silent)
    grants(storage.bucket.meta.client, attempts)
    with pytest.raises(ReadTimeoutError):
        storage.exists(KEY)
    assert len(attempts) in {2, 3}
    assert attempts[0] == buckets.READ_TIMEOUT
    assert sum(attempts) <= buckets.CALL_TIMEOUT
    storage.bucket.meta.client.close()


def test_what_is_left_of_an_object_is_looked_for_no_longer_than_planned(
    silent: str, attempts: list[float]
) -> None:
    storage = S3Storage(access_key="k", secret_key="k", bucket_name="b", endpoint_url=silent)
    grants(storage.bucket.meta.client, attempts)
    draft = begin(storage)
    draft.write(b"bytes")
    with pytest.raises(ReadTimeoutError):
        commit(draft, b"bytes")
    with pytest.raises(ReadTimeoutError):
        draft.abort()
    assert sum(attempts) <= buckets.CALL_TIMEOUT + buckets.CLEANING_TIMEOUT
    storage.bucket.meta.client.close()
