"""S3 and what speaks its protocol, as a storage: objects are written once, read in ranges, and their
addresses signed here without asking the store."""

import mimetypes
import posixpath
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import cached_property
from http import HTTPStatus
from itertools import batched
from types import SimpleNamespace
from typing import IO, Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import storages.backends.s3
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import (
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from django.core.files.base import File
from django.utils.deconstruct import deconstructible
from storages.utils import clean_name

from files import buckets, s3_calls
from files.faults import Fault
from files.hashing import Hashes
from files.listing import StoredObject, Unfinished
from files.s3_drafts import S3Draft

# Keys of one DeleteObjects. It may have 1000, but a slow store has to be done within SLOW_READ_TIMEOUT.
_BATCH = 200
# Stores that do not know DeleteObjects, or not with the checksum that boto3 sends.
_NO_BATCHES = {HTTPStatus.BAD_REQUEST, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED}
_CHUNK = 256 * 1024
_CONNECTIONS = 64  # of the client that all threads share; more than are kept waiting are closed after use


# The codes are those of Amazon, which other stores have taken over.
_FAULTS = {
    "AccessControlListNotSupported": Fault.ACL,
    "AccessDenied": Fault.DENIED,
    "AllAccessDisabled": Fault.DENIED,
    "AuthorizationHeaderMalformed": Fault.REGION,
    "ExpiredToken": Fault.CREDENTIALS,
    "IllegalLocationConstraintException": Fault.REGION,
    "InvalidAccessKeyId": Fault.CREDENTIALS,
    "InvalidToken": Fault.CREDENTIALS,
    "NoSuchBucket": Fault.NO_BUCKET,
    "NoSuchKey": Fault.MISSING,
    "NotImplemented": Fault.CONDITION,
    "PermanentRedirect": Fault.REGION,
    "RequestTimeTooSkewed": Fault.CLOCK,
    "SignatureDoesNotMatch": Fault.CREDENTIALS,
}
_OWN_FAULTS: dict[type[Exception], Fault] = {
    NoCredentialsError: Fault.CREDENTIALS,
    PartialCredentialsError: Fault.CREDENTIALS,
    ConnectionError: Fault.UNREACHABLE,
    HTTPClientError: Fault.UNREACHABLE,
    FileNotFoundError: Fault.MISSING,
}


@deconstructible(path="files.s3.S3Storage")
class S3Storage(buckets.WriteOnceMixin, storages.backends.s3.S3Storage):  # type: ignore[misc]
    """django-storages' S3 with the options of that; those that are not given are these.

    `file_overwrite` means that the store may replace what is there, for stores that know no If-None-Match.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._has_own_times = "client_config" in options
        if not self._has_own_times:
            self.client_config = _client_config(self.endpoint_url, self.addressing_style)
        self.takes_tags = True  # until the store says that it does not

    def get_default_settings(self) -> dict[str, Any]:
        return {
            **super().get_default_settings(),
            "file_overwrite": False,
            # Without a word about it objects are private, and buckets as AWS makes them refuse every ACL.
            "default_acl": None,
            "object_parameters": {"CacheControl": buckets.CACHE_CONTROL},
        }

    @property
    def connection(self) -> Any:
        is_new = getattr(self._connections, "connection", None) is None
        connection = super().connection
        if is_new:
            connection.meta.client.meta.events.register("before-sign.s3", _by_one_hash)
        if is_new and not self._has_own_times:
            s3_calls.bound(connection.meta.client)
        if is_new and not self.file_overwrite:
            events = connection.meta.client.meta.events
            for operation in ("PutObject", "CompleteMultipartUpload"):
                events.register(f"provide-client-params.s3.{operation}", _unless_there)
        return connection

    def signed_url(self, name: str, *, lifetime: int, disposition: str, content_type: str) -> str | None:
        """The object's address for `lifetime` seconds, 7 days at the most, with these headers in the answer.

        With `querystring_auth` off, the plain address, for which the object's own headers hold; None if
        those are not what is asked for.
        """
        key = self._normalize_name(clean_name(name))
        base, region = self._address
        address = f"{base}/{quote(key)}"
        if not self.querystring_auth:
            return address if buckets.bears(content_type, disposition) else None
        wanted = {"response-content-disposition": disposition, "response-content-type": content_type}
        address = f"{address}?{urlencode(wanted, quote_via=quote)}"
        lifetime = min(lifetime, buckets.MAX_LIFETIME)
        if self.custom_domain and self.cloudfront_signer:
            until = datetime.now(UTC) + timedelta(seconds=lifetime)
            signed: str = self.cloudfront_signer.generate_presigned_url(address, date_less_than=until)
            return signed
        # The client's own method does this in twice the time, of which most goes into finding the address.
        request = AWSRequest(method="GET", url=address)
        S3SigV4QueryAuth(self._credentials, "s3", region, expires=lifetime).add_auth(request)
        return str(request.url)

    def fault(self, error: Exception) -> Fault | None:
        """What the store, or botocore before it is asked, means."""
        if isinstance(error, ClientError):
            return _FAULTS.get(error.response.get("Error", {}).get("Code", ""))
        return next((fault for kind, fault in _OWN_FAULTS.items() if isinstance(error, kind)), None)

    @cached_property
    def _address(self) -> tuple[str, str]:
        """Where objects are, without the slash before their keys, and the region to sign for: as botocore
        finds them for this bucket, or behind the custom domain."""
        client = self.bucket.meta.client
        example = urlsplit(
            client.generate_presigned_url("get_object", {"Bucket": self.bucket_name, "Key": "-"})
        )
        (scope,) = parse_qs(example.query)["X-Amz-Credential"]
        region = scope.split("/")[2]
        if self.custom_domain:
            return f"{self.url_protocol}//{self.custom_domain.rstrip('/')}", region
        return f"{example.scheme}://{example.netloc}{example.path.removesuffix('/-')}", region

    @cached_property
    def _credentials(self) -> Any:
        """Those that renew themselves do so when they are used."""
        credentials = self._create_session().get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials

    def children(self, prefix: str) -> Iterator[str]:
        """The names one level below the prefix, folders with a slash at their end."""
        whole = self._whole(prefix)
        for page in self._pages("list_objects_v2", Prefix=whole, Delimiter="/"):
            folders = (each["Prefix"] for each in page.get("CommonPrefixes", ()))
            names = (each["Key"] for each in page.get("Contents", ()))
            yield from sorted(name.removeprefix(whole) for name in (*folders, *names) if name != whole)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the prefix, in the order of their keys, a page of 1000 in memory."""
        whole = self._whole(prefix)
        for page in self._pages("list_objects_v2", Prefix=whole):
            for each in page.get("Contents", ()):
                if each["Key"] != whole:  # what a console makes to show an empty folder
                    yield StoredObject(self._name(each["Key"]), each["Size"], each["LastModified"])

    def unfinished(self, prefix: str) -> Iterator[Unfinished]:
        """Multipart uploads that were neither completed nor aborted: invisible, and billed."""
        for page in self._pages("list_multipart_uploads", Prefix=self._whole(prefix)):
            for each in page.get("Uploads", ()):
                key, upload_id = each["Key"], each["UploadId"]
                parts = self._pages("list_parts", Key=key, UploadId=upload_id)
                try:
                    times = [
                        part["LastModified"] for parts_page in parts for part in parts_page.get("Parts", ())
                    ]
                except self.connection.meta.client.exceptions.NoSuchUpload:  # finished meanwhile
                    continue
                yield Unfinished(self._name(key), upload_id, max([each["Initiated"], *times]))

    def abort(self, unfinished: Unfinished) -> None:
        """Remove the parts; an upload that is gone was completed or aborted already."""
        client = self.connection.meta.client
        try:
            client.abort_multipart_upload(
                Bucket=self.bucket_name, Key=self._whole(unfinished.key), UploadId=unfinished.id
            )
        except client.exceptions.NoSuchUpload:
            return

    def delete_many(self, names: Iterable[str]) -> None:
        """Delete with one request for 200 objects, or one by one where the store has no such request."""
        for batch in batched(names, _BATCH):
            listed = {"Objects": [{"Key": self._whole(name)} for name in batch], "Quiet": True}
            try:
                answer = self.connection.meta.client.delete_objects(Bucket=self.bucket_name, Delete=listed)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] not in _NO_BATCHES:
                    raise
                for name in batch:
                    self.delete(name)
                continue
            for failed in answer.get("Errors", ()):
                raise OSError(
                    f"{failed['Key']} was not deleted: {failed.get('Message') or failed.get('Code')}"
                )

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        """To be read, in memory that does not grow with the object. Raises FileNotFoundError."""
        if mode != "rb":
            raise ValueError("Objects are read as bytes, and written by save() alone.")
        client, key = self.bucket.meta.client, self._normalize_name(clean_name(name))

        def begin(offset: int) -> IO[bytes]:
            # Of the very object that was opened, should another one take its place.
            part = {"Range": f"bytes={offset}-", "IfMatch": answer["ETag"]}
            stream: IO[bytes] = client.get_object(Bucket=self.bucket_name, Key=key, **part)["Body"]
            return stream

        try:
            answer = client.get_object(Bucket=self.bucket_name, Key=key)
        except client.exceptions.NoSuchKey:
            raise FileNotFoundError(f"There is no object {name}.") from None
        reader = buckets.RangedReader(begin, size=answer["ContentLength"], stream=answer["Body"])
        return buckets.as_file(reader, name)

    def begin(self, name: str, *, content_type: str) -> S3Draft:
        """An object whose bytes are still to come."""
        parameters = self._get_write_parameters(name, SimpleNamespace(content_type=content_type))
        return S3Draft(self, self._normalize_name(clean_name(name)), parameters)

    def _save(self, name: str, content: File[bytes]) -> str:
        name = clean_name(name)
        guessed = mimetypes.guess_type(name)[0] or self.default_content_type
        draft = self.begin(name, content_type=getattr(content, "content_type", None) or guessed)
        hashes = Hashes()
        try:
            for chunk in content.chunks(_CHUNK):
                draft.write(chunk)
                hashes.update(chunk)
            draft.commit(sha256=hashes.sha256, md5=hashes.md5)
        except BaseException:
            draft.abort()
            raise
        finally:
            hashes.close()
        return name

    def _get_write_parameters(self, name: str, content: Any = None) -> dict[str, Any]:
        parameters: dict[str, Any] = super()._get_write_parameters(name, content)
        # By the ending .gz, of what its owner has compressed: clients would undo that, and get other bytes.
        if "ContentEncoding" not in self.object_parameters:
            parameters.pop("ContentEncoding", None)
        disposition = buckets.disposition(parameters["ContentType"])
        return {"ContentDisposition": disposition, **parameters} if disposition else parameters

    def _pages(self, operation: str, **arguments: Any) -> Iterator[dict[str, Any]]:
        paginator = self.connection.meta.client.get_paginator(operation)
        yield from paginator.paginate(Bucket=self.bucket_name, **arguments)

    def _whole(self, name: str) -> str:
        """The name in the bucket. Joined and not normalised: what was listed is meant to the letter."""
        return posixpath.join(self.location, name) if self.location else name

    def _name(self, whole: str) -> str:
        return whole.removeprefix(self._whole(""))


@deconstructible(path="files.s3.StaticS3Storage")
class StaticS3Storage(storages.backends.s3.S3ManifestStaticStorage):  # type: ignore[misc]
    """The pages' own files in a bucket that anyone may read; nothing that was uploaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.client_config = _client_config(self.endpoint_url, self.addressing_style)


def _client_config(endpoint_url: str | None, addressing_style: str | None) -> Config:
    """How every bucket is called: signed by SigV4, with limits of time, and tried again."""
    # Where the bucket is a part of the host, Amazon's addresses have the region in them: those of the other
    # kind are redirected for the first hours of a bucket, and a signature does not survive that.
    style: Any = addressing_style or ("auto" if endpoint_url else "virtual")
    return Config(
        signature_version="s3v4",
        s3={"addressing_style": style},
        connect_timeout=buckets.CONNECT_TIMEOUT,
        read_timeout=buckets.READ_TIMEOUT,
        retries={"total_max_attempts": 3, "mode": "standard"},
        max_pool_connections=_CONNECTIONS,
        # Bytes are checked by Content-MD5 and ETag, which every store knows; of the newer checksums, which
        # boto3 sends by itself, many know nothing.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


def _unless_there(params: dict[str, Any], **_: Any) -> dict[str, Any]:
    return {"IfNoneMatch": "*", **params}


def _by_one_hash(request: AWSRequest, **_: Any) -> None:
    """What bears its MD5, which is signed, is not hashed by SHA-256 for the signature as well. Botocore holds
    it so over HTTPS alone; what the operator has configured goes before."""
    if "Content-MD5" in request.headers:
        config: Any = request.context["client_config"]
        unsigned: Any = {"payload_signing_enabled": False, **(config.s3 or {})}
        request.context["client_config"] = config.merge(Config(s3=unsigned))
