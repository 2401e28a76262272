"""How images are made to fit: tables of sizes, and what holds for all of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from files.geometry import MAX_SIDE, Box, Fit, FocalPoint, Plan, Size, plan

INSIDE, COVER, CONTAIN, FILL = Fit.INSIDE, Fit.COVER, Fit.CONTAIN, Fit.FILL
CENTRE = (0.5, 0.5)


def planned(
    source: tuple[int, int],
    wanted: tuple[int | None, int | None],
    fit: Fit = INSIDE,
    focal: tuple[float, float] = CENTRE,
    enlarge: bool = False,
) -> Plan:
    return plan(
        Size(*source), width=wanted[0], height=wanted[1], fit=fit, focal=FocalPoint(*focal), enlarge=enlarge
    )


@pytest.mark.parametrize(
    "source, wanted, fit, enlarge, scaled, canvas",
    [
        # in proportion to the one side that is given, whatever the fit
        *(((800, 600), (400, None), fit, False, (400, 300), (400, 300)) for fit in Fit),
        *(((800, 600), (None, 300), fit, False, (400, 300), (400, 300)) for fit in Fit),
        *(((80, 60), (400, None), fit, False, (80, 60), (80, 60)) for fit in Fit),
        *(((80, 60), (None, 300), fit, True, (400, 300), (400, 300)) for fit in Fit),
        # the one side that is tighter
        ((800, 600), (400, 400), INSIDE, False, (400, 300), (400, 300)),
        ((600, 800), (400, 400), INSIDE, False, (300, 400), (300, 400)),
        ((800, 600), (400, 400), CONTAIN, False, (400, 300), (400, 400)),
        ((800, 600), (400, 400), FILL, False, (400, 400), (400, 400)),
        ((800, 600), (400, 400), COVER, False, (400, 400), (400, 400)),
        # nothing is made larger unless that is wanted
        ((80, 60), (400, 400), INSIDE, False, (80, 60), (80, 60)),
        ((80, 60), (400, 400), INSIDE, True, (400, 300), (400, 300)),
        ((80, 60), (400, 400), CONTAIN, False, (80, 60), (400, 400)),
        ((80, 60), (400, 400), CONTAIN, True, (400, 300), (400, 400)),
        ((80, 60), (400, 400), COVER, False, (60, 60), (60, 60)),
        ((80, 60), (400, 400), COVER, True, (400, 400), (400, 400)),
        ((80, 60), (400, 200), COVER, False, (80, 40), (80, 40)),
        ((80, 60), (400, 20), COVER, False, (80, 4), (80, 4)),
        ((80, 60), (400, 400), FILL, False, (80, 60), (80, 60)),
        ((80, 60), (400, 30), FILL, False, (80, 30), (80, 30)),
        ((80, 60), (400, 400), FILL, True, (400, 400), (400, 400)),
        # no side vanishes
        ((6000, 1), (300, 300), INSIDE, False, (300, 1), (300, 1)),
        ((1, 6000), (300, 300), INSIDE, False, (1, 300), (1, 300)),
        # nor is one endless that was not given
        ((6000, 1), (None, 1), INSIDE, False, (3840, 1), (3840, 1)),
        ((1, 6000), (1, None), INSIDE, False, (1, 3840), (1, 3840)),
        ((100, 60_000), (100, None), COVER, False, (6, 3840), (6, 3840)),
        ((10, 2000), (100, None), INSIDE, True, (19, 3840), (19, 3840)),
        ((6000, 1), (300, 300), CONTAIN, False, (300, 1), (300, 300)),
        ((6000, 1), (300, 300), COVER, False, (1, 1), (1, 1)),
        ((1, 6000), (300, 100), COVER, False, (1, 1), (1, 1)),
        ((6000, 1), (300, 300), COVER, True, (300, 300), (300, 300)),
        ((6000, 1), (300, 300), FILL, False, (300, 1), (300, 1)),
        *(((1, 1), (300, 300), fit, False, (1, 1), (1, 1)) for fit in (INSIDE, COVER, FILL)),
        *(((1, 1), (300, 300), fit, True, (300, 300), (300, 300)) for fit in Fit),
    ],
)
def test_sizes(source, wanted, fit, enlarge, scaled, canvas):
    found = planned(source, wanted, fit, enlarge=enlarge)
    assert found.scaled == Size(*scaled)
    assert found.canvas == Size(*canvas)


@pytest.mark.parametrize("fit", [INSIDE, CONTAIN, FILL])
def test_only_cover_cuts_something_off(fit):
    assert planned((800, 600), (100, 400), fit, (0, 0)).crop == Box(0, 0, 800, 600)


@pytest.mark.parametrize(
    "source, wanted, focal, crop",
    [
        ((800, 600), (300, 300), (0.5, 0.5), (100, 0, 700, 600)),
        ((800, 600), (300, 300), (0, 0), (0, 0, 600, 600)),
        ((800, 600), (300, 300), (1, 1), (200, 0, 800, 600)),
        ((800, 600), (300, 300), (0.4, 0), (20, 0, 620, 600)),
        ((800, 600), (300, 300), (0.1, 0.9), (0, 0, 600, 600)),  # it cannot be in the middle
        ((800, 600), (300, 300), (-3, 7), (0, 0, 600, 600)),
        ((800, 600), (300, 300), (7, -3), (200, 0, 800, 600)),
        ((600, 800), (300, 300), (0, 0), (0, 0, 600, 600)),
        ((600, 800), (300, 300), (0, 1), (0, 200, 600, 800)),
        ((600, 800), (300, 300), (1, 0.6), (0, 180, 600, 780)),
        ((800, 600), (400, 300), (0, 1), (0, 0, 800, 600)),  # nothing has to go
        ((6000, 1), (300, 300), (1, 1), (5999, 0, 6000, 1)),
    ],
)
def test_cover_keeps_the_focal_point_in_sight(source, wanted, focal, crop):
    found = planned(source, wanted, COVER, focal).crop
    assert (found.left, found.top, found.right, found.bottom) == pytest.approx(crop)


sides = st.integers(1, 20_000)
parts = st.floats(0, 1)
sizes = st.tuples(sides, sides)


@given(
    source=sizes, wanted=sizes, fit=st.sampled_from(Fit), focal=st.tuples(parts, parts), enlarge=st.booleans()
)
def test_what_is_made_fits_into_what_was_asked_for(source, wanted, fit, focal, enlarge):
    found = planned(source, wanted, fit, focal, enlarge)
    assert 1 <= found.canvas.width <= wanted[0]
    assert 1 <= found.canvas.height <= wanted[1]
    assert 1 <= found.scaled.width <= found.canvas.width
    assert 1 <= found.scaled.height <= found.canvas.height


@given(
    source=sizes, wanted=sizes, fit=st.sampled_from(Fit), focal=st.tuples(parts, parts), enlarge=st.booleans()
)
def test_what_is_kept_lies_within_the_source(source, wanted, fit, focal, enlarge):
    crop = planned(source, wanted, fit, focal, enlarge).crop
    assert 0 <= crop.left < crop.right <= source[0] + 1e-6
    assert 0 <= crop.top < crop.bottom <= source[1] + 1e-6


@given(source=sizes, wanted=sizes, fit=st.sampled_from(Fit), focal=st.tuples(parts, parts))
def test_no_pixel_is_made_larger_unasked(source, wanted, fit, focal):
    found = planned(source, wanted, fit, focal)
    # Half a pixel of rounding at the most.
    assert found.scaled.width <= found.crop.right - found.crop.left + 0.5
    assert found.scaled.height <= found.crop.bottom - found.crop.top + 0.5


@given(source=sizes, wanted=sizes, focal=st.tuples(parts, parts), enlarge=st.booleans())
def test_cover_does_not_stretch(source, wanted, focal, enlarge):
    found = planned(source, wanted, COVER, focal, enlarge)
    width, height = found.crop.right - found.crop.left, found.crop.bottom - found.crop.top
    scale = max(found.canvas.width / width, found.canvas.height / height)
    assert found.canvas.width == pytest.approx(width * scale, abs=1)
    assert found.canvas.height == pytest.approx(height * scale, abs=1)


@given(source=sizes, side=st.integers(1, MAX_SIDE), enlarge=st.booleans())
def test_one_side_is_enough(source, side, enlarge):
    by_width, by_height = (
        planned(source, (side, None), enlarge=enlarge),
        planned(source, (None, side), enlarge=enlarge),
    )
    assert by_width == planned(source, (side, MAX_SIDE), INSIDE, enlarge=enlarge)
    assert by_height == planned(source, (MAX_SIDE, side), INSIDE, enlarge=enlarge)
    assert max(by_width.canvas.width, by_width.canvas.height) <= MAX_SIDE
    expected = side if enlarge else min(side, source[0])
    if source[1] * expected / source[0] <= MAX_SIDE:
        assert by_width.canvas == Size(expected, max(1, round(source[1] * expected / source[0])))
