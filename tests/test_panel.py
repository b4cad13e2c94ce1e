"""Pages of glimpses: everything is on them, at the size and in the colours that were promised."""

from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont, features

from glimpse_cli.draw import PanelRow, Window, contact_sheet, outlined, panel, panels, paper, zoomed
from glimpse_cli.draw.masks import DAY, view_room
from glimpse_cli.draw.outlines import GREEN, Rect, draw_frame
from glimpse_cli.draw.panels import CELL, GUTTER, HEAD, INPUT, LEAD, MARGIN

LEFT = MARGIN + INPUT + GUTTER  # of the first method's column
TOP = MARGIN + HEAD  # of the glimpses


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape, np.float32)


def row(glimpse, image_size, label="gaussian", note=""):
    return PanelRow(label, note, glimpse, np.ones(image_size[0]), np.ones(image_size[1]))


def drawn(glimpses, image_size=(90, 131), box=(30, 20, 60, 50), **options):
    picture = (noise(*image_size, 3) * 100).astype(np.uint8)
    rows, cols = zoomed(image_size, box, glimpses[0].shape[:2], len(glimpses))
    window = Window(picture[rows.start : rows.stop, cols.start : cols.stop], rows, cols)
    return panel(picture, image_size, box, window, [row(each, image_size) for each in glimpses], **options)


def found(page, part):
    """Where a picture lies on a page: its first corner, or None."""
    views = np.lib.stride_tricks.sliding_window_view(page, part.shape)[:, :, 0]
    places = np.argwhere((views[:, :, 0, 0] == part[0, 0]).all(axis=-1))
    return next(((y, x) for y, x in places if (views[y, x] == part).all()), None)


def enlarged(glimpse, times):
    return paper.rgb(glimpse).repeat(times, 0).repeat(times, 1)


# --- the panel ---


def test_each_glimpse_stands_in_its_own_column_at_one_scale():
    one, two = noise(30, 40, 3), noise(30, 40, 3, seed=1)
    page = drawn([one, two])
    times = CELL // 40
    assert found(page, enlarged(one, times)) == (TOP, LEFT)
    assert found(page, enlarged(two, times)) == (TOP, LEFT + 40 * times + GUTTER)


def test_what_is_no_number_is_magenta_and_leaves_the_scale_alone():
    one, two = noise(30, 40, 3), noise(30, 40, 3, seed=1)
    two[4, 7, 1] = np.nan
    two[5, 9] = np.inf
    times = CELL // 40
    page = drawn([one, two])
    left = LEFT + 40 * times + GUTTER
    glimpse = page[TOP : TOP + 30 * times : times, left : left + 40 * times : times]
    assert (glimpse[4, 7] == paper.UNKNOWN).all()
    assert (glimpse[5, 9] == 255).all()
    unknown = (page == paper.UNKNOWN).all(axis=2)
    assert unknown.sum() == 3 * times**2  # one in the glimpse, both in the difference
    assert not (drawn([one, noise(30, 40, 3, seed=1)]) == paper.UNKNOWN).all(axis=2).any()
    one[12:17, 15:25] = np.nan  # in the middle of the first's difference to itself: no word lies on it
    unknown = (drawn([one, noise(30, 40, 3, seed=1)]) == paper.UNKNOWN).all(axis=2)
    assert unknown.sum() == 3 * 50 * times**2


@pytest.mark.parametrize("size", [(5, 300), (8, 64), (1, 10), (100, 2), (64, 64)])
def test_what_is_said_of_the_differences_stays_off_the_margins(size):
    page = drawn([noise(*size, 3), noise(*size, 3, seed=1)])
    edges = (
        page[-MARGIN + 24 :],
        page[:MARGIN],
        page[:, : MARGIN - 4],
        page[:, -MARGIN + 4 :],
    )  # letters reach below a line
    assert all((edge == 255).all() for edge in edges)


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        ((3, 1000), (12, 200)),
        ((1000, 3), (320, 12)),
        ((1, 150), (12, 150)),  # it fits as it is
        ((5, 60), (15, 180)),
        ((5, 150), (15, 150)),  # every line of the same height
        ((30, 500), (12, 200)),
        ((2, 2), (200, 200)),
    ],
)
def test_a_glimpse_of_a_few_lines_is_thick_enough_to_be_seen(size, shown):
    assert paper.fitted(size, (320, 200)) == shown
    white = paper.scaled(np.full((*size, 3), 255, np.uint8), (320, 200))
    assert white.shape[:2] == shown
    assert (white == 255).all() == (size != (2, 2))  # whose squares are ruled


def test_columns_of_a_few_lines_are_averaged_and_not_skipped():
    lines = np.zeros((3, 1000, 3), np.uint8)
    lines[:, ::2] = 200
    for shown in (paper.scaled(lines, (320, 200)), paper.scaled(lines.transpose(1, 0, 2), (200, 320))):
        assert np.abs(shown.astype(int) - 100).max() <= 20


def test_a_tiny_glimpse_shows_its_pixels_as_ruled_squares():
    glimpse = np.zeros((5, 7))
    page = drawn([glimpse])
    side = CELL // 7
    shown = page[TOP : TOP + 5 * side, LEFT : LEFT + 7 * side]
    ruled = (shown > 0).any(axis=2)
    assert (np.nonzero(ruled[1])[0] == side * np.arange(1, 7)).all()
    assert (np.nonzero(ruled[:, 1])[0] == side * np.arange(1, 5)).all()


@pytest.mark.parametrize("grey", [0, 60, 110, 127, 128, 140, 200, 255])
def test_the_rules_between_squares_are_seen_on_every_grey_and_are_faint(grey):
    shown = paper.scaled(np.full((5, 7, 3), grey, np.uint8), (200, 200)).astype(int)
    rules = np.abs(shown - grey).max(axis=2)
    assert set(np.unique(rules)) - {0} <= set(range(10, 41))
    assert rules.any(axis=0).sum() >= 6


def test_the_difference_is_red_where_more_blue_where_less_and_white_where_the_same():
    base = np.full((31, 40, 3), 0.5, np.float32)
    other = base.copy()
    other[:8] += [0.0, 0.2, 0.0]  # in one channel only
    other[-8:] -= [0.2, 0.0, 0.1]
    page = drawn([base, other]).astype(int)
    times = CELL // 40
    left, size = LEFT + 40 * times + GUTTER, 31 * times
    starts = [y for y in range(TOP + size, page.shape[0]) if tuple(page[y, left + 5]) == (176, 32, 44)]
    heat = page[starts[0] : starts[0] + size, left : left + 40 * times]
    assert (heat[: 8 * times] == (176, 32, 44)).all()
    assert (heat[8 * times : -8 * times] == 255).all()
    assert (heat[-8 * times :] == (33, 88, 166)).all()


def test_where_there_is_a_reference_every_glimpse_is_held_against_it_the_first_as_well():
    reference = np.full((31, 40), 0.4, np.float32)
    page = drawn([reference + 0.1, reference.copy(), reference - 0.1], reference=("lanczos", reference))
    times = CELL // 40
    below, step = page.shape[0] - MARGIN - 5, 40 * times + GUTTER
    warm, same, cold = (tuple(page[below, LEFT + k * step + 3].tolist()) for k in range(3))
    assert (warm, same, cold) == ((176, 32, 44), (255, 255, 255), (33, 88, 166))
    alone, none = drawn([reference + 0.1], reference=("lanczos", reference)), drawn([reference + 0.1])
    assert tuple(alone[alone.shape[0] - MARGIN - 5, LEFT + 3].tolist()) == (176, 32, 44)
    assert none.shape[0] < alone.shape[0]  # one glimpse differs from nothing


@pytest.mark.parametrize(
    ("box", "cols", "part"),
    [
        ((30, 20, 60, 50), range(25, 66), False),
        ((-9, 20, 60, 50), range(61), False),  # all that there is of it
        ((30, 20, 90, 50), range(25, 66), True),
        (None, range(25, 66), True),
        ((30, 30, 60, 65), range(25, 66), True),  # its rows would fit, but are not all there
        ((200, 20, 300, 50), range(90, 131), False),  # there is nothing of it
    ],
)
def test_a_window_that_shows_but_a_part_of_a_box_is_framed_in_the_input(box, cols, part):
    size, rows = (90, 131), range(15, 55)
    window = Window(np.zeros((len(rows), len(cols), 3), np.uint8), rows, cols)
    page = panel(np.full((*size, 3), 99, np.uint8), size, box, window, [row(noise(31, 40), size)])
    place = page[TOP : TOP + 2 * 90, MARGIN : MARGIN + INPUT]
    times = (INPUT - 6) // 131
    white = (place[:, : 131 * times] == 255).all(axis=2)
    assert white.any() == part
    if part:
        inside = np.nonzero(white[:, 25 * times + 1 : 66 * times - 1].sum(axis=1) > 70)[0]
        assert inside.tolist() == [15 * times + 1, 55 * times - 2]
        assert np.nonzero(white[30 * times])[0].tolist() == [25 * times + 1, 66 * times - 2]


def test_a_part_of_a_pixel_of_the_page_has_a_frame_that_can_be_seen():
    canvas = np.full((60, 90, 3), 255, np.uint8)
    draw_frame(canvas, Rect(30, 40, 31, 40))
    rows, cols = np.nonzero((canvas != 255).any(axis=2))
    assert (np.ptp(rows), np.ptp(cols)) == (6, 6)
    assert (canvas[30, 38:43] != 255).any()


def test_quiet_words_are_dark_enough_to_be_read():
    linear = np.array([((c / 255 + 0.055) / 1.055) ** 2.4 for c in paper.QUIET])
    assert 1.05 / (linear @ (0.2126, 0.7152, 0.0722) + 0.05) >= 4.5  # WCAG's AA for small letters


def test_all_differences_are_on_one_scale():
    base = np.full((31, 40), 0.5)
    page = drawn([base, base + 0.1, base + 0.2])
    times = CELL // 40
    below = page.shape[0] - MARGIN - 5
    half, whole = (page[below, LEFT + k * (40 * times + GUTTER) + 3].astype(int) for k in (1, 2))
    assert tuple(whole) == (176, 32, 44)
    assert half[0] > whole[0]
    assert tuple(half) != (255, 255, 255)


@pytest.mark.parametrize(("share", "reached"), [(0.02, True), (0.004, False)])
def test_the_scale_reaches_what_some_pixels_differ_by_but_not_what_a_few_do(share, reached):
    base = np.full((31, 40), 0.4, np.float32)
    other = base + 0.01
    other[0, : round(share * base.size)] += 0.5
    page = drawn([base, other])
    times = CELL // 40
    usual = page[page.shape[0] - MARGIN - 5, LEFT + 40 * times + GUTTER + 3]
    assert (tuple(usual) == (176, 32, 44)) != reached


def test_equal_glimpses_differ_nowhere_and_nothing_is_divided_by_zero():
    page = drawn([noise(31, 40), noise(31, 40)])
    times = CELL // 40
    assert (page[-MARGIN - 31 * times :][: 31 * times, LEFT + 40 * times + GUTTER :][:, : 40 * times] == 255)[
        1:-1, 1:-1
    ].mean() > 0.98


def test_more_methods_than_fit_abreast_go_on_below():
    glimpses = [noise(24, 32, seed=k) for k in range(7)]
    one, many = drawn(glimpses[:4]), drawn(glimpses)
    assert many.shape[1] == one.shape[1]
    assert many.shape[0] > 1.8 * one.shape[0] - 2 * MARGIN
    times = (
        found(many, enlarged(glimpses[4], 6))
        or found(many, enlarged(glimpses[4], 7))
        or found(many, enlarged(glimpses[4], 8))
    )
    assert times[1] == LEFT


@pytest.mark.parametrize("methods", [1, 2, 3, 5, 6, 11])
@pytest.mark.parametrize("size", [(5, 7), (64, 54), (224, 200), (700, 31)])
def test_a_page_is_never_wider_than_asked_for(methods, size):
    for width in (1600, 1200):
        assert drawn([noise(*size)] * methods, width=width).shape[1] <= width


def test_the_input_stands_on_the_left_with_its_box_in_green():
    page = drawn([noise(31, 40)])
    green = (page[:, : LEFT - GUTTER // 2] == GREEN).all(axis=2)
    rows, cols = np.nonzero(green)
    times = (INPUT - 6) // 131
    assert (cols.min(), cols.max() + 1) == (MARGIN + 30 * times - 1, MARGIN + 60 * times + 1)
    assert (rows.min(), rows.max() + 1) == (TOP + 20 * times - 1, TOP + 50 * times + 1)


def test_a_mask_shows_the_attention_of_its_window():
    size, box = (90, 131), (60, 20, 90, 50)
    rows, cols = zoomed(size, box, (31, 40), 2)
    methods = []
    for first in (62, 69):
        ax = np.zeros(131)
        ax[first : first + 10] = 1
        methods.append(PanelRow("stn", "", noise(31, 40), np.ones(90), ax))
    window = Window(np.zeros((len(rows), len(cols), 3), np.uint8), rows, cols)
    page = panel(np.zeros((90, 131, 3), np.uint8), size, box, window, methods)
    above = (page[TOP + 31 * (CELL // 40) + LEAD + 5] == DAY.mean).all(axis=1)  # a line through both profiles above
    column = LEFT + 40 * (CELL // 40) + GUTTER
    one, two = np.nonzero(above[:column])[0] - LEFT, np.nonzero(above[column:])[0]
    times = len(one) // 10
    assert times == CELL * 9 // 10 // len(cols)
    assert (np.diff(one) == 1).all()
    assert (two == one + 7 * times).all()


@pytest.mark.parametrize("mirrored", [(True, False), (False, True)])
def test_a_mirrored_glimpse_has_its_corner_in_the_input_and_in_every_mask(mirrored):
    size, box = (90, 131), (60, 20, 90, 50)
    rows, cols = zoomed(size, box, (31, 40), 2)
    methods = [PanelRow("stn", "", noise(31, 40), np.ones(90), np.ones(131)) for _ in range(2)]
    window = Window(np.zeros((len(rows), len(cols), 3), np.uint8), rows, cols)
    plain, turned = (
        panel(np.zeros((*size, 3), np.uint8), size, box, window, methods, mirrored=way)
        for way in ((False,) * 2, mirrored)
    )
    changed = np.argwhere((plain != turned).any(axis=2))
    assert (turned[tuple(changed.T)] == GREEN).all()
    columns = np.unique(changed[:, 1])
    assert (np.diff(columns) > 20).sum() == 2  # three corners, side by side


def test_uint8_glimpses_and_floats_give_the_same_page():
    one, two = ((noise(31, 40, 3, seed=k) * 255).astype(np.uint8) for k in (1, 2))
    floats = [(each / np.float32(255)).astype(np.float32) for each in (one, two)]
    assert (drawn([one, two]) == drawn(floats)).all()


# --- where to look closely ---


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 5000), st.integers(1, 5000)),
    corner=st.tuples(*[st.floats(-6000, 6000)] * 2),
    extent=st.tuples(*[st.floats(1e-3, 9000)] * 2),
    glimpse=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    methods=st.integers(1, 12),
)
def test_a_window_lies_in_the_image_and_is_small_enough_to_show_each_pixel(size, corner, extent, glimpse, methods):
    rows, cols = zoomed(size, (*corner, corner[0] + extent[0], corner[1] + extent[1]), glimpse, methods)
    for pixels, N in ((rows, size[0]), (cols, size[1])):
        assert 0 <= pixels.start < pixels.stop <= N
        assert len(pixels) <= CELL


@settings(deadline=None)
@given(
    corner=st.tuples(*[st.floats(0, 500)] * 2),
    extent=st.tuples(*[st.floats(1, 400)] * 2),
    glimpse=st.tuples(*[st.integers(1, 300)] * 2),
    methods=st.integers(1, 6),
)
def test_a_window_holds_all_of_a_box_that_it_has_room_for(corner, extent, glimpse, methods):
    (x0, y0), (w, h) = corner, extent
    rows, cols = zoomed((1000, 1200), (x0, y0, x0 + w, y0 + h), glimpse, methods)
    room = view_room(panels._mask_side(glimpse, panels._room(methods, 1600)), DAY)
    if max(ceil(x0 + w) - floor(x0), ceil(y0 + h) - floor(y0)) <= room:
        assert rows.start <= y0
        assert y0 + h <= rows.stop
        assert cols.start <= x0
        assert x0 + w <= cols.stop


def test_a_window_holds_the_last_pixel_of_a_box_that_just_fits_into_it():
    rows, cols = zoomed((782, 914), (25.89, 301.25, 284.89, 539.25), (73, 51), 1)
    assert (rows.start, rows.stop) == (301, 540)
    assert (cols.start, cols.stop) == (25, 285)


def test_a_window_holds_the_box_and_something_around_it_or_its_first_corner():
    rows, cols = zoomed((2000, 3000), (1000, 400, 1080, 430), (64, 50), 3)
    assert cols.start < 999
    assert cols.stop > 1081
    assert rows.start < 399
    assert rows.stop > 431
    rows, cols = zoomed((2000, 3000), (1000, 400, 2800, 1900), (64, 50), 3)
    assert cols.start < 1000 < cols.stop - 100
    assert rows.start < 400 < rows.stop - 100


# --- the contact sheet ---


def test_a_sheet_holds_every_glimpse_in_order():
    glimpses = [(noise(24, 32, 3, seed=k) * 255).astype(np.uint8) for k in range(7)]
    sheet = contact_sheet(glimpses, [f"{k}.png" for k in range(7)], columns=3)
    places = [found(sheet, enlarged(glimpse, 5)) for glimpse in glimpses]
    assert places == sorted(places)
    assert len({y for y, _ in places}) == 3
    assert len({x for _, x in places}) == 3


def test_a_sheet_takes_grey_colour_and_alpha_of_any_size():
    shapes = [(24, 32), (5, 7, 1), (40, 31, 2), (300, 200, 3), (9, 64, 4), (1, 1)]
    glimpses = [(noise(*shape) * 255).astype(np.uint8) for shape in shapes]
    sheet = contact_sheet(glimpses, ["name"] * 6)
    assert sheet.ndim == 3
    assert sheet.dtype == np.uint8


def test_alpha_lies_over_white():
    glimpse = np.array([[[10, 20, 30, 255], [10, 20, 30, 0]]], np.uint8)
    assert paper.rgb(glimpse).tolist() == [[[10, 20, 30], [255, 255, 255]]]


@pytest.mark.parametrize("size", [(30, 40), (40, 160), (160, 40)])
def test_a_sheet_without_a_width_is_a_little_wider_than_high(size):
    sheet = contact_sheet([np.zeros(size, np.uint8)] * 60, ["name"] * 60)
    assert 1 < sheet.shape[1] / sheet.shape[0] < 2


def test_a_name_has_room_above_the_narrowest_glimpse():
    sheets = [contact_sheet([np.zeros((160, 9), np.uint8)], [name]) for name in ("eye.12.png", "eye.13.png")]
    assert (sheets[0] != sheets[1]).any()


# --- words ---


@pytest.mark.parametrize("name", ["a.png", "folder/" * 9 + "photo.12.png", "x" * 255, "日本語の写真.png" * 9, ""])
def test_a_name_is_shortened_in_its_middle_until_it_fits(name):
    short = paper.shortened(name, 13, 90)
    assert paper.width_of(short, 13) <= 90
    assert len(short) < 5 or (short[:3] == paper.plain(name)[:3] and short[-3:] == paper.plain(name)[-3:])


def test_what_tells_names_of_one_length_apart_is_left():
    names = [f"000000{image:06}.{row}.png" for image in (139, 285) for row in (7, 12)]
    assert len({paper.shortened(name, 13, 100) for name in names}) == 4


def test_letters_that_the_typeface_lacks_become_ones_that_it_has():
    assert paper.plain("Café 3 × 4 · −0.5 ± 日") == "Cafe 3 x 4 · -0.5 ± ?"  # noqa: RUF001 - these are the letters meant
    assert paper.plain("Łódź, Smørrebrød, Straße, İstanbul’ı, Þingvellir") == (  # noqa: RUF001 - likewise
        "Lodz, Smorrebrod, Strasse, Istanbul'i, Thingvellir"
    )


def test_pages_are_lettered_without_freetype_too(monkeypatch):
    bitmap = ImageFont.load_default_imagefont()
    monkeypatch.setattr(features, "check", lambda _: False)
    monkeypatch.setattr(ImageFont, "load_default", lambda: bitmap)
    paper._font.cache_clear()
    try:
        page = drawn([noise(31, 40), noise(31, 40, seed=1)], title="Ünïcode × 日本 · ± … name")  # noqa: RUF001 - as above
    finally:
        paper._font.cache_clear()
    assert (page[: MARGIN + 20, :INPUT] < 100).any()


def test_an_outlined_picture_is_the_picture_within_its_margin():
    picture = (noise(90, 700, 3) * 255).astype(np.uint8)
    assert (outlined(picture, (90, 700), None)[3:-3, 3:-3] == picture).all()
