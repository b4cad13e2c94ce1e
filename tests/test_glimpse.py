"""Glimpses against plain loops, torch and Pillow; never square, never centred."""

import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import oracle
from glimpse_cli.banks import Axis
from glimpse_cli.combs import Box, Comb
from glimpse_cli.errors import ParameterError
from glimpse_cli.glimpse import PEAKS, Spec, contract, coverage, extract, mask
from glimpse_cli.kernels import POST_EPS, Gaussian, Hat, Nearest

RNG = np.random.default_rng(7)
PADDINGS = ["zeros", "border", "reflection"]
combs = st.builds(Comb, st.floats(-20, 40), st.floats(-6, 6))
sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def matrices(shape, spec):
    """Both banks by plain loops, (h, H) and (w, W)."""
    rows = {
        Gaussian: lambda k, p, N: oracle.gaussian_row(p, k.s, N, k.eps),
        Hat: lambda k, p, N: oracle.hat_row(p, N, k.padding),
        Nearest: lambda k, p, N: oracle.nearest_row(p, N, k.padding),
    }
    return [
        [rows[type(axis.kernel)](axis.kernel, axis.comb.first + axis.comb.step * i, N) for i in range(n)]
        for axis, n, N in zip((spec.y, spec.x), spec.size, shape, strict=True)
    ]


def reference(image, spec):
    """The glimpse of one grey picture by plain loops."""
    By, Bx = matrices(image.shape, spec)
    return np.array(oracle.apply(By, image.tolist(), Bx))


@given(
    y=combs,
    x=combs,
    size=sizes,
    s=st.tuples(st.floats(0.05, 30), st.floats(0.05, 30)),
    eps=st.sampled_from([0, 1e-8]),
)
def test_gaussian_is_the_formula_in_float64_and_float32(y, x, size, s, eps):
    image = RNG.random((23, 31))
    spec = Spec(Axis(y, Gaussian(s[0], eps)), Axis(x, Gaussian(s[1], eps)), size)
    expected = reference(image, spec)
    np.testing.assert_allclose(extract(image, spec), expected, atol=1e-12)
    np.testing.assert_allclose(extract(image.astype(np.float32), spec), expected, atol=5e-6)


@pytest.mark.parametrize("padding", PADDINGS)
@given(y=combs, x=combs, size=sizes)
def test_stn_is_bilinear_in_float64_and_float32(padding, y, x, size):
    image = RNG.random((23, 31))
    spec = Spec(Axis(y, Hat(padding)), Axis(x, Hat(padding)), size)
    expected = reference(image, spec)
    np.testing.assert_allclose(extract(image, spec), expected, atol=3e-14)
    np.testing.assert_allclose(extract(image.astype(np.float32), spec), expected, atol=2e-5)


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid")
@pytest.mark.parametrize("padding", PADDINGS)
@settings(max_examples=40)
@given(
    scale=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    shift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    size=sizes,
    shape=st.tuples(st.integers(1, 23), st.integers(1, 31)),
)
def test_stn_is_torchs_grid_sample(padding, scale, shift, size, shape):
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    image = RNG.random((*shape, 3))
    y, x = (
        Axis(Comb.from_scale_shift(a, b, n, N), Hat(padding))
        for a, b, n, N in zip(scale, shift, size, shape, strict=True)
    )
    theta = torch.tensor([[[scale[1], 0, shift[1]], [0, scale[0], shift[0]]]], dtype=torch.float64)
    grid = affine_grid(theta, [1, 3, *size], align_corners=True)
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    expected = grid_sample(tensor, grid, "bilinear", padding, align_corners=True)[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(extract(image, Spec(y, x, size)), expected, atol=3e-13)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("method", ["hard", "stn"])
@pytest.mark.parametrize("channels", [(), (1,), (2,), (3,), (4,), (6,)])
def test_an_integer_box_at_its_own_size_is_the_plain_crop_to_the_byte(dtype, method, channels):
    peak = np.iinfo(dtype).max
    image = RNG.integers(0, peak + 1, (41, 53, *channels)).astype(dtype)
    glimpse = extract(image, Spec.from_box(Box(7, 3, 29, 40), (37, 22), method))
    assert glimpse.dtype == np.float32
    np.testing.assert_array_equal(glimpse, image[3:40, 7:29].astype(np.float32) / np.float32(peak))


@pytest.mark.parametrize(
    "kernel", [Gaussian(1.3), Gaussian(0.4, POST_EPS), Hat(), Hat("reflection"), Nearest("border")]
)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_every_channel_is_the_glimpse_of_that_channel_alone(kernel, channels, dtype):
    image = (RNG.random((230, 310, channels)) * (200 if dtype in (np.uint8, np.uint16) else 1)).astype(dtype)
    spec = Spec(Axis(Comb(-9.3, 1.7), kernel), Axis(Comb(250.2, -4.1), kernel), (50, 70))
    expected = np.stack([extract(image[:, :, c], spec) for c in range(channels)], axis=2)
    np.testing.assert_allclose(extract(image, spec), expected, atol=1e-6)


@pytest.mark.parametrize(
    "kernel", [Gaussian(0.4), Gaussian(2.1, POST_EPS), Hat(), Hat("reflection"), Nearest("border")]
)
@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("shape", [(17, 23), (60, 6100), (150, 31)])
def test_enlarged_whole_numbers_are_the_formula(kernel, channels, shape):
    """Fewer rows in the picture than in the glimpse, wide pictures and narrow ones, samples close and far apart."""
    image = RNG.integers(0, 256, (*shape, channels), np.uint8)
    (H, W), (h, w) = shape, (151, 12)
    spec = Spec(Axis(Comb(-1.3, (H + 1) / h), kernel), Axis(Comb(W + 0.7, -(W + 1) / w), kernel), (h, w))
    By, Bx = (np.array(matrix) for matrix in matrices(shape, spec))
    expected = np.einsum("hy,yxc,wx->hwc", By, image / 255, Bx, optimize=True)
    np.testing.assert_allclose(extract(image, spec), expected, atol=5e-6)


@pytest.mark.parametrize(
    ("dtype", "channels", "step"), [(np.uint8, 3, 0.9), (np.uint16, 1, -0.31), (np.float32, 5, 0.53)]
)
def test_a_large_enlarged_glimpse_is_the_formula_and_what_lies_between_its_axes_is_small(dtype, channels, step):
    image = (RNG.random((400, 331, channels)) * PEAKS.get(np.dtype(dtype), 1)).astype(dtype)
    spec = Spec(Axis(Comb(-2.3, 0.79), Gaussian(0.7)), Axis(Comb(max(0, -step * 700), step), Gaussian(0.4)), (511, 701))
    By, Bx = (np.array(matrix) for matrix in matrices(image.shape[:2], spec))
    expected = np.einsum("hy,yxc,wx->hwc", By, image / PEAKS.get(image.dtype, 1), Bx, optimize=True)
    tracemalloc.start()
    glimpse = extract(image, spec)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    np.testing.assert_allclose(glimpse, expected, atol=5e-6)
    assert most < glimpse.nbytes + 2.6e6


@pytest.mark.parametrize(("dtype", "channels"), [(np.uint8, 3), (np.float32, 4), (np.float64, 6)])
@pytest.mark.parametrize("columns", [310, 1700])
def test_every_strip_of_a_tall_stn_glimpse_is_the_formula(dtype, channels, columns):
    image = RNG.integers(0, 256, (290, columns, channels)).astype(dtype)
    spec = Spec(Axis(Comb(288.7, -0.7), Hat()), Axis(Comb(0.6, (columns - 2) / 263), Hat()), (411, 263))
    y, x = 288.7 - 0.7 * np.arange(411), 0.6 + (columns - 2) / 263 * np.arange(263)
    (top, dy), (left, dx) = ((np.floor(places).astype(int), (places % 1)[:, None]) for places in (y, x))
    values = image.astype(np.float64) / (255 if dtype == np.uint8 else 1)
    rows = values[top] * (1 - dy)[:, :, None] + values[top + 1] * dy[:, :, None]
    expected = rows[:, left] * (1 - dx) + rows[:, left + 1] * dx
    np.testing.assert_allclose(extract(image, spec), expected, rtol=1e-6, atol=1e-6)


def test_threads_do_not_share_what_they_work_in():
    images = [RNG.integers(0, 256, (90 + 7 * i, 120 - 5 * i, 3), np.uint8) for i in range(8)]
    specs = [Spec.from_box(Box(3.2, 1.7, 61, 80), (70, 110), method) for method in ("gaussian", "stn")]
    jobs = [(image, spec) for image in images for spec in specs] * 20
    alone = [extract(image, spec) for image, spec in jobs]
    with ThreadPoolExecutor(4) as threads:
        for glimpse, expected in zip(threads.map(lambda job: extract(*job), jobs), alone, strict=True):
            np.testing.assert_array_equal(glimpse, expected)


def test_tiles_meet_without_a_seam():
    image = RNG.random((403, 1501))
    spec = Spec(Axis(Comb(-12.3, 7.7), Gaussian(2.9)), Axis(Comb(1490.5, -23.1), Gaussian(8.4)), (57, 71))
    np.testing.assert_allclose(extract(image, spec), reference_dense(image, spec), atol=1e-12)


def reference_dense(image, spec):
    """The post's dense form with NumPy, for images too large for plain loops."""
    By, Bx = (
        np.exp(-(((np.arange(N) - (a.comb.first + a.comb.step * np.arange(n))[:, None]) / a.kernel.s) ** 2) / 2)
        for a, n, N in zip((spec.y, spec.x), spec.size, image.shape, strict=True)
    )
    return (By / By.sum(1, keepdims=True)) @ image @ (Bx / Bx.sum(1, keepdims=True)).T


def test_a_slice_of_a_larger_array_reads_like_a_copy():
    whole = RNG.integers(0, 256, (60, 80, 5)).astype(np.uint8)
    view = whole[5:50:2, 70:3:-1, 1:4]
    for method in ("gaussian", "stn", "hard"):
        spec = Spec.from_box(Box(4.5, -3, 60.25, 19), (9, 13), method)
        np.testing.assert_array_equal(extract(view, spec), extract(view.copy(), spec))


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_a_value_that_is_not_finite_stays_where_it_is_seen(method):
    image = RNG.random((60, 80)).astype(np.float32)
    image[50, 70] = np.inf
    image[51, 71] = np.nan
    glimpse = extract(image, Spec.from_box(Box(0, 0, 80, 60), (60, 80), method))
    assert np.isfinite(glimpse[:40, :60]).all()
    assert not np.isfinite(glimpse[49:53, 69:73]).all()


@pytest.mark.parametrize("method", ["stn", "hard"])
def test_outside_is_black_beside_an_edge_that_is_not_finite(method):
    image = np.full((6, 7), 0.5, np.float32)
    image[5, 6] = np.nan
    glimpse = extract(image, Spec.from_box(Box(0, 0, 12, 11), (11, 12), method, padding="zeros"))
    assert (glimpse[7:] == 0).all()
    assert (glimpse[:, 8:] == 0).all()
    assert np.isnan(glimpse).any()


def test_wide_bells_of_colour_need_no_matrix_of_all_channels():
    image = RNG.integers(0, 256, (20, 3000, 3), np.uint8)
    axes = Axis(Comb(0, 1), Gaussian(1.5)), Axis(Comb(0, 1), Gaussian(400))
    spec = Spec(*axes, (20, 3000))
    tracemalloc.start()
    glimpse = extract(image, spec)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 350e6
    np.testing.assert_allclose(glimpse[:, :, 1], extract(image[:, :, 1], spec), atol=1e-6)


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_a_value_that_is_not_finite_stays_in_its_channel(method):
    image = RNG.random((60, 80, 3)).astype(np.float32)
    spoilt = image.copy()
    spoilt[20:25, 30:40, 1] = np.nan
    spec = Spec.from_box(Box(10, 5, 70, 55), (21, 33), method)
    np.testing.assert_array_equal(extract(spoilt, spec)[:, :, ::2], extract(image, spec)[:, :, ::2])
    assert np.isnan(extract(spoilt, spec)[:, :, 1]).any()


def test_the_image_is_not_written():
    image = RNG.random((23, 31)).astype(np.float32)
    image.flags.writeable = False
    for method in ("gaussian", "stn", "hard"):
        extract(image, Spec.from_box(Box(2, 3, 21, 17), (5, 7), method))


def test_the_posts_working_example():
    image = np.zeros((10, 10))
    image[3:6, 3:6] = 1
    gaussian = Spec(Axis(Comb(2, 1), Gaussian(0.5, POST_EPS)), Axis(Comb(2, 1), Gaussian(0.5, POST_EPS)), (5, 5))
    np.testing.assert_allclose(extract(image, gaussian), reference(image, gaussian), atol=1e-14)
    comb = Comb.from_scale_shift(4 / 9, -1 / 9, 5, 10)
    np.testing.assert_allclose(
        extract(image, Spec(Axis(comb, Hat()), Axis(comb, Hat()), (5, 5))), image[2:7, 2:7], atol=1e-14
    )


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_with_zeros_a_glimpse_that_reaches_no_pixel_is_black(method):
    image = np.ones((23, 31, 3), np.float32)
    glimpse = extract(image, Spec.from_box(Box(100, 5, 130, 12), (5, 7), method, padding="zeros"))
    assert glimpse.shape == (5, 7, 3)
    assert not glimpse.any()


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_a_box_repeats_the_edge_outside(method):
    image = RNG.random((23, 31))
    glimpse = extract(
        image, Spec.from_box(Box(200, 5, 230, 12), (7, 3), method, s=0.01 if method == "gaussian" else None)
    )
    np.testing.assert_allclose(glimpse, image[5:12, 30:].repeat(3, axis=1), atol=1e-12)


def test_enlarging_by_stn_is_pillows_bilinear_within_one_grey_level():
    image = RNG.integers(0, 256, (37, 53, 3)).astype(np.uint8)
    box = (11.25, 4.5, 30.75, 25.0)
    pillow = np.asarray(Image.fromarray(image).resize((90, 77), Image.Resampling.BILINEAR, box=box), float)
    ours = extract(image, Spec.from_box(Box(*box), (77, 90), "stn")) * 255
    # Pillow renormalises its hat at the border of the box, so the outermost half cell is not compared
    assert np.abs(ours - pillow)[3:-3, 4:-4].max() <= 1


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_mask_is_the_gradient_of_the_glimpses_sum(method, padding):
    spec = Spec.from_box(Box(-6, 4, 20, 30), (5, 7), method, padding=padding)
    image, step = RNG.random((23, 31)), 0.5
    attention = mask((23, 31), spec)
    assert attention.shape == (23, 31)
    assert attention.dtype == np.float32
    for y, x in ((0, 0), (5, 17), (22, 3), (14, 30), (11, 11)):
        bumped = image.copy()
        bumped[y, x] += step
        slope = (extract(bumped, spec) - extract(image, spec)).sum() / step
        assert attention[y, x] == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_exactly_one_and_nothing_is_more(method, dtype):
    image = np.full((23, 31, 3), np.iinfo(dtype).max, dtype)
    for n in range(2, 40):
        glimpse = extract(image, Spec.from_box(Box(2.3, 2, 20, 18), (n, n + 3), method))
        assert glimpse.max() <= 1
        assert glimpse.min() > 1 - 1e-6


def test_coverage_is_the_share_of_places_inside():
    spec = Spec(Axis(Comb(-2, 1), Hat()), Axis(Comb(28.4, 1), Hat()), (5, 7))  # y: 3 of 5 inside; x: 28.4, 29.4, 30.4
    assert coverage((23, 31), spec) == pytest.approx(3 / 5 * 3 / 7)
    assert coverage((23, 31), Spec.from_box(Box(0, 0, 31, 23), (4, 3))) == 1
    assert coverage((23, 31), Spec.from_box(Box(40, 0, 60, 23), (4, 3))) == 0
    edge = Comb(-0.5 - 1e-12, 1)  # rounding apart, on the edge: what is read there is the first pixel
    assert coverage((5, 7), Spec(Axis(edge, Nearest()), Axis(edge, Nearest()), (3, 4))) == 1


def test_only_the_window_that_matters_is_read():
    image = np.full((500, 700), np.nan)
    image[80:140, 185:275] = 0.5
    spec = Spec.from_box(Box(212, 101, 247, 119), (7, 5))
    np.testing.assert_allclose(extract(image, spec), 0.5)
    by, bx = spec.banks(image.shape)
    assert contract(image[by.pixels.start : by.pixels.stop, bx.pixels.start : bx.pixels.stop], by, bx).shape == (7, 5)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 4, 5), (0, 5), (5, 0), (5, 5, 0)])
def test_what_is_no_image_is_refused(shape):
    with pytest.raises(ParameterError):
        extract(np.zeros(shape), Spec.from_box(Box(0, 0, 2, 3), (5, 7)))


def test_a_dtype_that_has_no_range_is_refused_with_the_remedy():
    with pytest.raises(ParameterError, match="float32"):
        extract(np.zeros((5, 7), np.int64), Spec.from_box(Box(0, 0, 2, 3), (5, 7)))
    swapped = np.full((4, 3), 65535, ">u2" if sys.byteorder == "little" else "<u2")
    with pytest.raises(ParameterError) as caught:
        extract(swapped, Spec.from_box(Box(0, 0, 3, 4), (2, 3)))
    remedy = eval(caught.value.hint, {"image": swapped})  # noqa: S307 - as who reads it would
    np.testing.assert_allclose(extract(remedy, Spec.from_box(Box(0, 0, 3, 4), (2, 3))), 1, atol=1e-6)


@pytest.mark.parametrize("size", [(0, 5), (5, -1), (2.5, 7), (40000, 1), (20000, 20000)])
def test_a_size_that_cannot_be_meant_is_refused_before_memory_is_taken(size):
    with pytest.raises(ParameterError, match="glimpse"):
        Spec.from_box(Box(0, 0, 2, 3), size)


@pytest.mark.parametrize("comb", [Comb(1e16, 1), Comb(0, 1e300), Comb(-1e308, -1e308)])
def test_places_that_float64_cannot_tell_apart_are_refused(comb):
    with pytest.raises(ParameterError, match="float64"):
        Spec(Axis(comb, Hat()), Axis(Comb(0, 1), Hat()), (5, 7))


@given(
    shape=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    combs=st.tuples(combs, combs),
    size=sizes,
    kernel=st.sampled_from(
        [Gaussian(0.05), Gaussian(1000), Gaussian(0.3, POST_EPS), Hat(), Hat("reflection"), Nearest()]
    ),
)
def test_the_smallest_images_are_the_formula_too(shape, combs, size, kernel):
    image = RNG.random(shape)
    spec = Spec(Axis(combs[0], kernel), Axis(combs[1], kernel), size)
    np.testing.assert_allclose(extract(image, spec), reference(image, spec), atol=1e-12)


def test_s_and_reflection_go_with_their_methods_only():
    with pytest.raises(ParameterError, match="gaussian"):
        Spec.from_box(Box(0, 0, 2, 3), (5, 7), "stn", s=1)
    with pytest.raises(ParameterError, match="reflection"):
        Spec.from_box(Box(0, 0, 2, 3), (5, 7), "gaussian", padding="reflection")
    with pytest.raises(ParameterError, match="gaussian, stn, hard"):
        Spec.from_box(Box(0, 0, 2, 3), (5, 7), "cubic")
