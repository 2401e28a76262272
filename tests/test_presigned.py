"""Addresses at the store itself: made here without asking it, and what our own addresses do then."""

import base64
import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client

from accounts.models import User
from files import presentation, renditions, signing, storage
from files.errors import StorageUnavailable
from files.models import File
from files.presentation import Presentation
from files.variations import Format, Variation
from tests.api import Api, address, global_id, keep, picture

MIB = 1024 * 1024
IMAGE = Presentation(name="a.png", content_type="image/png", is_shown=True)
SMALL = Variation(width=16, height=None, format=Format.WEBP)
URL = """
    query ($id: ID!, $seconds: Int, $download: Boolean) {
        file(id: $id) { url(expiresIn: $seconds, download: $download) { url expiresAt } }
    }
"""


@pytest.fixture
def configured(settings) -> Callable[..., Any]:
    """The default storage with further options, of a store that nobody may ask."""

    def configure(**options: Any) -> Any:
        given = {
            "bucket_name": "pictures",
            "access_key": "test",
            "secret_key": "test",
            "region_name": "us-east-1",
            "endpoint_url": "http://127.0.0.1:1",
            **options,
        }
        entry = {"BACKEND": "files.s3.S3Storage", "OPTIONS": given}
        settings.STORAGES = {**settings.STORAGES, "default": entry}
        return storages["default"]

    return configure


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("Something asks the network.")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)


def signed(row: File, *, download: bool = False, lifetime: int = 60) -> str:
    found = storage.url(row, lifetime=lifetime, shown=presentation.of_file(row, download=download))
    assert found is not None
    return found


def get(url: str, **headers: str) -> httpx.Response:
    return httpx.get(url, headers=headers, trust_env=False)


def asked(api: Api, file: File, **variables: Any) -> dict[str, Any]:
    found: dict[str, Any] = api.run(URL, id=global_id("File", file.pk), **variables)["file"]["url"]
    return found


def image(owner: User, **fields: Any) -> File:
    given = {"profile": "image", "image_format": "PNG", "width": 40, "height": 20, "frames": 1}
    return keep(owner, picture("PNG"), content_type="image/png", name="a.png", **{**given, **fields})


# --- in answers ------------------------------------------------------------------------------------


def test_the_address_of_a_file_in_a_bucket_is_one_of_the_bucket(api: Api, alice: User, bucket: Any) -> None:
    file = keep(alice, b"Hello.", name="grüße ?&#%.txt", content_type="text/plain")
    url = asked(api, file)["url"]
    assert url.startswith(f"{bucket.endpoint_url}/{bucket.bucket_name}/{file.key}?")
    answer = get(url)
    assert answer.content == b"Hello."
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith("attachment; filename*=utf-8''")
    assert unquote(disposition.partition("''")[2]) == file.name


@pytest.mark.parametrize("download, disposition", [(False, "inline"), (True, "attachment")])
def test_a_decoded_image_is_shown_unless_it_is_to_be_saved(
    api: Api, alice: User, bucket: Any, download: bool, disposition: str
) -> None:
    answer = get(asked(api, image(alice), download=download)["url"])
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == f'{disposition}; filename="a.png"'


def test_what_only_looks_like_an_image_is_saved(api: Api, alice: User, bucket: Any) -> None:
    file = keep(alice, picture("PNG"), content_type="image/png", name="a.png")
    assert get(asked(api, file)["url"]).headers["Content-Disposition"].startswith("attachment")


def test_an_address_expires_as_asked(api: Api, alice: User, bucket: Any) -> None:
    before = datetime.now(UTC).timestamp()
    found = asked(api, keep(alice, b"x"), seconds=120)
    assert parse_qs(urlsplit(found["url"]).query)["X-Amz-Expires"] == ["120"]
    assert 119 <= datetime.fromisoformat(found["expiresAt"]).timestamp() - before <= 130


def test_no_address_outlives_what_the_store_signs_for(configured: Callable[..., Any]) -> None:
    row = File(key="a", storage="default", content_type="image/png", name="a")
    configured()
    query = parse_qs(urlsplit(signed(row, lifetime=10**7)).query)
    assert query["X-Amz-Expires"] == [str(7 * 24 * 3600)]


def test_fifty_addresses_ask_nobody(
    api: Api, alice: User, configured: Callable[..., Any], no_network: None, django_assert_max_num_queries
) -> None:
    configured()
    for number in range(50):
        File.objects.create(
            owner=alice,
            name=str(number),
            key=str(number),
            storage="default",
            size=1,
            content_type="image/png",
        )
    with django_assert_max_num_queries(6):
        found = api.run("{ files(first: 50) { edges { node { url { url } } } } }")["files"]["edges"]
    assert len({each["node"]["url"]["url"] for each in found}) == 50
    assert all("X-Amz-Signature=" in each["node"]["url"]["url"] for each in found)


@pytest.mark.parametrize("trouble", ["no credentials", "no such storage"])
def test_a_storage_that_cannot_sign_leaves_our_own_address(
    api: Api, alice: User, configured: Callable[..., Any], monkeypatch, trouble: str
) -> None:
    file = File.objects.create(owner=alice, name="a", key="a", storage="default", size=1)
    if trouble == "no credentials":
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        configured(access_key=None, secret_key=None)
    else:
        File.objects.filter(pk=file.pk).update(storage="gone")
    assert asked(api, file)["url"].startswith("http://testserver/files/")


# --- our own addresses -----------------------------------------------------------------------------


def test_our_address_of_a_file_in_a_bucket_leads_there(client: Client, alice: User, bucket: Any) -> None:
    file = image(alice)
    answer = client.get(address(file, lifetime=600))
    assert answer.status_code == 302
    assert answer.headers["Cache-Control"] in {"private, max-age=540", "private, max-age=539"}
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    there = get(answer.headers["Location"], Range="bytes=1-3")
    assert (there.status_code, there.content) == (206, b"PNG")
    assert there.headers["Content-Disposition"] == 'inline; filename="a.png"'


def test_the_way_there_is_not_kept_when_it_ends_soon(client: Client, alice: User, bucket: Any) -> None:
    answer = client.get(address(keep(alice, b"x"), lifetime=30))
    assert answer.headers["Cache-Control"] == "private, max-age=0"
    assert int(parse_qs(urlsplit(answer.headers["Location"]).query)["X-Amz-Expires"][0]) <= 30


def test_the_head_of_a_file_in_a_bucket_is_answered_from_its_row(
    client: Client, alice: User, configured: Callable[..., Any], no_network: None
) -> None:
    file = File.objects.create(
        owner=alice, name="a", key="a", storage="default", size=12, content_type="text/csv", sha256="0" * 64
    )
    configured()
    answer = client.head(address(file))
    assert (answer.status_code, answer.headers["Content-Length"]) == (200, "12")
    assert client.get(address(file), headers={"If-None-Match": f'"{file.sha256}"'}).status_code == 304


def test_a_changed_address_of_ours_leads_nowhere(client: Client, alice: User, bucket: Any) -> None:
    assert client.get(address(keep(alice, b"x"))[:-1] + "!").status_code == 403


def test_a_rendition_in_a_bucket_is_fetched_there(client: Client, alice: User, bucket: Any) -> None:
    url = signing.rendition_path(image(alice), SMALL, lifetime=3600)
    answer = client.get(url)
    assert answer.status_code == 302
    assert answer.headers["Vary"] == "Accept"
    there = get(answer.headers["Location"])
    assert there.headers["Content-Type"] == "image/webp"
    assert there.headers["Content-Disposition"] == 'inline; filename="a.webp"'
    assert there.content[8:12] == b"WEBP"


def test_a_rendition_with_a_long_life_is_signed_for_as_long_as_the_store_does(
    client: Client, alice: User, bucket: Any
) -> None:
    url = signing.rendition_path(image(alice), SMALL, lifetime=7 * 24 * 3600)
    answer = client.get(url)
    query = parse_qs(urlsplit(answer.headers["Location"]).query)
    assert query["X-Amz-Expires"] == [str(7 * 24 * 3600)]
    assert answer.headers["Cache-Control"] == f"private, max-age={7 * 24 * 3600 - 60}"


def test_pages_may_show_images_from_the_bucket(client: Client, staff: User, bucket: Any) -> None:
    client.force_login(staff)
    for page in ("/admin/files/file/", "/graphql"):
        policy = client.get(page, headers={"Accept": "text/html"}).headers["Content-Security-Policy"]
        (sources,) = [each for each in policy.split("; ") if each.startswith("img-src ")]
        assert bucket.endpoint_url in sources.split()


# --- other addresses of a bucket -------------------------------------------------------------------


def test_a_public_bucket_has_plain_addresses(alice: User, configured: Callable[..., Any]) -> None:
    configured(querystring_auth=False)
    row = File(key="a b.png", storage="default", content_type="image/png", name="a.png", width=1)
    assert signed(row) == "http://127.0.0.1:1/pictures/a%20b.png"


@pytest.mark.parametrize(
    "content_type, download, is_plain",
    [
        ("image/png", False, True),
        ("image/png", True, False),
        ("text/html", False, True),
        ("text/html", True, True),
    ],
)
def test_a_plain_address_is_given_where_the_object_says_itself_how_it_is_taken(
    configured: Callable[..., Any], content_type: str, download: bool, is_plain: bool
) -> None:
    configured(querystring_auth=False)
    row = File(key="a", storage="default", content_type=content_type, name="a")
    row.width = 1 if content_type == "image/png" else None
    found = storage.url(row, lifetime=60, shown=presentation.of_file(row, download=download))
    assert (found is not None) == is_plain


@pytest.mark.parametrize(
    "content_type, disposition",
    [("image/png", None), ("text/html", "attachment"), ("image/svg+xml", "attachment")],
)
def test_an_object_says_itself_that_it_is_to_be_saved(
    bucket: Any, content_type: str, disposition: str | None
) -> None:
    content = ContentFile(b"bytes")
    content.content_type = content_type  # type: ignore[attr-defined]
    storage.save(key="a/b", content=content)
    head = bucket.bucket.Object("a/b")
    assert head.content_disposition == disposition
    assert head.content_type == content_type
    assert head.cache_control == "max-age=86400"


def test_a_custom_domain_is_signed_for(configured: Callable[..., Any]) -> None:
    configured(custom_domain="files.example")
    url = signed(File(key="a", storage="default", content_type="image/png", name="a"))
    assert url.startswith("https://files.example/a?")
    assert "X-Amz-Signature=" in url


def test_cloudfront_is_signed_for_with_its_own_key(configured: Callable[..., Any]) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    configured(custom_domain="cdn.example", cloudfront_key_id="K1", cloudfront_key=pem.decode())
    now = datetime.now(UTC).timestamp()
    url = signed(File(key="a", storage="default", content_type="text/html", name="a.html"), lifetime=90)
    query = parse_qs(urlsplit(url).query)
    assert query["Key-Pair-Id"] == ["K1"]
    assert query["response-content-disposition"] == ['attachment; filename="a.html"']
    expires = int(query["Expires"][0])
    assert 89 <= expires - now <= 100
    resource = url[: url.index("&Expires=")]
    condition = {"DateLessThan": {"AWS:EpochTime": expires}}
    statement = {"Statement": [{"Resource": resource, "Condition": condition}]}
    signature = base64.b64decode(query["Signature"][0].replace("-", "+").replace("_", "=").replace("~", "/"))
    key.public_key().verify(
        signature, json.dumps(statement, separators=(",", ":")).encode(), padding.PKCS1v15(), hashes.SHA1()
    )


def test_amazons_addresses_have_the_region_and_the_bucket_in_their_host(
    configured: Callable[..., Any],
) -> None:
    configured(endpoint_url=None, region_name="eu-central-1")
    url = signed(File(key="a", storage="default", content_type="image/png", name="a"))
    assert url.startswith("https://pictures.s3.eu-central-1.amazonaws.com/a?")
    assert "%2Feu-central-1%2Fs3%2Faws4_request" in url


def test_our_signature_is_that_of_the_library(configured: Callable[..., Any], monkeypatch) -> None:
    store = configured()
    when = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    for module in ("botocore.auth", "botocore.signers"):
        monkeypatch.setattr(f"{module}.get_current_datetime", lambda **_: when.replace(tzinfo=None))
    row = File(key="ä b/c.png", storage="default", content_type="image/png", name="a.png", width=1)
    params = {
        "Bucket": "pictures",
        "Key": row.key,
        "ResponseContentDisposition": 'inline; filename="a.png"',
        "ResponseContentType": "image/png",
    }
    theirs = store.bucket.meta.client.generate_presigned_url("get_object", Params=params, ExpiresIn=60)
    assert parse_qs(urlsplit(signed(row)).query) == parse_qs(urlsplit(theirs).query)
    assert urlsplit(signed(row)).path == urlsplit(theirs).path


# --- sent by nginx ---------------------------------------------------------------------------------


def test_nginx_is_told_which_file_to_send(client: Client, alice: User, settings) -> None:
    file = keep(alice, b"Hello.", name="a.txt", content_type="text/plain", key="default/a b/ü.txt")
    settings.SENDFILE = "nginx"
    answer = client.get(address(file), headers={"Range": "bytes=1-2"})
    assert answer.status_code == 200
    assert answer.headers["X-Accel-Redirect"] == "/_coffer/files/default/a%20b/%C3%BC.txt"
    assert answer.content == b""
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.txt"'
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert answer.headers["Cache-Control"].startswith("private, max-age=")


def test_nginx_is_not_sent_after_a_file_that_is_gone(client: Client, alice: User, settings) -> None:
    file = keep(alice, b"Hello.")
    storage.delete(key=file.key, alias="default")
    settings.SENDFILE = "nginx"
    answer = client.get(address(file))
    assert answer.status_code == 404
    assert "X-Accel-Redirect" not in answer.headers


def test_what_is_in_a_bucket_is_fetched_there_also_behind_nginx(
    client: Client, alice: User, bucket: Any, settings
) -> None:
    settings.SENDFILE = "nginx"
    assert client.get(address(keep(alice, b"x"))).status_code == 302


def test_the_head_behind_nginx_is_answered_here(client: Client, alice: User, settings) -> None:
    settings.SENDFILE = "nginx"
    answer = client.head(address(keep(alice, b"Hello.")))
    assert answer.headers["Content-Length"] == "6"
    assert "X-Accel-Redirect" not in answer.headers


# --- read by us ------------------------------------------------------------------------------------


def test_of_an_object_only_what_is_read_is_asked_for(bucket: Any) -> None:
    content = bytes(range(256)) * 4096
    storage.save(key="a", content=ContentFile(content))
    ranges: list[bytes | None] = []
    events = bucket.bucket.meta.client.meta.events
    events.register(
        "before-send.s3.GetObject", lambda request, **_: ranges.append(request.headers.get("Range"))
    )
    with storage.open_key(key="a", alias="default") as file:
        file.seek(MIB - 256)
        assert file.read(10) == content[:10]
        file.seek(-5, 2)
        assert file.read() == content[-5:]
        file.seek(10)
        assert file.read(10) == content[10:20]
    assert ranges == [None, b"bytes=1048320-", b"bytes=1048571-", b"bytes=10-"]


def test_an_object_that_is_replaced_while_it_is_read_is_not_mixed_with_the_other(bucket: Any) -> None:
    storage.save(key="a", content=ContentFile(b"first" * MIB))
    with storage.open_key(key="a", alias="default") as file:
        storage.delete(key="a", alias="default")
        storage.save(key="a", content=ContentFile(b"other" * MIB))
        file.seek(4 * MIB)
        with pytest.raises(ClientError, match="PreconditionFailed"):
            file.read(1)


def test_a_missing_bucket_is_not_a_missing_object(bucket: Any) -> None:
    bucket.bucket.delete()
    with pytest.raises(StorageUnavailable):
        storage.open_key(key="a", alias="default")


def test_images_are_made_of_what_lies_in_a_bucket(alice: User, bucket: Any) -> None:
    assert renditions.get_or_make(image(alice), SMALL).size
