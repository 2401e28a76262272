"""Downloads under WSGI: the whole file or parts of it, conditions, refusals and headers that keep it safe."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.parser import BytesHeaderParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from django.db import OperationalError, connection
from django.test import Client, RequestFactory
from django.utils.http import http_date

from accounts.models import User
from files import serving
from files.disk import DiskStorage
from files.models import File, Visibility
from tests.api import address, global_id, keep

CONTENT = bytes(range(256)) * 4  # every byte, line ends included
SIZE = len(CONTENT)
# Larger than what is read at once.
LARGE = b"0123456789abcdef" * 40_000


@pytest.fixture
def file(alice: User) -> File:
    return keep(alice, CONTENT, created_at=datetime(2026, 1, 31, 12, 0, 0, 999_999, tzinfo=UTC))


@pytest.fixture
def client() -> Client:
    return Client()


def body(answer: Any) -> bytes:
    return answer.getvalue() if answer.streaming else answer.content


def fetch(client: Client, file: File, **headers: str) -> Any:
    """The response to GET with these headers; `If_Range` is If-Range."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.get(address(file), headers=named)


def is_refused(answer: Any, status: int) -> bool:
    """Refused in JSON, which no browser runs and every GraphQL client can read."""
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["errors"][0]["message"]
    return answer.status_code == status


# --- whole files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"x", CONTENT, LARGE])
def test_a_signed_address_gives_the_whole_file(client, alice, content):
    file = keep(alice, content)
    answer = fetch(client, file)
    assert answer.status_code == 200
    assert answer.streaming
    assert body(answer) == content
    assert answer.headers["Content-Length"] == str(len(content))
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "Content-Range" not in answer.headers


def test_the_address_in_an_answer_is_one(client, api):
    url = urlsplit(api.upload(CONTENT, "ünï #?&%.bin")["url"]["url"])
    assert url.hostname == "testserver"
    assert unquote(url.path).endswith("/ünï #?&%.bin")
    assert body(client.get(f"{url.path}?{url.query}")) == CONTENT


def test_an_address_needs_no_credentials_and_minds_none(client, file, alice):
    client.force_login(alice)
    for headers in ({}, {"Authorization": "Bearer coffer_nonsense"}):
        assert body(client.get(address(file), headers=headers)) == CONTENT


def test_files_are_sent_in_pieces(client, alice):
    pieces = list(fetch(client, keep(alice, LARGE)).streaming_content)
    assert b"".join(pieces) == LARGE
    assert len(pieces) > 1
    assert max(map(len, pieces)) <= 512 * 1024


def test_head_says_what_get_would_without_bytes(client, file):
    got = fetch(client, file)
    assert body(got) == CONTENT
    path = address(file)
    answer = client.head(path)
    assert answer.status_code == 200
    assert answer.content == b""
    for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Content-Disposition"):
        assert answer.headers[name] == got.headers[name]
    # A range is asked for by GET only (RFC 9110, section 14.2).
    assert client.head(path, headers={"Range": "bytes=0-9"}).headers["Content-Length"] == str(SIZE)


def test_the_file_of_the_storage_is_closed(client, file, monkeypatch):
    opened = []
    open_ = DiskStorage.open

    def recording(storage: DiskStorage, name: str, mode: str = "rb") -> Any:
        opened.append(open_(storage, name, mode))
        return opened[-1]

    monkeypatch.setattr(DiskStorage, "open", recording)
    body(fetch(client, file))
    left = fetch(client, file, Range="bytes=0-1")
    next(iter(left.streaming_content))
    left.close()  # as a server does when its client is gone
    fetch(client, file).close()  # before the first byte
    assert [content.closed for content in opened] == [True, True, True]


# --- parts of files --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header, first, last",
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-99", 0, 99),
        ("bytes=100-199", 100, 199),
        ("bytes=1000-", 1000, SIZE - 1),
        ("bytes=0-", 0, SIZE - 1),
        (f"bytes=0-{SIZE + 5}", 0, SIZE - 1),
        (f"bytes={SIZE - 1}-", SIZE - 1, SIZE - 1),
        ("bytes=-1", SIZE - 1, SIZE - 1),
        ("bytes=-100", SIZE - 100, SIZE - 1),
        (f"bytes=-{SIZE + 5}", 0, SIZE - 1),
        ("bytes=5-9, 9999-", 5, 9),
        ("BYTES=5-9", 5, 9),
        ("bytes= 5-9 ", 5, 9),
    ],
)
def test_one_range_is_that_part(client, file, header, first, last):
    answer = fetch(client, file, Range=header)
    assert answer.status_code == 206
    assert body(answer) == CONTENT[first : last + 1]
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert answer.headers["Content-Length"] == str(last - first + 1)
    assert answer.headers["Content-Type"] == "application/octet-stream"


def byte_ranges(answer: Any) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart/byteranges body, read as its specification has it (RFC 9110, section 14.6)."""
    match = re.fullmatch(r"multipart/byteranges; boundary=(\w+)", answer.headers["Content-Type"])
    assert match is not None
    content = body(answer)
    assert answer.headers["Content-Length"] == str(len(content))
    preamble, *found, end = content.split(f"\r\n--{match[1]}".encode())
    assert (preamble, end) == (b"", b"--\r\n")
    parts = []
    for part in found:
        head, separator, piece = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        assert separator
        parts.append((dict(BytesHeaderParser().parsebytes(head).items()), piece))
    return parts


@pytest.mark.parametrize(
    "header, ranges",
    [
        ("bytes=0-9,20-29", [(0, 9), (20, 29)]),
        ("bytes=20-29,0-9", [(20, 29), (0, 9)]),
        ("bytes=0-0, 2-2 ,-1", [(0, 0), (2, 2), (SIZE - 1, SIZE - 1)]),
        ("bytes=0-9,9999-,1000-", [(0, 9), (1000, SIZE - 1)]),
        (
            "bytes=" + ",".join(f"{n * 10}-{n * 10 + 4}" for n in range(16)),
            [(n * 10, n * 10 + 4) for n in range(16)],
        ),
    ],
)
def test_several_ranges_are_parts_in_their_order(client, file, header, ranges):
    answer = fetch(client, file, Range=header)
    assert answer.status_code == 206
    assert "Content-Range" not in answer.headers
    assert byte_ranges(answer) == [
        (
            {"Content-Type": "application/octet-stream", "Content-Range": f"bytes {first}-{last}/{SIZE}"},
            CONTENT[first : last + 1],
        )
        for first, last in ranges
    ]


def test_large_ranges_come_in_pieces_too(client, alice):
    file = keep(alice, LARGE)
    answer = fetch(client, file, Range="bytes=300000-,0-299990")
    assert [piece for _, piece in byte_ranges(answer)] == [LARGE[300_000:], LARGE[:299_991]]


@pytest.mark.parametrize(
    "header",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-5",
        "bytes=0-9,9-5",
        "bytes=5",
        "bytes=--5",
        "items=0-9",
        "bytes=0x0-0x9",
        "bytes=" + "9" * 5000 + "-",
        "bytes=0-9,5-14",  # the same bytes twice
        "bytes=" + ",".join("0-" for _ in range(1000)),
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)),  # more than anybody reads at once
    ],
)
def test_a_range_that_is_not_understood_or_not_wanted_is_the_whole_file(client, file, header):
    answer = fetch(client, file, Range=header)
    assert answer.status_code == 200
    assert body(answer) == CONTENT


@pytest.mark.parametrize("header", [f"bytes={SIZE}-", "bytes=9999-99999", "bytes=-0", f"bytes={SIZE}-,-0"])
def test_a_range_outside_of_the_file_is_refused_with_its_size(client, file, header):
    answer = fetch(client, file, Range=header)
    assert is_refused(answer, 416)
    assert answer.headers["Content-Range"] == f"bytes */{SIZE}"


# --- conditions ------------------------------------------------------------------------------------


def test_the_etag_is_strong_and_of_the_bytes(client, file, alice):
    etag = fetch_and_forget(client, file).headers["ETag"]
    assert etag == f'"{file.sha256}"'
    assert fetch_and_forget(client, keep(alice, CONTENT)).headers["ETag"] == etag
    assert fetch_and_forget(client, keep(alice, LARGE)).headers["ETag"] != etag


def fetch_and_forget(client: Client, file: File, **headers: str) -> Any:
    answer = fetch(client, file, **headers)
    body(answer)
    return answer


MODIFIED = "Sat, 31 Jan 2026 12:00:00 GMT"
BEFORE, AFTER = "Sat, 31 Jan 2026 11:59:59 GMT", "Sat, 31 Jan 2026 12:00:01 GMT"


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"If_None_Match": "{etag}"}, 304),
        ({"If_None_Match": "W/{etag}"}, 304),
        ({"If_None_Match": '"other", {etag}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"other"'}, 200),
        ({"If_None_Match": "{etag}", "Range": "bytes=0-9"}, 304),
        ({"If_None_Match": '"other"', "If_Modified_Since": AFTER}, 200),
        ({"If_Modified_Since": MODIFIED}, 304),
        ({"If_Modified_Since": AFTER}, 304),
        ({"If_Modified_Since": BEFORE}, 200),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_Match": "{etag}"}, 200),
        ({"If_Match": '"other"'}, 412),
        ({"If_Unmodified_Since": BEFORE}, 412),
        ({"If_Range": "{etag}", "Range": "bytes=0-9"}, 206),
        ({"If_Range": MODIFIED, "Range": "bytes=0-9"}, 206),
        ({"If_Range": '"other"', "Range": "bytes=0-9"}, 200),
        ({"If_Range": "W/{etag}", "Range": "bytes=0-9"}, 200),
        ({"If_Range": BEFORE, "Range": "bytes=0-9"}, 200),
        ({"If_Range": AFTER, "Range": "bytes=0-9"}, 200),
        ({"If_Range": "nonsense", "Range": "bytes=0-9"}, 200),
        ({"If_Range": '"other"', "Range": "bytes=9999-"}, 200),
        ({"If_Range": "{etag}", "Range": "bytes=9999-"}, 416),
        ({"If_Range": "{etag}"}, 200),
    ],
)
def test_conditions(client, file, headers, status):
    etag = f'"{file.sha256}"'
    answer = fetch(client, file, **{name: value.replace("{etag}", etag) for name, value in headers.items()})
    assert answer.status_code == status
    content = body(answer)
    if status == 304:
        assert content == b""
    if status in {200, 304, 206}:
        assert (answer.headers["ETag"], answer.headers["Last-Modified"]) == (etag, MODIFIED)
    if status == 200:
        assert content == CONTENT
    if status == 206:
        assert content == CONTENT[:10]


def test_nothing_is_opened_for_what_the_client_has(client, file, storage_root: Path):
    (storage_root / file.key).unlink()
    assert fetch(client, file, If_None_Match=f'"{file.sha256}"').status_code == 304


def test_what_is_kept_is_kept_no_longer_than_the_address_lives(client, file):
    answer = client.get(address(file, lifetime=60))
    body(answer)
    directives = dict(part.strip().partition("=")[::2] for part in answer.headers["Cache-Control"].split(","))
    assert "private" in directives
    assert "public" not in directives
    assert 50 <= int(directives["max-age"]) <= 60


# --- refusals --------------------------------------------------------------------------------------


def tampered(file: File, other: File) -> dict[str, str]:
    good, theirs = address(file), address(other)
    saved = address(file, download=True)
    path, _, query = good.partition("?")
    expires, signature = query.split("&")
    later = f"expires={int(expires.removeprefix('expires=')) + 1000}"
    return {
        "no query": path,
        "no signature": f"{path}?{expires}",
        "an empty signature": f"{path}?{expires}&signature=",
        "no expiry": f"{path}?{signature}",
        "a later expiry": f"{path}?{later}&{signature}",
        "an expiry with a zero before": f"{path}?expires=0{expires.removeprefix('expires=')}x&{signature}",
        "a negative expiry": f"{path}?expires=-1&{signature}",
        "a huge expiry": f"{path}?expires={'9' * 5000}&{signature}",
        "no number for an expiry": f"{path}?expires=nan&{signature}",
        "digits of another script": f"{path}?expires=%D9%A3&{signature}",
        "a signature with a letter less": good[:-1],
        "a signature with a letter more": good + "A",
        "a signature that is no text": f"{path}?{expires}&signature=%ED%A0%80%00%FF",
        "the signature of another file": f"{path}?{theirs.partition('?')[2]}",
        "another file under the signature": f"{theirs.partition('?')[0]}?{query}",
        "the wish to save added": f"{good}&download=1",
        "the wish to save taken away": saved.replace("download=1&", ""),
    }


@pytest.mark.parametrize("what", tampered(File(), File()))
def test_a_tampered_address_is_refused(client, file, bob, what):
    path = tampered(file, keep(bob, b"Bob's"))[what]
    assert is_refused(client.get(path), 403)
    assert is_refused(client.get(path, headers={"If-None-Match": "*"}), 403)
    assert client.head(path).status_code == 403


def test_an_expired_address_is_refused(client, file):
    assert is_refused(client.get(address(file, lifetime=-1)), 403)
    assert client.head(address(file, lifetime=-1)).status_code == 403


def test_an_address_of_another_deployment_is_refused(client, file, settings):
    path = address(file)
    settings.SECRET_KEY = "another-" * 8
    assert is_refused(client.get(path), 403)


def test_refused_and_missing_cannot_be_told_apart_without_a_signature(client, file):
    path = address(file).partition("?")[0]
    missing = path.replace(str(file.pk), str(File().pk))
    assert client.get(path).content == client.get(missing).content


def test_being_public_needs_no_less_of_an_address(client, alice):
    file = keep(alice, CONTENT, visibility=Visibility.PUBLIC)
    assert is_refused(client.get(address(file).partition("?")[0]), 403)


@pytest.mark.parametrize("name", ["other.html", "a%2Fb", "..%2F..", "%E2%98%83"])
def test_the_name_in_the_address_decides_nothing(client, file, name):
    _, _, query = address(file).partition("?")
    answer = client.get(f"/files/{file.pk}/{name}?{query}")
    assert body(answer) == CONTENT
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="file.bin"'


def test_a_deleted_file_is_not_found(client, file, api, django_capture_on_commit_callbacks):
    path = address(file)
    with django_capture_on_commit_callbacks(execute=True):
        api.run(
            "mutation($id: ID!) { deleteFiles(ids: [$id]) { __typename } }", id=global_id("File", file.pk)
        )
    assert is_refused(client.get(path), 404)
    assert client.head(path).status_code == 404


def test_a_file_whose_bytes_are_missing_is_not_found(client, file, storage_root: Path):
    path = address(file)
    (storage_root / file.key).unlink()
    assert is_refused(client.get(path), 404)
    assert is_refused(client.get(path, headers={"Range": "bytes=0-9,20-29"}), 404)


@pytest.mark.parametrize("error", [OSError(errno.EIO, os.strerror(errno.EIO)), PermissionError("denied")])
def test_a_storage_that_is_down_says_when_to_try_again(client, file, monkeypatch, error):
    def down(*_: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(DiskStorage, "open", down)
        answer = fetch(client, file)
    assert is_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert str(error) not in answer.content.decode()
    assert body(fetch(client, file)) == CONTENT


@contextmanager
def database_that_is_down() -> Iterator[None]:
    def down(*_: object) -> None:
        raise OperationalError("connection to 10.0.0.1 refused")

    with connection.execute_wrapper(down):
        yield


def test_a_database_that_is_down_says_when_to_try_again(client, file):
    client.raise_request_exception = False
    with database_that_is_down():
        answer = fetch(client, file)
    assert is_refused(answer, 503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "10.0.0.1" not in answer.content.decode()
    assert body(fetch(client, file)) == CONTENT


def test_an_object_that_is_shorter_than_its_row_breaks_off(client, file, storage_root: Path):
    """The length was promised already; a short answer that looks whole would be a lie."""
    path = storage_root / file.key
    path.chmod(0o640)
    path.write_bytes(CONTENT[:100])
    answer = fetch(client, file)
    with pytest.raises(ConnectionAbortedError):
        body(answer)
    answer.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_files_are_only_read(client, file, method):
    answer = client.generic(method, address(file))
    assert is_refused(answer, 405)
    assert {each.strip() for each in answer.headers["Allow"].split(",")} == {"GET", "HEAD"}


# --- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=0-9"}, {"Range": "bytes=0-9,20-29"}])
def test_what_is_served_can_neither_run_nor_be_taken_for_something_else(file, headers):
    """By the view itself: a deployment may leave out the middleware that says the same of pages."""
    request = RequestFactory().get(address(file), headers=headers)
    answer = serving.download(request, file.pk, file.name)
    body(answer)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    policy = [each.strip() for each in answer.headers["Content-Security-Policy"].split(";")]
    assert "sandbox" in policy
    assert "default-src 'none'" in policy
    assert not any(each.startswith("script-src") or "allow-" in each for each in policy)


IMAGE: dict[str, Any] = {"content_type": "image/png", "width": 4, "height": 3, "image_format": "PNG"}


@pytest.mark.parametrize(
    "fields, download, disposition",
    [
        ({**IMAGE, "name": "a.png"}, False, "inline"),
        ({**IMAGE, "name": "a.png"}, True, "attachment"),
        # Not decoded when it came, so nobody knows that it is one.
        ({"content_type": "image/png", "name": "a.png"}, False, "attachment"),
        ({"content_type": "text/html", "name": "a.html"}, False, "attachment"),
        ({"content_type": "text/html", "name": "a.png"}, False, "attachment"),
        ({"content_type": "image/svg+xml", "name": "a.svg"}, False, "attachment"),
        ({"content_type": "application/xhtml+xml", "name": "a.xhtml"}, False, "attachment"),
        ({"content_type": "application/pdf", "name": "a.pdf"}, False, "attachment"),
        ({"content_type": "text/plain", "name": "a.txt"}, False, "attachment"),
        ({"content_type": "video/mp4", "name": "a.mp4"}, False, "attachment"),
    ],
)
def test_only_decoded_images_are_shown(client, alice, fields, download, disposition):
    file = keep(alice, CONTENT, **fields)
    answer = client.get(address(file, download=download))
    body(answer)
    assert answer.headers["Content-Disposition"] == f'{disposition}; filename="{file.name}"'


@pytest.mark.parametrize(
    "name, header",
    [
        ("a b.txt", 'attachment; filename="a b.txt"'),
        ('say "hi".txt', r'attachment; filename="say \"hi\".txt"'),
        ("a;b=c,d.txt", 'attachment; filename="a;b=c,d.txt"'),
        ("naïve.txt", "attachment; filename*=utf-8''na%C3%AFve.txt"),
        ("☃ 文件.txt", "attachment; filename*=utf-8''%E2%98%83%20%E6%96%87%E4%BB%B6.txt"),
        ('é".txt', "attachment; filename*=utf-8''%C3%A9%22.txt"),
    ],
)
def test_a_name_is_written_as_browsers_read_it(client, alice, name, header):
    """RFC 6266: as it is, or where it is not ASCII, in the extended notation."""
    assert fetch_and_forget(client, keep(alice, b"x", name=name)).headers["Content-Disposition"] == header


@pytest.mark.parametrize(
    "content_type, header",
    [
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/csv", "text/csv; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
        ("application/pdf", "application/pdf"),
        ("application/json", "application/json"),
    ],
)
def test_text_says_how_it_is_encoded(client, alice, content_type, header):
    file = keep(alice, CONTENT, content_type=content_type)
    assert fetch_and_forget(client, file).headers["Content-Type"] == header
    assert byte_ranges(fetch(client, file, Range="bytes=0-1,5-6"))[0][0]["Content-Type"] == header


def test_the_time_of_a_file_is_that_of_its_bytes(client, file):
    """Changing what is said of a file does not change its bytes."""
    File.objects.filter(pk=file.pk).update(updated_at=datetime.now(UTC) + timedelta(days=1))
    modified = http_date(file.created_at.timestamp())
    assert fetch_and_forget(client, file).headers["Last-Modified"] == modified == MODIFIED
