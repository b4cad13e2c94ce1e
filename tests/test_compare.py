"""The numbers of a comparison, against plain loops, Pillow itself and Fourier transforms."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import oracle
from glimpse_cli import compare, devices, draw, glimpse
from glimpse_cli.compare import columns, lenses, measures, rows
from glimpse_cli.compare.figure import shown
from glimpse_cli.errors import ParameterError, UsageError
from glimpse_cli.images.reference import lanczos_axis
from glimpse_cli.places import BoxPlace, CombPlace, GridPlace, Pair
from pictures import png, tiff

RNG = np.random.default_rng(5)
PHOTO = RNG.integers(0, 256, (31, 47, 3)).astype(np.uint8)
GREY = PHOTO[:, :, 0]
CPU = (devices.resolve("cpu"),)
INSIDE = BoxPlace((3.25, 2.5, 42.0, 27.0))


def compared(picture, place=INSIDE, size=(5, 7), methods="hard,gaussian,stn", **settings):
    looks = {name: settings.pop(name) for name in ("s", "padding") if name in settings}
    contenders = compare.parse_methods(methods, place, size, **looks)
    plan = compare.Plan(contenders, **{"devices": CPU, "repeats": 1, **settings})
    return compare.compare(png(picture), "photo.png", plan)


def row_of(comparison, label):
    return next(row for row in comparison.rows if row.label == label)


def resized(picture, box, size):
    """Pillow's LANCZOS on unrounded values, a channel at a time, cut to [0, 1]."""
    channels = [
        np.asarray(
            Image.fromarray((channel / np.float32(255)).astype(np.float32)).resize(
                size[::-1], Image.Resampling.LANCZOS, box=box
            )
        )
        for channel in np.moveaxis(np.atleast_3d(picture), 2, 0)
    ]
    return np.clip(np.stack(channels, axis=2), 0, 1)


def dense(axis, n, N):
    """An axis as nested lists, by the formulas."""
    kernel, places = axis.kernel, [axis.comb.first + i * axis.comb.step for i in range(n)]
    if hasattr(kernel, "s"):
        return [oracle.gaussian_row(place, kernel.s, N, kernel.eps) for place in places]
    row = oracle.hat_row if type(kernel).__name__ == "Hat" else oracle.nearest_row
    return [row(place, N, kernel.padding) for place in places]


def by_loops(row, picture):
    """A row's glimpse as nested lists, a channel at a time."""
    (H, W), (h, w), spec = picture.shape[:2], row.sight.spec.size, row.sight.spec
    By, Bx = dense(spec.y, h, H), dense(spec.x, w, W)
    return [oracle.apply(By, (channel / 255).tolist(), Bx) for channel in np.moveaxis(np.atleast_3d(picture), 2, 0)]


@pytest.mark.parametrize("method", ["hard", "gaussian", "stn", "gaussian:s=2.5/0.4"])
@pytest.mark.parametrize("picture", [PHOTO, GREY], ids=["colour", "grey"])
def test_differences_to_the_reference_are_those_of_plain_loops_and_pillow(method, picture):
    row = row_of(compared(picture, methods=method), method)
    reference = resized(picture, INSIDE.numbers, (5, 7))
    apart = [
        abs(value - float(reference[y, x, c]))
        for c, channel in enumerate(by_loops(row, picture))
        for y, line in enumerate(channel)
        for x, value in enumerate(line)
    ]
    found = row.against_reference
    assert found.mae == pytest.approx(math.fsum(apart) / len(apart), abs=1e-5)
    assert found.max == pytest.approx(max(apart), abs=1e-5)
    square = math.fsum(value * value for value in apart) / len(apart)
    assert found.psnr == pytest.approx(10 * math.log10(1 / square), abs=1e-3)


def test_the_reference_is_what_pillow_makes_of_the_8_bit_picture_but_for_its_rounding():
    reference = resized(PHOTO, INSIDE.numbers, (5, 7))
    rounded = Image.fromarray(PHOTO).resize((7, 5), Image.Resampling.LANCZOS, box=INSIDE.numbers)
    assert np.abs(reference - np.asarray(rounded) / 255).max() <= 1.5 / 255
    lens = lenses.lanczos(compared(PHOTO).rows[0].sight, (31, 47))
    row = compared(PHOTO).rows[0]
    ours = lenses.seen_through(lens, compared(PHOTO).loaded, row.sight)
    assert np.abs(np.clip(ours, 0, 1) - reference).max() < 3e-6


def test_the_reference_keeps_to_what_a_picture_can_hold():
    edge = np.zeros((31, 47), np.uint8)
    edge[:, 20:] = 255  # LANCZOS goes beyond white beside it
    row = compared(edge, BoxPlace((0, 0, 47, 31)), (31, 40), methods="hard").rows[0]
    uncut = np.asarray(Image.fromarray(edge / np.float32(255)).resize((40, 31), Image.Resampling.LANCZOS))
    assert uncut.max() > 1.01
    wanted = np.abs(row.glimpse[..., 0] - np.clip(uncut, 0, 1)).mean()
    assert row.against_reference.mae == pytest.approx(wanted, abs=1e-6)


@given(
    st.integers(1, 90), st.integers(1, 12), st.floats(0, 0.9), st.floats(0.05, 1), st.integers(0, 2**32 - 1)
)  # an axis, samples, a box, a picture
def test_lanczos_axis_is_pillows_resize_of_any_axis(N, n, start, share, seed):
    low = start * N
    high = low + share * (N - low)
    line = np.random.default_rng(seed).random((N, 1), np.float32)
    pixels, weights = lanczos_axis(low, high, n, N)
    resized = Image.fromarray(line).resize((1, n), Image.Resampling.LANCZOS, box=(0, low, 1, high))
    assert np.abs(weights @ line[pixels.start : pixels.stop] - np.asarray(resized)).max() < 2e-4  # edges are float32
    assert np.abs(weights.sum(axis=1) - 1).max() < 1e-5


def test_lanczos_axis_is_pillows_resize_of_a_long_axis():
    line = RNG.random((3001, 1), np.float32)
    pixels, weights = lanczos_axis(1010.25, 2500.0, 13, 3001)
    assert (pixels.start > 500, pixels.stop < 2900) == (True, True)
    there = Image.fromarray(line).resize((1, 13), Image.Resampling.LANCZOS, box=(0, 1010.25, 1, 2500))
    assert np.abs(weights @ line[pixels.start : pixels.stop] - np.asarray(there)).max() < 1e-5


def test_the_reference_of_a_mirrored_place_is_mirrored():
    ahead = compared(PHOTO, CombPlace(Pair(4, 5), Pair(4, 5)), methods="hard")
    mirrored = compared(PHOTO, CombPlace(Pair(20, 5), Pair(-4, 5)), methods="hard")
    for found in (ahead, mirrored):
        assert found.rows[0].against_reference is not None
    one, other = (found.rows[0].against_reference.mae for found in (ahead, mirrored))
    assert one == pytest.approx(other, abs=1e-6)
    assert one > 0.01


@pytest.mark.parametrize(
    "place",
    [
        BoxPlace((-0.5, 2, 30, 20)),
        BoxPlace((3, -0.5, 30, 20)),
        BoxPlace((3, 2, 47.5, 20)),
        BoxPlace((3, 2, 30, 31.5)),
        CombPlace(Pair(3, 3), Pair(0, 1)),
    ],
    ids=["left", "above", "right", "below", "no step"],
)
def test_there_is_no_reference_where_the_box_leaves_the_picture_or_has_no_height(place):
    found = compared(PHOTO, place)
    for row in compare.document(found)["rows"]:
        assert [row[name] for name in ("mae", "max", "psnr", "ssim", "aliasing", "blur")] == [None] * 6
        assert row["ms"] > 0
    assert any("no reference" in note for note in compare.notes(found))


def test_the_whole_picture_is_inside_however_it_is_spelled():
    for place in (
        BoxPlace((0, 0, 1, 1), normalized=True),
        GridPlace(Pair(4 / 5 * 31 / 30, 6 / 7 * 47 / 46), Pair(0, 0)),
    ):
        assert compared(PHOTO, place).rows[0].against_reference is not None


def test_a_method_can_be_the_reference_also_outside_the_picture():
    place, size = BoxPlace((-4, -3, 30, 40)), (5, 7)
    (gaussian,) = compare.parse_methods("gaussian:s=3", place, size)
    found = compared(PHOTO, place, methods="gaussian:s=3,stn", reference=gaussian)
    itself, other = found.rows
    assert (itself.against_reference.max, itself.against_reference.psnr, itself.split) == (0, math.inf, None)
    apart = np.abs(np.subtract(by_loops(other, PHOTO), by_loops(itself, PHOTO)))
    assert other.against_reference.mae == pytest.approx(apart.mean(), abs=1e-5)
    document = compare.document(found)["rows"][0]
    assert (document["psnr"], document["mae"]) == (None, 0)  # JSON knows no infinity


@pytest.mark.parametrize("method", ["hard", "gaussian", "stn"])
def test_noise_gain_is_the_mean_sum_of_squared_weights(method):
    row = row_of(compared(PHOTO, BoxPlace((-3, 5, 40, 29))), method)
    By, Bx = dense(row.sight.spec.y, 5, 31), dense(row.sight.spec.x, 7, 47)
    sums = [math.fsum((a * b) ** 2 for a in y for b in x) for y in By for x in Bx]
    assert row.noise_gain == pytest.approx(math.fsum(sums) / 35, rel=1e-5)


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("method", ["hard", "gaussian", "stn"])
def test_pixels_are_counted_one_by_one(method, padding):
    row = row_of(compared(PHOTO, BoxPlace((-9, 5, 40, 29.5)), padding=padding), method)
    By, Bx = np.array(dense(row.sight.spec.y, 5, 31)), np.array(dense(row.sight.spec.x, 7, 47))
    mask = np.multiply.outer(By.sum(axis=0), Bx.sum(axis=0))
    assert row.pixels_seen == np.count_nonzero(mask > 1e-3 / (24.5 / 5) / (49 / 7))
    if method != "gaussian":
        assert row.pixels_read == np.count_nonzero(mask)
    else:  # a bell has no end: as far as float32 sees it
        assert row.pixels_seen < row.pixels_read <= 31 * 47


def test_of_steps_however_wide_the_pixels_below_the_bells_are_seen():
    picture = np.full((300, 500), 77, np.uint8)
    assert row_of(compared(picture, BoxPlace((0, 0, 500, 300)), size=(5, 7)), "gaussian").pixels_seen == 300 * 500


def test_a_pixel_that_weighs_just_the_least_is_not_seen():
    ay, ax = np.array([1.0, 0.5, 0]), np.array([2e-3, 1e-3, 0])
    assert measures.pixels_seen(ay, ax, 1) == 1
    assert measures.pixels_seen(ay, ax, 2) == 3
    assert measures.pixels_read(ay, ax) == 4


def mirrored_low(picture, steps):
    """The part of a picture (H, W) below the Nyquist frequency of these steps, by Fourier transforms."""
    for axis, step in enumerate(steps):
        N = picture.shape[axis]
        twice = np.concatenate([picture, np.flip(picture, axis)], axis)
        spectrum = np.fft.fft(twice, axis=axis)
        kept = np.abs(np.fft.fftfreq(2 * N)) < 1 / (2 * max(1, step))
        spectrum *= np.expand_dims(kept, 1 - axis)
        picture = np.take(np.fft.ifft(spectrum, axis=axis).real, range(N), axis)
    return picture


@pytest.mark.parametrize("size", [(5, 7), (11, 40), (28, 9)])
@pytest.mark.parametrize("method", ["hard", "gaussian", "stn", "gaussian:s=4"])
def test_a_difference_is_split_at_the_nyquist_frequency(method, size):
    whole = BoxPlace((0, 0, 47, 31))  # all that is read is the whole picture: the window in which spectra are taken
    row = compared(GREY, whole, size, methods=method).rows[0]
    low = mirrored_low(GREY / 255, (31 / size[0], 47 / size[1]))
    energies = []
    for part in (low, GREY / 255 - low):
        pillow = Image.fromarray(part.astype(np.float32)).resize(size[::-1], Image.Resampling.LANCZOS)
        energies.append(np.square(glimpse.extract(part, row.sight.spec) - np.asarray(pillow)).sum())
    assert row.split.blur == pytest.approx(energies[0] / sum(energies), abs=2e-4)
    assert row.split.aliasing == pytest.approx(energies[1] / sum(energies), abs=2e-4)


@pytest.mark.parametrize(("cycles", "aliasing"), [(11, 0), (22, 1)])
def test_a_wave_is_all_blur_below_the_nyquist_frequency_and_all_aliasing_above(cycles, aliasing):
    wave = 127.5 + 100 * np.cos(np.pi * cycles * (np.arange(60) + 0.5) / 60)  # Nyquist: 15 half periods
    picture = np.tile(np.rint(wave).astype(np.uint8), (31, 1))
    row = compared(picture, BoxPlace((0, 0, 60, 31)), (31, 15), methods="stn").rows[0]
    assert row.split.aliasing == pytest.approx(aliasing, abs=0.03)


@pytest.mark.parametrize(("length", "step", "modes"), [(23, 2, 12), (24, -2, 12), (23, 0.5, 23), (3, 90, 1)])
def test_the_spectrum_has_every_wave_below_the_nyquist_frequency(length, step, modes):
    assert modes == sum(k / (2 * length) < 1 / (2 * max(abs(step), 1)) for k in range(length))
    assert lenses._cosines(length, step).shape == (modes, length)


def test_nothing_aliases_at_steps_of_one_and_less():
    row = row_of(compared(PHOTO, BoxPlace((3.3, 2.2, 9.1, 7.2)), (6, 7)), "gaussian")
    assert row.split.aliasing < 1e-6


def test_what_is_transparent_has_no_say():
    alpha = np.where(RNG.random((31, 47, 1)) < 0.6, 255, 0).astype(np.uint8)
    other = np.where(alpha == 0, 255 - PHOTO, PHOTO)
    one, two = (compare.document(compared(np.concatenate([p, alpha], 2))) for p in (PHOTO, other))
    for a, b in zip(one["rows"], two["rows"], strict=True):
        for name in ("mae", "max", "psnr", "aliasing"):
            assert a[name] == pytest.approx(b[name], rel=1e-4)


def test_what_is_transparent_is_not_drawn():
    alpha = np.where(np.arange(31)[:, None, None] + np.arange(47)[:, None] < 40, 255, 0).astype(np.uint8)
    other = np.where(alpha == 0, 255 - PHOTO, PHOTO)
    one, two = (
        compare.figure(compared(np.concatenate([picture, alpha], 2), INSIDE, methods="gaussian,stn", repeats=0))
        for picture in (PHOTO, other)
    )
    assert (one == two).mean() > 0.999  # the preview and the glimpses may round apart
    assert one.shape[2] == 3


def test_what_is_transparent_is_mid_grey_to_the_eye():
    seen = np.zeros((3, 5, 4), np.float32)
    seen[:, 2:] = 1
    eye = shown(seen, alpha=True)
    assert (eye[:, :2] == 128).all()
    assert (eye[:, 2:] == 255).all()


def test_ssim_is_scikit_images_and_needs_seven_samples():
    metrics = pytest.importorskip("skimage.metrics")
    row = compared(PHOTO, size=(8, 9)).rows[0]
    reference = resized(PHOTO, INSIDE.numbers, (8, 9))
    ours = np.moveaxis(np.array(by_loops(row, PHOTO)), 0, 2)
    wanted = metrics.structural_similarity(ours, reference.astype(float), data_range=1, channel_axis=2)
    assert row.against_reference.ssim == pytest.approx(wanted, abs=1e-5)
    assert compared(PHOTO, size=(6, 9)).rows[0].against_reference.ssim is None


def test_without_scikit_image_there_is_no_ssim(monkeypatch):
    monkeypatch.setattr(measures, "find_spec", lambda _: None)
    assert compared(PHOTO, size=(8, 9)).rows[0].against_reference.ssim is None


def doubled(window, by, bx):
    return CPU[0].contract(window, by, bx) + np.float32(0.25)


def test_devices_are_held_against_the_first():
    off = devices.Device("off", doubled)
    found = compared(PHOTO, methods="stn,hard", devices=(*CPU, off))
    assert [(row.label, row.device) for row in found.rows] == [
        ("stn", "cpu"),
        ("hard", "cpu"),
        ("stn", "off"),
        ("hard", "off"),
    ]
    assert [row.against_device for row in found.rows[:2]] == [None, None]
    assert [row.against_device.max for row in found.rows[2:]] == pytest.approx([0.25, 0.25], abs=1e-6)
    limit = compare.parse_limit("max=0.1")
    said = compare.failures(found.rows, [limit])
    assert [line.partition(":")[0] for line in said] == ["stn on off", "hard on off"]
    assert compare.failures(found.rows, [compare.parse_limit("max=0.3")]) == []  # far from the reference all the same


@pytest.mark.parametrize(
    ("text", "kept", "failed"),
    [
        ("mae=0.5", 0.5, 0.51),
        ("max=1e-4", 0, 2e-4),
        ("psnr=40", 40, 39.9),
        ("ssim=.9", 1, 0.89),
        ("psnr=40", math.inf, math.nan),
    ],
)
def test_limits_know_which_way_is_worse(text, kept, failed):
    limit = compare.parse_limit(text)
    assert not limit.passed_by(kept)
    assert limit.passed_by(failed)


def test_a_row_without_the_metric_fails():
    outside = compared(PHOTO, BoxPlace((-9, 2, 30, 20)), methods="stn")
    assert compare.failures(outside.rows, [compare.parse_limit("mae=9")]) == [
        "stn on cpu: there is no mae to hold against 9"
    ]
    small = compared(PHOTO, methods="stn")
    assert "there is no ssim" in compare.failures(small.rows, [compare.parse_limit("ssim=0")])[0]
    assert compare.failures(small.rows, []) == []


def test_values_that_are_not_finite_fail_and_are_null():
    row = compared(PHOTO, methods="stn").rows[0]
    unknown = replace(row, against_reference=measures.difference(row.glimpse * np.nan, row.glimpse))
    assert compare.failures([unknown], [compare.parse_limit("mae=9")]) == ["stn on cpu: mae is nan"]


@pytest.mark.parametrize("text", ["mae", "mae=", "mae=nan", "mae=1_0", "sharpness=3", "=3", "mae=0.1=2", ""])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(UsageError, match="--fail-above"):
        compare.parse_limit(text)


@pytest.mark.parametrize(
    "text",
    ["lanczos", "", "hard,,stn", "stn:s=1", "gaussian:", "gaussian:d=2", "gaussian:s=0", "gaussian:s=x", "stn,stn"],
)
def test_methods_that_are_none_are_refused(text):
    with pytest.raises(UsageError):
        compare.parse_methods(text, INSIDE, (5, 7))


def test_what_rounding_left_of_a_place_is_not_told():
    size, pair = {"width": 3, "height": 20}, {"y": 1.0, "x": 1.0}
    box = {"x0": -2.8e-17, "y0": -0.0, "x1": 1 + 1e-13, "y1": 1e9}
    place = {"box": box, "u": pair, "d": pair}
    told = columns.about({"input_size": size, "size": size, "place": place, "coverage": 1.0})
    assert "box 0,0,1,1e+09 ->" in told
    assert "u 0,12.5 ->" in columns.about(
        {
            "input_size": size,
            "size": size,
            "place": place | {"box": None, "u": {"y": -1e-12, "x": 12.5}},
            "coverage": 1.0,
        }
    )


def test_a_gaussian_carries_its_own_width():
    own, both, given_, plain = compare.parse_methods(
        "gaussian:s=0.5/2,gaussian:s=3,gaussian,stn", INSIDE, (5, 7), s=Pair(1, 1.5)
    )
    assert [each.look.s for each in (own, both, given_, plain)] == [Pair(0.5, 2), Pair(3, 3), Pair(1, 1.5), None]
    with pytest.raises(ParameterError, match="reflection"):
        compare.parse_methods("hard,gaussian", INSIDE, (5, 7), padding="reflection")


def said_of(place, size=(5, 7), **settings):
    return " / ".join(compare.notes(compared(PHOTO, place, size, **settings)))


def test_values_that_are_drawn_cut_are_said():
    made = compare.Plan(compare.parse_methods("hard", INSIDE, (5, 7)), CPU, repeats=0)
    wide = compare.compare(tiff(GREY / np.float32(20) - 3), "wide.tiff", made)
    low, high = (edge(wide.rows[0].glimpse) for edge in (np.min, np.max))
    assert low < -1
    assert high > 8
    assert f"values from {low:.4g} to {high:.4g}: measured as they are, drawn cut to [0, 1]" in compare.notes(wide)


@pytest.mark.parametrize(
    ("place", "settings", "said", "not_said"),
    [
        (CombPlace(Pair(3, 4), Pair(1.6, 1)), {}, "d_y = 1.6, above 1.5: hard and stn alias", "d_x ="),
        (CombPlace(Pair(3, 4), Pair(1.5, 1.2)), {}, "", "alias"),
        (CombPlace(Pair(3, 4), Pair(3, 3)), {"methods": "gaussian"}, "", "alias"),
        (CombPlace(Pair(3, 4), Pair(1, 0.5)), {}, "d = 1, at most 1: no pixel is skipped", "alias"),
        (CombPlace(Pair(3, 4), Pair(1, -1.01)), {}, "", "at most 1"),
        (CombPlace(Pair(3, 4), Pair(1, 1)), {"s": Pair(0.09, 0.5)}, "s_y = 0.09, below 0.1: samples", "s_x"),
        (BoxPlace((3, 4, 10, 9)), {"s": Pair(0.09, 0.5)}, "s_y = 0.09, below 0.25 max(1, d): its bells", "dark"),
        (CombPlace(Pair(3, 4), Pair(4, 4)), {"s": Pair(0.9, 1)}, "s_y = 0.9, below 0.25", "s_x"),
        (CombPlace(Pair(3, 4), Pair(1, 1)), {"s": Pair(0.6, 0.8)}, "s_x = 0.8, above 0.7", "s_y"),
        (BoxPlace((-8, 2, 20, 20)), {}, "coverage is 71%, below 100%", "differ there"),
        (BoxPlace((-8, 2, 20, 20)), {"padding": "zeros"}, "the methods differ there (padding zeros)", "wholly"),
        (BoxPlace((-80, 2, -60, 20)), {}, "coverage is 0: the glimpse lies wholly outside", "below 100%"),
    ],
)  # fmt: skip
def test_what_is_said_has_its_threshold(place, settings, said, not_said):
    words = said_of(place, **settings)
    assert said in words
    assert not not_said or not_said not in words


def test_nothing_is_written_as_nothing_and_little_as_a_power_of_ten():
    row = {"mae": 0.0, "max": 4e-6}
    assert [columns.cell(row, name) for name in row] == ["0.0000", "4e-06"]


def test_means_are_over_the_pictures_that_have_the_number():
    inside, outside = compared(PHOTO), compared(PHOTO[:20, :30])
    found = compare.means([compare.document(each) for each in (inside, inside, outside)])
    assert [row["label"] for row in found] == ["hard", "gaussian", "stn"]
    assert found[1]["mae"] == pytest.approx(row_of(inside, "gaussian").against_reference.mae)
    assert found[1]["coverage"] == pytest.approx((2 + row_of(outside, "gaussian").sight.coverage) / 3)
    nowhere = compare.means([compare.document(outside)])
    assert nowhere[0]["mae"] is None


ANY = st.one_of(st.floats(-60, 60), st.sampled_from([0.0, -1e6, 1e6, 0.5, 1.0, 3.0]))
PAIRS = st.builds(Pair, ANY, ANY)


@given(
    st.one_of(st.builds(CombPlace, PAIRS, PAIRS), st.builds(GridPlace, PAIRS, PAIRS)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["zeros", "border"]),
    st.sampled_from([PHOTO, GREY, PHOTO[:1, :9], PHOTO[:, :1], GREY[:1, :1]]),
)
def test_any_place_on_any_picture_has_its_numbers(place, size, padding, picture):
    found = compared(picture, place, size, padding=padding, repeats=0)
    json.dumps(compare.document(found), allow_nan=False)
    assert all(compare.notes(found))
    assert compare.figure(found).dtype == np.uint8
    for row in found.rows:
        assert 0 <= row.pixels_seen <= row.pixels_read <= picture.shape[0] * picture.shape[1]
        assert row.noise_gain >= 0
        assert row.split is None or row.split.aliasing + row.split.blur == pytest.approx(1)


@pytest.mark.parametrize(("place", "label"), [(INSIDE, "lanczos"), (BoxPlace((-3, 2, 20, 27)), None)])
def test_a_picture_is_drawn_against_what_its_numbers_are_against(place, label, monkeypatch):
    given = {}
    monkeypatch.setattr(draw, "panel", lambda *_, **known: given.update(known))
    found = compared(PHOTO, place, methods="gaussian,stn", repeats=0)
    compare.figure(found)
    assert found.reference == label
    if label is None:
        assert given["reference"] is None
        return
    name, glimpse = given["reference"]
    assert name == label
    row = found.rows[0]
    assert np.abs(row.glimpse - glimpse).mean() == pytest.approx(row.against_reference.mae, rel=1e-5)


SQUARE = np.zeros((10, 10), np.uint8)
SQUARE[3:6, 3:6] = 255


def test_the_posts_minimum_working_example():
    post = compared(SQUARE, CombPlace(Pair(2, 2), Pair(1, 1)), (5, 5), s=Pair(0.5, 0.5))
    hard, gaussian, stn = post.rows
    crop = SQUARE[2:7, 2:7] / 255
    assert (hard.glimpse[..., 0] == crop).all()
    assert (stn.glimpse[..., 0] == crop).all()
    assert np.abs(gaussian.glimpse - np.moveaxis(by_loops(gaussian, SQUARE), 0, 2)).max() < 5e-6
    bell = [math.exp(-2 * k * k) for k in (-2, -1, 0, 1, 2)]
    corner = (bell[2] + bell[3] + bell[4]) / sum(bell)  # of the square: from its own pixel and two beside it
    assert gaussian.glimpse[1, 1, 0] == pytest.approx(corner**2, abs=1e-3)
    assert hard.against_reference.psnr == math.inf

    exact = compared(SQUARE, GridPlace(Pair(4 / 9, 4 / 9), Pair(-1 / 9, -1 / 9)), (5, 5))
    assert np.abs(row_of(exact, "stn").glimpse[..., 0] - crop).max() < 1e-6
    posts_own = compared(SQUARE, GridPlace(Pair(0.4, 0.4), Pair(-0.1, -0.1)), (5, 5), methods="stn,hard")
    stn, hard = (row.glimpse[..., 0] for row in posts_own.rows)
    profile = [max(0, min(1, p - 2, 6 - p)) for p in (2.25, 3.15, 4.05, 4.95, 5.85)]
    assert np.abs(stn - np.outer(profile, profile)).max() < 1e-6
    assert set(np.unique(hard)) == {0, 1}


def test_threads_are_what_the_environment_says(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert compare.threads() == 3
    for name in rows.THREADS:
        monkeypatch.delenv(name, raising=False)
    assert compare.threads() >= 1
