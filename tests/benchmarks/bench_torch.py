"""Batched glimpses in torch against their peers: ``python tests/benchmarks/bench_torch.py``.

Forward, and forward with backward (to the images and to every parameter), of boxes at random places: every job in turn
with its peers, medians; a ratio below 1 means that we are faster. On one thread it is CPU seconds that are compared, on
several (``--threads``) or on a GPU (``--device cuda``) wall time, for which the machine must be idle. ``post`` is the
post's dense form, batched.
"""

import argparse
import statistics
import time
from functools import partial

import torch
import torch.nn.functional as F  # noqa: N812 - the name torch's users know it by

import glimpse_cli.torch as gt

try:
    import kornia
except ImportError:
    kornia = None

# images, side of the image, side of the glimpse, share of the image that a box's side is, from and to
JOBS = [
    (1, 64, 32, 0.3, 0.6),
    (1, 512, 224, 0.3, 0.6),
    (1, 1024, 224, 0.3, 0.6),
    (1, 2048, 224, 0.3, 0.6),
    (1, 2048, 224, 1.0, 1.0),
    (1, 2048, 32, 0.1, 0.4),
    (32, 64, 32, 0.3, 0.6),
    (32, 128, 32, 0.3, 0.6),
    (32, 256, 32, 0.1, 0.4),
    (32, 512, 32, 0.1, 0.4),
    (32, 512, 224, 0.3, 0.6),
    (32, 512, 224, 0.5, 0.5),
    (32, 512, 224, 1.0, 1.0),
    (256, 64, 32, 0.3, 0.6),
    (256, 256, 32, 0.1, 0.4),
    (256, 256, 224, 0.3, 0.6),
]


def post(images, u, s, d, n):
    """``Ay . I . Ax^T`` with whole matrices."""

    def mask(k, N):
        i, j = (torch.arange(count, device=images.device) for count in (n, N))
        centres = u[:, k, None, None] + i[:, None] * d[:, k, None, None]
        a = torch.exp(-(((j - centres) / s[:, k, None, None]) ** 2) / 2)
        return a / (a.sum(-1, keepdim=True) + 1e-8)

    return mask(0, images.shape[2])[:, None] @ images @ mask(1, images.shape[3])[:, None].transpose(-1, -2)


def grid_sample(images, scale, shift, n):
    """What a spatial transformer is written as."""
    zero = torch.zeros_like(scale[:, 0])
    rows = [
        torch.stack([scale[:, 1], zero, shift[:, 1]], dim=-1),
        torch.stack([zero, scale[:, 0], shift[:, 0]], dim=-1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), [*images.shape[:2], n, n], align_corners=True)
    return F.grid_sample(images, grid, align_corners=True)


def crop_and_resize(images, boxes, n):
    """Kornia's, whose boxes are the corners' pixels."""
    x0, y0, x1, y1 = boxes.unbind(1)
    corners = [(x0, y0), (x1 - 1, y0), (x1 - 1, y1 - 1), (x0, y1 - 1)]
    return kornia.geometry.transform.crop_and_resize(
        images, torch.stack([torch.stack(c, dim=-1) for c in corners], dim=1), (n, n)
    )


def contenders(job, device):
    """Name -> (function, parameters), all looking at the same random boxes of the same images."""
    B, N, n, low, high = job
    images = torch.rand(B, 3, N, N, device=device).requires_grad_()
    side = N * (low + (high - low) * torch.rand(B, 2, device=device))
    corner = torch.rand(B, 2, device=device) * (N - side)
    boxes = torch.cat([corner, corner + side], dim=1)
    u, d = gt.box_to_comb(boxes, (n, n))
    stn = gt.comb_to_scale_shift(u, d, (n, n), (N, N))
    comb = [t.float().requires_grad_() for t in (u, gt.default_width(d), d)]
    stn = [t.float().requires_grad_() for t in stn]
    found = {
        "gaussian": (lambda: gt.gaussian_glimpse(images, *comb, (n, n)), comb),
        "stn": (lambda: gt.stn_glimpse(images, *stn, (n, n)), stn),
        "grid_sample": (lambda: grid_sample(images, *stn, n), stn),
        "post": (lambda: post(images, *comb, n), comb),
    }
    if kornia is not None:
        boxes.requires_grad_()
        found["kornia"] = (lambda: crop_and_resize(images, boxes, n), [boxes])
    return images, found


def forward(_images, look, _parameters):
    with torch.no_grad():
        look()


def back(images, look, parameters):
    glimpses = look()
    torch.autograd.grad(glimpses, [images, *parameters], torch.ones_like(glimpses))


def medians(calls, clock, rounds):
    """Name -> median seconds, every call in turn so that a busy spell hits all alike."""
    times = {name: [] for name in calls}
    for warm in [False, *[True] * rounds]:
        for name, call in calls.items():
            begin = clock()
            call()
            if warm:
                times[name].append(clock() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)

    def wall():
        if options.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter()

    clock = time.process_time if options.device == "cpu" and options.threads == 1 else wall
    print(f"torch {torch.__version__}, {options.device}, {options.threads} threads; ms a batch, ratios ours / peer")
    print("batch image glimpse       box           | gaussian / grid / kornia / post |      stn / grid")
    for job in JOBS:
        images, found = contenders(job, options.device)
        for what, run in (("forward", forward), ("+ back", back)):
            calls = {name: partial(run, images, *call) for name, call in found.items()}
            ms = {name: 1000 * t for name, t in medians(calls, clock, options.rounds).items()}
            print(row(job, what, ms), flush=True)


def row(job, what, ms):
    B, N, n, low, high = job
    grid, kor, dense = (ms["gaussian"] / ms.get(peer, float("nan")) for peer in ("grid_sample", "kornia", "post"))
    place = f"{B:5} {N:5} {n:7}  {low:4.0%}-{high:4.0%} {what:>7}"
    ours = f"{ms['gaussian']:8.2f} {grid:6.2f} {kor:8.2f} {dense:6.2f}"
    return f"{place} | {ours} | {ms['stn']:8.2f} {ms['stn'] / ms['grid_sample']:6.2f}"


if __name__ == "__main__":
    main()
