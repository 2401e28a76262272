"""Upload profiles: the shipped ones are what is promised, and every mistake of an operator's own is named."""

from pathlib import Path

import pytest

from files import profiles, sandbox_wire
from files.errors import UnknownProfile
from files.profiles import InvalidProfiles, Profiles, UploadProfile

MIB = 1024 * 1024
SHIPPED = Path(profiles.__file__).parent.parent / "config" / "profiles.toml"
IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/avif")
OPENXML = "application/vnd.openxmlformats-officedocument"
OPENDOCUMENT = "application/vnd.oasis.opendocument"
DOCUMENTS = {
    "application/pdf",
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    f"{OPENXML}.wordprocessingml.document",
    f"{OPENXML}.spreadsheetml.sheet",
    f"{OPENXML}.presentationml.presentation",
    f"{OPENDOCUMENT}.text",
    f"{OPENDOCUMENT}.spreadsheet",
    f"{OPENDOCUMENT}.presentation",
    "text/plain",
    "text/csv",
}

DEFAULT = '[default]\nmax_size = "1 MiB"\ntypes = ["*/*"]\n'


@pytest.fixture(scope="module")
def shipped() -> Profiles:
    return profiles.parse(SHIPPED.read_text(encoding="utf-8"), source="profiles.toml")


def one(table: str) -> UploadProfile:
    """The profile of a table's lines, beside a default that is right."""
    return profiles.parse(f"{DEFAULT}[mine]\n{table}", source="own.toml")["mine"]


def mistakes(text: str) -> list[str]:
    with pytest.raises(InvalidProfiles) as refused:
        profiles.parse(text, source="own.toml")
    return refused.value.mistakes


# --- what is shipped -------------------------------------------------------------------------------


def test_four_profiles_are_shipped_and_the_default_comes_first(shipped):
    assert list(shipped) == ["default", "image", "avatar", "document"]


@pytest.mark.parametrize(
    "name, max_size, fit, decoders",
    [
        ("default", 100 * MIB, None, ()),
        ("image", 20 * MIB, None, ("JPEG", "PNG", "GIF", "WEBP", "AVIF")),
        ("avatar", 5_000_000, (300, 300), ("JPEG", "PNG", "GIF", "WEBP", "AVIF")),
        ("document", 25 * MIB, None, ()),
    ],
)
def test_a_shipped_profile_limits_what_it_promises(shipped, name, max_size, fit, decoders):
    profile = shipped[name]

    assert profile.name == name
    assert profile.max_size == max_size
    assert profile.fit == fit
    assert profile.decoders == decoders
    assert profile.visibility == "private"
    assert profile.description
    assert profile.strip is (name == "avatar")


def test_the_shipped_types_are_those_promised(shipped):
    assert shipped["default"].types == ("*/*",)
    assert shipped["image"].types == IMAGES
    assert shipped["avatar"].types == IMAGES
    assert set(shipped["document"].types) == DOCUMENTS


@pytest.mark.parametrize("name", ["image", "avatar"])
def test_shipped_images_have_at_most_fifty_megapixels(shipped, name):
    assert shipped[name].max_pixels == 50_000_000


@pytest.mark.parametrize(
    "name, content_type, accepted",
    [
        ("default", "application/x-dosexec", True),
        ("default", "image/svg+xml", True),
        ("image", "image/avif", True),
        ("image", "image/svg+xml", False),
        ("image", "image/tiff", False),
        ("image", "text/plain", False),
        ("document", "text/csv", True),
        ("document", "text/html", False),
        ("document", "image/png", False),
        ("document", "application/zip", False),
    ],
)
def test_a_shipped_profile_accepts_the_types_that_it_names(shipped, name, content_type, accepted):
    assert shipped[name].accepts(content_type) is accepted


# --- what may be written ---------------------------------------------------------------------------


def test_what_is_left_out_has_a_careful_value():
    profile = one('max_size = 10\ntypes = ["image/png"]')

    assert (profile.description, profile.visibility, profile.fit) == ("", "private", None)
    assert profile.strip is False
    assert profile.max_pixels == 50_000_000


def test_what_is_written_is_kept():
    profile = one(
        'description = "Covers"\nmax_size = 7\ntypes = ["image/png", "image/gif"]\n'
        'visibility = "public"\nmax_pixels = 9\nfit = [3, 4]\nstrip = true'
    )

    assert profile == UploadProfile(
        name="mine",
        description="Covers",
        max_size=7,
        types=("image/png", "image/gif"),
        visibility="public",
        max_pixels=9,
        fit=(3, 4),
        strip=True,
    )


@pytest.mark.parametrize(
    "content_type, accepted",
    [("text/plain", True), ("text/html", True), ("texture/plain", False), ("application/text", False)],
)
def test_a_family_of_types_is_accepted_as_a_whole(content_type, accepted):
    assert one('max_size = 1\ntypes = ["text/*"]').accepts(content_type) is accepted


def test_a_type_named_twice_is_kept_once():
    assert one('max_size = 1\ntypes = ["text/csv", "text/csv"]').types == ("text/csv",)


def test_any_type_decodes_no_image():
    assert one('max_size = 1\ntypes = ["*/*"]').decoders == ()


def test_profiles_cannot_be_changed_once_read(shipped):
    with pytest.raises(TypeError):
        shipped["default"] = shipped["image"]


@pytest.mark.parametrize(
    "text, size",
    [
        ("4096", 4096),
        ("1B", 1),
        ("2 kB", 2_000),
        ("2KB", 2_000),
        ("5 MB", 5_000_000),
        ("1 GB", 10**9),
        ("1 TB", 10**12),
        ("3 KiB", 3 * 1024),
        ("100 MiB", 100 * MIB),
        ("2  GiB", 2 * 1024**3),
        (" 1 TiB ", 1024**4),
    ],
)
def test_a_size_is_read_with_its_unit(text, size):
    assert profiles.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "MiB",
        "-1",
        "+1",
        "1.5 MiB",
        "1 mib",
        "1 MiB/s",
        "1 M",
        "1e6",
        "0x10",
        "1_000",
        "1 000",
        "ten",
    ],
)
def test_anything_else_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size; write for example 100 MiB"):
        profiles.parse_size(text)


# --- mistakes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line, mistake",
    [
        ("max_size = 0", "mine.max_size: has to be a whole number above 0"),
        ("max_size = -5", "mine.max_size: has to be a whole number above 0"),
        ('max_size = "0 MiB"', "mine.max_size: has to be a whole number above 0"),
        ("max_size = true", "mine.max_size: has to be a whole number above 0"),
        ("max_size = 1.5", "mine.max_size: has to be a whole number above 0"),
        ("max_size = inf", "mine.max_size: has to be a whole number above 0"),
        (
            'max_size = "big"',
            "mine.max_size: 'big' is not a size; write for example 100 MiB, 5 MB or 4096",
        ),
        ("types = []", "mine.types: has to be a list of content types"),
        ('types = "image/png"', "mine.types: has to be a list of content types"),
        ('types = ["image/png", 3]', "mine.types: has to be a list of content types"),
        ('types = ["png"]', "mine.types: 'png' is not a content type"),
        ('types = ["image/"]', "mine.types: 'image/' is not a content type"),
        ('types = ["text/plain; charset=utf-8"]', "mine.types: 'text/plain; charset=utf-8' is not a content"),
        ('types = ["IMAGE/PNG"]', "mine.types: 'IMAGE/PNG' is not a content type"),
        ('types = ["*/*", "image/png"]', "mine.types: '*/*' is not a content type"),
        ('types = ["*/png"]', "mine.types: '*/png' is not a content type"),
        ('types = ["image/*"]', "mine.types: name the image types one by one"),
        ('types = ["text/csv", "image/*"]', "mine.types: name the image types one by one"),
        ('visibility = "secret"', 'mine.visibility: has to be "private" or "public"'),
        ('visibility = ["public"]', 'mine.visibility: has to be "private" or "public"'),
        ("max_pixels = 0", "mine.max_pixels: has to be a whole number above 0"),
        ('max_pixels = "50 MP"', "mine.max_pixels: has to be a whole number above 0"),
        ("fit = 300", "mine.fit: has to be [width, height] in pixels"),
        ("fit = [300]", "mine.fit: has to be [width, height] in pixels"),
        ("fit = [300, 300, 3]", "mine.fit: has to be [width, height] in pixels"),
        ("fit = [300, 0]", "mine.fit: has to be a whole number above 0"),
        ('fit = ["300", 300]', "mine.fit: has to be a whole number above 0"),
        ('strip = "yes"', "mine.strip: has to be true or false"),
        ("strip = 1", "mine.strip: has to be true or false"),
        ("description = 3", "mine.description: has to be text"),
        ('colour = "red"', "mine.colour: unknown key; the keys are description, max_size, types"),
        ("[mine.nested]\na = 1", "mine.nested: unknown key; the keys are description, max_size, types"),
    ],
)
def test_a_wrong_value_is_named_with_its_profile_and_key(line, mistake):
    right = {"max_size": "max_size = 5", "types": 'types = ["image/png"]'}
    lines = [text for key, text in right.items() if not line.startswith(key)]

    (found,) = mistakes("\n".join([DEFAULT, "[mine]", *lines, line]))

    assert found.startswith(mistake)


def test_what_has_to_be_given_is_missed():
    assert mistakes(f"{DEFAULT}[mine]\n") == ["mine.max_size: is missing", "mine.types: is missing"]


def test_the_default_profile_is_missed():
    (mistake,) = mistakes('[other]\nmax_size = 1\ntypes = ["*/*"]\n')

    assert mistake.startswith("default: this profile is missing")


def test_an_empty_file_misses_the_default_profile():
    assert len(mistakes("")) == 1


@pytest.mark.parametrize(
    "name", ["Mine", '"1st"', "under_score", '"with space"', '""', f'"{"a" * 33}"', '"a/b"', '"ä"', '"a\\n"']
)
def test_a_name_that_would_not_do_in_a_key_is_refused(name):
    (mistake,) = mistakes(f'{DEFAULT}[{name}]\nmax_size = 1\ntypes = ["*/*"]\n')

    assert "a name has to be of a-z, 0-9 and -" in mistake


def test_a_value_in_the_place_of_a_profile_is_refused():
    assert mistakes(f"max_size = 5\n{DEFAULT}")[-1] == "max_size: has to be a table, written [max_size]"


@pytest.mark.parametrize("types", ['["*/*"]', '["image/png", "text/csv"]', '["image/png", "image/tiff"]'])
def test_only_what_can_be_decoded_can_be_made_to_fit(types):
    (mistake,) = mistakes(f"{DEFAULT}[mine]\nmax_size = 1\ntypes = {types}\nfit = [3, 3]\n")

    assert mistake.startswith("mine.fit: needs types that are all images (image/jpeg, image/png")


@pytest.mark.parametrize("types", ['["*/*"]', '["image/png", "text/csv"]', '["image/png", "image/tiff"]'])
def test_only_images_can_be_stripped(types):
    (mistake,) = mistakes(f"{DEFAULT}[mine]\nmax_size = 1\ntypes = {types}\nstrip = true\n")

    assert mistake.startswith("mine.strip: needs types that are all images (image/jpeg, image/png")


def test_what_is_stripped_has_to_fit_into_memory():
    table = 'types = ["image/png"]\nstrip = true\nmax_size = '

    assert one(f'{table}"64 MiB"').strip
    (mistake,) = mistakes(f'{DEFAULT}[mine]\n{table}"65 MiB"')
    assert mistake == "mine.strip: needs a max_size of 64 MiB at most"


def test_what_was_stripped_comes_back_from_where_it_is_done():
    assert profiles.MAX_STRIPPED_SIZE <= sandbox_wire.MAX_BYTES


def test_broken_toml_is_named_with_its_place():
    (mistake,) = mistakes("[default]\nmax_size = = 3\n")

    assert mistake.startswith("not TOML: ")
    assert "line 2" in mistake


def test_all_mistakes_come_in_one_message_with_the_file():
    text = """
        [image]
        max_size = "20 MB/s"
        types = ["image/*"]
        colour = "red"
        [Avatar]
        types = ["image/png"]
        fit = [1]
    """

    with pytest.raises(InvalidProfiles) as refused:
        profiles.parse(text, source="config/own.toml")

    message = str(refused.value)
    assert message.splitlines()[0] == "Coffer cannot start: config/own.toml has mistakes."
    named = [line.strip().partition(": ")[0] for line in message.splitlines()[1:]]
    assert named == [
        "image.max_size",
        "image.types",
        "image.colour",
        "Avatar",
        "Avatar.fit",
        "Avatar.max_size",
        "default",
    ]


# --- at start --------------------------------------------------------------------------------------


def test_an_operators_own_file_is_read(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(DEFAULT, encoding="utf-8")

    assert profiles.load_or_exit(path)["default"].max_size == MIB


@pytest.mark.parametrize(
    "content, said",
    [
        (b"[default]\nmax_size = 0\n", "default.max_size: has to be a whole number above 0"),
        (b"[default", "not TOML"),
        (b'[default]\ndescription = "\xff"\n', "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_ends_the_start_with_a_message(tmp_path, content, said):
    path = tmp_path / "own.toml"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(SystemExit) as ended:
        profiles.load_or_exit(path)

    message = str(ended.value.code)
    assert message.startswith("Coffer cannot start: ")
    assert str(path) in message
    assert said in message


def test_an_unknown_profile_is_answered_with_those_there_are(shipped):
    with pytest.raises(UnknownProfile) as refused:
        profiles.find(shipped, "nope")

    assert refused.value.profile == "nope"
    assert refused.value.known == ["default", "image", "avatar", "document"]


def test_a_profile_is_found_by_its_name(shipped):
    assert profiles.find(shipped, "avatar") is shipped["avatar"]
