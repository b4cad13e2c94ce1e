"""What `glimpse_cli.torch` gives: the formulas, torch's own sampler and the NumPy path agree."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's users know it by
from hypothesis import given
from hypothesis import strategies as st

import glimpse_cli
import glimpse_cli.torch as gt
from glimpse_cli import Axis, Box, Comb, Gaussian, Hat, Nearest, Spec
from glimpse_cli.errors import ParameterError
from glimpse_cli.torch import _eager, _functional, _whole
from oracle import apply, gaussian_row, hat_row, nearest_row

PADDINGS = ["zeros", "border", "reflection"]
SIZE = (5, 7)
PEAKS = {torch.uint8: 255, torch.uint16: 65535}


def pictures(*shape, dtype=torch.float64, seed=0):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (values * PEAKS.get(dtype, 1)).to(dtype)


def pair(y, x):
    return torch.tensor([y, x], dtype=torch.float64)


def by_loops(image, rows, columns):
    return torch.tensor([apply(rows, channel.tolist(), columns) for channel in image], dtype=torch.float64)


# ---------------------------------------------------------------- the formulas


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize(
    ("u", "s", "d"),
    [
        ((2.3, 11.7), (0.6, 1.4), (3.1, 2.2)),
        ((20.2, 30.9), (0.35, 0.5), (-2.6, -4.4)),  # mirrored
        ((-4.0, 28.0), (0.5, 2.0), (1.3, 2.7)),  # leaving on both sides
        ((-1e6, 2e6), (0.5, 3.0), (1.0, 1.0)),  # far outside
        ((3.5, 7.5), (1e-3, 1e-9), (1.0, 0.25)),  # narrow, and between two pixels
        ((5.2, 6.1), (40.0, 300.0), (0.0, 0.0)),  # wide, and one place
    ],
)
def test_a_gaussian_glimpse_is_the_formula_looped_over(u, s, d, eps):
    image = pictures(2, 23, 31)
    rows = [gaussian_row(u[0] + i * d[0], s[0], 23, eps) for i in range(5)]
    columns = [gaussian_row(u[1] + i * d[1], s[1], 31, eps) for i in range(7)]
    found = gt.gaussian_glimpse(image[None], pair(*u), pair(*s), pair(*d), SIZE, eps=eps)
    torch.testing.assert_close(found[0], by_loops(image, rows, columns), rtol=0, atol=1e-12)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize("s", [0.06, 1e-2, 1e-3, 1e-5])
def test_float32_weighs_narrow_bells_between_two_pixels_as_float64(s, eps):
    """Which of two pixels weighs more hangs on how far the place is from their middle in units of s^2."""
    image = pictures(2, 23, 31, dtype=torch.float32)
    u, d = (4.5 - 0.4 * s * s, 8.5 + 0.7 * s * s), (3 + 0.3 * s * s, -1 - 0.2 * s * s)
    rows = [gaussian_row(u[0] + i * d[0], s, 23, eps) for i in range(5)]
    columns = [gaussian_row(u[1] + i * d[1], s, 31, eps) for i in range(7)]
    found = gt.gaussian_glimpse(image[None], pair(*u), s, pair(*d), SIZE, eps=eps)
    torch.testing.assert_close(found[0].double(), by_loops(image, rows, columns), rtol=0, atol=1e-6)


@pytest.mark.usefixtures("form")
def test_float32_knows_the_slopes_of_narrow_bells_between_two_pixels():
    u, s, d = 4.5 - 3e-7, 1e-3, 3 + 2e-7
    image = pictures(1, 23, 1, dtype=torch.float32)

    def total(u, s, d):
        return sum(by_loops(image, [gaussian_row(u + i * d, s, 23, 0.0)], [[1.0]]).item() for i in range(5))

    numbers = [torch.tensor(n, dtype=torch.float64, requires_grad=True) for n in (u, s, d)]
    gt.gaussian_glimpse(image[None], *(n.expand(2) for n in numbers), (5, 1)).sum().backward()
    step = 1e-9
    for k, n in enumerate(numbers):
        ahead, behind = ([v + sign * step * (j == k) for j, v in enumerate((u, s, d))] for sign in (1, -1))
        slope = (total(*ahead) - total(*behind)) / (2 * step)
        assert n.grad.item() == pytest.approx(slope, rel=1e-4)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize(("scale", "shift"), [((0.4, 0.7), (-0.1, 0.2)), ((-1.7, 1.3), (0.9, -1.4)), ((0, 2), (3, -3))])
@pytest.mark.parametrize(("image", "size"), [((23, 31), SIZE), ((23, 31), (1, 7)), ((1, 31), SIZE), ((23, 2), (5, 1))])
def test_a_spatial_transformer_is_grid_sample(scale, shift, image, size, padding):
    images = pictures(2, 3, *image)
    y, x = (
        scale[k] * (torch.linspace(-1, 1, n, dtype=torch.float64) if n > 1 else torch.zeros(1).double()) + shift[k]
        for k, n in enumerate(size)
    )  # what affine_grid gives, which warns for one sample
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], dim=-1).expand(2, *size, 2)
    want = F.grid_sample(images, grid, padding_mode=padding, align_corners=True)
    found = gt.stn_glimpse(images, pair(*scale), pair(*shift), size, padding)
    torch.testing.assert_close(found, want, rtol=0, atol=3e-14)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", PADDINGS)
def test_a_spatial_transformer_is_the_formula_looped_over(padding):
    image, scale, shift = pictures(2, 23, 31), (0.6, -1.2), (0.7, 0.4)
    first = [(N - 1) / 2 * (t - a + 1) for a, t, N in zip(scale, shift, (23, 31), strict=True)]
    step = [(N - 1) * a / (n - 1) for a, N, n in zip(scale, (23, 31), SIZE, strict=True)]
    rows = [hat_row(first[0] + i * step[0], 23, padding) for i in range(5)]
    columns = [hat_row(first[1] + i * step[1], 31, padding) for i in range(7)]
    found = gt.stn_glimpse(image[None], pair(*scale), pair(*shift), SIZE, padding)
    torch.testing.assert_close(found[0], by_loops(image, rows, columns), rtol=0, atol=3e-14)


@pytest.mark.parametrize("padding", PADDINGS)
def test_hard_attention_is_the_nearest_pixel(padding):
    image = pictures(2, 23, 31)
    rows = [nearest_row(-4.2 + 6.3 * i, 23, padding) for i in range(5)]
    columns = [nearest_row(33.3 - 7.1 * i, 31, padding) for i in range(7)]
    found = gt.hard_glimpse(image[None], pair(-4.2, 33.3), pair(6.3, -7.1), SIZE, padding)
    assert torch.equal(found[0], by_loops(image, rows, columns))


def test_places_in_the_middle_of_two_pixels_are_those_of_the_numpy_path_in_every_spelling():
    image = pictures(1, 397, 613)
    for y, x, d in ((21, 34, 2), (-7, 401, 4), (101, 55, 6), (213, 87, 2)):
        box = (x, y, x + d * 7, y + d * 5)
        expected = glimpse_cli.extract(image[0].numpy(), Spec.from_box(Box(*box), SIZE, "hard"))
        u, step = gt.box_to_comb(torch.tensor([box], dtype=torch.float64), SIZE)
        grid = gt.comb_to_scale_shift(u, step, SIZE, (397, 613))
        for combs in ((u, step), gt.scale_shift_to_comb(*grid, SIZE, (397, 613))):
            found = gt.hard_glimpse(image[None], *combs, SIZE, "border")
            np.testing.assert_array_equal(found[0, 0].numpy(), expected)


def test_a_whole_box_at_its_own_size_is_the_pixels_byte_for_byte():
    images = pictures(2, 3, 23, 31, dtype=torch.uint8)
    found = gt.box_glimpse(images, torch.tensor([[4, 3, 11, 8], [20, 18, 27, 23]]), SIZE, "hard")
    assert torch.equal((found[0] * 255).to(torch.uint8), images[0, :, 3:8, 4:11])
    assert torch.equal((found[1] * 255).to(torch.uint8), images[1, :, 18:23, 20:27])


def test_the_post_s_example_is_read_as_the_post_reads_it():
    image = torch.zeros(1, 1, 10, 10, dtype=torch.float64)
    image[..., 3:6, 3:6] = 1
    exact = gt.stn_glimpse(image, 4 / 9, -1 / 9, (5, 5))
    torch.testing.assert_close(exact, image[..., 2:7, 2:7], rtol=0, atol=1e-14)
    want = by_loops(image[0], *[[gaussian_row(2.0 + i, 0.5, 10, 1e-8) for i in range(5)]] * 2)
    found = gt.gaussian_glimpse(image, 2.0, 0.5, 1.0, (5, 5), eps=1e-8)
    torch.testing.assert_close(found[0], want, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- the NumPy path

TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.uint8: 2e-5, torch.uint16: 2e-5}


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("box", [(4.3, -3.2, 19.8, 30.1), (-8.5, 5.25, 2.2, 8.0), (60.0, 70.0, 99.0, 90.5)])
def test_boxes_give_the_numbers_of_the_numpy_path(method, padding, box, dtype):
    if (method, padding) == ("gaussian", "reflection"):
        pytest.skip("the Gaussian has no reflection")
    images = pictures(2, 3, 23, 31, dtype=dtype)
    spec = Spec.from_box(Box(*box), SIZE, method, padding=padding)
    want = [glimpse_cli.extract(image.permute(1, 2, 0).contiguous().numpy(), spec) for image in images]
    found = gt.box_glimpse(images, torch.tensor(box, dtype=torch.float64).expand(2, 4), SIZE, method, padding=padding)
    extracted = gt.extract(images, spec)
    for glimpses in (found, extracted):
        assert glimpses.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        np.testing.assert_allclose(glimpses.permute(0, 2, 3, 1), want, rtol=0, atol=TOLERANCE[dtype])


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Gaussian(0.4, 1e-8), Hat("reflection"), Nearest("zeros")])
def test_a_frozen_place_gives_the_numbers_of_the_numpy_path_on_any_axis(kernel):
    image = pictures(4, 23, 31, dtype=torch.uint8)
    spec = Spec(Axis(Comb(25.2, -4.1), kernel), Axis(Comb(-3.3, 5.2), Hat("border")), SIZE)
    want = glimpse_cli.extract(image.permute(1, 2, 0).contiguous().numpy(), spec)
    np.testing.assert_allclose(gt.extract(image, spec).permute(1, 2, 0), want, rtol=0, atol=2e-5)


def test_a_mirrored_place_keeps_its_digits_on_a_long_axis():
    places, still = torch.tensor([[0.0, -0.3], [0.0, 8191.3]], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    weights = gt.glimpse_mask((1, 8192), places, still, (1, 1), "stn", padding="reflection")
    assert weights[0, 0, 1].item() == pytest.approx(0.3, abs=1e-15)
    assert weights[1, 0, -2].item() == pytest.approx(0.3, abs=1e-12)


def test_a_frozen_place_reads_only_its_window():
    image = pictures(3, 40, 50)
    image[:, :, 30:] = math.nan
    image[:, 25:] = math.nan
    spec = Spec.from_box(Box(3, 4, 19, 14), SIZE)
    assert gt.extract(image, spec).isfinite().all()


@given(st.tuples(*[st.floats(-40, 70)] * 2), st.tuples(*[st.floats(-9, 9)] * 2), st.tuples(*[st.floats(0.01, 20)] * 2))
def test_the_banded_form_is_the_dense_form(u, d, s):
    images = pictures(2, 2, 33, 47)
    u, d, s = (torch.tensor(v, dtype=torch.float64) for v in (u, d, s))
    step = torch.tensor([[[1.0], [0.3]]], dtype=torch.float64)  # two glimpses an image, unlike each other
    found = {}
    for form in (0, math.inf):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_functional, "SMALL", form)
            found[form] = gt.gaussian_glimpse(images, u + step, s * step, d / step, (19, 35), eps=1e-8)
    torch.testing.assert_close(found[0], found[math.inf], rtol=0, atol=1e-12)


JOBS = {  # images, glimpses of each, their size, and whether whole axes are faster
    "small": ((2, 3, 64, 50), 1, (32, 24), True),
    "many, each small": ((20, 1, 64, 50), 4, (32, 24), True),
    "one of medium size": ((1, 3, 128, 160), 1, (64, 48), True),
    "one that enlarges": ((1, 3, 64, 70), 1, (224, 200), True),
    "one large": ((1, 3, 512, 384), 1, (96, 80), False),
    "many of medium size": ((1, 3, 200, 256), 16, (64, 48), False),
    "one of hardly a sample, of many pixels": ((1, 3, 1536, 1400), 1, (3, 2), False),
}


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize("method", ["gaussian", "stn"])
def test_whole_axes_are_multiplied_where_that_takes_less_than_to_begin(job, method, monkeypatch):
    (shape, N, size, whole), called = JOBS[job], []
    for module, name in ((_whole, "forward"), (_eager, "glimpses_at_once")):
        form = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, name=name, form=form: (called.append(name), form(*a))[1])
    boxes = torch.tensor([3.0, 5, 45, 39]).expand(shape[0], N, 4)
    gt.box_glimpse(pictures(*shape, dtype=torch.float32), boxes, size, method)
    assert called == ["forward" if whole else "glimpses_at_once"]


def test_a_glimpse_of_medium_size_that_stands_for_many_is_not_multiplied_whole(monkeypatch):
    called = []
    monkeypatch.setattr(_functional, "dense", lambda *_: called.append("dense"))
    images, boxes = pictures(1, 3, 200, 256), torch.rand(16, 1, 4).double() + torch.tensor([3, 5, 45, 39])
    found = torch.vmap(lambda box: gt.box_glimpse(images, box, (64, 48)))(boxes)
    assert (found.shape, called) == ((16, 1, 3, 64, 48), [])


# ---------------------------------------------------------------- shapes, numbers, dtypes


@pytest.mark.usefixtures("form")
def test_several_glimpses_an_image_are_each_what_it_is_alone():
    images, boxes = pictures(2, 3, 23, 31), torch.rand(2, 4, 4, dtype=torch.float64) * 9
    boxes[..., 2:] += boxes[..., :2] + 3
    for method in ("gaussian", "stn", "hard"):
        together = gt.box_glimpse(images, boxes, SIZE, method)
        assert together.shape == (2, 4, 3, 5, 7)
        for n in range(4):
            alone = gt.box_glimpse(images, boxes[:, n], SIZE, method)
            torch.testing.assert_close(together[:, n], alone, rtol=0, atol=1e-13)


def test_one_glimpse_an_image_keeps_its_axis_where_it_was_given_one():
    images, boxes = pictures(2, 3, 23, 31), torch.tensor([[2.0, 3, 9, 12]]).expand(2, 4)
    assert gt.box_glimpse(images, boxes, SIZE).shape == (2, 3, 5, 7)
    assert gt.box_glimpse(images, boxes[:, None], SIZE).shape == (2, 1, 3, 5, 7)


@pytest.mark.parametrize("size", [[5, 7], torch.Size(SIZE), tuple(np.array(SIZE))])
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_a_size_is_two_whole_numbers_whoever_made_them(method, size):
    images, boxes = pictures(2, 3, 23, 31), torch.tensor([2.0, 3, 9, 12])
    assert torch.equal(gt.box_glimpse(images, boxes, size, method), gt.box_glimpse(images, boxes, SIZE, method))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("image", [(1, 31), (23, 1), (1, 1), (2, 3)])
def test_pictures_of_hardly_a_pixel_are_read_as_the_numpy_path_reads_them(method, padding, image):
    images, box = pictures(1, 2, *image), (-1.3, -0.4, 5.2, 3.1)
    spec = Spec.from_box(Box(*box), SIZE, method, padding=padding)
    want = glimpse_cli.extract(images[0].permute(1, 2, 0).contiguous().numpy(), spec)
    found = gt.box_glimpse(images, torch.tensor([box], dtype=torch.float64), SIZE, method, padding=padding)
    np.testing.assert_allclose(found[0].permute(1, 2, 0), want, rtol=0, atol=1e-12)


@pytest.mark.usefixtures("form")
def test_a_number_a_pair_and_a_tensor_say_the_same():
    images = pictures(2, 3, 23, 31)
    full = torch.full((2, 2), 1.5, dtype=torch.float64)
    want = gt.gaussian_glimpse(images, full, full, full, SIZE)
    for same in (1.5, (1.5, 1.5), np.array([1.5, 1.5]), torch.tensor(1.5), full[0], full[:1], full[:, :1]):
        torch.testing.assert_close(gt.gaussian_glimpse(images, same, same, same, SIZE), want, rtol=0, atol=0)
    one_an_image = gt.gaussian_glimpse(images, torch.tensor([[1.0, 2.0], [7.0, 8.0]]), 1, 1, SIZE)
    alone = gt.gaussian_glimpse(images[1:], (7, 8), 1, 1, SIZE)
    torch.testing.assert_close(one_an_image[1:], alone, rtol=0, atol=1e-14)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize(
    ("dtype", "out", "tolerance"),
    [
        (torch.uint8, torch.float32, 5e-6),
        (torch.float32, torch.float32, 5e-6),
        (torch.bfloat16, torch.bfloat16, 4e-3),
        (torch.float16, torch.float16, 5e-4),
    ],
)
def test_every_dtype_comes_out_as_promised_and_is_summed_in_float32(dtype, out, tolerance):
    images = pictures(2, 3, 23, 31, dtype=dtype)
    exact = images.double() / (255 if dtype == torch.uint8 else 1)
    arguments = (pair(2.2, 9.7), pair(0.5, 1.9), pair(3.3, 2.1), SIZE)
    found = gt.gaussian_glimpse(images, *arguments)
    assert found.dtype == out
    torch.testing.assert_close(found.double(), gt.gaussian_glimpse(exact, *arguments), rtol=0, atol=tolerance)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", PEAKS)
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_white_is_white_and_nothing_is_more(method, dtype):
    white = torch.full((1, 1, 23, 31), PEAKS[dtype], dtype=torch.int32).to(dtype)
    boxes = torch.rand(1, 40, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 12
    boxes[..., 2:] += boxes[..., :2] + 3
    specs = [Spec.from_box(Box(*box), SIZE, method) for box in boxes[0].tolist()]
    for found in (gt.box_glimpse(white, boxes, SIZE, method), *(gt.extract(white, spec) for spec in specs)):
        assert found.max() == 1
        assert found.min() > 1 - 1e-6


@pytest.mark.parametrize("form", ["dense", "banded", "fused"], indirect=True)
@pytest.mark.parametrize("method", ["gaussian", "stn"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_slopes_are_those_of_the_picture_where_rounding_was_cut_off(method, form):
    """The last row lies on white pixels beside dark ones: it is white, but for rounding, and has a slope."""
    torch._dynamo.reset()
    image = torch.full((1, 1, 23, 31), 255, dtype=torch.uint8)
    image[..., 19:, :], image[..., 26:] = 51, 0
    boxes = torch.rand(3, 1, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64) * 6
    boxes[..., 2:] += boxes[..., :2] + 11
    boxes[..., 1], boxes[..., 3] = 14, 19
    weights = pictures(1, 1, *SIZE)

    def slopes(box, image):
        def total(box):
            return (gt.box_glimpse(image, box, SIZE, method) * weights).square().sum()

        return torch.func.grad(total)(box), torch.func.grad(lambda b: torch.func.grad(total)(b).square().sum())(box)

    want = [torch.stack(each) for each in zip(*(slopes(box, image / 255.0) for box in boxes), strict=True)]
    one_by_one = [torch.stack(each) for each in zip(*(slopes(box, image) for box in boxes), strict=True)]
    looks = [one_by_one, torch.vmap(slopes, (0, None))(boxes, image)]
    if form == "banded":  # compiled, a transform knows no other form than the dense one
        compiled = torch.compile(lambda box: slopes(box, image)[0], backend="aot_eager")
        looks.append([torch.stack([compiled(box) for box in boxes])])
    for found in looks:
        for one, other in zip(found, want, strict=False):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("form")
def test_autocast_leaves_weights_whole():
    images = pictures(2, 3, 23, 31, dtype=torch.float32)
    arguments = (pair(2.2, 9.7), pair(0.5, 1.9), pair(3.3, 2.1), SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gt.gaussian_glimpse(images, *arguments)
    assert torch.equal(found, gt.gaussian_glimpse(images, *arguments))


@pytest.mark.parametrize("form", [0, math.inf])
def test_places_are_formed_in_float64(form, monkeypatch):
    monkeypatch.setattr(_functional, "SMALL", form)
    ramp = torch.arange(100_000.0)[None, None, None] / 100_000  # so wide that float32 places are off by 6e-3 px
    found = gt.stn_glimpse(ramp, (0.0, 1e-4), (0.0, 0.9), (1, 7), "border")
    x = 99_999 / 2 * (0.9 - 1e-4 + 1) + 99_999 * 1e-4 / 6 * np.arange(7)
    np.testing.assert_allclose(found[0, 0, 0], x / 100_000, rtol=0, atol=1.2e-7)


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_nothing_comes_of_nothing(method):
    boxes = torch.tensor([2.0, 3, 9, 12])
    assert gt.box_glimpse(torch.zeros(0, 3, 23, 31), boxes.expand(0, 4), SIZE, method).shape == (0, 3, 5, 7)
    none_an_image = gt.box_glimpse(torch.zeros(2, 3, 600, 700), boxes.expand(2, 0, 4), SIZE, method)
    assert none_an_image.shape == (2, 0, 3, 5, 7)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_a_place_that_is_no_number_gives_no_numbers_and_no_crash(method, padding):
    images, boxes = pictures(2, 1, 23, 31), torch.tensor([[2.0, math.nan, 9.0, 8.0], [2.0, 3.0, 9.0, 8.0]])
    found = gt.box_glimpse(images, boxes, SIZE, method, padding=padding)
    assert found[0].isnan().all()
    assert found[1].isfinite().all()
    assert gt.glimpse_mask((23, 31), *gt.box_to_comb(boxes[0], SIZE), SIZE, method, padding=padding).isnan().any()


def test_pictures_that_are_not_contiguous_are_read_right():
    images = pictures(2, 3, 300, 310)
    arguments = (pair(20.2, 90.7), pair(0.5, 1.9), pair(1.3, 2.1), (95, 97))
    want = gt.gaussian_glimpse(images, *arguments)
    last = images.to(memory_format=torch.channels_last)
    torch.testing.assert_close(gt.gaussian_glimpse(last, *arguments), want, rtol=0, atol=1e-14)
    turned = images.transpose(2, 3).contiguous().transpose(2, 3)
    torch.testing.assert_close(gt.gaussian_glimpse(turned, *arguments), want, rtol=0, atol=1e-14)


# ---------------------------------------------------------------- masks and spellings


def test_a_mask_of_an_axis_is_the_post_s_matrix():
    u, s, d = torch.tensor([-3.0, 9.2]), torch.tensor([0.5, 2.0]), torch.tensor([1.7, -2.0])
    found = gt.gaussian_mask(u.double(), s, d, 5, 23, eps=1e-8)
    want = [
        [gaussian_row(float(a) + i * float(c), float(b), 23, 1e-8) for i in range(5)]
        for a, b, c in zip(u, s, d, strict=True)
    ]
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "padding"), [("gaussian", None), ("gaussian", "zeros"), ("stn", "reflection"), ("hard", "border")]
)
def test_a_mask_is_the_gradient_of_the_glimpse_s_sum(method, padding):
    images = pictures(2, 1, 23, 31).requires_grad_()
    boxes = torch.tensor([[-3.2, 4.1, 14.0, 26.5], [20.0, 3.0, 44.0, 11.0]], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(gt.box_glimpse(images, boxes, SIZE, method, padding=padding).sum(), images)
    found = gt.glimpse_mask((23, 31), *gt.box_to_comb(boxes, SIZE), SIZE, method, padding=padding)
    torch.testing.assert_close(found, gradient[:, 0], rtol=0, atol=1e-12)


def test_the_width_of_a_mask_is_whatever_the_width_of_a_glimpse_may_be():
    u, d = pair(3.2, 5.1).expand(3, 2), pair(1.1, 2.3)
    want = gt.glimpse_mask((23, 31), u, d, SIZE, s=torch.full((3, 2), 1.5))
    for same in (1.5, (1.5, 1.5), torch.tensor(1.5), torch.full((1,), 1.5), torch.full((3, 1), 1.5)):
        assert torch.equal(gt.glimpse_mask((23, 31), u, d, SIZE, s=same), want)


@given(st.tuples(*[st.floats(-50, 50)] * 2), st.tuples(*[st.floats(0.01, 20)] * 2))
def test_spellings_are_those_of_combs_and_come_back(first, step):
    u, d = torch.tensor(first, dtype=torch.float64), torch.tensor(step, dtype=torch.float64)
    x0, y0, x1, y1 = gt.comb_to_box(u, d, SIZE).tolist()
    scale, shift = gt.comb_to_scale_shift(u, d, SIZE, (23, 31))
    for k, (n, N, low, high) in enumerate([(5, 23, y0, y1), (7, 31, x0, x1)]):
        comb = Comb(first[k], step[k])
        assert (low, high) == pytest.approx(comb.box(n), abs=1e-9)
        assert (float(scale[k]), float(shift[k])) == pytest.approx(comb.scale_shift(n, N), abs=1e-9)
    for again in (
        gt.box_to_comb(torch.tensor([x0, y0, x1, y1], dtype=torch.float64), SIZE),
        gt.scale_shift_to_comb(scale, shift, SIZE, (23, 31)),
    ):
        torch.testing.assert_close(again, (u, d), rtol=0, atol=1e-9)


def test_one_sample_has_scale_zero_and_one_pixel_has_no_scale():
    scale, shift = gt.comb_to_scale_shift(pair(3, 4), pair(2, 2), (1, 7), (23, 31))
    assert float(scale[0]) == 0
    assert float(shift[0]) == pytest.approx(6 / 22 - 1)
    with pytest.raises(ParameterError, match="one pixel"):
        gt.comb_to_scale_shift(pair(3, 4), pair(2, 2), SIZE, (1, 31))


# ---------------------------------------------------------------- layers and errors


def test_layers_are_the_functions_of_a_fixed_size():
    images = pictures(2, 3, 23, 31)
    look = gt.GaussianGlimpse(SIZE, eps=1e-8)
    assert torch.equal(look(images, 3.0, 0.7, 1.5), gt.gaussian_glimpse(images, 3.0, 0.7, 1.5, SIZE, eps=1e-8))
    turn = gt.SpatialTransformer(SIZE, padding="border")
    assert torch.equal(turn(images, 0.4, (0.1, 0.9)), gt.stn_glimpse(images, 0.4, (0.1, 0.9), SIZE, "border"))
    assert "size=(5, 7), eps=1e-08" in repr(look)
    assert "padding='border'" in repr(turn)


IMAGES = torch.zeros(2, 3, 23, 31)
BOXES = torch.ones(2, 4)
THREE = torch.ones(3, 2)
WRONG = {
    "images.*B, C, H, W.*23, 31": lambda: gt.gaussian_glimpse(IMAGES[0], 1, 1, 1, SIZE),
    "images must have pixels": lambda: gt.stn_glimpse(IMAGES[:, :, :0], 1, 1, SIZE),
    "uint8, uint16 or floating, got torch.int64": lambda: gt.hard_glimpse(IMAGES.long(), 1, 1, SIZE),
    "s must be above 0 px, got 0": lambda: gt.gaussian_glimpse(IMAGES, 1, (1, 0), 1, SIZE),
    "s must be above 0 px, got -1": lambda: gt.box_glimpse(IMAGES, BOXES, SIZE, s=-1),
    "u must be a finite number": lambda: gt.gaussian_glimpse(IMAGES, (1, math.nan), 1, 1, SIZE),
    "d must be a finite number, a pair": lambda: gt.gaussian_glimpse(IMAGES, 1, 1, (1, 2, 3), SIZE),
    "u must be a finite number, a pair.*or a tensor, got array": lambda: gt.gaussian_glimpse(
        IMAGES, np.ones((2, 2)), 1, 1, SIZE
    ),
    "s must be a finite number, a pair.*got None": lambda: gt.gaussian_glimpse(IMAGES, 1, None, 1, SIZE),
    "u is a pair of tensors.*torch.stack": lambda: gt.gaussian_glimpse(IMAGES, (THREE[0, 0], 1), 1, 1, SIZE),
    r"broadcast to \(2, 2\) or \(2, N, 2\), got u \(3, 2\)": lambda: gt.gaussian_glimpse(IMAGES, THREE, 1, 1, SIZE),
    "broadcast to.*scale": lambda: gt.stn_glimpse(IMAGES, torch.ones(2, 6), 0, SIZE),
    "height, width.*got 5": lambda: gt.gaussian_glimpse(IMAGES, 1, 1, 1, 5),
    r"height, width.*got \(5.0, 7\)": lambda: gt.hard_glimpse(IMAGES, 1, 1, (5.0, 7)),
    r"height, width.*got \(7, 0\)": lambda: gt.box_to_comb(BOXES, (7, 0)),
    r"height, width.*got 7": lambda: gt.comb_to_box(THREE, THREE, 7),
    r"height, width.*got \(0, 7\)": lambda: gt.GaussianGlimpse((0, 7)),
    "u must be a finite number.*got '1'": lambda: gt.gaussian_glimpse(IMAGES, "1", 1, 1, SIZE),
    r"s must be a finite number.*got \('1', 2\)": lambda: gt.gaussian_glimpse(IMAGES, 1, ("1", 2), 1, SIZE),
    "images must be a tensor, got ndarray.*": lambda: gt.gaussian_glimpse(IMAGES.numpy(), 1, 1, 1, SIZE),
    "boxes must be a tensor, got tuple": lambda: gt.box_glimpse(IMAGES, (0, 0, 5, 5), SIZE),
    "eps must be a number of 0 or above": lambda: gt.gaussian_glimpse(IMAGES, 1, 1, 1, SIZE, eps=-1e-8),
    "eps must be a number.*got None": lambda: gt.GaussianGlimpse(SIZE, None),
    "eps must be a number.*got '1e-8'": lambda: gt.gaussian_mask(THREE, THREE, THREE, 5, 23, eps="1e-8"),
    r"eps must be a number.*got tensor\(": lambda: gt.gaussian_glimpse(IMAGES, 1, 1, 1, SIZE, eps=THREE[0]),
    r"broadcast to \(\.\.\., 2\), got u \(5, 3\), d \(3,\)": lambda: gt.glimpse_mask(
        (23, 31), torch.ones(5, 3), torch.ones(3), SIZE
    ),
    r"broadcast to \(\.\.\., 2\), got scale \(3, 2\), shift \(2, 2\)": lambda: gt.scale_shift_to_comb(
        THREE, THREE[:2], SIZE, (23, 31)
    ),
    r"broadcast to \(\.\.\.\), got u \(3, 2\), s \(3, 2\), d \(4,\)": lambda: gt.gaussian_mask(
        THREE, THREE, torch.ones(4), 5, 23
    ),
    "u must be a tensor, got float": lambda: gt.glimpse_mask((23, 31), 1.0, THREE, SIZE),
    "d must be a tensor, got int": lambda: gt.gaussian_mask(THREE, THREE, 1, 5, 23),
    "shift must be a tensor, got tuple": lambda: gt.scale_shift_to_comb(THREE, (0, 1), SIZE, (23, 31)),
    "boxes must be a tensor, got list": lambda: gt.box_to_comb([0, 0, 5, 5], SIZE),
    r"height, width.*got \(0, 31\)": lambda: gt.scale_shift_to_comb(THREE, THREE, SIZE, (0, 31)),
    r"height, width.*got 31": lambda: gt.comb_to_scale_shift(THREE, THREE, SIZE, 31),
    "images must be a tensor, got nd": lambda: gt.extract(IMAGES.numpy(), None),
    "spec must be a Spec, got tuple": lambda: gt.extract(IMAGES, (1, 1, 2, 2)),
    "d must be a tensor, got float": lambda: gt.default_width(1.5),
    r"d must be real, got torch.complex128.*d\.real": lambda: gt.default_width(THREE * 1j + THREE.double()),
    "u must be real, got torch.complex64": lambda: gt.gaussian_glimpse(IMAGES, BOXES[:, :2] * 1j, 1, 1, SIZE),
    "s must be real, got": lambda: gt.glimpse_mask((23, 31), THREE, THREE, SIZE, s=THREE * 1j),
    "shift must be real": lambda: gt.scale_shift_to_comb(THREE, THREE * 1j, SIZE, (23, 31)),
    "boxes must be real": lambda: gt.box_glimpse(IMAGES, BOXES * 1j, SIZE),
    "boxes must be real,": lambda: gt.box_to_comb(BOXES * 1j, SIZE),
    r"u must be a finite number.*got array\(": lambda: gt.gaussian_glimpse(IMAGES, np.array([1, 2j]), 1, 1, SIZE),
    "u must be a finite number.*got b'12'": lambda: gt.gaussian_glimpse(IMAGES, b"12", 1, 1, SIZE),
    "d must be a finite number.*got bytearray": lambda: gt.hard_glimpse(IMAGES, 1, bytearray(b"12"), SIZE),
    r"s must be a finite number.*got \(b'1', 2\)": lambda: gt.gaussian_glimpse(IMAGES, 1, (b"1", 2), 1, SIZE),
    "eps must be a number.*got 10000": lambda: gt.gaussian_glimpse(IMAGES, 1, 1, 1, SIZE, eps=10**400),
    r"eps must be a number.*got Fraction\(": lambda: gt.GaussianGlimpse(SIZE, eps=Fraction(1, 3)),
    "images must be dense, got the layout torch.sparse_coo.*to_dense": lambda: gt.hard_glimpse(
        IMAGES.to_sparse(), 1, 1, SIZE
    ),
    "images must be dense, got the layout": lambda: gt.extract(
        IMAGES.to_sparse(), Spec.from_box(Box(1, 1, 2, 2), SIZE)
    ),
    "u must be dense": lambda: gt.gaussian_glimpse(IMAGES, BOXES[:, :2].to_sparse(), 1, 1, SIZE),
    "padding must be one of zeros, border, reflection, got 'edge'": lambda: gt.stn_glimpse(IMAGES, 1, 1, SIZE, "edge"),
    "padding must be one of.*got ''": lambda: gt.box_glimpse(IMAGES, BOXES, SIZE, padding=""),
    "padding must be one of.*'none'": lambda: gt.SpatialTransformer(SIZE, padding="none"),
    "padding must be one of.*'wrap'": lambda: gt.hard_glimpse(IMAGES, 1, 1, SIZE, "wrap"),
    "has no padding 'reflection'": lambda: gt.box_glimpse(IMAGES, BOXES, SIZE, padding="reflection"),
    "method must be one of gaussian, stn, hard, got 'soft'": lambda: gt.box_glimpse(IMAGES, BOXES, SIZE, "soft"),
    "s is the gaussian's width; stn has none": lambda: gt.box_glimpse(IMAGES, BOXES, SIZE, "stn", s=1.0),
    "boxes must end in 4": lambda: gt.box_glimpse(IMAGES, torch.ones(2, 5), SIZE),
    r"boxes must broadcast to \(2, 4\) or \(2, N, 4\), got the shape \(3, 4\)": lambda: gt.box_glimpse(
        IMAGES, BOXES[0].expand(3, 4), SIZE
    ),
    "boxes is on meta and the images on cpu": lambda: gt.box_glimpse(IMAGES, BOXES.to("meta"), SIZE),
    r"\(C, H, W\) or \(B, C, H, W\)": lambda: gt.extract(IMAGES[0, 0], Spec.from_box(Box(1, 1, 2, 2), SIZE)),
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_is_refused_with_what_would_do(message):
    with pytest.raises(ParameterError, match=message):
        WRONG[message]()


def test_the_public_names_are_flat():
    for name in gt.__all__:
        assert getattr(gt, name).__module__.startswith("glimpse_cli.torch._")
