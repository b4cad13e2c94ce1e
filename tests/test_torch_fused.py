"""The kernels of a GPU agree with the dense form in float64. Where there is no GPU, Triton interprets them."""

import os
import subprocess
import sys

import pytest
import torch

triton = pytest.importorskip("triton", "3.3", reason="Triton is not there, or too old")

from glimpse_cli.torch import _axes, _dense, _fused  # noqa: E402 - not without Triton

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = "cpu" if INTERPRETED else "cuda"
PEAKS = {torch.uint8: 255, torch.uint16: 65535}
pytestmark = [
    pytest.mark.usefixtures("interpreter"),
    pytest.mark.skipif(not (INTERPRETED or torch.cuda.is_available()), reason="a GPU that torch does not see"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # the interpreter's, of numbers that are then thrown away
]


def numbers(*shape, low=0.0, high=1.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def axis(method, P, n, padding, seed):
    """An axis of 2 x 2 glimpses, in float32, that begins before the image, ends inside or beyond, or is mirrored."""
    B = N = 2
    u, d, s = numbers(B, N, low=-9, high=P, seed=seed), numbers(B, N, low=-2, high=4, seed=seed + 1), numbers(B, N)
    return _axes.axis_of(method, _axes.places(u, d, n), s + 0.2, P, padding, torch.float32)


def found_and_wanted(images, y, x, kernel, eps):
    """The glimpse and its gradients: by the kernels, and by the dense form in float64."""
    whole = [t.double().requires_grad_() if t.is_floating_point() else t for t in (*y, *x)]
    exact = (images.double() / PEAKS.get(images.dtype, 1)).requires_grad_()
    glimpses = _dense.dense(exact, *whole, kernel, eps)
    grad = numbers(*glimpses.shape, low=-1, seed=9)
    gradients = torch.autograd.grad(glimpses, [exact, *(whole[k] for k in (1, 2, 4, 5))], grad, allow_unused=True)
    on = [_axes.Axis(*(t.to(DEVICE) for t in a)) for a in (y, x)]
    ours = _fused.forward(images.to(DEVICE), *on, kernel, eps)
    to_images, to_places = _fused.backward(grad.float().to(DEVICE), images.to(DEVICE), *on, kernel, eps, True, True)
    found = [t.cpu().double() for t in (ours, to_images, *to_places)]
    wanted = [glimpses.detach(), *(torch.zeros_like(f) if g is None else g for f, g in zip(found[1:], gradients))]  # noqa: B905 - both are five
    return list(zip(found, wanted, strict=True))


def assert_close(pairs, tolerance=1e-5):
    for found, wanted in pairs:
        scale = max(1.0, float(wanted.abs().max()))
        torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=tolerance)


CASES = {
    "softmax": ("gaussian", 0.0, "border", 3),
    "the post": ("gaussian", 1e-8, "zeros", 2),
    "the post in grey": ("gaussian", 1e-8, "zeros", 1),
    "hats that end": ("stn", 0.0, "zeros", 1),
    "hats that repeat": ("stn", 0.0, "border", 2),
    "hats that mirror": ("stn", 0.0, "reflection", 3),
}


@pytest.mark.parametrize("case", CASES)
def test_glimpses_and_gradients_of_several_tiles_are_those_of_the_dense_form(case):
    method, eps, padding, C = CASES[case]
    images = numbers(2, C, 39, 133).float()
    y, x = axis(method, 39, 19, padding, seed=1), axis(method, 133, 37, padding, seed=5)
    assert_close(found_and_wanted(images, y, x, "gaussian" if method == "gaussian" else "hat", eps))


@pytest.mark.parametrize("eps", [0.0, 1e-8])
def test_narrow_bells_between_two_pixels_are_weighed_as_in_float64(eps):
    images, s = numbers(1, 1, 31, 47).float(), torch.full((1, 1), 1e-3)
    y, x = (
        _axes.gaussian_axis(2.5 + 3 * torch.arange(9.0).double().view(1, 1, -1) + miss, s, P, torch.float32)
        for miss, P in ((4e-7, 31), (-9e-7, 47))
    )
    assert_close(found_and_wanted(images, y, x, "gaussian", eps), 2e-6)


@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (2, 5, 1, 40), (2, 1, 33, 1)])
def test_images_of_hardly_a_pixel_and_channels_of_any_number(shape):
    images = numbers(*shape).float()
    y, x = axis("gaussian", shape[2], 1, "", seed=2), axis("gaussian", shape[3], 5, "", seed=3)
    assert_close(found_and_wanted(images, y, x, "gaussian", 0.0))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float16, torch.bfloat16])
def test_pixels_of_every_dtype_are_weighed_whole(dtype):
    images = (numbers(2, 3, 31, 47) * PEAKS.get(dtype, 1)).to(dtype)
    y, x = axis("gaussian", 31, 9, "", seed=4), axis("gaussian", 47, 11, "", seed=6)
    glimpses, _, *places = found_and_wanted(images, y, x, "gaussian", 0.0)
    assert_close([glimpses], 2e-6)
    assert_close(places)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_sums_of_many_pixels_stay_whole(dtype):
    """A GPU's matrix units truncate as they sum, which an even picture under wide bells shows."""
    images = torch.full((1, 1, 61, 800), 211 if dtype == torch.uint8 else 0.8203125, dtype=dtype)
    p = torch.arange(3.0).double().view(1, 1, -1) * 40
    y, x = (_axes.gaussian_axis(p + P / 5, torch.full((1, 1), 60.0), P, torch.float32) for P in (61, 800))
    ours = _fused.forward(images.to(DEVICE), *(_axes.Axis(*(t.to(DEVICE) for t in a)) for a in (y, x)), "gaussian", 0.0)
    value = images[0, 0, 0, 0].float() / PEAKS.get(dtype, 1)
    assert_close([(ours.cpu() / value, torch.ones(1, 1, 1, 3, 3))], 2e-6)


def test_images_of_any_strides_are_read_right():
    y, x = axis("gaussian", 40, 9, "", seed=7), axis("gaussian", 52, 11, "", seed=8)
    images = numbers(2, 3, 40, 52).float()
    for view in (
        images.to(memory_format=torch.channels_last),
        images.mT.contiguous().mT,
        images[:1].expand(2, -1, -1, -1),
    ):
        ((found, wanted), *_) = found_and_wanted(view, y, x, "gaussian", 0.0)
        assert_close([(found, wanted)], 2e-6)


def test_the_gradient_of_an_image_that_no_glimpse_meets_is_zero():
    images = numbers(1, 3, 150, 290).float()
    y, x = (
        _axes.gaussian_axis(_axes.places(*numbers(2, 1, 1, high=9), 4), numbers(1, 1), P, torch.float32)
        for P in (150, 290)
    )
    (_, (gradient, _), *_) = found_and_wanted(images, y, x, "gaussian", 0.0)
    assert gradient[..., :40, :40].any()
    assert not gradient[..., 100:, :].any()
    assert not gradient[..., 200:].any()


def test_pixels_that_are_not_reached_are_not_read():
    images = numbers(1, 3, 150, 290).float()
    images[..., 60:, :] = images[..., :, 70:] = images[..., :9] = float("nan")
    p = 20 + 1.3 * torch.arange(20.0).double().view(1, 1, -1)
    y, x = (_axes.gaussian_axis(p, torch.tensor([[0.6]]), P, torch.float32) for P in (150, 290))
    on = [_axes.Axis(*(t.to(DEVICE) for t in a)) for a in (y, x)]
    assert _fused.forward(images.to(DEVICE), *on, "gaussian", 0.0).isfinite().all()
    grad = torch.ones(1, 1, 3, 20, 20, device=DEVICE)
    for gradient in _fused.backward(grad, images.to(DEVICE), *on, "gaussian", 0.0, False, True)[1]:
        assert gradient.isfinite().all()


@pytest.mark.skipif(not INTERPRETED, reason="a GPU does not make memory where it is touched")
def test_pixels_beyond_two_gigabytes_are_read():
    """A picture whose columns lie so far apart that 32 bits do not reach the last."""
    far = 2**31 // 39
    memory = torch.empty(far * 41, dtype=torch.uint8)
    images = memory.as_strided((1, 3, 7, 41), (0, 8, 1, far))
    images[:] = (numbers(1, 3, 7, 41) * 255).to(torch.uint8)
    combs = (numbers(1, 1), numbers(1, 1) + 7)
    y, x = (_axes.gaussian_axis(_axes.places(*combs, 6), numbers(1, 1) + 1, P, torch.float32) for P in (7, 41))
    glimpses = _fused.forward(images, y, x, "gaussian", 0.0)
    assert torch.equal(glimpses, _fused.forward(images.contiguous(), y, x, "gaussian", 0.0))
    assert glimpses.any()


def test_the_same_call_gives_the_same_bits():
    images = numbers(2, 1, 39, 52).float()
    y, x = axis("gaussian", 39, 19, "", seed=1), axis("gaussian", 52, 37, "", seed=5)
    first, again = (found_and_wanted(images, y, x, "gaussian", 0.0) for _ in range(2))
    for (one, _), (other, _) in zip(first, again, strict=True):
        assert torch.equal(one, other)


COMPILE = """
import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

class Absent:
    '''A GPU to compile for, without one to run on.'''
    def get_current_target(self):
        return GPUTarget("cuda", {capability}, 32)
    def get_current_device(self):
        return 0
    def get_current_stream(self, _device):
        return 0

driver.set_active(Absent())
from glimpse_cli.torch import _fused, _kernels
from glimpse_cli.torch._axes import Axis

class Compiled:
    '''A kernel that is compiled where it would be launched.'''
    def __init__(self, kernel):
        self.kernel = kernel
    def __getitem__(self, grid):
        return lambda *arguments, **settings: self.kernel.warmup(
            *(a.dtype if isinstance(a, torch.Tensor) else a for a in arguments), grid=grid, **settings
        )

for name in ("axis_kernel", "glimpses_kernel", "images_gradient_kernel", "places_gradient_kernel"):
    setattr(_kernels, name, Compiled(getattr(_kernels, name)))

def look(shape, size, kernel, dtype=torch.float32, N=1):
    images = torch.zeros(shape, dtype=dtype)
    none = (torch.zeros(shape[0], N, n) for n in size)
    y, x = (Axis(zero.long(), zero.double(), torch.ones(shape[0], N)) for zero in none)
    grad = torch.zeros(shape[0], N, shape[1], *size)
    _fused.forward(images, y, x, kernel, 1e-8)
    _fused.backward(grad, images, y, x, kernel, 1e-8, dtype.is_floating_point, True)

look((2, 3, 64, 96), (32, 48), "gaussian")
look((1, 1, 1, 1), (1, 1), "hat")  # numbers that are 1 are compiled in
look((2, 2, 23, 31), (5, 7), "gaussian", torch.uint8, N=3)
print("compiled")
"""


def test_the_kernels_compile_where_there_is_no_gpu(tmp_path):
    """What the interpreter lets pass: types that change in a loop, numbers that are constants, sizes of products."""
    there = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {"TRITON_CACHE_DIR": str(tmp_path)}
    script = COMPILE.replace("{capability}", "90")
    done = subprocess.run([sys.executable, "-c", script], env=there, capture_output=True, text=True, check=False)
    assert done.stdout == "compiled\n", done.stderr


def test_without_a_gpu_the_kernels_are_not_asked_for():
    assert not _fused.available(torch.device("cpu"))
    assert not _fused.available(torch.device("meta"))


def test_a_compiled_function_may_ask():
    asked = torch.compile(lambda t: t + _fused.available(t.device), fullgraph=True, backend="aot_eager")
    assert float(asked(torch.ones(()))) == 1
