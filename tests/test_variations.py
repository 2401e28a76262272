"""What is to be made of an image, and its one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.errors import InvalidRendition
from files.geometry import CENTRE, MAX_SIDE, Fit, FocalPoint, Size
from files.variations import LADDER, Format, Variation, snap

QUARTER = FocalPoint(0.25, 0.75)


def wanted(**given: object) -> Variation:
    values: dict[str, object] = {
        "width": None,
        "height": None,
        "fit": Fit.INSIDE,
        "format": Format.AUTO,
        "quality": None,
        "focal": CENTRE,
    }
    return Variation.wanted(**{**values, **given})  # type: ignore[arg-type]


sides = st.none() | st.integers(1, MAX_SIDE)
parts = st.floats(0, 1)
wishes = st.fixed_dictionaries(
    {
        "width": sides,
        "height": sides,
        "fit": st.sampled_from(Fit),
        "format": st.sampled_from(Format),
        "quality": st.none() | st.integers(1, 100),
        "focal": st.builds(FocalPoint, parts, parts),
    }
).filter(lambda wish: wish["width"] or wish["height"])
points = st.builds(lambda x, y: FocalPoint(x / 100, y / 100), st.integers(0, 100), st.integers(0, 100))
variations = st.builds(
    Variation,
    width=sides,
    height=sides,
    fit=st.sampled_from(Fit),
    format=st.sampled_from(Format),
    quality=st.none() | st.integers(1, 100),
    focal=points,
    enlarge=st.booleans(),
).filter(lambda each: each.width or each.height)


# --- spelling --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "variation, text",
    [
        (Variation(width=640, height=None), "w640-inside-auto"),
        (Variation(width=None, height=480, format=Format.AVIF), "h480-inside-avif"),
        (
            Variation(
                width=640,
                height=480,
                fit=Fit.COVER,
                format=Format.WEBP,
                quality=80,
                focal=QUARTER,
                enlarge=True,
            ),
            "w640-h480-cover-webp-q80-f25,75-e",
        ),
        (
            Variation(width=1, height=1, fit=Fit.COVER, format=Format.PNG, focal=FocalPoint(0, 1)),
            "w1-h1-cover-png-f0,100",
        ),
    ],
)
def test_a_variation_and_its_spelling(variation, text):
    assert str(variation) == text
    assert Variation.parse(text) == variation


@given(variation=variations)
def test_what_is_spelt_is_read_again(variation):
    assert Variation.parse(str(variation)) == variation
    assert len(str(variation)) <= 64  # the column's length


@given(wish=wishes)
def test_each_wish_can_be_spelt(wish):
    made = wanted(**wish)
    assert Variation.parse(str(made)) == made


def test_what_loses_nothing_has_no_quality():
    lossy = Variation(width=16, height=None, format=Format.WEBP, quality=50)

    for format_ in (Format.PNG, Format.GIF):
        assert str(lossy.as_format(format_)) == f"w16-inside-{format_}"
        assert Variation.parse(f"w16-inside-{format_}-q50") is None
    assert str(lossy.as_format(Format.AVIF)) == "w16-inside-avif-q50"


@given(
    text=st.from_regex(
        r"(w\d{1,4}-)?(h\d{1,4}-)?(inside|cover)-(auto|webp)(-q\d{1,3})?(-f\d{1,3},\d{1,3})?(-e)?"
    )
)
def test_what_is_read_has_the_one_spelling(text):
    found = Variation.parse(text)
    assert found is None or str(found) == text


@given(text=st.text())
def test_any_text_may_be_read(text):
    found = Variation.parse(text)
    assert found is None or str(found) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "inside-auto",  # no size
        "w0-inside-auto",
        "w640-h0-inside-auto",
        "w0640-inside-auto",
        "w+640-inside-auto",
        "w-640-inside-auto",
        "w 640-inside-auto",
        "w6_40-inside-auto",
        "w640.0-inside-auto",
        "w٦٤٠-inside-auto",
        "h480-w640-inside-auto",
        "w640-auto-inside",
        "w640-inside",
        "w640-inside-",
        "w640-inside-auto-",
        "w640-inside-auto\n",
        "\nw640-inside-auto",
        "W640-inside-auto",
        "w640-INSIDE-auto",
        "w640-inside-bmp",
        "w640-inside-auto-q0",
        "w640-inside-auto-q080",
        "w640-inside-auto-e-q80",
        "w640-h640-cover-auto-f50,50",  # the middle is not named
        "w640-h640-cover-auto-f025,75",
        "w640-h640-cover-auto-f25",
        "w640-w640-inside-auto",
        "w640-inside-auto-e-e",
        "w99999-inside-auto",
        "w640-inside-auto" * 1_000,
    ],
)
def test_any_other_spelling_is_none(text):
    assert Variation.parse(text) is None


@pytest.mark.parametrize(
    "one, other",
    [
        ({"width": 601}, {"width": 640}),
        ({"height": 601}, {"height": 640}),
        ({"width": 320, "height": 100, "focal": QUARTER}, {"width": 320, "height": 100}),
        (
            {"width": 320, "height": 320, "fit": Fit.COVER, "focal": FocalPoint(0.2501, 0.7499)},
            {"width": 320, "height": 320, "fit": Fit.COVER, "focal": QUARTER},
        ),
        (
            {"width": 320, "height": 320, "fit": Fit.COVER, "focal": FocalPoint(0.5001, 0.4999)},
            {"width": 320, "height": 320, "fit": Fit.COVER},
        ),
        # With one side there is no box to fill, to cut to or to leave empty.
        *(({"width": 320, "fit": fit, "focal": QUARTER}, {"width": 320}) for fit in Fit),
        *(({"height": 320, "fit": fit}, {"height": 320}) for fit in Fit),
        # PNG loses nothing, whatever the quality.
        ({"width": 320, "format": Format.PNG, "quality": 50}, {"width": 320, "format": Format.PNG}),
    ],
)
def test_the_same_wish_has_one_spelling(one, other):
    assert str(wanted(**one)) == str(wanted(**other))


# --- the ladder ------------------------------------------------------------------------------------


def test_the_ladder_rises():
    assert list(LADDER) == sorted(set(LADDER))
    assert LADDER[-1] == MAX_SIDE


@given(side=st.integers(1, MAX_SIDE))
def test_a_side_goes_up_to_the_next_step(side):
    step = snap(side)
    assert step in LADDER
    assert step >= side
    assert all(other < side or other >= step for other in LADDER)


@pytest.mark.parametrize(
    "asked, width, height",
    [
        ({"width": 1}, 16, None),
        ({"width": 640}, 640, None),
        ({"width": 641}, 800, None),
        ({"width": 3840}, 3840, None),
        ({"height": 641}, None, 800),
        ({"width": 600, "height": 300}, 640, 320),  # the shape stays what it was
        ({"width": 600, "height": 1}, 640, 1),
        ({"width": 3000, "height": 3600}, 3200, 3840),
        # too high for a width of the ladder, and still of the same shape
        ({"width": 3000, "height": 3800}, 3032, 3840),
        ({"width": 1, "height": 3840}, 1, 3840),
        ({"width": 20, "height": 3839}, 20, 3840),
        ({"width": 3840, "height": 1}, 3840, 1),
    ],
)
def test_sizes_are_brought_to_the_ladder(asked, width, height):
    found = wanted(**asked)
    assert (found.width, found.height) == (width, height)


def test_what_clients_ask_for_is_never_enlarged():
    assert not wanted(width=640).enlarge
    assert wanted(width=640).size(Size(100, 50)) == Size(100, 50)


# --- limits ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked, field",
    [
        ({}, "width"),
        ({"width": 0}, "width"),
        ({"width": -1}, "width"),
        ({"width": 3841}, "width"),
        ({"height": 0}, "height"),
        ({"height": 3841}, "height"),
        ({"width": 2**31 - 1, "height": 1}, "width"),
        ({"width": 640, "height": -5}, "height"),
        ({"width": 640, "quality": 0}, "quality"),
        ({"width": 640, "quality": 101}, "quality"),
        ({"width": 640, "quality": -1}, "quality"),
    ],
)
def test_what_cannot_be_made_is_refused_by_field(asked, field):
    with pytest.raises(InvalidRendition) as refused:
        wanted(**asked)
    assert refused.value.field == field
    assert refused.value.allowed


@pytest.mark.parametrize(
    "asked", [{"width": 3840}, {"height": 1}, {"width": 1, "quality": 1}, {"width": 1, "quality": 100}]
)
def test_the_limits_themselves_are_allowed(asked):
    assert Variation.parse(str(wanted(**asked)))
