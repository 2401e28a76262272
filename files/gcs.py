"""Google Cloud Storage as a storage: objects are written once, read in ranges, and their addresses signed
here where there is a key to sign with."""

import posixpath
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import requests
import storages.backends.gcloud
from django.core.files.base import File
from django.utils.deconstruct import deconstructible
from google.api_core.exceptions import Forbidden, NotFound, PreconditionFailed, RetryError, Unauthorized
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account
from storages.utils import clean_name

from files import buckets
from files.faults import Fault
from files.listing import StoredObject

_TIMEOUT = (buckets.CONNECT_TIMEOUT, buckets.READ_TIMEOUT)
_RETRY = DEFAULT_RETRY.with_timeout(buckets.CALL_TIMEOUT)
_CHUNK_SIZE = 1024 * 1024  # bytes of an object that is read; a multiple of 256 KiB, as Google has it
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


_FAULTS: dict[type[Exception], Fault] = {
    Forbidden: Fault.DENIED,
    Unauthorized: Fault.CREDENTIALS,
    NotFound: Fault.NO_BUCKET,
    TransportError: Fault.UNREACHABLE,
    GoogleAuthError: Fault.CREDENTIALS,
    RetryError: Fault.UNREACHABLE,
    requests.exceptions.RequestException: Fault.UNREACHABLE,
    FileNotFoundError: Fault.MISSING,
}


@deconstructible(path="files.gcs.GoogleCloudStorage")
class GoogleCloudStorage(buckets.WriteOnceMixin, storages.backends.gcloud.GoogleCloudStorage):  # type: ignore[misc]
    """django-storages' Google Cloud Storage; `credentials` may be the path of a service account's key."""

    credentials: Any

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        if isinstance(self.credentials, str):
            self.credentials = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
                self.credentials, scopes=[_SCOPE]
            )

    def get_default_settings(self) -> dict[str, Any]:
        return {
            **super().get_default_settings(),
            "file_overwrite": False,
            "object_parameters": {"cache_control": buckets.CACHE_CONTROL},
        }

    def signed_url(self, name: str, *, lifetime: int, disposition: str, content_type: str) -> str | None:
        """The object's address for `lifetime` seconds, 7 days at the most, with these headers in the answer.

        None without a key of a service account: whoever is known to Google by a role or a machine would have
        to ask it for each signature. With `querystring_auth` off, as by S3Storage.
        """
        key = self._normalize_name(clean_name(name))
        blob = self.bucket.blob(key)
        if not self.querystring_auth:
            address = f"{self.custom_endpoint}/{quote(key)}" if self.custom_endpoint else blob.public_url
            return str(address) if buckets.bears(content_type, disposition) else None
        if not isinstance(self.credentials, service_account.Credentials):
            return None
        signed = blob.generate_signed_url(
            version="v4",
            expiration=timedelta(seconds=min(lifetime, buckets.MAX_LIFETIME)),
            bucket_bound_hostname=self.custom_endpoint,
            credentials=self.credentials,
            response_disposition=disposition,
            response_type=content_type,
        )
        return str(signed)

    def fault(self, error: Exception) -> Fault | None:
        """What the store, or Google's library before it is asked, means."""
        return next((fault for kind, fault in _FAULTS.items() if isinstance(error, kind)), None)

    def delete(self, name: str) -> None:
        with suppress(NotFound):
            self.bucket.delete_blob(self._normalize_name(clean_name(name)), timeout=_TIMEOUT, retry=_RETRY)

    def exists(self, name: str) -> bool:
        with suppress(NotFound):
            self._get_blob(self._normalize_name(clean_name(name)))
            return True
        return False

    def _get_blob(self, name: str) -> Any:
        """What size and times are read from; raises Google's NotFound."""
        blob = self.bucket.get_blob(name, timeout=_TIMEOUT, retry=_RETRY)
        if blob is None:
            raise NotFound(f"There is no object {name}.")  # type: ignore[no-untyped-call]
        return blob

    def children(self, prefix: str) -> Iterator[str]:
        """The names one level below the prefix, folders with a slash at their end."""
        whole = posixpath.join(self.location, prefix)
        found = self.bucket.list_blobs(prefix=whole, delimiter="/", timeout=_TIMEOUT, retry=_RETRY)
        names = [each.name for each in found]
        yield from sorted(name.removeprefix(whole) for name in (*names, *found.prefixes) if name != whole)

    def objects(self, prefix: str) -> Iterator[StoredObject]:
        """All objects below the prefix, in the order of their keys, a page of 1000 in memory."""
        whole = posixpath.join(self.location, prefix)
        for each in self.bucket.list_blobs(prefix=whole, timeout=_TIMEOUT, retry=_RETRY):
            if each.name != whole:  # what a console makes to show an empty folder
                name = each.name.removeprefix(posixpath.join(self.location, ""))
                yield StoredObject(name, each.size, each.updated)

    def _open(self, name: str, mode: str = "rb") -> File[bytes]:
        """To be read, in memory that does not grow with the object. Raises FileNotFoundError."""
        if mode != "rb":
            raise ValueError("Objects are read as bytes, and written by save() alone.")
        blob = self.bucket.get_blob(self._normalize_name(clean_name(name)), timeout=_TIMEOUT, retry=_RETRY)
        if blob is None:
            raise FileNotFoundError(f"There is no object {name}.")
        return File(blob.open("rb", chunk_size=_CHUNK_SIZE, timeout=_TIMEOUT, retry=_RETRY), name)

    def _save(self, name: str, content: File[bytes]) -> str:
        blob = self.bucket.blob(self._normalize_name(clean_name(name)))
        content_type = getattr(content, "content_type", None) or "application/octet-stream"
        blob.content_disposition = buckets.disposition(content_type)
        for label, value in self.get_object_parameters(name).items():
            setattr(blob, label, value)
        condition = {} if self.file_overwrite else {"if_generation_match": 0}
        try:
            blob.upload_from_file(
                content,
                rewind=True,
                size=content.size,
                content_type=content_type,
                predefined_acl=self.default_acl,
                timeout=_TIMEOUT,
                retry=_RETRY,
                **condition,
            )
        except PreconditionFailed:
            buckets.confirm(self, name, content)
        return name
