"""`manage.py check --tag storage`: what it says of storages that are set up wrongly, and that it is asked."""

import io
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from django.core.files.storage import InMemoryStorage, storages
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from google.api_core.exceptions import Forbidden, NotFound, Unauthorized
from google.auth.exceptions import DefaultCredentialsError

from files.azure import AzureStorage
from files.disk import DiskStorage
from files.faults import Fault
from files.gcs import GoogleCloudStorage
from files.s3 import S3Storage
from tests.conftest import stored_files
from tests.test_storage import SomebodysError


class Forgetful(InMemoryStorage):
    """Says that it has stored what it has not."""

    def _save(self, name: str, content: Any) -> str:
        return name


class Undeleting(InMemoryStorage):
    def delete(self, name: str) -> None:
        raise SomebodysError("this is an archive")


class Open(InMemoryStorage):
    """Has addresses, and gives them for what lies elsewhere."""

    address = ""

    def signed_url(self, name: str, *, lifetime: int, disposition: str, content_type: str) -> str | None:
        return f"{self.address}/{name}?signature=1"


def check() -> list[str]:
    """The sentences of the check, without what stands before them."""
    try:
        call_command("check", tags=["storage"], stderr=io.StringIO(), stdout=io.StringIO())
    except SystemCheckError as error:
        return sorted(line.partition(") ")[2] for line in str(error).splitlines() if "files.E001" in line)
    return []


def use(settings, backend: str, **options: Any) -> Any:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": backend, "OPTIONS": options}}
    return storages["default"]


# --- what is well ----------------------------------------------------------------------------------


def test_a_folder_that_works_is_left_as_it_was(storage_root: Path) -> None:
    assert check() == []
    assert stored_files(storage_root) == []


def test_a_bucket_that_works_is_left_as_it_was(bucket: Any) -> None:
    assert check() == []
    assert list(bucket.bucket.objects.all()) == []


def test_a_public_bucket_is_not_asked_to_be_private(bucket: Any) -> None:
    bucket.querystring_auth = False
    bucket.default_acl = "public-read"
    assert check() == []


@pytest.mark.django_db
def test_it_runs_when_its_tag_is_named_and_never_else(settings) -> None:
    use(settings, "tests.test_storage.Failing", error=OSError("asked"))
    for given in ({}, {"tags": ["files"]}, {"tags": ["security"]}, {"databases": ["default"]}):
        call_command("check", stderr=io.StringIO(), stdout=io.StringIO(), **given)
    assert len(check()) == 1
    call_command("check", stderr=io.StringIO(), stdout=io.StringIO())


def test_a_start_asks_no_storage(tmp_path: Path) -> None:
    """Whatever `migrate` and a plain check do, the address of the store is one that nobody answers at."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        variables = {
            "PATH": os.environ["PATH"],
            "DATA_DIR": str(tmp_path),
            "ENV_FILE": os.devnull,
            "STORAGE": "s3",
            "AWS_STORAGE_BUCKET_NAME": "bucket",
            "AWS_S3_ENDPOINT_URL": f"http://127.0.0.1:{silent.getsockname()[1]}",
        }
        for command in (["check"], ["migrate", "--verbosity", "0"]):
            subprocess.run([sys.executable, "manage.py", *command], env=variables, check=True, timeout=120)
        silent.setblocking(False)
        with pytest.raises(BlockingIOError):
            silent.accept()


# --- what is wrong ---------------------------------------------------------------------------------


def test_each_storage_is_checked(settings, storage_root: Path) -> None:
    broken = {"BACKEND": "tests.test_storage.Failing", "OPTIONS": {"error": OSError("no route")}}
    settings.STORAGES = {**settings.STORAGES, "public": broken, "archive": broken}
    assert check() == [
        "The storage archive cannot be written to: OSError: no route.",
        "The storage public cannot be written to: OSError: no route.",
    ]


def test_a_folder_that_is_not_ours_is_named_as_such(storage_root: Path) -> None:
    storage_root.write_bytes(b"not a folder")
    (problem,) = check()
    assert problem.startswith(
        "The storage default cannot be written to: the folder is not this user's to write to"
    )


def test_a_bucket_that_is_not_there_is_named_as_such(bucket: Any) -> None:
    bucket.bucket.delete()
    (problem,) = check()
    assert problem.startswith(
        "The storage default cannot be written to: there is no such bucket (NoSuchBucket"
    )


def test_a_store_that_does_not_answer_is_named_as_such(settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    use(
        settings,
        "files.s3.S3Storage",
        bucket_name="bucket",
        access_key="a",
        secret_key="b",
        endpoint_url=f"http://127.0.0.1:{port}",
    )
    (problem,) = check()
    assert "cannot be written to: nothing answers at its address (EndpointConnectionError" in problem


def test_a_storage_that_loses_what_it_stored_is_found_out(settings) -> None:
    use(settings, "tests.test_checks.Forgetful")
    (problem,) = check()
    assert problem.startswith("The storage default cannot be read from: FileNotFoundError")


def test_a_storage_that_may_not_delete_is_found_out(settings) -> None:
    use(settings, "tests.test_checks.Undeleting")
    assert check() == ["The storage default cannot delete objects: SomebodysError: this is an archive."]


def test_a_storage_that_renames_is_found_out(settings) -> None:
    use(settings, "tests.test_storage.Renaming")
    assert check() == [
        "The storage default cannot be written to: it keeps objects under other names than it is told."
    ]


def test_a_class_that_cannot_be_made_is_named(settings) -> None:
    settings.STORAGES = {**settings.STORAGES, "default": {"BACKEND": "files.disk.NoSuchStorage"}}
    (problem,) = check()
    assert problem.startswith("The storage default cannot be used: InvalidStorageError")


def test_addresses_that_lead_nowhere_are_found_out(settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
    use(settings, "tests.test_checks.Open").address = address
    (problem,) = check()
    assert "cannot be fetched from by a signed address: nothing answers at its address" in problem


def test_addresses_that_are_refused_are_found_out(settings, s3_server: str) -> None:
    use(settings, "tests.test_checks.Open").address = f"{s3_server}/no-such-bucket"
    (problem,) = check()
    assert (
        f"cannot be fetched from by a signed address: {s3_server} refuses it with 404 NoSuchBucket" in problem
    )


def test_a_bucket_that_anyone_may_read_is_found_out(bucket: Any) -> None:
    bucket.default_acl = "public-read"
    (problem,) = check()
    assert problem == (
        f"The storage default cannot keep objects private: {bucket.endpoint_url} gives them to everybody, "
        "without a signature."
    )


# --- what the libraries mean -----------------------------------------------------------------------


def s3(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "PutObject")


def azure(code: str) -> HttpResponseError:
    error = HttpResponseError(code)
    error.error_code = code  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    "explain, error, fault",
    [
        (S3Storage.fault, s3("InvalidAccessKeyId"), Fault.CREDENTIALS),
        (S3Storage.fault, s3("SignatureDoesNotMatch"), Fault.CREDENTIALS),
        (S3Storage.fault, s3("ExpiredToken"), Fault.CREDENTIALS),
        (S3Storage.fault, s3("RequestTimeTooSkewed"), Fault.CLOCK),
        (S3Storage.fault, s3("AccessDenied"), Fault.DENIED),
        (S3Storage.fault, s3("AccessControlListNotSupported"), Fault.ACL),
        (S3Storage.fault, s3("NotImplemented"), Fault.CONDITION),
        (S3Storage.fault, s3("PermanentRedirect"), Fault.REGION),
        (S3Storage.fault, s3("SomethingNew"), None),
        (S3Storage.fault, NoCredentialsError(), Fault.CREDENTIALS),
        (S3Storage.fault, EndpointConnectionError(endpoint_url="x"), Fault.UNREACHABLE),
        (GoogleCloudStorage.fault, NotFound("bucket"), Fault.NO_BUCKET),
        (GoogleCloudStorage.fault, Forbidden("no"), Fault.DENIED),
        (GoogleCloudStorage.fault, Unauthorized("no"), Fault.CREDENTIALS),
        (GoogleCloudStorage.fault, DefaultCredentialsError("none"), Fault.CREDENTIALS),
        (AzureStorage.fault, azure("AuthenticationFailed"), Fault.CREDENTIALS),
        (AzureStorage.fault, azure("ContainerNotFound"), Fault.NO_BUCKET),
        (AzureStorage.fault, azure("AuthorizationPermissionMismatch"), Fault.DENIED),
        (AzureStorage.fault, ServiceRequestError("x"), Fault.UNREACHABLE),
        (DiskStorage.fault, PermissionError(13, "no"), Fault.NOT_WRITABLE),
        (DiskStorage.fault, OSError(28, "full"), Fault.FULL),
        (DiskStorage.fault, OSError(5, "input/output"), None),
    ],
)
def test_what_a_library_raises_is_understood(
    explain: Callable[[Any, Exception], Fault | None], error: Exception, fault: Fault | None
) -> None:
    assert explain(None, error) is fault
