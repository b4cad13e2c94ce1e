"""`glimpse_cli.torch` under all that torch does to functions: compile, vmap, func, DDP, autocast, other devices."""

import io
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

import glimpse_cli
import glimpse_cli.torch as gt
from glimpse_cli.torch import _axes, _eager, _operators, _whole

SIZE = (5, 7)
FORMS = ["dense", "banded"]  # the others are the same graph: it does not see into an operator
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def pictures(*shape, dtype=torch.float64):
    return torch.rand(shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(dtype)


def places():
    u = torch.tensor([[3.2, 5.1], [10.3, 20.7]], dtype=torch.float64)
    return u, torch.tensor([0.8, 1.3], dtype=torch.float64), torch.tensor([1.1, -0.9], dtype=torch.float64)


def loss_of(u, images):
    return gt.gaussian_glimpse(images, u, *places()[1:], SIZE).square().sum()


# ---------------------------------------------------------------- torch.compile

LOOKS = {
    "gaussian": lambda images, v: gt.gaussian_glimpse(images, v, 0.9, 1.3, SIZE),
    "the post": lambda images, v: gt.gaussian_glimpse(images, v, 0.9, 1.3, SIZE, eps=1e-8),
    "stn": lambda images, v: gt.stn_glimpse(images, 0.4, v / 31, SIZE, "reflection"),
    "hard": lambda images, v: gt.hard_glimpse(images, v, 1.3, SIZE, "border"),
    "boxes": lambda images, v: gt.box_glimpse(images, torch.cat([v, v + 9], dim=-1), SIZE),
}


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_compiled_it_is_one_graph_and_gives_the_same(name):
    torch._dynamo.reset()
    images, u = pictures(2, 3, 23, 31).requires_grad_(), places()[0].requires_grad_()
    compiled = torch.compile(LOOKS[name], fullgraph=True, backend="aot_eager")
    want, found = LOOKS[name](images, u), compiled(images, u)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-13)
    inputs = (images,) if name == "hard" else (images, u)
    for one, other in zip(
        torch.autograd.grad(found.square().sum(), inputs), torch.autograd.grad(want.square().sum(), inputs), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", ["banded"], indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_it_takes_another_number_than_the_first():
    """From the second on, a number is a symbol to the compiler."""
    torch._dynamo.reset()
    images, u = pictures(2, 3, 23, 31), places()[0]

    def look(s, d):
        return gt.gaussian_glimpse(images, u, s, (d, -d), SIZE)

    compiled = torch.compile(look, fullgraph=True, backend="aot_eager")
    for s, d in ((0.9, 1.3), (0.7, 1.9), (1.4, 0.6)):
        torch.testing.assert_close(compiled(s, d), look(s, d), rtol=0, atol=1e-13)


@pytest.mark.parametrize("name", ["boxes", "stn", "hard"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_for_all_sizes_it_takes_batches_and_images_of_others(name):
    torch._dynamo.reset()
    compiled = torch.compile(LOOKS[name], fullgraph=True, dynamic=True, backend="aot_eager")
    for B, H, W in ((2, 23, 31), (4, 29, 26)):
        images, u = pictures(B, 3, H, W), torch.cat([places()[0]] * 2)[:B]
        torch.testing.assert_close(compiled(images, u), LOOKS[name](images, u), rtol=0, atol=1e-12)


@pytest.mark.skipif(not hasattr(torch._dynamo.compiled_autograd, "_enable"), reason="torch called it otherwise")
@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
def test_of_a_call_that_is_not_compiled_the_backward_may_be():
    torch._dynamo.reset()
    leaves = pictures(2, 3, 23, 31).requires_grad_(), places()[0].requires_grad_()
    want = torch.autograd.grad(loss_of(*leaves[::-1]), leaves)
    with torch._dynamo.compiled_autograd._enable(torch.compile(backend="aot_eager")):
        loss_of(*leaves[::-1]).backward()
    for one, other in zip(leaves, want, strict=True):
        torch.testing.assert_close(one.grad, other)


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_exported_it_takes_images_of_another_size(name):
    class Look(nn.Module):
        def forward(self, images, v):
            return LOOKS[name](images, v)

    u, other = places()[0], pictures(2, 3, 29, 37)
    free = {2: torch.export.Dim("H", min=8, max=64), 3: torch.export.Dim("W", min=8, max=64)}
    exported = torch.export.export(Look(), (pictures(2, 3, 23, 31), u), dynamic_shapes=(free, None)).module()
    torch.testing.assert_close(exported(other, u), LOOKS[name](other, u), rtol=0, atol=1e-13)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("free", [(2,), (3,), (2, 3)])
@pytest.mark.parametrize("sides", [((31, 47), (300, 310)), ((300, 310), (31, 47))])
def test_exported_it_takes_images_so_much_larger_or_smaller_that_another_form_were_faster(free, sides):
    class Look(nn.Module):
        def forward(self, images, u):
            return gt.gaussian_glimpse(images, u, 0.8, 1.3, (64, 48))

    u, (first, other) = places()[0], ([2, 3, *side] for side in sides)
    other = [size if axis in (0, 1, *free) else first[axis] for axis, size in enumerate(other)]
    dims = {axis: torch.export.Dim(f"side_{axis}", min=8) for axis in free}
    exported = torch.export.export(Look(), (pictures(*first), u), dynamic_shapes=(dims, None)).module()
    torch.testing.assert_close(exported(pictures(*other), u), Look()(pictures(*other), u), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", ["gaussian", "hat"])
@pytest.mark.parametrize(("to_images", "to_places"), [(True, True), (False, True), (True, False)])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*grad attribute of a Tensor")  # of torch itself
def test_the_operators_keep_torch_s_rules(kernel, to_images, to_places):
    images = pictures(2, 3, 23, 31, dtype=torch.float32).to(memory_format=torch.channels_last)
    p = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(5), dtype=torch.float64) * 20
    y = _axes.gaussian_axis(p, p[..., 0] + 0.1, 23, torch.float32)
    x = _axes.hat_axis(p.flip(-1), 31, "border", torch.float32)
    axes = [t.requires_grad_(t.is_floating_point() and to_places) for t in (*y, *x)]
    arguments = (images.requires_grad_(to_images), *axes, kernel, 1e-8)
    torch.library.opcheck(_operators.banded, arguments)
    grad = torch.ones(2, 4, 3, 5, 5)
    detached = [t.detach() if isinstance(t, torch.Tensor) else t for t in arguments]
    torch.library.opcheck(_operators.banded_backward, (grad, *detached, to_images, to_places))


def test_what_is_not_compiled_loads_no_compiler():
    script = """
import sys
import torch
import glimpse_cli.torch as gt
before = set(sys.modules)
images = torch.rand(1, 3, 300, 310).requires_grad_()
u = torch.tensor([[20.0, 30.0]]).requires_grad_()
gt.gaussian_glimpse(images, u, 0.7, (1.1, 1.3), (95, 97)).square().sum().backward()
assert images.grad.any() and u.grad.any()
print(sorted({"sympy", "torch._dynamo"} & (set(sys.modules) - before)))
"""
    ran = subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, capture_output=True, text=True)
    assert ran.stdout == "[]\n"


@pytest.mark.parametrize("form", ["banded"], indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_who_records_a_call_or_has_no_numbers_meets_an_operator():
    images, u = pictures(2, 3, 23, 31), places()[0]
    graph = make_fx(lambda images, u: grad(loss_of, argnums=(0, 1))(u, images))(images, u)
    called = {str(node.target) for node in graph.graph.nodes}
    assert called >= {"glimpse_cli.banded.default", "glimpse_cli.banded_backward.default"}
    with FakeTensorMode() as mode:
        leaves = [mode.from_tensor(t).requires_grad_() for t in (u, images)]
        loss_of(*leaves).backward()
    assert [t.grad.shape for t in leaves] == [u.shape, images.shape]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_it_still_says_which_shapes_do_not_fit():
    torch._dynamo.reset()
    compiled = torch.compile(LOOKS["gaussian"], backend="aot_eager")
    with pytest.raises(glimpse_cli.GlimpseError, match=r"broadcast to \(2, 2\) or \(2, N, 2\), got u \(3, 2\)"):
        compiled(pictures(2, 3, 23, 31), torch.ones(3, 2))


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.filterwarnings("ignore")  # torch.jit is on its way out, and says so
def test_traced_it_takes_other_places_and_images_of_another_size(name):
    traced = torch.jit.trace(LOOKS[name], (pictures(2, 3, 23, 31), places()[0]))
    images, u = pictures(3, 3, 29, 37), places()[0][[0, 1, 0]] + 1
    torch.testing.assert_close(traced(images, u), LOOKS[name](images, u), rtol=0, atol=1e-13)


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.filterwarnings("ignore")  # likewise
def test_traced_it_is_saved_and_loaded_with_its_gradients(name):
    saved = io.BytesIO()
    torch.jit.save(torch.jit.trace(LOOKS[name], (pictures(2, 3, 23, 31), places()[0])), saved)
    saved.seek(0)
    loaded = torch.jit.load(saved)
    images, u = pictures(2, 3, 29, 37).requires_grad_(), (places()[0] + 1).requires_grad_()
    found, want = loaded(images, u), LOOKS[name](images, u)
    torch.testing.assert_close(found, want, rtol=0, atol=1e-13)
    inputs = (images,) if name == "hard" else (images, u)
    gradients = (torch.autograd.grad(out.square().sum(), inputs) for out in (found, want))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("form", ["banded"], indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("padding", ["border", "reflection"])
@pytest.mark.parametrize("method", ["stn", "hard"])
@pytest.mark.parametrize("sides", [((23, 31), (1, 37)), ((1, 31), (29, 37)), ((23, 1), (29, 37)), ((2, 31), (29, 1))])
@pytest.mark.filterwarnings("ignore")  # likewise
def test_traced_it_takes_images_of_a_pixel_on_a_side_and_may_be_traced_with_one(method, padding, sides):
    def look(images, boxes):
        return gt.box_glimpse(images, boxes, SIZE, method, padding=padding)

    boxes = torch.tensor([[-3.2, 4.1, 14.0, 26.5], [20.0, -3.0, 44.0, 11.0]], dtype=torch.float64)
    first, other = (pictures(2, 3, *side) for side in sides)
    traced = torch.jit.trace(look, (first, boxes))
    for images in (other, first):
        torch.testing.assert_close(traced(images, boxes), look(images, boxes), rtol=0, atol=1e-13)


# ---------------------------------------------------------------- vmap and func


@pytest.mark.usefixtures("form")
def test_vmap_over_places_over_images_and_over_both():
    (u, s, d), images = places(), pictures(2, 3, 23, 31)
    us, many = u + torch.arange(3.0)[:, None, None], torch.stack([images, images**2, 1 - images])

    def look(images, u):
        return gt.gaussian_glimpse(images, u, s, d, SIZE)

    torch.testing.assert_close(vmap(look, (None, 0))(images, us), torch.stack([look(images, v) for v in us]))
    torch.testing.assert_close(vmap(look, (0, None))(many, u), torch.stack([look(image, u) for image in many]))
    both = vmap(look, (1, 0), out_dims=2)(many.movedim(0, 1), us)
    want = torch.stack([look(image, v) for image, v in zip(many, us, strict=True)], dim=2)
    torch.testing.assert_close(both, want)


@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore:There is a performance drop", "ignore::DeprecationWarning")  # torch's own
def test_autograd_s_own_batches_of_gradients_are_those_of_func():
    images, u = pictures(2, 3, 23, 31), places()[0]

    def mean(u):
        return gt.gaussian_glimpse(images, u, *places()[1:], SIZE).mean((2, 3))

    jacobian = torch.autograd.functional.jacobian(mean, u, vectorize=True)
    torch.testing.assert_close(jacobian, jacrev(mean)(u))
    second = torch.autograd.functional.hessian(lambda v: loss_of(v, images), u, vectorize=True)
    torch.testing.assert_close(second, hessian(loss_of)(u, images), rtol=1e-7, atol=1e-9)


@pytest.mark.usefixtures("form")
def test_func_gives_the_gradients_of_autograd_of_both_orders_and_each_of_a_batch():
    images, u = pictures(2, 3, 23, 31), places()[0]
    leaf = u.clone().requires_grad_()
    (first,) = torch.autograd.grad(loss_of(leaf, images), leaf, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), leaf)
    torch.testing.assert_close(grad(loss_of)(u, images), first.detach())
    torch.testing.assert_close(jacrev(loss_of)(u, images), first.detach())
    torch.testing.assert_close(grad(lambda v: grad(loss_of)(v, images).square().sum())(u), second)
    us = torch.stack([u, u + 1.5, u - 2])
    each = vmap(grad(loss_of, argnums=(0, 1)), (0, None))(us, images)
    one_by_one = zip(*(grad(loss_of, argnums=(0, 1))(v, images) for v in us), strict=True)
    for found, want in zip(each, one_by_one, strict=True):
        torch.testing.assert_close(found, torch.stack(want))


@pytest.mark.parametrize("form", ["banded"], indirect=True)
@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_a_function_that_transforms_another_is_compiled_with_it():
    torch._dynamo.reset()
    images, us = pictures(2, 3, 23, 31), torch.stack([places()[0], places()[0] + 1.5])

    def transformed(us, images):
        each = vmap(grad(loss_of, argnums=(0, 1)), (0, None))(us, images)
        return *each, grad(loss_of)(us[0], images), vmap(loss_of, (0, None))(us, images)

    compiled = torch.compile(transformed, fullgraph=True, backend="aot_eager")
    for found, want in zip(compiled(us, images), transformed(us, images), strict=True):
        torch.testing.assert_close(found, want)


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("dtype", [torch.float64, torch.uint8])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's own rules
def test_forward_mode_gives_the_gradients_of_reverse_mode(dtype):
    images, u = (pictures(2, 3, 23, 31) * (255 if dtype == torch.uint8 else 1)).to(dtype), places()[0]
    close = {"rtol": 1e-5, "atol": 1e-4, "check_dtype": False} if dtype == torch.uint8 else {"rtol": 1e-9, "atol": 1e-9}
    along = torch.tensor([[0.3, -1.2], [2.0, 0.7]], dtype=torch.float64)
    want = (jacrev(loss_of)(u, images) * along).sum()
    torch.testing.assert_close(jvp(lambda u: loss_of(u, images), (u,), (along,))[1], want, **close)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(loss_of(forward_ad.make_dual(u, along), images)).tangent
    torch.testing.assert_close(tangent, want, **close)
    torch.testing.assert_close(jacfwd(loss_of)(u, images), jacrev(loss_of)(u, images), **close)
    torch.testing.assert_close(hessian(loss_of)(u, images), jacrev(jacrev(loss_of))(u, images), **close)
    torch.testing.assert_close(jacfwd(jacfwd(loss_of))(u, images), hessian(loss_of)(u, images), **close)
    if dtype == torch.float64:
        toward = pictures(2, 3, 23, 31).flip(-1)
        want = (grad(loss_of, argnums=1)(u, images) * toward).sum()
        torch.testing.assert_close(jvp(lambda i: loss_of(u, i), (images,), (toward,))[1], want, **close)


def test_without_vmap_in_torch_all_else_is_there():
    script = """
import torch
from torch._library.custom_ops import CustomOpDef
rule = vars(CustomOpDef).get("register_vmap")
if rule is not None:
    del CustomOpDef.register_vmap  # as before torch 2.5
import glimpse_cli.torch as gt
if rule is not None:
    CustomOpDef.register_vmap = rule  # torch of today uses it itself
images = torch.rand(1, 3, 300, 310).requires_grad_()
u = torch.tensor([[20.0, 30.0]]).requires_grad_()
gt.gaussian_glimpse(images, u, 0.7, (1.1, 1.3), (65, 67)).square().sum().backward()
assert images.grad.any() and u.grad.any()
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


# ---------------------------------------------------------------- training


class Localiser(nn.Module):
    """The least that looks: a place learnt from the mean colours."""

    def __init__(self):
        super().__init__()
        self.where = nn.Linear(3, 2)
        self.look = gt.GaussianGlimpse(SIZE)

    def forward(self, images):
        return self.look(images, 9 + self.where(images.mean((2, 3))), 1.0, 1.5)


@pytest.mark.usefixtures("form")
def test_a_module_trains_under_ddp(tmp_path):
    store = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        torch.manual_seed(0)
        module, images = Localiser(), pictures(4, 3, 23, 31, dtype=torch.float32)
        nn.parallel.DistributedDataParallel(module)(images).square().sum().backward()
        found = [p.grad.clone() for p in module.parameters()]
    finally:
        torch.distributed.destroy_process_group()
    want = grad(lambda p: functional_call(module, p, images).square().sum())(dict(module.named_parameters()))
    for one, other in zip(found, want.values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.usefixtures("form")
def test_a_module_trains_under_autocast():
    torch.manual_seed(0)
    module, images = Localiser(), pictures(4, 3, 23, 31, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = module(images)
        loss = out.float().square().sum()
    loss.backward()
    assert out.dtype == torch.float32
    assert all(p.grad.isfinite().all() and p.grad.abs().sum() > 0 for p in module.parameters())


@pytest.mark.usefixtures("form")
@pytest.mark.parametrize("compiles", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*lru_cache")  # of torch's own compiler
def test_gradients_are_whole_wherever_autocast_is_on(compiles):
    torch._dynamo.reset()
    images, weight = (pictures(2, 3, 23, 31, dtype=torch.float32) + k for k in (0, 1))

    def look(images, u):
        return gt.gaussian_glimpse(images, u, *places()[1:], SIZE)

    def gradients(look, *, forward, backward):
        leaves = images.clone().requires_grad_(), places()[0].requires_grad_()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=forward):
            loss = (look(*leaves) * weight[:, :, :5, :7]).sum()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=backward):
            return torch.autograd.grad(loss, leaves)

    want = gradients(look, forward=False, backward=False)
    tried = torch.compile(look, fullgraph=True, backend="aot_eager") if compiles else look
    for backward in (False, True):
        for one, other in zip(gradients(tried, forward=True, backward=backward), want, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", FORMS, indirect=True)
@pytest.mark.usefixtures("form")
def test_second_gradients_are_whole_under_autocast():
    images, u = pictures(2, 3, 23, 31, dtype=torch.float32), places()[0].requires_grad_()

    def second():
        (first,) = torch.autograd.grad(loss_of(u, images), u, create_graph=True)
        return torch.autograd.grad(first.square().sum(), u)[0]

    want = second()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = second()
    torch.testing.assert_close(found, want, rtol=1e-4, atol=1e-4)


@pytest.mark.usefixtures("form")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's own rules
def test_forward_mode_is_whole_under_autocast():
    images, u = pictures(2, 3, 23, 31, dtype=torch.float32), places()[0]
    want = jacrev(loss_of)(u, images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = jacfwd(loss_of)(u, images)
    torch.testing.assert_close(found.double(), want, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------- other devices


@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_off_the_cpu_no_number_is_read_by_the_host(method):
    """A tensor of the meta device has no numbers: whoever looks at one fails. So would a GPU have to wait."""
    images = torch.empty(2, 3, 500, 700, device="meta", dtype=torch.uint8)
    boxes = torch.empty(2, 4, 4, device="meta", requires_grad=True)
    glimpses = gt.box_glimpse(images, boxes, (65, 67), method)
    assert (glimpses.shape, glimpses.device.type) == ((2, 4, 3, 65, 67), "meta")
    if method != "hard":
        glimpses.sum().backward()
        assert boxes.grad.shape == boxes.shape
    assert gt.gaussian_glimpse(images, (3, 4), 0.7, (1.2, 1.5), SIZE).shape == (2, 3, 5, 7)


@pytest.mark.parametrize("form", ["dense", "banded", "summed"], indirect=True)
@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.usefixtures("form")
def test_torch_s_default_device_and_dtype_are_not_asked(name):
    images, u = pictures(2, 3, 123, 131, dtype=torch.float32), places()[0].float()
    want = LOOKS[name](images, u)
    leaf = images.clone().requires_grad_()
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        for kept in (_whole.counting, _whole.column, _whole._beyond, _eager._spread):
            kept.cache_clear()
        found = LOOKS[name](leaf, u)
        found.sum().backward()
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(found, want)
    assert leaf.grad.abs().sum() > 0


def test_what_was_first_made_where_nothing_is_differentiated_serves_what_is():
    for kept in (_whole.counting, _whole.column, _whole._beyond, _eager._spread):
        kept.cache_clear()
    images, u = pictures(2, 3, 23, 31), places()[0].requires_grad_()
    with torch.inference_mode():
        outside = loss_of(u, images)
    torch.testing.assert_close(grad(loss_of)(u.detach(), images), torch.autograd.grad(loss_of(u, images), u)[0])
    assert outside.item() == loss_of(u, images).item()


def test_a_parameter_on_another_device_is_refused():
    with pytest.raises(glimpse_cli.GlimpseError, match="u is on meta and the images on cpu"):
        gt.gaussian_glimpse(torch.zeros(1, 1, 5, 5), torch.empty(1, 2, device="meta"), 1, 1, SIZE)


@needs_gpu
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64, torch.bfloat16])
def test_a_gpu_gives_what_the_cpu_gives_and_never_waits(method, dtype):
    images = (pictures(2, 3, 223, 331) * (255 if dtype == torch.uint8 else 1)).to(dtype)
    boxes = torch.tensor([[[3.3, 5.1, 90.2, 70.8], [-20.0, 99.0, 30.5, 240.0]]]).expand(2, 2, 4)
    want = gt.box_glimpse(images, boxes, (65, 67), method)
    on_gpu = images.cuda(), boxes.cuda().requires_grad_()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = gt.box_glimpse(*on_gpu, (65, 67), method)
        if method != "hard":
            found.sum().backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 8e-3}.get(dtype, 2e-5)
    torch.testing.assert_close(found.cpu(), want, rtol=0, atol=tolerance)


@needs_gpu
@pytest.mark.parametrize("method", ["gaussian", "stn", "hard"])
def test_a_gpu_gives_the_numbers_of_the_numpy_path(method):
    image = (pictures(3, 223, 331) * 255).to(torch.uint8)
    spec = glimpse_cli.Spec.from_box(glimpse_cli.Box(-20.5, 30.1, 180.2, 260.0), (65, 67), method)
    want = torch.from_numpy(glimpse_cli.extract(image.permute(1, 2, 0).contiguous().numpy(), spec)).permute(2, 0, 1)
    torch.testing.assert_close(gt.extract(image.cuda(), spec).cpu(), want, rtol=0, atol=2e-5)
