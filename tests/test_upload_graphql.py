"""Uploads over GraphQL: what is answered for each file, and that a refusal leaves nothing behind."""

import base64
import errno
import hashlib
import io
import json
import os
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError
from PIL import Image

from database import prepared
from files import storage
from files.disk import DiskDraft
from files.models import File
from files.profiles import DECODERS, UploadProfile
from tests.api import FILE_FIELDS, UPLOAD, UPLOAD_MANY, UPLOAD_RESULT, Api, global_id, picture
from tests.conftest import stored_files

# Of no known type, and large enough to be staged on disk before it is judged.
LARGE = b"\xff\x00" + random.Random(1).randbytes(1_000_000)
PROFILE: dict[str, Any] = {
    "description": "",
    "max_size": 10_000,
    "types": ("*/*",),
    "visibility": "private",
    "max_pixels": 1_000_000,
    "fit": None,
}

type Leftovers = Callable[[], list[str]]


def small_profiles(**profiles: dict[str, Any]) -> dict[str, UploadProfile]:
    return {name: UploadProfile(name=name, **{**PROFILE, **given}) for name, given in profiles.items()}


@pytest.fixture
def leftovers(storage_root: Path, settings, db) -> Leftovers:
    """Says what there is of rows, objects and staged files."""

    def find() -> list[str]:
        staged = Path(settings.STAGING_DIR)
        return [
            *(f"row {file.name}" for file in File.objects.all()),
            *(f"object {key}" for key in stored_files(storage_root)),
            *(f"staged {path.name}" for path in staged.glob("**/*")),
        ]

    return find


def half_a_picture() -> bytes:
    whole = io.BytesIO()
    Image.frombytes("RGB", (20, 20), random.Random(1).randbytes(3 * 20 * 20)).save(whole, "PNG")
    return whole.getvalue()[: whole.tell() // 2]


def upload_as(api: Api, content: bytes, input: dict[str, Any]) -> dict[str, Any]:
    """The result of `uploadFile` with exactly this input beside the file, a field `name` included."""
    file = {"variables.input.file": ("came.txt", content, "text/plain")}
    return api.multipart(UPLOAD, {"input": {"file": None, **input}}, file).json()["data"]["uploadFile"]


def raw_upload(api: Api, *, disposition: bytes, content: bytes = b"hello", input: bytes = b"") -> Any:
    """The response to an upload whose file part bears these very bytes in its Content-Disposition."""
    operations = b'{"query": %s, "variables": {"input": {"file": null%s}}}' % (
        json.dumps(UPLOAD).encode(),
        input,
    )
    body = b"".join(
        b"--limit\r\nContent-Disposition: form-data; %s\r\n\r\n%s\r\n" % part
        for part in (
            (b'name="operations"', operations),
            (b'name="map"', b'{"0": ["variables.input.file"]}'),
            (b'name="0"; ' + disposition, content),
        )
    )
    return api.client.generic(
        "POST", "/graphql", body + b"--limit--\r\n", content_type="multipart/form-data; boundary=limit"
    )


# --- what is kept ----------------------------------------------------------------------------------


def test_an_image_answers_every_field(api, alice, storage_root):
    content = picture("PNG", (40, 20), "#ff0000")
    file = api.upload(
        content,
        "Cat.PNG",
        "application/pdf",
        profile="image",
        title="A cat",
        description="It sits.",
        tags=["cat", "red", "cat"],
        metadata={"album": {"year": 2026}},
        visibility="PUBLIC",
    )

    row = File.objects.get()
    made = datetime.fromisoformat(file["createdAt"])
    day = made.strftime("%Y/%m/%d")
    address, thumbhash = file.pop("url"), file["image"].pop("thumbhash")
    assert file == {
        "__typename": "File",
        "id": global_id("File", row.pk),
        "name": "Cat.PNG",
        "title": "A cat",
        "description": "It sits.",
        "tags": ["cat", "red"],
        "metadata": {"album": {"year": 2026}},
        "profile": "image",
        "kind": "IMAGE",
        "contentType": "image/png",
        "size": len(content),
        "md5": hashlib.md5(content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
        "visibility": "PUBLIC",
        "owner": {"username": "alice"},
        "storage": {"backend": "disk", "bucket": None, "objectKey": f"image/{day}/{row.pk}.png"},
        "image": {
            "width": 40,
            "height": 20,
            "format": "PNG",
            "frames": 1,
            "dominantColor": "#ff0000",
            "exif": None,
        },
        "createdAt": row.created_at.isoformat(),
        "updatedAt": file["createdAt"],
        "viewerCanChange": True,
    }
    assert 5 <= len(base64.b64decode(thumbhash, validate=True)) <= 25
    assert address["url"].startswith(f"http://testserver/files/{row.pk}/Cat.PNG?expires=")
    lifetime = datetime.fromisoformat(address["expiresAt"]) - made
    assert timedelta(minutes=59) < lifetime <= timedelta(minutes=61)
    assert stored_files(storage_root) == [row.key]
    assert (storage_root / row.key).read_bytes() == content


def test_an_opaque_file_answers_every_field(api, storage_root):
    file = api.upload(LARGE, "data.bin", "image/png")

    row = File.objects.get()
    assert {field: file[field] for field in ("name", "size", "md5", "sha256", "image", "profile")} == {
        "name": "data.bin",
        "size": len(LARGE),
        "md5": hashlib.md5(LARGE).hexdigest(),
        "sha256": hashlib.sha256(LARGE).hexdigest(),
        "image": None,
        "profile": "default",
    }
    assert {field: file[field] for field in ("title", "description", "tags", "metadata", "visibility")} == {
        "title": None,
        "description": None,
        "tags": [],
        "metadata": {},
        "visibility": "PRIVATE",
    }
    assert (file["contentType"], file["kind"]) == ("application/octet-stream", "OTHER")
    assert file["storage"]["objectKey"] == row.key
    assert row.key.endswith(".bin")
    assert (storage_root / row.key).read_bytes() == LARGE


def test_what_was_answered_is_what_is_found_later(api):
    file = api.upload(picture(), "cat.png", "image/png", profile="image")
    found = api.run(f"query($id: ID!) {{ file(id: $id) {{ {FILE_FIELDS} }} }}", id=file["id"])["file"]
    for each in (file, found):
        each.pop("url")
    assert found == {name: value for name, value in file.items() if name != "__typename"}


def test_an_image_is_opaque_to_a_profile_of_any_type(api):
    assert api.upload(picture(), "cat.png", "image/png")["image"] is None


def test_keeping_leaves_no_staged_file(api, leftovers):
    api.upload(LARGE, "data.bin")
    assert leftovers() == ["row data.bin", f"object {File.objects.get().key}"]


def test_an_avatar_is_measured_as_it_is_kept(api, storage_root):
    file = api.upload(picture("JPEG", (600, 400)), "me.jpg", "image/jpeg", profile="avatar")
    kept = (storage_root / File.objects.get().key).read_bytes()
    assert (file["image"]["width"], file["image"]["height"]) == (300, 200)
    assert (file["size"], file["md5"], file["sha256"]) == (
        len(kept),
        hashlib.md5(kept).hexdigest(),
        hashlib.sha256(kept).hexdigest(),
    )


CAMERA = {"takenAt": "2024-05-01T12:30:45+02:00", "camera": "Canon EOS R5", "lens": "RF 24-105"}


def camera_exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x013B] = "Canon", "Canon EOS R5", "PRIVATE"
    exif.get_ifd(0x8825)[29] = "PRIVATE"
    details = exif.get_ifd(0x8769)
    details[0x9003], details[0x9011] = "2024:05:01 12:30:45", "+02:00"
    details[0xA434], details[0xA431] = "RF 24-105", "PRIVATE"
    return exif


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "AVIF"])
def test_an_image_says_when_and_with_what_it_was_taken_and_no_more(api, format_):
    file = api.upload(picture(format_, exif=camera_exif()), profile="image")

    assert file["image"]["exif"] == CAMERA
    row = File.objects.filter(pk=File.objects.get().pk).values().get()
    assert "PRIVATE" not in str(row)


def test_what_an_image_does_not_say_is_null(api):
    exif = Image.Exif()
    exif[0x0110] = "EOS R5"
    file = api.upload(picture("JPEG", exif=exif), profile="image")

    assert file["image"]["exif"] == {"takenAt": None, "camera": "EOS R5", "lens": None}


def test_nothing_is_known_of_an_avatar_but_its_pixels(api, storage_root):
    file = api.upload(picture("JPEG", exif=camera_exif()), profile="avatar")

    assert file["image"]["exif"] is None
    assert b"Canon" not in (storage_root / File.objects.get().key).read_bytes()


@pytest.mark.parametrize("content_type", DECODERS)
def test_each_image_type_is_kept_as_what_it_is(api, content_type):
    file = api.upload(picture(DECODERS[content_type]), "wrong.ending", "text/plain", profile="image")
    assert (file["contentType"], file["kind"]) == (content_type, "IMAGE")
    assert file["image"]["format"] == DECODERS[content_type]


def test_a_profile_says_who_may_see_a_file_unless_the_client_does(api, settings):
    settings.UPLOAD_PROFILES = small_profiles(default={"visibility": "public"})
    assert api.upload(b"hello")["visibility"] == "PUBLIC"
    assert api.upload(b"hello", visibility="PRIVATE")["visibility"] == "PRIVATE"


def test_null_is_the_same_as_saying_nothing(api):
    nothing = dict.fromkeys(("profile", "name", "title", "description", "tags", "metadata", "visibility"))
    file = upload_as(api, b"hello", nothing)
    assert (file["profile"], file["name"], file["tags"], file["metadata"]) == ("default", "came.txt", [], {})


def test_the_file_alone_can_be_a_variable(api):
    query = """
        mutation($file: Upload!) {
            uploadFile(input: {file: $file, profile: "image", tags: ["a"], metadata: {n: [1, {b: true}]}}) {
                __typename ... on File { profile tags metadata }
            }
        }
    """
    answer = api.multipart(query, {"file": None}, {"variables.file": ("a.png", picture(), "image/png")})
    assert answer.json()["data"]["uploadFile"] == {
        "__typename": "File",
        "profile": "image",
        "tags": ["a"],
        "metadata": {"n": [1, {"b": True}]},
    }


# --- several files ---------------------------------------------------------------------------------


def test_each_file_of_several_has_its_own_result_in_order(api, settings, storage_root):
    settings.UPLOAD_PROFILES = small_profiles(
        default={}, image={"types": ("image/png",), "max_size": 2_000, "max_pixels": 1_000}
    )
    results = api.upload_many(
        [
            ("1.png", picture(color="#ff0000"), "image/png"),
            ("2.png", b"", "image/png"),
            ("3.png", picture(color="#00ff00"), "image/png"),
            ("4.png", LARGE, "image/png"),
            ("5.png", picture(size=(100, 100)), "image/png"),
            ("6.png", half_a_picture(), "image/png"),
            ("7.png", picture(color="#0000ff"), "image/png"),
        ],
        profile="image",
        title="One of seven",
    )
    assert [result["__typename"] for result in results] == [
        "File",
        "EmptyFile",
        "File",
        "FileTooLarge",
        "ImageTooLarge",
        "InvalidImage",
        "File",
    ]
    kept = [result for result in results if result["__typename"] == "File"]
    assert [file["image"]["dominantColor"] for file in kept] == ["#ff0000", "#00ff00", "#0000ff"]
    assert {file["title"] for file in kept} == {"One of seven"}
    assert stored_files(storage_root) == sorted(file["storage"]["objectKey"] for file in kept)


def test_one_file_at_two_places_is_kept_twice(api, storage_root):
    operations = {"query": UPLOAD_MANY, "variables": {"input": {"files": [None, None]}}}
    places = {"0": ["variables.input.files.0", "variables.input.files.1"]}
    answer = api.client.post(
        "/graphql",
        {
            "operations": json.dumps(operations),
            "map": json.dumps(places),
            "0": SimpleUploadedFile("a.bin", LARGE),
        },
    ).json()
    first, second = answer["data"]["uploadFiles"]
    assert first["id"] != second["id"]
    assert [(storage_root / key).read_bytes() for key in stored_files(storage_root)] == [LARGE, LARGE]


def test_no_files_are_too_few(api, leftovers):
    (error,) = api.errors(UPLOAD_MANY, input={"files": []})
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert leftovers() == []


def test_more_files_than_are_allowed_are_refused_together(api, settings, leftovers):
    settings.MAX_FILES = 2
    files = {f"variables.input.files.{number}": ("a.bin", LARGE, "") for number in range(3)}
    answer = api.multipart(UPLOAD_MANY, {"input": {"files": [None] * 3}}, files).json()
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    assert leftovers() == []


def test_more_file_parts_than_are_read_are_refused_by_http(api, settings, leftovers):
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 2
    files = {f"variables.input.files.{number}": ("a.bin", LARGE, "") for number in range(3)}
    answer = api.multipart(UPLOAD_MANY, {"input": {"files": [None] * 3}}, files)
    assert answer.status_code == 413
    assert answer.json()["errors"][0]["extensions"]["code"] == "REQUEST_TOO_LARGE"
    assert leftovers() == []


# --- names -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent, kept",
    [
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        (r"C:\\Users\\me\\photo.jpg", "photo.jpg"),
        ("..", "file"),
        (" ", "file"),
        ("a\x00b.txt", "ab.txt"),
        ("exe.\u202egpj", "exe.gpj"),
        ("\u2066invoice\u2069.pdf", "invoice.pdf"),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
        ("naïve ☃ 文件.txt", "naïve ☃ 文件.txt"),
        (r"say \"hi\".txt", 'say "hi".txt'),
        ("<script>.html", "<script>.html"),
    ],
)
def test_the_name_that_came_with_a_file_is_made_safe(api, sent, kept):
    answer = raw_upload(api, disposition=f'filename="{sent}"'.encode())
    assert answer.json()["data"]["uploadFile"]["name"] == kept


def test_a_name_in_extended_notation_is_understood(api):
    answer = raw_upload(api, disposition=b"filename=\"?\"; filename*=UTF-8''%e2%98%83%2F..%2Fsnow.txt")
    assert answer.json()["data"]["uploadFile"]["name"] == "snow.txt"


@pytest.mark.parametrize(
    "disposition",
    [
        pytest.param(b'filename=""', id="no name at all"),
        pytest.param(b'filename="\xed\xa0\x80.txt"', id="half a surrogate pair"),
        pytest.param(b'filename="\xff\xfe.txt"', id="not UTF-8"),
        pytest.param(b"filename=\"a\"; filename*=nonsense''%zz", id="broken extended notation"),
        pytest.param(b'filename="' + b"x" * 9000 + b'"', id="longer than a header may be"),
        pytest.param(b'filename="a\r\nX-Injected: 1.txt"', id="a line break"),
    ],
)
def test_a_name_that_cannot_be_read_is_mended_or_refused(api, disposition, leftovers):
    answer = raw_upload(api, disposition=disposition)
    if answer.status_code == 200:
        name = answer.json()["data"]["uploadFile"]["name"]
        assert 0 < len(name) <= 255
        assert name.isprintable()
    else:
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
        assert leftovers() == []


def test_a_name_given_on_purpose_stands_for_the_one_that_came(api):
    assert upload_as(api, b"hello", {"name": "  Given name.txt "})["name"] == "Given name.txt"


@pytest.mark.parametrize(
    "field, value",
    [
        ("name", ""),
        ("name", "   "),
        ("name", "../../etc/passwd"),
        ("name", r"..\boot.ini"),
        ("name", ".."),
        ("name", "a\x00b.txt"),
        ("name", "exe.\u202egpj"),
        ("name", "line\nbreak"),
        ("name", "x" * 300),
        ("title", "x" * 256),
        ("title", "a\x00b"),
        ("description", "x" * 5001),
        ("description", "a\x00b"),
        ("tags", [""]),
        ("tags", ["a\x00b"]),
        ("tags", ["x" * 65]),
        ("tags", [f"tag {number}" for number in range(33)]),
        ("metadata", []),
        ("metadata", [{"a": 1}]),
        ("metadata", "text"),
        ("metadata", 5),
        ("metadata", False),
        ("metadata", {"a": "x" * 17_000}),
        ("metadata", {"a": "\x00"}),
        ("metadata", {"a\x00": 1}),
    ],
)
def test_what_is_said_of_a_file_is_refused_by_field(api, leftovers, field, value):
    result = upload_as(api, LARGE, {field: value})
    assert (result["__typename"], result["field"]) == ("InvalidInput", field)
    assert result["reason"] in result["message"]
    assert leftovers() == []


def test_metadata_may_not_be_nested_without_end(api, leftovers):
    metadata: dict[str, Any] = {}
    for _ in range(500):
        metadata = {"a": metadata}
    assert api.upload(LARGE, metadata=metadata)["field"] == "metadata"
    assert leftovers() == []


def test_the_text_of_an_escape_is_not_the_character(api):
    """A backslash and a u are letters like others, and no NUL."""
    assert api.upload(b"hello", metadata={"pattern": r"\u0000"})["metadata"] == {"pattern": r"\u0000"}


@pytest.mark.parametrize(
    "value",
    [
        b"NaN",
        b"Infinity",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": 1,}',
    ],
)
def test_metadata_that_is_not_json_is_refused_by_http(api, leftovers, value):
    answer = raw_upload(api, disposition=b'filename="a"', content=LARGE, input=b', "metadata": ' + value)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert leftovers() == []


@pytest.mark.parametrize(
    "literal",
    [
        pytest.param("{a: 1e999}", id="a number beyond all numbers"),
        pytest.param("{a: 1" + "0" * 25 + "}", id="a whole number that JSON cannot be sure of"),
        pytest.param("{a: " + "9" * 5000 + "}", id="more digits than are read"),
    ],
)
def test_numbers_that_no_answer_could_carry_are_refused(api, leftovers, literal):
    """The document's own literals can say more than JSON, and what is kept has to be read again."""
    query = "mutation($file: Upload!) { uploadFile(input: {file: $file, metadata: %s}) { %s } }"
    answer = api.multipart(
        query % (literal, UPLOAD_RESULT), {"file": None}, {"variables.file": ("a.bin", LARGE, "")}
    )
    assert answer.status_code == 200
    assert answer.json()["data"]["uploadFile"]["field"] == "metadata"
    assert leftovers() == []


# --- refusals --------------------------------------------------------------------------------------


def test_an_unknown_profile_is_named_with_those_there_are(api, leftovers):
    result = api.upload(LARGE, profile="nope")
    assert (result["__typename"], result["profileName"]) == ("UnknownProfile", "nope")
    assert result["known"] == ["default", "image", "avatar", "document"]
    assert leftovers() == []


@pytest.mark.parametrize("profile", ["", "Default", "image ", "../image", "ima\x00ge", "x" * 5000])
def test_no_other_spelling_finds_a_profile(api, leftovers, profile):
    result = api.upload(LARGE, profile=profile)
    assert result["__typename"] == "UnknownProfile"
    assert result["profileName"] == profile
    assert leftovers() == []


def test_an_empty_file_is_refused(api, leftovers):
    assert api.upload(b"")["__typename"] == "EmptyFile"
    assert leftovers() == []


def test_a_file_of_the_limit_is_kept_and_one_byte_more_is_not(api, settings, leftovers):
    settings.UPLOAD_PROFILES = small_profiles(default={"max_size": 1000}, roomy={"max_size": 2000})
    assert api.upload(b"x" * 1000, "fits.bin")["__typename"] == "File"
    kept = leftovers()
    result = api.upload(b"x" * 1001)
    assert (result["__typename"], result["size"], result["limit"]) == ("FileTooLarge", 1001, 1000)
    assert leftovers() == kept


def test_a_file_past_every_limit_is_not_kept_while_it_comes_in(api, settings, leftovers):
    settings.UPLOAD_PROFILES = small_profiles(default={"max_size": 600_000})
    result = api.upload(LARGE)
    assert (result["__typename"], result["limit"]) == ("FileTooLarge", 600_000)
    assert 600_000 < result["size"] <= len(LARGE)
    assert leftovers() == []


def test_a_type_that_the_profile_does_not_name_is_refused(api, leftovers):
    result = api.upload(LARGE, "cat.png", "image/png", profile="image")
    assert (result["__typename"], result["detected"], result["claimed"]) == (
        "UnsupportedType",
        "application/octet-stream",
        "image/png",
    )
    assert result["allowed"] == ["image/jpeg", "image/png", "image/gif", "image/webp", "image/avif"]
    assert leftovers() == []


def test_an_image_of_another_type_is_not_let_in_by_its_claim(api, settings, leftovers):
    settings.UPLOAD_PROFILES = small_profiles(default={"types": ("image/png",)})
    result = api.upload(picture("GIF"), "cat.png", "image/png")
    assert (result["__typename"], result["allowed"]) == ("UnsupportedType", ["image/png"])
    assert leftovers() == []


def test_an_image_that_breaks_off_is_invalid(api, leftovers):
    result = api.upload(half_a_picture(), "cat.png", "image/png", profile="image")
    assert result["__typename"] == "InvalidImage"
    assert result["reason"] in result["message"]
    assert leftovers() == []


def test_an_image_with_too_many_pixels_is_refused(api, settings, leftovers):
    settings.UPLOAD_PROFILES = small_profiles(default={"types": ("image/png",), "max_pixels": 100})
    result = api.upload(picture(size=(11, 10)))
    assert {field: result[field] for field in ("__typename", "width", "height", "pixels", "imageLimit")} == {
        "__typename": "ImageTooLarge",
        "width": 11,
        "height": 10,
        "pixels": 110,
        "imageLimit": 100,
    }
    assert leftovers() == []


def test_a_file_past_the_quota_is_refused(api, settings, leftovers):
    settings.USER_QUOTA = 12
    assert api.upload(b"8 bytes.", "kept.txt")["__typename"] == "File"
    kept = leftovers()
    result = api.upload(b"8 bytes.", "refused.txt")
    assert {field: result[field] for field in ("__typename", "size", "used", "quota")} == {
        "__typename": "QuotaExceeded",
        "size": 8,
        "used": 8,
        "quota": 12,
    }
    assert leftovers() == kept


@pytest.mark.parametrize("value", ["a string", 5, {"name": "a.txt"}, ["a.txt"], True])
def test_only_a_file_of_the_request_is_a_file(api, leftovers, value):
    (error,) = api.errors(UPLOAD, input={"file": value})
    assert "Upload takes a file of a multipart request" in error["message"]
    assert leftovers() == []


def test_a_file_cannot_be_written_in_the_document(api, leftovers):
    (error,) = api.errors('mutation { uploadFile(input: {file: "hello"}) { __typename } }')
    assert "Upload takes a file by a variable" in error["message"]
    assert leftovers() == []


def test_a_file_is_required(api, leftovers):
    assert "file" in api.errors(UPLOAD, input={})[0]["message"]
    assert "file" in api.errors(UPLOAD, input={"file": None})[0]["message"]
    assert leftovers() == []


def test_a_query_that_cannot_run_leaves_nothing_of_its_files(api, leftovers):
    answer = api.multipart("{ nope }", {"file": None}, {"variables.file": ("a.bin", LARGE, "")})
    assert "errors" in answer.json()
    assert leftovers() == []


def test_files_that_no_argument_takes_are_forgotten(api, leftovers):
    answer = api.multipart("{ __typename }", {"file": None}, {"variables.file": ("a.bin", LARGE, "")})
    assert answer.json() == {"data": {"__typename": "Query"}}
    assert leftovers() == []


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n--lim", b"\r\n--limit"])
@pytest.mark.parametrize("content", [b"hello", LARGE])
def test_a_file_that_breaks_off_is_not_kept(api, leftovers, content, end):
    """Without the boundary behind it nobody knows whether these were all of its bytes."""
    operations = json.dumps({"query": UPLOAD, "variables": {"input": {"file": None}}}).encode()
    body = (
        b'--limit\r\nContent-Disposition: form-data; name="operations"\r\n\r\n' + operations + b"\r\n"
        b'--limit\r\nContent-Disposition: form-data; name="map"\r\n\r\n{"0": ["variables.input.file"]}\r\n'
        b'--limit\r\nContent-Disposition: form-data; name="0"; filename="a.bin"\r\n\r\n' + content + end
    )
    answer = api.client.generic("POST", "/graphql", body, content_type="multipart/form-data; boundary=limit")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["extensions"]["code"] == "BAD_REQUEST"
    assert leftovers() == []


# --- what goes into its object while it comes in ---------------------------------------------------


@pytest.fixture
def begun(monkeypatch) -> list[str]:
    """The keys of the objects that were begun before all of the request had come."""
    keys: list[str] = []
    begin = storage.begin

    def noted(*, key: str, **given: Any) -> storage.Draft:
        keys.append(key)
        return begin(key=key, **given)

    monkeypatch.setattr(storage, "begin", noted)
    return keys


TWICE = """
    mutation ($a: Upload!) {
        one: uploadFile(input: {file: $a}) { ... on File { sha256 } }
        two: uploadFile(input: {file: $a}) { ... on File { sha256 } }
    }
"""


def test_a_large_opaque_file_is_begun_and_kept(api, begun, leftovers):
    assert api.upload(LARGE)["__typename"] == "File"
    assert begun == [File.objects.get().key]
    assert len(leftovers()) == 2


@pytest.mark.parametrize("visibility", [None, "PRIVATE", "PUBLIC"])
def test_the_visibility_of_a_begun_file_is_what_the_client_says(api, begun, visibility):
    result = api.upload(LARGE, visibility=visibility)
    assert result["visibility"] == (visibility or "PRIVATE")
    assert begun == [File.objects.get().key]


@pytest.mark.parametrize("given", [{"profile": "image"}, {"profile": "nope"}])
def test_what_may_be_decoded_or_is_unknown_is_not_begun(api, begun, given):
    assert api.upload(LARGE, **given)["__typename"] != "File"
    assert begun == []


def test_a_file_that_is_wanted_twice_is_staged_and_kept_twice(api, begun, storage_root):
    answer = api.multipart(TWICE, {"a": None}, {"variables.a": ("a.bin", LARGE, "")}).json()
    sha256 = hashlib.sha256(LARGE).hexdigest()
    assert answer["data"] == {"one": {"sha256": sha256}, "two": {"sha256": sha256}}
    assert begun == []
    assert len(stored_files(storage_root)) == 2


def test_of_many_files_four_are_begun_and_the_others_staged(api, begun):
    results = api.upload_many([(f"{number}.bin", LARGE, "") for number in range(6)])
    assert {result["sha256"] for result in results} == {hashlib.sha256(LARGE).hexdigest()}
    assert len(begun) == 4


# --- what is down ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write", "finish"])
@pytest.mark.parametrize("content", [b"small", LARGE], ids=["small", "large"])
def test_a_full_disk_is_an_answer_that_says_to_try_again(api, leftovers, monkeypatch, content, step):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(DiskDraft, step, full)
    result = api.upload(content)
    assert (result["__typename"], result["retryable"], result["retryAfter"]) == (
        "StorageUnavailable",
        True,
        5,
    )
    assert leftovers() == []


def test_a_database_that_takes_no_row_leaves_no_bytes(api, leftovers, monkeypatch):
    def down(_: object) -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(prepared, "insert", down)
    result = api.upload(LARGE)
    assert (result["__typename"], result["retryable"]) == ("StorageUnavailable", True)
    assert "locked" not in result["message"]
    assert leftovers() == []


def test_a_folder_for_staging_that_cannot_be_written_is_an_answer(api, settings, tmp_path):
    in_the_way = tmp_path / "in-the-way"
    in_the_way.write_bytes(b"")
    settings.STAGING_DIR = in_the_way
    large = Image.frombytes("RGB", (500, 500), LARGE[: 3 * 500 * 500])
    target = io.BytesIO()
    large.save(target, "PNG")
    files = [("a.png", target.getvalue(), "image/png"), ("b.png", picture(), "image/png")]
    results = api.upload_many(files, profile="image")
    assert [result["__typename"] for result in results] == ["StorageUnavailable", "File"]
