"""What people type becomes a place, or an error that says what to try."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glimpse_cli.combs import Box, Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.glimpse import extract
from glimpse_cli.kernels import Gaussian, Hat, Nearest
from glimpse_cli.places import (
    BoxPlace,
    CombPlace,
    GridPlace,
    Look,
    Pair,
    box_numbers,
    parse_box,
    parse_number,
    parse_pair,
    parse_size,
    parse_width,
    spellings,
)
from oracle import nearest_row


@pytest.mark.parametrize("text", ["1", "-0.5", "+3.", ".25", "1e3", "-2.5E-2", " 7 "])
def test_decimal_numbers_are_read(text):
    assert parse_number(text, "-u") == float(text)


@pytest.mark.parametrize(
    "text", ["", "nan", "inf", "-Infinity", "1_0", "٣", "1,5", "0x10", "1e", "--1", "-s", "1 2", "½"]
)
def test_what_python_takes_for_a_number_and_people_do_not_is_refused(text):
    with pytest.raises(ParameterError, match=r"-u: .* is not a number"):
        parse_number(text, "-u")


def test_a_number_beyond_float64_is_refused():
    with pytest.raises(ParameterError, match="too large"):
        parse_number("1e999", "-d")


def test_a_pair_has_three_forms_and_y_comes_first():
    assert parse_pair("-3", "-u") == Pair(y=-3, x=-3)
    assert parse_pair("-3,4", "-u") == Pair(y=-3, x=4)
    assert parse_pair("x=80,y=12.5", "-u") == Pair(y=12.5, x=80)


@pytest.mark.parametrize("text", ["1,2,3", "y=1", "y=1,y=2", "y=1,z=2", "y=1,2", "1,", ",", "y=,x=1"])
def test_what_is_no_pair_is_refused_naming_the_option(text):
    with pytest.raises(ParameterError, match="-u"):
        parse_pair(text, "-u")


def test_a_decimal_comma_in_a_width_is_guessed():
    with pytest.raises(ParameterError, match="s_y = 0") as caught:
        parse_width("0,5")
    assert "0.5" in caught.value.hint
    for text in ("-1", "y=0,x=5"):  # no comma, and one that stands between two named numbers
        with pytest.raises(ParameterError, match="s must be above 0 px") as caught:
            parse_width(text)
        assert caught.value.hint is None


def test_a_size_is_typed_width_first_and_kept_height_first():
    assert parse_size("64x48") == (48, 64)
    assert parse_size("7") == (7, 7)


@pytest.mark.parametrize(
    "text", ["0", "64x0", "64x", "x64", "-3", "1.5", "64*48", "6_4", "100000x100000", "99999999999"]
)
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ParameterError):
        parse_size(text)


def test_three_box_formats_name_one_box():
    assert parse_box("3,5,10,21") == (3, 5, 10, 21)
    assert parse_box("-9,-8,-2,0") == (-9, -8, -2, 0)  # two corners: none of the numbers is a side
    assert parse_box("3,5,7,16", "xywh") == (3, 5, 10, 21)
    assert parse_box("6.5,13,7,16", "cxcywh") == (3, 5, 10, 21)
    assert box_numbers(6.5, 13, 7, 16, "cxcywh") == (3, 5, 10, 21)
    with pytest.raises(ParameterError, match="four numbers"):
        parse_box("1,2,3")


@pytest.mark.parametrize(("text", "side"), [("10,10,-5,5", "width must be above 0, got -5"), ("9,8,5,0", "height")])
@pytest.mark.parametrize("form", ["xywh", "cxcywh"])
def test_a_box_of_no_width_is_refused_in_its_own_words(text, side, form):
    with pytest.raises(ParameterError, match=f"--box: a box's {side}"):
        parse_box(text, form)


def test_a_margin_grows_the_box_about_its_middle():
    assert BoxPlace((10, 20, 20, 60), margin=0.5).box((100, 100), (7, 5)) == Box(7.5, 10, 22.5, 70)


def test_keeping_the_aspect_grows_the_short_side_only():
    box = BoxPlace((10, 20, 20, 60), keep_aspect=True).box((100, 100), (10, 30))  # 10 x 40 for a glimpse of 3 : 1
    assert box == Box(15 - 60, 20, 15 + 60, 60)
    assert BoxPlace((0, 0, 90, 20), keep_aspect=True).box((100, 100), (10, 30)) == Box(0, -5, 90, 25)


def test_fractions_are_of_the_picture():
    assert BoxPlace((0, 0.25, 0.5, 1), normalized=True).box((40, 200), (7, 5)) == Box(0, 10, 100, 40)
    with pytest.raises(ParameterError, match=r"got x0 = 0\.9 and x1 = 0\.1"):  # as they were typed
        BoxPlace((0.9, 0, 0.1, 1), normalized=True).box((40, 200), (7, 5))


def test_a_box_without_extras_is_kept_to_the_last_bit():
    numbers = (0.1, 0.2, 0.7, 0.9)
    assert BoxPlace(numbers).box((40, 200), (7, 5)) == Box(*numbers)


def test_defaults_follow_the_spelling():
    boxed, raw, grid = (
        Look(place, (5, 7)).spec((23, 31))
        for place in (
            BoxPlace((2, 3, 20, 21)),
            CombPlace(Pair(1, 2), Pair(3, 1)),
            GridPlace(Pair(0.4, 0.5), Pair(-0.1, 0.2)),
        )
    )
    assert boxed.y.kernel == Gaussian(0.35 * 18 / 5)
    assert raw.y.kernel == Gaussian(0.35 * 3, 1e-8)
    assert grid.x.kernel == Hat("zeros")
    assert Look(BoxPlace((2, 3, 20, 21)), (5, 7), "hard").spec((23, 31)).x.kernel == Nearest("border")


@pytest.mark.parametrize(
    "change",
    [
        {"size": (0, 5)},
        {"s": Pair(1, 0)},
        {"method": "stn", "s": Pair(1, 1)},
        {"padding": "reflection"},
        {"padding": "edge"},
        {"method": "cubic"},
    ],
)
def test_a_look_is_refused_when_it_is_made(change):
    with pytest.raises(ParameterError):
        Look(**{"place": BoxPlace((2, 3, 20, 21)), "size": (5, 7), **change})


@given(
    u=st.tuples(st.floats(-30, 50), st.floats(-30, 50)),
    d=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    method=st.sampled_from(["gaussian", "stn"]),
    padding=st.sampled_from(["zeros", "border"]),
)
def test_every_spelling_that_exists_gives_the_same_glimpse(u, d, size, method, padding):
    image = np.random.default_rng(5).random((23, 31))
    first = Look(CombPlace(Pair(*u), Pair(*d)), size, method, padding)
    place = spellings(first.spec(image.shape), image.shape)
    s = Pair(**place["s"]) if method == "gaussian" else None
    again = [
        CombPlace(Pair(**place["u"]), Pair(**place["d"])),
        GridPlace(Pair(**place["scale"]), Pair(**place["shift"])),
    ]
    if place["box"] is not None:
        again.append(BoxPlace(tuple(place["box"].values())))
    expected = extract(image, first.spec(image.shape))
    for spelled in again:
        other = Look(spelled, size, method, padding, s).spec(image.shape)
        np.testing.assert_allclose(extract(image, other), expected, atol=1e-9)


@given(
    corner=st.tuples(st.integers(-30, 400), st.integers(-30, 600)),
    d=st.tuples(st.sampled_from([2, 4, 6]), st.sampled_from([2, 4, 6])),
    size=st.tuples(st.integers(2, 19), st.integers(2, 19)),
    padding=st.sampled_from(["zeros", "border", "reflection"]),
)
def test_places_in_the_middle_of_two_pixels_are_the_same_pixels_in_every_spelling(corner, d, size, padding):
    image = np.random.default_rng(5).random((397, 613))
    (y, x), (h, w) = corner, size
    first = Look(BoxPlace((x, y, x + d[1] * w, y + d[0] * h)), size, "hard", padding)
    place = spellings(first.spec(image.shape), image.shape)
    other = Look(GridPlace(Pair(**place["scale"]), Pair(**place["shift"])), size, "hard", padding)
    expected = extract(image, first.spec(image.shape))
    np.testing.assert_array_equal(extract(image, other.spec(image.shape)), expected)
    rows, columns = (
        [nearest_row(low + (i + 0.5) * step - 0.5, N, padding) for i in range(n)]
        for low, step, n, N in zip(corner, d, size, image.shape, strict=True)
    )
    np.testing.assert_array_equal(np.array(rows) @ image @ np.array(columns).T, expected)


def test_what_does_not_exist_is_none():
    backwards = Look(CombPlace(Pair(1, 2), Pair(1, -1)), (5, 7)).spec((23, 31))
    assert spellings(backwards, (23, 31))["box"] is None
    assert spellings(backwards, (23, 1))["scale"] is None
    assert spellings(backwards, (23, 1))["shift"] is None
    hard = Look(CombPlace(Pair(1, 2), Pair(1, 1)), (5, 7), "hard").spec((23, 31))
    assert spellings(hard, (23, 31))["s"] is None
    assert spellings(hard, (23, 31))["box"] == {"x0": 2 + 0.5 - 0.5, "y0": 1, "x1": 9, "y1": 6}


def test_a_look_checks_nothing_that_depends_on_the_image():
    assert Look(GridPlace(Pair(0.4, 0.5), Pair(0, 0)), (1, 7)).spec((1, 31)).y.comb == Comb(0, 0)
