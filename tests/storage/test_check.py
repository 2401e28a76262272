"""What `check --tag storage` says of a real store that is set up wrongly."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from django.core.files.storage import storages

from tests.storage.servers import Environment, azurite, swift
from tests.test_checks import check, use

BUCKET = "checked"


@pytest.fixture(scope="module")
def swift_environment() -> Iterator[Environment]:
    with swift() as environment:
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_S3_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            region_name=environment["AWS_S3_REGION_NAME"],
        )
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield environment


@pytest.fixture
def configured(settings, swift_environment: Environment) -> Callable[..., Any]:
    """The default storage, which is a bucket of Swift's, with these options in place of the right ones."""

    def configure(**options: Any) -> Any:
        right = {
            "bucket_name": BUCKET,
            "access_key": swift_environment["AWS_ACCESS_KEY_ID"],
            "secret_key": swift_environment["AWS_SECRET_ACCESS_KEY"],
            "region_name": swift_environment["AWS_S3_REGION_NAME"],
            "endpoint_url": swift_environment["AWS_S3_ENDPOINT_URL"],
        }
        return use(settings, "files.s3.S3Storage", **{**right, **options})

    return configure


def test_a_bucket_that_works_is_left_as_it_was(configured: Callable[..., Any]) -> None:
    storage = configured()
    assert check() == []
    assert list(storage.bucket.objects.all()) == []


@pytest.mark.parametrize(
    "options, reason",
    [
        (
            {"secret_key": "wrong"},
            "the credentials are missing, wrong or expired (ClientError: An error occurred (Sig",
        ),
        ({"access_key": "test:nobody"}, "the credentials are missing, wrong or expired"),
        (
            {"access_key": "test:reader", "secret_key": "reading"},
            "the credentials are good, but are not allowed this",
        ),
        ({"bucket_name": "missing"}, "there is no such bucket (NoSuchBucket"),
    ],
)
def test_what_is_wrong_is_said(configured: Callable[..., Any], options: dict[str, str], reason: str) -> None:
    configured(**options)
    (problem,) = check()
    assert problem.startswith(f"The storage default cannot be written to: {reason}")


def test_a_region_that_is_wrong_is_said(configured: Callable[..., Any]) -> None:
    """botocore finds the right one for requests, but not for addresses."""
    storage = configured(region_name="elsewhere-1")
    (problem,) = check()
    assert f"by a signed address: {storage.endpoint_url} refuses it with 400 " in problem
    assert "'elsewhere-1' is wrong; expecting 'us-east-1'" in problem


def test_a_clock_that_is_wrong_is_said(configured: Callable[..., Any], monkeypatch) -> None:
    configured()
    then = (datetime.now(UTC) - timedelta(hours=2)).replace(tzinfo=None)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda **_: then)
    (problem,) = check()
    assert "cannot be written to: the clock of this machine is too far from the store's" in problem


def test_an_address_behind_a_name_that_the_store_does_not_know_is_said(
    configured: Callable[..., Any],
) -> None:
    storage = configured()
    host = storage.endpoint_url.removeprefix("http://")
    configured(custom_domain=f"{host}/another", url_protocol="http:")
    (problem,) = check()
    assert (
        f"cannot be fetched from by a signed address: http://{host} refuses it with 404 NoSuchBucket"
        in problem
    )


def test_azure_is_understood(settings) -> None:
    with azurite() as environment:
        right = {"azure_container": BUCKET, "connection_string": environment["AZURE_CONNECTION_STRING"]}
        (missing,) = with_options(settings, right)
        assert "there is no such bucket (ResourceNotFoundError" in missing
        azure: Any = storages["default"]
        azure.client.create_container()
        assert check() == []
        wrong = right["connection_string"].replace("AccountKey=", "AccountKey=AAAA")
        (refused,) = with_options(settings, right | {"connection_string": wrong})
        assert "the credentials are" in refused


def with_options(settings, options: dict[str, str]) -> list[str]:
    use(settings, "files.azure.AzureStorage", **options)
    return check()
