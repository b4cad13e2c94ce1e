"""What is drawn is where it is said to be: geometry and brightness against the numbers that went in."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glimpse_cli.banks import Axis
from glimpse_cli.combs import Comb
from glimpse_cli.draw.masks import CLEAR, COLOURFUL, DAY, LONGEST, LUMA, NIGHT, NIGHT_BLUE, PREVIEW, mask_figure
from glimpse_cli.draw.outlines import GREEN, GROUND, Rect, draw_outline
from glimpse_cli.kernels import Gaussian, Hat, Nearest

MARGIN, STRIP, GAP = 12, 44, 6  # of a figure at its full length
START = MARGIN + STRIP + GAP  # where the view begins, on both axes


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def sums(size, box, samples=(5, 7), kernel=Hat):
    x0, y0, x1, y1 = box
    combs = Comb.from_box(y0, y1, samples[0]), Comb.from_box(x0, x1, samples[1])
    return [
        Axis(comb, kernel("border")).bank(n, N).column_sums(N) for comb, n, N in zip(combs, samples, size, strict=True)
    ]


def window(size, rows, cols):
    """Full attention on some rows and columns, none elsewhere."""
    ay, ax = np.zeros(size[0]), np.zeros(size[1])
    ay[rows], ax[cols] = 1, 1
    return ay, ax


def by_night(picture):
    picture = np.array(picture, float)
    grey = (picture @ LUMA)[..., None]
    return CLEAR * (COLOURFUL * picture + (1 - COLOURFUL) * grey) + (1 - CLEAR) * np.array(NIGHT_BLUE)


def lab(colour):
    """CIELAB of an sRGB colour, D65."""
    linear = np.array([c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ linear
    x, y, z = (np.cbrt(t) if t > 0.008856 else 7.787 * t + 16 / 116 for t in xyz / (0.9505, 1, 1.089))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def apart(colour, other):
    """How far two colours are apart for the eye, and by how much the first is lighter (CIE76; 2.3 is just seen)."""
    difference = lab(colour) - lab(other)
    return np.linalg.norm(difference), difference[0]


def green_at(figure):
    rows, cols = np.nonzero((figure == GREEN).all(axis=2))
    return rows.min(), rows.max() + 1, cols.min(), cols.max() + 1


# --- the mask figure ---


def test_a_picture_that_fits_is_shown_pixel_for_pixel_with_strips_above_and_beside():
    picture = noise(400, 431)
    figure = mask_figure(picture, (400, 431), np.ones(400), np.ones(431))
    assert figure.shape == (START + 400 + MARGIN, START + 431 + MARGIN, 3)
    assert (figure[START : START + 400, START : START + 431] == picture).all()


def test_what_is_attended_to_is_as_it_is_and_the_rest_by_night():
    picture = noise(401, 430)
    figure = mask_figure(picture, (401, 430), *window((401, 430), slice(30, 90), slice(200, 333)))
    shown = figure[START:-MARGIN, START:-MARGIN]
    assert (shown[30:90, 200:333] == picture[30:90, 200:333]).all()
    for part in (np.s_[:30], np.s_[90:], np.s_[:, :200], np.s_[:, 333:]):
        assert np.abs(shown[part] - by_night(picture[part])).max() <= 1


def test_half_the_attention_is_half_the_way_out_of_the_night():
    picture = noise(401, 430)
    ay, ax = window((401, 430), slice(30, 90), slice(200, 333))
    ax[250:260] = 0.5
    shown = mask_figure(picture, (401, 430), ay, ax)[START:-MARGIN, START:-MARGIN]
    part = np.s_[30:90, 250:260]
    assert np.abs(shown[part] - (by_night(picture[part]) + picture[part]) / 2).max() <= 2


@pytest.mark.parametrize("grey", [0, 12, 25, 50, 75, 128, 200, 255])
def test_of_every_grey_what_is_attended_to_stands_out_and_is_not_the_darker_one(grey):
    picture = np.full((401, 430, 3), grey, np.uint8)
    figure = mask_figure(picture, (401, 430), *window((401, 430), slice(30, 90), slice(200, 333)))
    attended, other = figure[START + 40, START + 210], figure[START + 200, START + 300]
    distance, lighter = apart(attended, other)
    assert (attended == grey).all()
    assert distance > 20
    assert lighter > -4  # nothing is darker than black: there it is the hue that tells
    assert lighter > 0.25 * (lab(attended)[0] - 20)


@pytest.mark.parametrize("colour", [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (139, 90, 43), (30, 60, 120)])
def test_of_colours_what_is_attended_to_stands_out_as_well(colour):
    picture = np.full((401, 430, 3), colour, np.uint8)
    figure = mask_figure(picture, (401, 430), *window((401, 430), slice(30, 90), slice(200, 333)))
    distance, lighter = apart(figure[START + 40, START + 210], figure[START + 200, START + 300])
    assert distance > 15
    assert lighter > 10


def test_the_strips_stand_over_the_columns_and_beside_the_rows_they_measure():
    size = (401, 430)
    figure = mask_figure(noise(*size), size, *window(size, slice(30, 90), slice(200, 333)))
    above, beside = figure[MARGIN : MARGIN + STRIP, START:-MARGIN], figure[START:-MARGIN, MARGIN : MARGIN + STRIP]
    lit_above, lit_beside = (above > 150).all(axis=(0, 2)), (beside > 150).all(axis=(1, 2))
    assert (np.nonzero(lit_above)[0] == np.arange(200, 333)).all()
    assert (np.nonzero(lit_beside)[0] == np.arange(30, 90)).all()
    assert (above[:, ~lit_above] == NIGHT.trough).all()
    assert (beside[~lit_beside] == NIGHT.trough).all()


def test_a_profile_is_as_high_as_its_weight_and_grows_away_from_the_picture():
    size = (401, 430)
    ay, ax = window(size, slice(30, 90), slice(200, 333))
    ax[300:310], ay[70:80] = 0.25, 0.75
    figure = mask_figure(noise(*size), size, ay, ax)
    above = figure[MARGIN : MARGIN + STRIP, START + 305].min(axis=1) > 100
    beside = figure[START + 75, MARGIN : MARGIN + STRIP].min(axis=1) > 100
    assert (np.nonzero(above)[0] == np.arange(STRIP - STRIP // 4, STRIP)).all()
    assert (np.nonzero(beside)[0] == np.arange(STRIP - 3 * STRIP // 4, STRIP)).all()


@pytest.mark.parametrize("box", [(201, 31, 333, 90), (0, 0, 430, 401), (203.4, 30.8, 332.6, 90.3)])
def test_the_outline_is_green_and_lies_just_around_the_box(box):
    size = (401, 530)
    figure = mask_figure(noise(*size), size, *sums(size, box), box)
    x0, y0, x1, y1 = (round(edge) + START for edge in box)
    assert green_at(figure) == (y0 - 2, y1 + 2, x0 - 2, x1 + 2)
    assert not (figure[y0:y1, x0:x1] == GREEN).all(axis=2).any()
    assert (figure[y0 - 2 : y1 + 2, x0 - 2 : x0] == GREEN).all()
    assert (figure[y1 : y1 + 2, x0 - 2 : x1 + 2] == GREEN).all()


@pytest.mark.parametrize("palette", [NIGHT, DAY])
@pytest.mark.parametrize("size", [(1, 1), (10, 13), (50, 1), (401, 530)])
def test_a_box_that_ends_with_the_picture_has_all_its_lines(size, palette):
    box = (0, 0, size[1], size[0])
    figure = mask_figure(noise(*size), size, *sums(size, box), box, longest=300, palette=palette)
    assert max(figure.shape) <= 300
    green = (figure == GREEN).all(axis=2)
    top, bottom, left, right = green_at(figure)
    assert green[bottom - 1, left:right].all()
    assert green[top:bottom, right - 1].all()


def test_where_the_box_leaves_the_picture_the_view_follows_it_and_all_stays_aligned():
    size, box = (401, 430), (-50, 300, 120, 441)
    picture = noise(*size)
    figure = mask_figure(picture, size, *window(size, slice(300, 401), slice(0, 120)), box)
    assert figure.shape == (START + 441 + MARGIN, START + 50 + 430 + MARGIN, 3)
    assert green_at(figure) == (START + 298, START + 443, START - 2, START + 172)
    assert (figure[START + 100, START + 50] == by_night(picture[100, 0]).astype(int)).all()
    above = (figure[MARGIN : MARGIN + STRIP] > 150).all(axis=(0, 2))
    assert (np.nonzero(above)[0] == START + 50 + np.arange(120)).all()


def test_a_box_far_outside_becomes_an_arrow_at_its_side_of_the_view():
    size = (301, 430)
    figure = mask_figure(noise(*size), size, np.zeros(301), np.zeros(430), (9000, 90, 9100, 210))
    top, bottom, left, right = green_at(figure)
    assert right >= figure.shape[1] - MARGIN
    assert right - left < 24
    assert abs((top + bottom) / 2 - START - 150) <= 1


def test_a_tiny_box_in_a_large_picture_is_still_found():
    size = (2667, 4000)
    figure = mask_figure(noise(633, 950), size, *sums(size, (1400, 2000, 1403, 2002)), (1400, 2000, 1403, 2002))
    top, bottom, left, right = green_at(figure)
    assert bottom - top > 30
    assert right - left > 30
    assert abs((left + right) / 2 - START - 1401.5 * 950 / 4000) <= 1
    assert abs((top + bottom) / 2 - START - 2001 * 633 / 2667) <= 1


def test_a_mirrored_glimpse_has_a_filled_corner_at_its_first_sample():
    size, box = (401, 430), (200, 30, 333, 90)
    plain, left_to_right = (
        mask_figure(noise(*size), size, *sums(size, box), box, mirrored=(False, mirrored)) for mirrored in (False, True)
    )
    changed = np.argwhere((plain != left_to_right).any(axis=2)) - START
    assert 40 < len(changed) < 60
    assert changed[:, 0].min() == 30
    assert changed[:, 1].max() == 332


def test_small_pictures_are_enlarged_with_each_pixel_a_square():
    picture = noise(10, 13)
    figure = mask_figure(picture, (10, 13), *window((10, 13), slice(2, 7), slice(0, 13)))
    side = 640 // 13
    assert figure.shape == (START + 10 * side + MARGIN, START + 13 * side + MARGIN, 3)
    shown = figure[START:-MARGIN, START:-MARGIN].reshape(10, side, 13, side, 3)
    assert (shown[2:7, 1:, :, 1:] == picture[2:7, None, :, None]).all()


def test_a_picture_of_one_row_is_thick_enough_to_be_seen():
    figure = mask_figure(noise(1, 950), (1, 1000), np.ones(1), np.ones(1000))
    assert figure.shape == (START + 24 + MARGIN, START + 950 + MARGIN, 3)
    assert (figure[START:-MARGIN, START:-MARGIN] == figure[START, START:-MARGIN]).all()


def test_a_preview_that_is_too_long_is_reduced_by_averaging():
    picture = np.zeros((1000, 1900, 3), np.uint8)
    picture[:, ::2] = 200
    figure = mask_figure(picture, (1000, 1900), np.ones(1000), np.ones(1900))
    assert figure.shape == (START + 500 + MARGIN, LONGEST, 3)
    assert (figure[START:-MARGIN, START:-MARGIN] == 100).all()
    assert START + PREVIEW + MARGIN == LONGEST


def test_teeth_too_fine_to_be_shown_melt_into_an_even_tone_without_moire():
    size = (900, 4000)
    grey = np.full((214, 950, 3), 200, np.uint8)
    for step in np.linspace(4.3, 7.9, 25):
        ax = Axis(Comb(20.3, step), Hat()).bank(480, 4000).column_sums(4000)
        figure = mask_figure(grey, size, np.ones(900), ax)
        row = figure[START + 50, START + 8 : START + int(step * 112), 0].astype(float)
        smooth = np.convolve(
            row, np.hanning(16) / np.hanning(16).sum(), "valid"
        )  # beats are slow: what is left of them
        assert np.ptp(smooth) < 6
        profile = figure[MARGIN : MARGIN + STRIP, START + 8 : START + int(step * 112)]
        assert np.ptp((profile != NIGHT.trough).any(axis=2).sum(axis=0)) <= 1


def test_an_axis_of_millions_of_pixels_is_averaged_in_little_memory():
    ax = np.zeros(20_000_000)
    ax[5_000_000:12_000_000] = 0.5
    figure = mask_figure(np.full((1, 950, 3), 200, np.uint8), (1, 20_000_000), np.ones(1), ax)
    row = figure[START + 5, START:-MARGIN, 0]
    lit = np.nonzero(row > 199)[0]
    assert abs(lit.min() - 950 / 4) < 4
    assert abs(lit.max() - 950 * 0.6) < 4
    assert (np.diff(lit) == 1).all()


def test_teeth_that_can_be_shown_are_seen_apart():
    size = (300, 451)
    ax = Axis(Comb(20, 8), Hat()).bank(40, 451).column_sums(451)
    figure = mask_figure(np.full((300, 451, 3), 200, np.uint8), size, np.ones(300), ax)
    row = figure[START + 50, START:-MARGIN, 0]
    assert (np.nonzero(row == 200)[0] == 20 + 8 * np.arange(40)).all()


def test_samples_that_all_repeat_an_edge_pixel_do_not_leave_the_others_in_the_dark_and_are_marked():
    size, box = (300, 451), (-90, 20, 90, 200)
    picture = np.full((300, 451, 3), 200, np.uint8)
    figure = mask_figure(picture, size, *sums(size, box, (180, 180), Nearest), box)
    shown = figure[START:-MARGIN, START + 90 : -MARGIN, 0].astype(int)
    above = (figure[MARGIN : MARGIN + STRIP, START + 90 : -MARGIN] != NIGHT.trough).any(axis=2)
    assert np.nonzero(~above[:, 0])[0].tolist() == [3, 4]  # its weight goes on beyond the strip
    assert above[5:, 1:90].any(axis=0).all()
    assert not above[:4, 1:].any()  # which all the others fill
    assert shown[100, 0] == 200
    assert shown[100, 40] > (by_night([200] * 3)[0] + 3 * 200) / 4
    assert shown[100, 150] < 120


@pytest.mark.parametrize("box", [(-1e300, 10, np.inf, 20), (1e300, 1e300, 1e301, 1e301), (200, 30, 200, 90)])
def test_boxes_without_end_and_without_width_are_drawn_as_far_as_can_be(box):
    figure = mask_figure(noise(401, 430), (401, 430), np.ones(401), np.ones(430), box)
    assert (figure == GREEN).all(axis=2).any()


def test_nothing_attended_to_is_night_everywhere_and_empty_strips():
    picture = noise(401, 430)
    figure = mask_figure(picture, (401, 430), np.zeros(401), np.zeros(430))
    assert np.abs(figure[START:-MARGIN, START:-MARGIN] - by_night(picture)).max() <= 1
    assert (figure[MARGIN : MARGIN + STRIP, START:-MARGIN] == NIGHT.trough).all()


def test_the_same_numbers_draw_the_same_picture():
    size, box = (401, 430), (203.4, -30.8, 332.6, 90.3)
    one, two = (mask_figure(noise(*size), size, *sums(size, box), box) for _ in range(2))
    assert (one == two).all()


@settings(deadline=None, max_examples=60)
@given(
    size=st.tuples(st.integers(1, 1200), st.integers(1, 1200)),
    corner=st.tuples(*[st.floats(-1e5, 1e5) | st.floats(-50, 1300)] * 2),
    extent=st.tuples(*[st.floats(1e-3, 1e5)] * 2),
    longest=st.integers(64, 1100),
    s=st.floats(0.05, 1000),
)
def test_any_picture_and_box_gives_a_figure_no_longer_than_asked_for(size, corner, extent, longest, s):
    height, width = size
    factor = min(1, PREVIEW / max(size))
    preview = noise(max(1, round(height * factor)), max(1, round(width * factor)))
    box = (*corner, corner[0] + extent[0], corner[1] + extent[1])
    ay, ax = sums(size, box, kernel=lambda _: Gaussian(s))
    figure = mask_figure(preview, size, ay, ax, box, longest=longest, mirrored=(longest % 2 == 0, longest % 3 == 0))
    assert figure.dtype == np.uint8
    assert max(figure.shape) <= longest
    assert (figure == GREEN).all(axis=2).any()
    assert (figure[0] == GROUND).all()


# --- the outline ---


def test_an_outline_goes_on_over_the_edge_of_its_canvas():
    canvas = np.full((60, 90, 3), 99, np.uint8)
    draw_outline(canvas, Rect(-20, 30, 40, 200), 2)
    green = (canvas == GREEN).all(axis=2)
    assert green[:42, 28:30].all()
    assert green[40:42, 28:].all()
    assert not green[:40, 30:].any()


def test_an_outline_around_the_whole_canvas_becomes_four_arrows():
    canvas = np.full((60, 90, 3), 99, np.uint8)
    draw_outline(canvas, Rect(-20, -30, 100, 200), 2)
    green = (canvas == GREEN).all(axis=2)
    assert green[5:20, 40:50].any()
    assert green[40:55, 40:50].any()
    assert green[25:35, 5:20].any()
    assert green[25:35, 70:85].any()


@pytest.mark.parametrize(
    ("rect", "part"),
    [
        (Rect(60, 20, 80, 70), np.s_[40:55, 40:50]),
        (Rect(-20, 20, 0, 70), np.s_[5:20, 40:50]),
        (Rect(20, 90, 40, 120), np.s_[25:35, 70:85]),
        (Rect(20, -30, 40, 0), np.s_[25:35, 5:20]),
    ],
    ids=["below", "above", "right", "left"],
)
def test_a_box_that_only_touches_its_canvas_has_an_arrow_too(rect, part):
    canvas = np.full((60, 90, 3), 99, np.uint8)
    draw_outline(canvas, rect, 2)
    assert (canvas[part] == GREEN).all(axis=2).any()


def test_a_box_that_is_long_needs_no_lines_that_point_at_it_however_thin():
    canvas = np.full((70, 300, 3), 99, np.uint8)
    draw_outline(canvas, Rect(32, 40, 37, 240), 2)
    assert green_at(canvas) == (30, 39, 38, 242)


def test_an_outline_is_cased_in_dark_on_both_sides():
    canvas = np.full((60, 90, 3), 255, np.uint8)
    draw_outline(canvas, Rect(10, 20, 50, 70), 2)
    assert canvas[30, 17, 0] < 120
    assert (canvas[30, 18:20] == GREEN).all()
    assert canvas[30, 20, 0] < 120
    assert canvas[30, 21, 0] == 255


# --- the room ---


def test_who_draws_a_mask_loads_no_typeface_and_the_rest_is_there_when_asked_for():
    code = (
        "import sys; from glimpse_cli import draw; draw.mask_figure; assert 'PIL.ImageFont' not in sys.modules;"
        "[getattr(draw, name) for name in draw.__all__]; assert 'PIL.ImageFont' in sys.modules;"
        "assert not hasattr(draw, 'no')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
