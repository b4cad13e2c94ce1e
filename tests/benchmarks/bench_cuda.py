"""A GPU's kernels against the memory's own speed: ``python tests/benchmarks/bench_cuda.py``.

1024 glimpses of 224 x 224, each of a picture of its own of 1024 x 1024 in colour, all of it: what is read and written
once, at the rate at which this GPU copies, is the floor. Times are medians of events of the device; with them
`grid_sample`'s, and how far the kernels are from the dense form in float64 on a few of the glimpses.

``--sweep`` tries other tiles, each for all its time; ``--count 2 --device cpu`` shows that the script runs.
"""

import argparse
import itertools
import statistics
import time

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's users know it by

import glimpse_cli.torch as gt
from glimpse_cli.torch import _fused

SIDE, SIZE = 1024, (224, 224)
DTYPES = (torch.float32, torch.uint8, torch.bfloat16)
SWEEP = {"TALL": (16, 32), "WIDE": (16, 32, 64), "ROWS": (16, 32), "COLUMNS": (32, 64), "num_warps": (1, 2, 4)}


def median_ms(device, call, rounds):
    """Median milliseconds of a call, after two that are not counted."""
    times = []
    for _ in range(rounds + 2):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            call()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            begin = time.perf_counter()
            call()
            times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times[2:])


def bytes_a_ms(device, rounds):
    """How many bytes the memory reads and writes in a millisecond, copying much."""
    source = torch.empty(2**30 if device.type == "cuda" else 2**26, dtype=torch.uint8, device=device).random_()
    target = torch.empty_like(source)
    return 2 * source.numel() / median_ms(device, lambda: target.copy_(source), rounds)


def pictures(count, dtype, device):
    if dtype == torch.uint8:
        return torch.empty(count, 3, SIDE, SIDE, dtype=dtype, device=device).random_()
    return torch.rand(count, 3, SIDE, SIDE, dtype=dtype, device=device)


def combs(count, device):
    """Boxes of nearly all of each picture, no two alike."""
    margin = 4 * torch.rand(count, 4, device=device, dtype=torch.float64)
    far = torch.tensor([0, 0, SIDE, SIDE], device=device)
    boxes = torch.where(far > 0, far - margin, margin)
    u, d = gt.box_to_comb(boxes, SIZE)
    return [t.requires_grad_() for t in (u, gt.default_width(d).detach(), d.detach())]


def jobs(images, comb):
    """What is timed: name, call, and the bytes that it must read and write."""
    kept = 4 if images.dtype == torch.uint8 else images.dtype.itemsize
    moved = images.numel() * images.dtype.itemsize + len(images) * 3 * SIZE[0] * SIZE[1] * kept
    yield "forward", torch.no_grad()(lambda: gt.gaussian_glimpse(images, *comb, SIZE)), moved
    if images.dtype == torch.float32:
        leaf = images.detach().requires_grad_()
        out = gt.gaussian_glimpse(leaf, *comb, SIZE)
        given = torch.rand_like(out)
        yield "to places", lambda: torch.autograd.grad(out, comb, given, retain_graph=True), moved
        yield "to images", lambda: torch.autograd.grad(out, leaf, given, retain_graph=True), moved


@torch.no_grad()
def farthest(images, comb):
    """How far the kernels' glimpses are from the dense form's in float64, of values in [0, 1]."""
    few = slice(0, 2)
    whole = images[few].double() / (255 if images.dtype == torch.uint8 else 1)
    exact = gt.gaussian_glimpse(whole, *(t[few] for t in comb), SIZE)
    return float((gt.gaussian_glimpse(images[few], *(t[few] for t in comb), SIZE).double() - exact).abs().max())


def report(options, device):
    rate = bytes_a_ms(device, options.rounds)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    kernels = "the kernels" if _fused.available(device) else "without the kernels"
    print(f"torch {torch.__version__}, {name}, {kernels}; copies {rate / 1e9:.2f} TB/s; {options.count} glimpses")
    print("pictures         what              ms   floor / floor")
    for dtype in DTYPES:
        images, comb = pictures(options.count, dtype, device), combs(options.count, device)
        for what, call, moved in jobs(images, comb):
            ms = median_ms(device, call, options.rounds)
            print(f"{dtype!s:16} {what:10} {ms:10.3f} {moved / rate:7.3f} {ms * rate / moved:7.2f}", flush=True)
        print(f"{dtype!s:16} farthest from float64 {farthest(images, comb):.1e}", flush=True)
        if dtype != torch.uint8:
            print(f"{dtype!s:16} grid_sample, which skips pixels {peer(images, options, device):10.3f}", flush=True)


def peer(images, options, device):
    """Milliseconds of `grid_sample`, which reads four pixels a sample, and so less."""
    theta = torch.tensor([[1.0, 0, 0], [0, 1, 0]], device=device, dtype=images.dtype).expand(len(images), 2, 3)
    grid = F.affine_grid(theta, (len(images), 3, *SIZE), align_corners=True)
    with torch.no_grad():
        return median_ms(device, lambda: F.grid_sample(images, grid, align_corners=True), options.rounds)


def sweep(options, device):
    """Forward by tiles of every size, the fastest first."""
    for dtype in DTYPES[:2]:
        images, comb = pictures(options.count, dtype, device), combs(options.count, device)
        _, forward, _ = next(jobs(images, comb))
        times = {}
        for values in itertools.product(*SWEEP.values()):
            _fused.GLIMPSES.update(zip(SWEEP, values, strict=True))
            times[values] = median_ms(device, forward, options.rounds)
        for values, ms in sorted(times.items(), key=lambda item: item[1])[:10]:
            print(f"{dtype!s:16} {ms:8.3f} ms", dict(zip(SWEEP, values, strict=True)), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--count", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--sweep", action="store_true")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        parser.error("torch sees no GPU")
    torch.manual_seed(0)
    (sweep if options.sweep else report)(options, device)


if __name__ == "__main__":
    main()
