"""An object on its way to S3, or to a store that speaks like it, while its bytes come in.

No file waits for it. Up to one part, it is sent by a single PUT; a larger one in parts, of which three are in
memory: all under way, or one being filled. While few are sent at a time, their parts are larger. What the
store says it has is held against what was sent.
"""

import base64
import hashlib
import logging
import os
import re
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings

from files import buckets, s3_calls

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

logger = logging.getLogger(__name__)

_MIB = 1024 * 1024
_PART_SIZE = 8 * _MIB  # bytes, of many uploads at a time: three of each are in memory
_LARGE_PART_SIZE = 16 * _MIB  # bytes, of a few: a request costs a store as much as some MiB of its body
# More uploads than processors keep client and store busy with parts of any size.
_large_parts = threading.BoundedSemaphore(os.cpu_count() or 1)
_BUFFERS = 3  # parts at once: while a store looks for its answer to one, it can take the bytes of others
_MAX_PARTS = 10_000  # what S3 takes for one object
_TAKEN = "PreconditionFailed"  # the answer where nothing may be there yet (If-None-Match), and something is
# S3's ETag of an object or a part that was sent at once, and of one that was sent in parts.
_MD5 = re.compile(r"[0-9a-f]{32}")
_MD5_OF_PARTS = re.compile(r"[0-9a-f]{32}-[0-9]+")


class DamagedObject(Exception):
    """The store has other bytes than those that were sent."""


class _Storage(Protocol):
    bucket: Any
    bucket_name: Any
    takes_tags: bool


class S3Draft:
    """An object on its way. At most three parts of it are in memory, whatever its size.

    The SHA-256 becomes the object's metadata where it is known before the object is begun, which is so for
    a single PUT. An object in parts gets it as a tag afterwards, from stores that have tags: metadata would
    take a copy of the object within the store.
    """

    def __init__(self, storage: _Storage, key: str, parameters: Mapping[str, Any]) -> None:
        self._storage = storage
        self._client: S3Client = storage.bucket.meta.client  # made once: clients serve all threads
        self._target = {"Bucket": storage.bucket_name, "Key": key}
        self._parameters = parameters
        self._part_size = _part_size()
        self._has_large_parts = False
        self._buffer = bytearray()
        self._filled = 0  # bytes of the buffer; past them are those of an earlier part
        self._size = 0
        self._upload_id = ""
        self._parts: list[_Part] = []
        self._sender: ThreadPoolExecutor | None = None
        self._under_way: deque[tuple[Future[_Part], bytearray]] = deque()
        self._may_be_there = False
        self._cleaning = s3_calls.Budget(buckets.CLEANING_TIMEOUT)

    def write(self, chunk: bytes) -> None:
        """Take the next bytes; waits while three parts are under way."""
        self._size += len(chunk)
        rest = memoryview(chunk)
        while self._filled + len(rest) > self._part_size:
            if self._enlarge_parts():
                continue
            room = self._part_size - self._filled
            self._fill(rest[:room])
            rest = rest[room:]
            self._send_part()
            self._buffer = self._free_buffer()
        self._fill(rest)

    def commit(self, *, sha256: str, md5: str) -> None:
        if not self._upload_id:
            self._put(sha256, md5)
        else:
            self._send_part()
            while self._under_way:
                self._wait_for_part()
            self._complete()
            self._tag(sha256)
        self._end()

    def abort(self) -> None:
        self._end()
        self._buffer = bytearray()
        with self._cleaning.spend():
            if self._upload_id:
                try:
                    self._client.abort_multipart_upload(**self._target, UploadId=self._upload_id)
                except ClientError as error:
                    if _code(error) != "NoSuchUpload":
                        raise
            if self._may_be_there:
                self._client.delete_object(**self._target)

    # --- at once

    def _put(self, sha256: str, md5: str) -> None:
        parameters = dict(self._parameters)
        parameters["Metadata"] = {**parameters.get("Metadata", {}), "sha256": sha256}
        self._may_be_there = True
        try:
            answer = self._client.put_object(
                **self._target,
                **parameters,
                Body=self._buffer,  # type: ignore[arg-type] # the stubs forget bytearray
                ContentMD5=_base64(bytes.fromhex(md5)),
            )
        except (BotoCoreError, ClientError) as error:
            self._resolve(error, etag=md5)
        else:
            _check(answer, etag=md5)
        self._buffer = bytearray()

    # --- in parts

    def _enlarge_parts(self) -> bool:
        """Whether the first part, which is full, may become larger after all, and those after it too."""
        if self._upload_id or self._part_size >= _LARGE_PART_SIZE or not _large_parts.acquire(blocking=False):
            return False
        self._has_large_parts = True
        self._part_size = _LARGE_PART_SIZE
        return True

    def _fill(self, piece: memoryview) -> None:
        """Into the buffer as it is, if it was full before: new memory for each part is new pages from the
        kernel, which cost a tenth of what an upload takes."""
        end = self._filled + len(piece)
        if end > len(self._buffer):
            self._buffer += piece
        else:
            with memoryview(self._buffer) as whole:
                whole[self._filled : end] = piece
        self._filled = end

    def _send_part(self) -> None:
        """Let what is in the buffer go."""
        if self._sender is None:
            answer = self._client.create_multipart_upload(**self._target, **self._parameters)
            self._upload_id = answer["UploadId"]
            self._sender = ThreadPoolExecutor(_BUFFERS, thread_name_prefix="s3")
        part, self._buffer = self._buffer, bytearray()
        del part[self._filled :]
        self._filled = 0
        number = len(self._parts) + len(self._under_way) + 1
        self._under_way.append((self._sender.submit(self._upload_part, number, part), part))

    def _free_buffer(self) -> bytearray:
        """Wait until a part has arrived, if there is no other room."""
        if len(self._under_way) < _BUFFERS:
            return bytearray()
        return self._wait_for_part()

    def _upload_part(self, number: int, part: bytearray) -> "_Part":
        digest = hashlib.md5(part, usedforsecurity=False)
        answer = self._client.upload_part(
            **self._target,
            UploadId=self._upload_id,
            PartNumber=number,
            Body=part,  # type: ignore[arg-type] # the stubs forget bytearray
            ContentMD5=_base64(digest.digest()),
        )
        _check(answer, etag=digest.hexdigest())
        return _Part(answer["ETag"], digest.digest())

    def _wait_for_part(self) -> bytearray:
        """The buffer of the first part that is under way."""
        arriving, buffer = self._under_way.popleft()
        self._parts.append(arriving.result())
        return buffer

    def _complete(self) -> None:
        etag = _etag_of_parts([part.md5 for part in self._parts])
        parts = [{"PartNumber": number, "ETag": part.etag} for number, part in enumerate(self._parts, 1)]
        self._may_be_there = True
        try:
            answer = self._client.complete_multipart_upload(
                **self._target,
                UploadId=self._upload_id,
                MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]
            )
        except (BotoCoreError, ClientError) as error:
            self._resolve(error, etag=etag)
        else:
            _check(answer, etag=etag)

    def _tag(self, sha256: str) -> None:
        """Say the SHA-256 at the object too. It is in the row, so a store without tags is no failure."""
        if not self._storage.takes_tags or "Tagging" in self._parameters:
            return
        tags = {"TagSet": [{"Key": "sha256", "Value": sha256}]}
        try:
            with self._cleaning.spend():
                self._client.put_object_tagging(**self._target, Tagging=tags)  # type: ignore[arg-type]
        except (BotoCoreError, ClientError) as error:
            logger.warning("The object %s could not be tagged: %s", self._target["Key"], error)
            self._storage.takes_tags = not _is_refusal(error)

    # --- what may have happened

    def _resolve(self, error: BotoCoreError | ClientError, *, etag: str) -> None:
        """The request that makes the object failed, perhaps only its answer: ask the store which.

        Returns if the object is there, as it was sent; else raises the error, or FileExistsError if there is
        another one. Where one is there and the store does not say which, raises what it says instead.
        """
        if not _may_have_arrived(error):
            raise error
        # An object that was there before is not ours to be removed.
        self._may_be_there = _code(error) != _TAKEN
        reason: Exception = error
        if _code(error) == _TAKEN:
            reason = FileExistsError(f"There is another object under {self._target['Key']}.")
        try:
            with self._cleaning.spend():
                found = self._client.head_object(**self._target)
            _check(found, etag=etag)
        except DamagedObject:
            raise reason from None
        except (BotoCoreError, ClientError) as unknown:
            raise (error if self._may_be_there else unknown) from None
        if found["ContentLength"] != self._size:
            raise reason
        logger.warning("The store's answer about %s was lost; the object is there.", self._target["Key"])

    def _end(self) -> None:
        """Wait for the parts that are under way, so that none can arrive after an abort."""
        if self._sender is not None:
            self._sender.shutdown(cancel_futures=True)
            self._sender = None
        if self._has_large_parts:
            self._has_large_parts = False
            _large_parts.release()


class _Part:
    """A part that has arrived, by the store's name for it and by what was sent."""

    __slots__ = ("etag", "md5")

    def __init__(self, etag: str, md5: bytes) -> None:
        self.etag = etag
        self.md5 = md5


def _part_size() -> int:
    """In bytes, the same for all parts, as some stores want it, and so large that the largest upload fits.
    Some uploads have `_LARGE_PART_SIZE` instead, if that is more."""
    needed = -(-settings.MAX_REQUEST_SIZE // _MAX_PARTS)
    return max(_PART_SIZE, -(-needed // _MIB) * _MIB)


def _etag_of_parts(md5s: list[bytes]) -> str:
    return f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"


def _check(answer: Mapping[str, Any], *, etag: str) -> None:
    """Raises DamagedObject if the answer's ETag is of other bytes.

    It says nothing of them where they are encrypted under keys of KMS or of the client, nor where a store
    has ETags of its own; then Content-MD5 has been the check.
    """
    if answer.get("ServerSideEncryption", "").startswith("aws:kms") or "SSECustomerAlgorithm" in answer:
        return
    found = str(answer.get("ETag", "")).strip('"').lower()
    comparable = _MD5 if _MD5.fullmatch(etag) else _MD5_OF_PARTS
    if comparable.fullmatch(found) and found != etag:
        raise DamagedObject(f"sent {etag}, and the store has {found}")


def _may_have_arrived(error: BotoCoreError | ClientError) -> bool:
    """Whether the request may have been done all the same. An upload that is not known any more was perhaps
    completed by an earlier attempt, whose answer was lost."""
    if not isinstance(error, ClientError):
        return True
    return _code(error) in {"NoSuchUpload", _TAKEN} or _status(error) >= 500


def _is_refusal(error: BotoCoreError | ClientError) -> bool:
    """Whether the same request will be refused again: it is not known there (501), or not allowed."""
    return isinstance(error, ClientError) and (_status(error) < 500 or _status(error) == 501)


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500))


def _code(error: BotoCoreError | ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
