"""Azure's blob storage as a storage: objects are written once, read in ranges, and their addresses signed
here where there is a key to sign with."""

import posixpath
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import IO, Any, cast
from urllib.parse import urlsplit

import storages.backends.azure_storage
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.storage.blob import BlobSasPermissions, BlobServiceClient, ContentSettings, generate_blob_sas
from django.core.files.base import File
from django.utils.deconstruct import deconstructible

from files import buckets
from files.faults import Fault
from files.listing import StoredObject

_MIB = 1024 * 1024
_CLIENT: dict[str, Any] = {
    "connection_timeout": buckets.CONNECT_TIMEOUT,
    "read_timeout": buckets.READ_TIMEOUT,
    # Once more, after 1 to 3 seconds.
    "retry_total": 1,
    "initial_backoff": 1,
    "increment_base": 1,
    "random_jitter_range": 1,
    # What is held of an object that is read; by default 32 MiB.
    "max_single_get_size": _MIB,
    "max_chunk_get_size": _MIB,
}


_FAULTS = {
    "AuthenticationFailed": Fault.CREDENTIALS,
    "AuthorizationFailure": Fault.DENIED,
    "AuthorizationPermissionMismatch": Fault.DENIED,
    "ContainerNotFound": Fault.NO_BUCKET,
    "InvalidAuthenticationInfo": Fault.CREDENTIALS,
    "NoAuthenticationInformation": Fault.CREDENTIALS,
}


@deconstructible(path="files.azure.AzureStorage")
class AzureStorage(buckets.WriteOnceMixin, storages.backends.azure_storage.AzureStorage):  # type: ignore[misc]
    """django-storages' Azure storage. A missing object is FileNotFoundError here too."""

    def get_default_settings(self) -> dict[str, Any]:
        return {
            **super().get_default_settings(),
            "overwrite_files": False,
            "cache_control": buckets.CACHE_CONTROL,
            "client_options": _CLIENT,
        }

    def signed_url(self, name: str, *, lifetime: int, disposition: str, content_type: str) -> str | None:
        """The object's address for `lifetime` seconds, 7 days at the most, with these headers in the answer.

        None without the account's key: with a token, Azure has to be asked for a key first.
        """
        if not self.account_key:
            return None
        path = self._get_valid_path(name)
        signature = generate_blob_sas(
            self.account_name,
            self.azure_container,
            path,
            account_key=self.account_key,
            permission=BlobSasPermissions(read=True),
            expiry=_now() + timedelta(seconds=min(lifetime, buckets.MAX_LIFETIME)),
            content_disposition=disposition,
            content_type=content_type,
        )
        address = urlsplit(self.client.get_blob_client(path).url)
        return str(address._replace(netloc=self.custom_domain or address.netloc, query=signature).geturl())

    def fault(self, error: Exception) -> Fault | None:
        """What the store, or Azure's library before it is asked, means."""
        if isinstance(error, HttpResponseError):
            return _FAULTS.get(_code(error))
        if isinstance(error, ServiceRequestError | ServiceResponseError):
            return Fault.UNREACHABLE
        return Fault.MISSING if isinstance(error, FileNotFoundError) else None

    def size(self, name: str) -> int:
        try:
            return int(super().size(name))
        except ResourceNotFoundError as error:
            raise _missing(name, error) from error

    def _get_service_client(self) -> BlobServiceClient:
        if self.connection_string:
            return BlobServiceClient.from_connection_string(self.connection_string, **self.client_options)
        return cast(BlobServiceClient, super()._get_service_client())

    def children(self, prefix: str) -> Iterator[str]:
        """The names one level below the prefix, folders with a slash at their end."""
        whole = posixpath.join(self.location, prefix)
        found = self.client.walk_blobs(name_starts_with=whole, delimiter="/", timeout=self.timeout)
        yield from sorted(each.name.removeprefix(whole) for each in found)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the prefix, in the order of their keys, a page of 5000 in memory."""
        whole = posixpath.join(self.location, prefix)
        for each in self.client.list_blobs(name_starts_with=whole, timeout=self.timeout):
            name = each.name.removeprefix(posixpath.join(self.location, ""))
            yield StoredObject(name, each.size, each.last_modified)

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        """To be read, in memory that does not grow with the object. Raises FileNotFoundError."""
        if mode != "rb":
            raise ValueError("Objects are read as bytes, and written by save() alone.")
        blob = self.client.get_blob_client(self._get_valid_path(name))

        def begin(offset: int) -> IO[bytes]:
            return cast(IO[bytes], _Stream(blob.download_blob(offset=offset, timeout=self.timeout)))

        try:
            size = blob.get_blob_properties(timeout=self.timeout).size
        except ResourceNotFoundError as error:
            raise _missing(name, error) from error
        return buckets.as_file(buckets.RangedReader(begin, size=size), name)

    def _save(self, name: str, content: File[bytes]) -> str:
        content_type = getattr(content, "content_type", None) or self.default_content_type
        settings = ContentSettings(
            content_type=content_type,
            cache_control=self.cache_control,
            content_disposition=buckets.disposition(content_type),
        )
        content.seek(0)
        try:
            self.client.upload_blob(
                self._get_valid_path(name),
                content,
                length=content.size,
                content_settings=settings,
                max_concurrency=self.upload_max_conn,
                timeout=self.timeout,
                overwrite=self.overwrite_files,
            )
        except ResourceExistsError:
            buckets.confirm(self, name, content)
        return name


def _now() -> datetime:
    return datetime.now(UTC)


class _Stream:
    """A download that is forgotten when it is closed; Azure's own has no end but its last byte."""

    def __init__(self, download: Any) -> None:
        self._download = download

    def read(self, size: int) -> bytes:
        return cast(bytes, self._download.read(size))

    def close(self) -> None:
        self._download = None


def _code(error: HttpResponseError) -> str:
    """Azure's own word for it, which its library adds to the error."""
    code: str = getattr(error, "error_code", None) or ""
    return code


def _missing(name: str, error: ResourceNotFoundError) -> Exception:
    """A container that is not there is a fault of the storage, and not of the object."""
    if _code(error) == "ContainerNotFound":
        return error
    return FileNotFoundError(f"There is no object {name}.")
