"""Gradients of `glimpse_cli.torch`: finite differences agree, twice; none is ever infinite; and they teach."""

import importlib.util
import math
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

import glimpse_cli.torch as gt
from glimpse_cli.torch import _axes, _banded, _functional

SIZE = (5, 7)


def pictures(*shape, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def leaf(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype, requires_grad=True)


# Two images of 11 x 13, each with a place of its own: mirrored, leaving the image, wide and narrow.
U = ((1.3, 7.2), (9.4, -1.6))
S = ((0.7, 1.6), (0.9, 3.0))
D = ((1.4, 1.1), (-1.7, 2.3))


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_gaussian_gradients_are_finite_differences_twice(eps):
    images = pictures(2, 2, 11, 13).requires_grad_()
    inputs = (images, leaf(*U), leaf(*S), leaf(*D))

    def look(images, u, s, d):
        return gt.gaussian_glimpse(images, u, s, d, (3, 4), eps=eps)

    assert gradcheck(look, inputs, fast_mode=True)
    assert gradgradcheck(look, inputs, fast_mode=True)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_spatial_transformer_gradients_are_finite_differences(padding):
    images = pictures(2, 2, 11, 13).requires_grad_()
    scale, shift = leaf((0.37, -0.81), (1.3, 0.52)), leaf((0.13, 0.47), (-0.31, 0.09))

    def look(images, scale, shift):
        return gt.stn_glimpse(images, scale, shift, (3, 4), padding)

    assert gradcheck(look, (images, scale, shift), fast_mode=True)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_box_gradients_are_finite_differences(method):
    images = pictures(1, 1, 11, 13).requires_grad_()
    boxes = leaf(((1.3, -2.2, 9.4, 6.1), (3.3, 4.2, 19.4, 7.6)))  # two of one image; the d of the second is above 1

    def look(images, boxes):
        return gt.box_glimpse(images, boxes, (3, 4), method)

    wanted = (images,) if method == "hard" else (images, boxes)  # where hard attention looks, it cannot learn
    assert gradcheck(lambda *t: look(*t, *(images, boxes)[len(t) :]), wanted, fast_mode=True)


@pytest.mark.usefixtures("form")
def test_only_what_asks_for_a_gradient_gets_one():
    images, u = pictures(2, 2, 11, 13), leaf(*U)
    gt.gaussian_glimpse(images, u, 0.7, 1.5, SIZE).sum().backward()
    assert u.grad.abs().sum() > 0
    images.requires_grad_()
    gt.gaussian_glimpse(images, u.detach(), 0.7, 1.5, SIZE).sum().backward()
    assert images.grad.abs().sum() > 0


SHAPES = [(), (1,), (2,), (1, 2), (2, 1), (2, 2), (1, 3, 2), (2, 3, 1), (2, 1, 2), (2, 3, 2)]


@pytest.mark.parametrize("form", ["dense", "banded"], indirect=True)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.usefixtures("form")
def test_parameters_of_any_shape_have_gradients_of_that_shape(shape):
    generator = torch.Generator().manual_seed(3)
    images, u = pictures(2, 2, 11, 13).requires_grad_(), torch.tensor(U).double()
    numbers = [(low + torch.rand(shape, generator=generator).double()).requires_grad_() for low in (0.3, 0.7, 1.1)]
    u = u[:, None] if len(shape) == 3 else u
    looks = [
        lambda images, a, b, c: gt.gaussian_glimpse(images, a, b, c, (3, 4)),
        lambda images, a, b, c: gt.gaussian_glimpse(images, u, b, c, (3, 4), eps=1e-8) + a.sum(),
        lambda images, a, b, c: gt.stn_glimpse(images, a, b - 0.9, (3, 4), "border") + c.sum(),
    ]
    for look in looks:
        assert gradcheck(look, (images, *numbers), fast_mode=True)


@pytest.mark.usefixtures("form")
def test_one_tensor_may_be_several_parameters():
    images, same = pictures(2, 2, 11, 13), leaf((1.3, 2.2), (3.4, 1.6))

    def look(same):
        return gt.gaussian_glimpse(images, same, same, same, (3, 4))

    assert gradcheck(look, same, fast_mode=True)
    assert gradgradcheck(look, same, fast_mode=True)


@pytest.mark.parametrize("small", [0, math.inf])
def test_autograd_sees_one_node(small, monkeypatch):
    """Every other would cost a small glimpse as much as its product."""
    monkeypatch.setattr(_functional, "SMALL", small)
    leaves = [
        pictures(2, 3, 23, 31, dtype=torch.float32).requires_grad_(),
        *(leaf(*n, dtype=torch.float32) for n in (U, S, D)),
    ]
    for out in (gt.gaussian_glimpse(*leaves, SIZE), gt.stn_glimpse(leaves[0], *leaves[2:], SIZE)):
        (node, _), *others = out.grad_fn.next_functions  # behind the squeeze
        assert (node.name(), others) == ("EagerBackward", [])
        assert {following.name() for following, _ in node.next_functions if following} == {
            "torch::autograd::AccumulateGrad"
        }


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize("broad", [None, (1, 0), (0, 2), ...])
def test_gradients_of_the_banded_form_are_those_of_the_dense_form(dtype, eps, broad, monkeypatch):
    generator = torch.Generator().manual_seed(2)
    images = torch.rand(2, 3, 90, 130, generator=generator).to(dtype).requires_grad_()
    u = (torch.rand(2, 3, 2, generator=generator).to(dtype) * 40).requires_grad_()
    s = torch.rand(2, 3, 2, generator=generator).to(dtype) + 0.3
    if broad is not None:  # one glimpse that is computed apart from the others, or all of which x reaches everywhere
        s[broad] *= torch.tensor([2.5, 60])
    s.requires_grad_()
    d = (torch.rand(2, 3, 2, generator=generator).to(dtype) * 4 - 2).requires_grad_()
    weights = torch.rand(2, 3, 3, 37, 41, generator=generator).to(dtype)
    found = {}
    for small in (0, math.inf):
        monkeypatch.setattr(_functional, "SMALL", small)
        glimpses = gt.gaussian_glimpse(images, u, s, d, (37, 41), eps=eps)
        found[small] = glimpses.detach(), *torch.autograd.grad((glimpses * weights).sum(), (images, u, s, d))
    for one, other in zip(found[0], found[math.inf], strict=True):
        scale = float(other.abs().max())
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)


def test_one_broad_bell_costs_itself_alone():
    s = torch.full((2, 4), 0.8, dtype=torch.float64)
    s[1, 1] = 300
    y, x = (_axes.gaussian_axis(torch.rand(2, 4, n).double() * 400, s, 500, torch.float32) for n in (5, 7))
    parts = list(_banded._parts(torch.rand(2, 1, 500, 500), y, x, "gaussian", 0.0))
    assert [part.members for part in parts] == [[0, 1, 2, 3, 4, 6, 7], [5]]
    assert [part.by.w.shape[2] < 20 for part in parts] == [True, False]


# ---------------------------------------------------------------- finite everywhere

HARD_PLACES = {
    "tiny s": ((4.2, 6.7), (1e-30, 1e-12), (1.0, 1.0)),
    "s of 0 in a tensor": ((4.2, 6.7), (0.0, 0.0), (1.0, 1.0)),
    "tiny s between two pixels": ((4.5, 6.5), (1e-30, 1e-5), (1.0, 1.0)),
    "far outside": ((1e6, -1e6), (0.5, 0.5), (1.0, 1.0)),
    "far outside with tiny s": ((-1e6, 1e6), (1e-20, 1e-3), (1.0, -1.0)),
    "farther outside with tiny s": ((2e8, -3e8), (1.2e-8, 1.7e-8), (1.0, -1.0)),
    "beyond all bounds": ((1e30, -1e25), (1.0, 1e-9), (1.0, 1e20)),
    "wide": ((4.2, 6.7), (1e6, 1e12), (1.0, 1.0)),
    "wide beyond all bounds": ((4.2, 6.7), (1e30, 1e25), (1.0, 1.0)),
    "one place": ((4.2, 6.7), (0.5, 0.5), (0.0, 0.0)),
}
FORMS = [(form, torch.float32) for form in ("dense", "banded", "summed", "fused")]
FORMS += [(form, torch.float64) for form in ("dense", "banded")]  # for which a GPU takes the dense one


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", HARD_PLACES)
@pytest.mark.parametrize(("form", "dtype"), FORMS, indirect=["form"])
@pytest.mark.parametrize("eps", [0.0, 1e-8])
@pytest.mark.parametrize(("image", "size"), [((11, 13), SIZE), ((1, 13), (1, 7)), ((11, 1), (5, 1))])
def test_glimpses_and_both_gradients_are_finite(name, dtype, eps, image, size):
    images = pictures(1, 1, *image, dtype=dtype).requires_grad_()
    inputs = (images, *(leaf(value, dtype=dtype) for value in HARD_PLACES[name]))
    out = gt.gaussian_glimpse(*inputs, size, eps=eps)
    first = torch.autograd.grad(
        (out * torch.arange(1.0, 1 + out.numel()).view(out.shape)).sum(), inputs, create_graph=True
    )
    second = torch.autograd.grad(sum((g * torch.linspace(0.3, 1.7, g.numel()).view_as(g)).sum() for g in first), inputs)
    for tensor in (out, *first, *second):
        assert tensor.isfinite().all()


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("numbers", [((0.0, 0.0), (0.0, 0.0)), ((1.0, 1.0), (0.0, 0.0)), ((1e-30, 1e6), (-1e6, 1e30))])
@pytest.mark.parametrize(("image", "size"), [((11, 13), SIZE), ((1, 13), (1, 7)), ((11, 1), (5, 1))])
def test_spatial_transformers_and_their_gradients_are_finite(padding, numbers, image, size):
    inputs = (pictures(1, 2, *image).requires_grad_(), *(leaf(value) for value in numbers))
    out = gt.stn_glimpse(*inputs, size, padding)
    for tensor in (out, *torch.autograd.grad(out.square().sum(), inputs)):
        assert tensor.isfinite().all()


@pytest.mark.usefixtures("form")
def test_a_spatial_transformer_that_begins_at_the_identity_learns():
    """All samples lie on pixels, where a hat has no slope of its own: that to the next pixel counts, as in torch."""
    images = torch.arange(11.0 * 13).view(1, 1, 11, 13).double()
    for padding in ("zeros", "border", "reflection"):
        scale, shift = leaf(1.0, 1.0), leaf(0.0, 0.0)
        gt.stn_glimpse(images, scale, shift, (11, 13), padding)[..., 1:-1, 1:-1].sum().backward()
        assert shift.grad[0] == pytest.approx(13 * 5 * 9 * 11)  # 13 a pixel, 5 pixels a unit, 9 x 11 samples
        assert shift.grad[1] == pytest.approx(1 * 6 * 9 * 11)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_an_even_picture_has_no_slope_not_even_at_its_last_pixel(padding):
    scale, shift = leaf(1.0, 1.0), leaf(0.0, 0.0)
    gt.stn_glimpse(torch.ones(1, 1, 11, 13).double(), scale, shift, (11, 13), padding).sum().backward()
    assert scale.grad.abs().max() < 1e-12
    assert shift.grad.abs().max() < 1e-12


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["border", "reflection"])
def test_one_pixel_has_no_slope_even_where_a_place_lies_on_it(padding):
    boxes = leaf(0.0, -2.0, 7.0, 3.0)  # y = -2 + i + 1/2 - 1/2 for i of 0 to 4
    gt.box_glimpse(pictures(1, 2, 1, 13), boxes, SIZE, "stn", padding=padding).sum().backward()
    assert boxes.grad[1] == boxes.grad[3] == 0
    assert boxes.grad[0] != 0


@pytest.mark.parametrize("form", ["summed"], indirect=True)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.uint8, torch.uint16])
@pytest.mark.usefixtures("form")
def test_rows_far_apart_are_those_of_grid_sample_and_so_are_gradients(dtype):
    peak = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1)
    images = (torch.rand(2, 3, 283, 301, generator=torch.Generator().manual_seed(2)).double() * peak).to(dtype)
    exact = (images.double() / peak).requires_grad_()
    scale = torch.tensor([[0.51, 0.62], [-0.43, 0.37]], dtype=torch.float64, requires_grad=True)
    shift = torch.tensor([[0.22, -0.31], [-0.14, 0.7213]], dtype=torch.float64, requires_grad=True)
    y, x = (
        scale[:, k, None] * torch.linspace(-1, 1, n, dtype=torch.float64) + shift[:, k, None]
        for k, n in enumerate(SIZE)
    )
    grid = torch.stack([x[:, None].expand(2, *SIZE), y[:, :, None].expand(2, *SIZE)], dim=-1)
    want = torch.nn.functional.grid_sample(exact, grid, align_corners=True)
    leaves = (images.requires_grad_(), scale, shift) if peak == 1 else (scale, shift)
    found = gt.stn_glimpse(images, scale, shift, SIZE)
    close = {"rtol": 0, "atol": 1e-12 if dtype == torch.float64 else 2e-4, "check_dtype": False}
    torch.testing.assert_close(found, want, **close)
    weights = torch.linspace(-1, 1, want.numel()).view_as(want)
    wanted = torch.autograd.grad((want * weights).sum(), (exact, scale, shift))[-len(leaves) :]
    for one, other in zip(torch.autograd.grad((found * weights).sum(), leaves), wanted, strict=True):
        torch.testing.assert_close(one / other.abs().max(), other / other.abs().max(), **close)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made; views of what is given do not count."""

    def __init__(self, *given):
        super().__init__()
        self.numbers = 0
        self.given = {t.untyped_storage().data_ptr() for t in given}

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        out = function(*arguments, **(keywords or {}))
        if isinstance(out, torch.Tensor) and out.untyped_storage().data_ptr() not in self.given:
            self.numbers = max(self.numbers, out.numel())
        return out


def test_of_a_large_window_only_the_rows_that_are_read_are_copied():
    images = pictures(1, 3, 900, 1000, dtype=torch.float32)
    p = torch.linspace(105.5, 803, 12, dtype=torch.float64).view(1, 1, 12)
    axes = [_axes.hat_axis(p, N, "border", torch.float32) for N in (900, 1000)]
    with Largest(images) as largest:
        _banded.forward(images, *axes, "hat", 0.0)
    assert largest.numbers < 3 * 698 * 698 / 10


def test_the_backward_holds_no_image_for_each_glimpse():
    images = pictures(1, 3, 600, 700, dtype=torch.float32)
    p = torch.linspace(10, 500, 60, dtype=torch.float64).view(1, 20, 3)[..., :1] + torch.arange(32.0)
    axes = [_axes.gaussian_axis(p, torch.full((1, 20), 0.6).double(), N, torch.float32) for N in (600, 700)]
    with Largest() as largest:
        _banded.backward(torch.ones(1, 20, 3, 32, 32), images, *axes, "gaussian", 0.0, True, True)
    assert largest.numbers == images.numel()  # the gradient of the one image, and nothing larger


# ---------------------------------------------------------------- learning


def photograph(h, w):
    """A smooth scene: hills of many sizes, no two places alike."""
    y, x = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    generator = torch.Generator().manual_seed(3)
    scene = torch.zeros(h, w)
    for _ in range(40):
        cy, cx, width, height = torch.rand(4, generator=generator)
        scene += (height - 0.5) * torch.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (0.03 + 0.2 * width) ** 2)
    return scene[None, None]


@pytest.mark.parametrize("form", ["dense", "banded", "summed"], indirect=True)
@pytest.mark.parametrize("method", ["gaussian", "stn"])
@pytest.mark.usefixtures("form")
def test_a_box_is_recovered_from_its_crop(method):
    scene, hidden = photograph(97, 131), torch.tensor([[33.0, 21.0, 88.0, 67.0]])
    target = gt.box_glimpse(scene, hidden, (19, 23), method)
    boxes = (hidden + torch.tensor([[5.0, -4.0, -3.0, 6.0]])).requires_grad_()
    adam = torch.optim.Adam([boxes], lr=0.5)
    for step in range(200):
        adam.param_groups[0]["lr"] = 0.5 * 0.98**step
        adam.zero_grad()
        (gt.box_glimpse(scene, boxes, (19, 23), method) - target).square().mean().backward()
        adam.step()
    assert (boxes - hidden).abs().max() < 0.1


def script(name):
    """A file beside the tests as a module."""
    path = Path(__file__).parent / name
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_learns_a_little(capsys):
    example = script("examples/train_localiser.py")
    torch.manual_seed(0)
    network = example.train(steps=3)
    assert "step    0:" in capsys.readouterr().out
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_of_places_the_nearest_are_found_first():
    bench = script("benchmarks/bench_training.py")
    scene = photograph(131, 173).expand(1, 3, -1, -1).float()
    found = bench.found(scene, "gaussian, s = d", 4.0, 0.03, Namespace(boxes=2, rounds=80))
    assert found.shape == (len(bench.FAR), 2)
    assert found[0].all()
    assert found[0].sum() >= found[-1].sum()
