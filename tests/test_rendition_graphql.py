"""Renditions in the schema: addresses and sizes that cost nothing, and the focal point."""

import io
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image

from files import profiles, storage, tasks
from files.disk import DiskStorage
from files.models import Rendition
from tests.api import Api, global_id, keep, picture, record

IMAGE = "query ($id: ID!, %s) { file(id: $id) { image { %s } } }"
RENDITION = "url width height contentType"
UPDATE = """
    mutation ($input: UpdateFileInput!) {
        updateFile(input: $input) {
            __typename
            ... on File { image { focalPoint { x y } } }
            ... on InvalidInput { field reason }
        }
    }
"""


def row(owner: Any, **fields: Any) -> Any:
    """An image of 800 x 600 without bytes."""
    given = {"profile": "image", "image_format": "JPEG", "width": 800, "height": 600, "frames": 1}
    return record(owner, **{**given, "name": "p.jpg", "content_type": "image/jpeg", **fields})


def one(api: Api, file_id: str, arguments: str) -> dict[str, Any]:
    query = f"query ($id: ID!) {{ file(id: $id) {{ image {{ rendition({arguments}) {{ {RENDITION} }} }} }} }}"
    found: dict[str, Any] = api.run(query, id=file_id)["file"]["image"]["rendition"]
    return found


def fetched(url: str, accept: str = "*/*") -> Image.Image:
    split = urlsplit(url)
    answer = Client().get(f"{split.path}?{split.query}", headers={"Accept": accept})
    assert answer.status_code == 200
    return Image.open(io.BytesIO(answer.getvalue()))


# --- what it is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, size",
    [
        ("width: 320", (320, 240)),
        ("height: 240", (320, 240)),
        ("width: 301", (320, 240)),
        ("width: 333, height: 333, fit: COVER", (400, 400)),
        ("width: 320, height: 320", (320, 240)),
        ("width: 320, height: 320, fit: CONTAIN", (320, 320)),
        ("width: 320, height: 100, fit: FILL, format: PNG", (320, 100)),
        ("width: 3840", (800, 600)),
        ("width: 3840, height: 3840, fit: COVER, format: WEBP", (600, 600)),
        ("width: null, height: 16, quality: null", (21, 16)),
        ("preset: null, width: 16, quality: 30, format: AVIF", (16, 12)),
        ('preset: "thumbnail"', (320, 320)),
        ('preset: "thumbnail", width: null, quality: null', (320, 320)),
    ],
)
def test_the_size_in_the_answer_is_that_of_the_pixels(api, alice, arguments, size):
    content = picture("JPEG", (800, 600))
    file = keep(
        alice, content, profile="image", image_format="JPEG", width=800, height=600, content_type="image/jpeg"
    )

    found = one(api, global_id("File", file.pk), arguments)
    assert (found["width"], found["height"]) == size
    assert fetched(found["url"]).size == size


@pytest.mark.parametrize("orientation", [1, 6])
def test_sizes_are_of_the_upright_image(api, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    uploaded = api.upload(picture("JPEG", (80, 40), exif=exif), "p.jpg", "image/jpeg", profile="image")

    found = one(api, uploaded["id"], "width: 32")
    assert (found["width"], found["height"]) == ((32, 16) if orientation == 1 else (32, 64))
    assert fetched(found["url"]).size == (found["width"], found["height"])


@pytest.mark.parametrize(
    "source, format_, content_type",
    [
        ("JPEG", "AUTO", "image/jpeg"),
        ("PNG", "AUTO", "image/png"),
        ("GIF", "AUTO", "image/png"),
        ("GIF", "GIF", "image/gif"),
        ("PNG", "JPEG", "image/jpeg"),
        ("PNG", "WEBP", "image/webp"),
        ("PNG", "AVIF", "image/avif"),
    ],
)
def test_the_content_type_is_what_a_client_gets_that_accepts_anything(api, source, format_, content_type):
    uploaded = api.upload(picture(source), "p", f"image/{source.lower()}", profile="image")

    found = one(api, uploaded["id"], f"width: 16, format: {format_}")
    assert found["contentType"] == content_type
    assert Image.MIME[fetched(found["url"]).format or ""] == content_type


@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
def test_an_animation_moves_for_clients_that_accept_anything(api, source):
    first, second = Image.new("RGB", (40, 20), "red"), Image.new("RGB", (40, 20), "blue")
    target = io.BytesIO()
    first.save(target, source, save_all=True, append_images=[second], duration=100)
    uploaded = api.upload(target.getvalue(), "p", f"image/{source.lower()}", profile="image")

    found = one(api, uploaded["id"], "width: 16")
    assert found["contentType"] == "image/gif"
    shown = fetched(found["url"])
    assert (shown.format, shown.size, getattr(shown, "n_frames", 1)) == ("GIF", (16, 8), 2)
    assert getattr(fetched(one(api, uploaded["id"], "width: 16, format: PNG")["url"]), "n_frames", 1) == 1


def test_a_variable_beside_a_preset_is_an_argument_only_if_it_has_a_value(api, alice):
    query = IMAGE % ("$w: Int", 'rendition(preset: "thumbnail", width: $w) { width }')
    file_id = global_id("File", row(alice).pk)
    for unset in ({}, {"w": None}):
        found = api.run(query, id=file_id, **unset)
        assert found["file"]["image"]["rendition"]["width"] == 320
    (error,) = api.errors(query, id=file_id, w=16)
    assert error["extensions"]["field"] == "preset"


def test_srcset_has_one_rendition_for_each_width(api, alice):
    query = IMAGE % ("$widths: [Int!]!", f"srcset(widths: $widths, format: WEBP) {{ {RENDITION} }}")
    file = row(alice)
    found = api.run(query, id=global_id("File", file.pk), widths=[16, 320, 310, 640, 1600])
    srcset = found["file"]["image"]["srcset"]

    # 310 is 320 on the ladder; and nothing is wider than the original.
    assert [each["width"] for each in srcset] == [16, 320, 640, 800]
    assert [each["height"] for each in srcset] == [12, 240, 480, 600]
    assert len({each["url"] for each in srcset}) == 4


@pytest.mark.parametrize(
    "widths, code", [([], "BAD_USER_INPUT"), ([16] * 100, "BAD_USER_INPUT"), ([0], "INVALID_RENDITION")]
)
def test_srcset_refuses_what_it_cannot_give(api, alice, widths, code):
    query = IMAGE % ("$widths: [Int!]!", "srcset(widths: $widths) { url }")
    (error,) = api.errors(query, id=global_id("File", row(alice).pk), widths=widths)
    assert error["extensions"]["code"] == code


def test_what_is_not_an_image_has_none(api, alice):
    file_id = global_id("File", record(alice).pk)
    found = api.run(
        "query ($id: ID!) { file(id: $id) { image { rendition(width: 16) { url } } } }", id=file_id
    )
    assert found == {"file": {"image": None}}


# --- what it costs ---------------------------------------------------------------------------------

PAGE = "{ files(first: 50) { edges { node { name image { width %s } } } } }"
FIVE = " ".join(
    f"{name}: rendition({arguments}) {{ {RENDITION} }}"
    for name, arguments in {
        "a": 'preset: "thumbnail"',
        "b": "width: 320",
        "c": "width: 320, height: 320, fit: COVER",
        "d": "height: 640, format: AVIF",
        "e": "width: 1600, height: 900, fit: CONTAIN, quality: 50",
    }.items()
)


def test_renditions_cost_no_query_and_no_storage(api, alice, monkeypatch):
    for _ in range(50):
        row(alice)

    def fail(*args: object, **kwargs: object) -> None:
        raise AssertionError("the storage was asked")

    for verb in ("open_object", "save", "delete"):
        monkeypatch.setattr(storage, verb, fail)
    for verb in ("open", "exists", "size", "save", "url"):
        monkeypatch.setattr(DiskStorage, verb, fail)

    api.run(PAGE % "")  # a token notes its first use
    with CaptureQueriesContext(connection) as plain:
        api.run(PAGE % "")
    with CaptureQueriesContext(connection) as full:
        found = api.run(PAGE % f"{FIVE} srcset(widths: [320, 640]) {{ {RENDITION} }} focalPoint {{ x y }}")
    edges = found["files"]["edges"]
    assert len(edges) == 50
    urls = {edge["node"]["image"][name]["url"] for edge in edges for name in "abcde"}
    assert len(urls) == 250
    assert len(full) == len(plain)
    of_files = [each["sql"] for each in full if 'FROM "files_file"' in each["sql"]]
    assert len(of_files) == 1
    assert not any("files_rendition" in each["sql"] for each in full)
    assert not Rendition.objects.exists()


def test_the_same_question_has_the_same_answer(api, alice):
    file_id = global_id("File", row(alice).pk)
    assert one(api, file_id, "width: 320") == one(api, file_id, "width: 310, quality: null")


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments, field, allowed",
    [
        ("", "width", "a width, a height or both"),
        ("fit: COVER", "width", "a width, a height or both"),
        ("width: 0", "width", "1 to 3840"),
        ("width: 0, height: 100", "width", "1 to 3840"),
        ("width: -1", "width", "1 to 3840"),
        ("width: 3841", "width", "1 to 3840"),
        ("height: 2147483647", "height", "1 to 3840"),
        ("width: 16, quality: 0", "quality", "1 to 100"),
        ("width: 16, quality: 101", "quality", "1 to 100"),
        ('preset: "banner"', "preset", "thumbnail"),
        ('preset: ""', "preset", "thumbnail"),
        ('preset: "banner", width: 16', "preset", "it alone, without width"),
        *(
            (f'preset: "thumbnail", {other}', "preset", f"it alone, without {other.partition(':')[0]}")
            for other in ("width: 16", "height: 16", "fit: INSIDE", "format: AUTO", "quality: 80")
        ),
    ],
)
def test_what_cannot_be_made_is_an_error_with_the_field(api, alice, arguments, field, allowed):
    arguments = f"({arguments})" if arguments else ""
    query = f"query ($id: ID!) {{ file(id: $id) {{ image {{ rendition{arguments} {{ url }} }} }} }}"
    (error,) = api.errors(query, id=global_id("File", row(alice).pk))
    assert error["extensions"]["code"] == "INVALID_RENDITION"
    assert error["extensions"]["field"] == field
    assert error["extensions"]["allowed"] == allowed
    assert error["path"] == ["file", "image", "rendition"]


@pytest.mark.parametrize("profile", ["default", "no-longer-there"])
def test_a_profile_without_presets_has_none(api, alice, profile):
    query = 'query ($id: ID!) { file(id: $id) { image { rendition(preset: "thumbnail") { url } } } }'
    (error,) = api.errors(query, id=global_id("File", row(alice, profile=profile).pk))
    assert error["extensions"]["field"] == "preset"
    assert error["extensions"]["allowed"] == "none of this profile"


# --- the focal point -------------------------------------------------------------------------------


@pytest.fixture
def halves(api) -> str:
    """The id of an image that is red on the left and blue on the right."""
    image = Image.new("RGB", (200, 50), "red")
    image.paste("blue", (100, 0, 200, 50))
    target = io.BytesIO()
    image.save(target, "PNG")
    uploaded = api.upload(target.getvalue(), "p.png", "image/png", profile="image")
    return str(uploaded["id"])


def test_the_focal_point_is_the_middle_until_it_is_set(api, halves):
    found = api.run("query ($id: ID!) { file(id: $id) { image { focalPoint { x y } } } }", id=halves)
    assert found["file"]["image"]["focalPoint"] == {"x": 0.5, "y": 0.5}


@pytest.mark.parametrize(
    "arguments", ["width: 48, height: 48, fit: COVER, format: PNG", 'preset: "thumbnail"']
)
def test_cover_shows_the_focal_point(api, halves, arguments):
    colors = []
    for x in (0, 1):
        updated = api.run(UPDATE, input={"id": halves, "focalPoint": {"x": x, "y": 0.5}})["updateFile"]
        assert updated["image"]["focalPoint"] == {"x": x, "y": 0.5}
        shown = fetched(one(api, halves, arguments)["url"]).convert("RGB")
        colors.append(shown.getpixel((shown.width // 2, shown.height // 2)))
    assert colors == [pytest.approx((255, 0, 0), abs=12), pytest.approx((0, 0, 255), abs=12)]


def test_null_puts_the_focal_point_into_the_middle(api, halves):
    api.run(UPDATE, input={"id": halves, "focalPoint": {"x": 0.1, "y": 0.9}})
    kept = api.run(UPDATE, input={"id": halves, "title": "left out"})["updateFile"]
    assert kept["image"]["focalPoint"] == {"x": 0.1, "y": 0.9}
    emptied = api.run(UPDATE, input={"id": halves, "focalPoint": None})["updateFile"]
    assert emptied["image"]["focalPoint"] == {"x": 0.5, "y": 0.5}


@pytest.mark.parametrize("x, y", [(-0.1, 0.5), (0.5, 1.1), (50, 50), (-1e300, 0)])
def test_a_focal_point_outside_the_image_is_refused(api, halves, x, y):
    refused = api.run(UPDATE, input={"id": halves, "focalPoint": {"x": x, "y": y}})["updateFile"]
    assert refused["__typename"] == "InvalidInput"
    assert refused["field"] == "focalPoint"


@pytest.mark.parametrize(
    "point", ["left", {"x": 0.5}, {"x": "0.5", "y": 0.5}, {"x": 0.5, "y": None}, [0.5, 0.5]]
)
def test_a_focal_point_is_two_numbers(api, halves, point):
    answer = api.post(UPDATE, input={"id": halves, "focalPoint": point})
    assert answer.status_code < 500
    assert answer.json()["errors"]


# --- presets ---------------------------------------------------------------------------------------


def test_upload_profiles_name_their_presets(settings, public_api):
    settings.UPLOAD_PROFILES = profiles.parse(
        '[default]\nmax_size = 1\ntypes = ["*/*"]\n'
        '[icons]\nmax_size = 1\ntypes = ["image/png"]\n'
        "[icons.presets.small]\nwidth = 16\n"
        '[icons.presets.box]\nwidth = 48\nheight = 32\nfit = "contain"\nformat = "webp"\n',
        source="a test",
    )
    found = public_api.run("{ uploadProfiles { name presets { name width height fit format } } }")
    assert found["uploadProfiles"] == [
        {"name": "default", "presets": []},
        {
            "name": "icons",
            "presets": [
                {"name": "small", "width": 16, "height": None, "fit": "INSIDE", "format": "AUTO"},
                {"name": "box", "width": 48, "height": 32, "fit": "CONTAIN", "format": "WEBP"},
            ],
        },
    ]


PRESETS = "image { presets { name ready } }"


def made(file: Any, variation: str, **fields: Any) -> None:
    """A rendition's row; `made_at=None` is the claim to make it."""
    given = {"storage": file.storage, "content_type": "image/webp", "made_at": timezone.now(), **fields}
    Rendition.objects.create(file=file, variation=variation, key=f"{file.pk}/{variation}", **given)


@pytest.fixture
def icons(settings) -> None:
    settings.UPLOAD_PROFILES = profiles.parse(
        '[default]\nmax_size = 1\ntypes = ["*/*"]\n[image]\nmax_size = 1\ntypes = ["image/jpeg"]\n'
        "[image.presets.small]\nwidth = 16\n[image.presets.large]\nwidth = 320\n",
        source="a test",
    )


def test_a_file_says_which_of_its_presets_are_made(icons, api, alice):
    file = row(alice)
    query = f"query ($id: ID!) {{ file(id: $id) {{ {PRESETS} }} }}"

    def ready() -> dict[str, bool]:
        found = api.run(query, id=global_id("File", file.pk))["file"]["image"]["presets"]
        return {each["name"]: each["ready"] for each in found}

    assert ready() == {"small": False, "large": False}
    made(file, "w16-inside-webp")
    made(file, "w320-inside-webp", made_at=None)
    assert ready() == {"small": True, "large": False}
    Rendition.objects.update(made_at=timezone.now())
    assert ready() == {"small": True, "large": True}
    file.focal_x = 1.0
    file.save()
    assert ready() == {"small": True, "large": True}  # nothing is cut off


def test_presets_that_are_made_by_the_task_are_those_that_are_said_to_be(api, alice):
    file = keep(
        alice,
        picture(),
        profile="image",
        width=40,
        height=20,
        frames=1,
        image_format="PNG",
        key="image/a.png",
    )
    query = f"query ($id: ID!) {{ file(id: $id) {{ {PRESETS} }} }}"
    tasks.make_presets.func(str(file.pk))
    found = api.run(query, id=global_id("File", file.pk))["file"]["image"]["presets"]
    assert found == [{"name": "thumbnail", "ready": True}]


@pytest.mark.parametrize("count", [1, 20])
def test_the_presets_of_a_page_cost_one_query(icons, api, alice, django_assert_num_queries, count):
    for _ in range(count):
        made(row(alice), "w16-inside-webp")
    page = f"{{ files {{ edges {{ node {{ {PRESETS} }} }} }} }}"
    api.run(page)  # notes the token's use, once a minute
    with django_assert_num_queries(3):  # who asks, the page, and what is made
        edges = api.run(page)["files"]["edges"]
    ready = [[each["ready"] for each in edge["node"]["image"]["presets"]] for edge in edges]
    assert ready == [[True, False]] * count
