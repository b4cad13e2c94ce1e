"""Time against image size: ``python tests/benchmarks/bench_methods.py`` prints the table of the README.

In the form that the post writes down ("dense" here) every pixel of the image goes through the two products of Gaussian
attention, and a larger image takes longer. But a Gaussian has a width, and the banded form reads no more than that.
Milliseconds of one thread for a 64 x 64 glimpse of an N x N picture in colour, as
``glimpse compare`` measures them; the dense form is timed beside it, and must give the same glimpse.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time

import numpy as np

from glimpse_cli import compare, devices, images
from glimpse_cli.places import BoxPlace

SIZES = (256, 512, 1024, 2048, 4096)
GLIMPSE = (64, 64)
SIDE = 192  # pixels of the box that stays the same


def dense(image, spec):
    """The post's form: both matrices whole, every pixel of the picture in the product."""
    planes = np.ascontiguousarray(image.transpose(2, 0, 1), np.float32)
    planes /= 255
    banks = []
    for axis, n, N in zip((spec.y, spec.x), spec.size, image.shape, strict=False):
        away = (np.arange(N) - axis.comb.places(n)[:, None]) / axis.kernel.s
        bells = np.exp(-(away**2) / 2).astype(np.float32)
        banks.append(bells / (bells.sum(axis=1, keepdims=True) + 1e-8))
    By, Bx = banks
    return np.stack([By @ plane @ Bx.T for plane in planes], axis=2)


def milliseconds(job, repeats):
    job()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        job()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


def measured(image, data, box, repeats):
    """Milliseconds of each form."""
    contenders = compare.parse_methods("gaussian,stn,hard", BoxPlace(box), GLIMPSE)
    plan = compare.Plan(contenders, (devices.resolve("cpu"),), repeats=repeats)
    rows = {row.label: row for row in compare.compare(data, "picture", plan).rows}
    spec = rows["gaussian"].sight.spec
    if np.abs(dense(image, spec) - rows["gaussian"].glimpse).max() > 2e-5:
        raise SystemExit("the dense form gives another glimpse")
    found = {label: row.ms for label, row in rows.items()}
    return found | {"dense": milliseconds(lambda: dense(image, spec), repeats)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9)
    repeats = parser.parse_args().repeats
    heads = [f"{form}, {place}" for place in ("box", "whole") for form in ("dense", "gaussian", "stn")]
    print(f"| N | {' | '.join(heads)} |\n|---{'|---:' * len(heads)}|")
    for N in SIZES:
        image = np.random.default_rng(0).integers(0, 256, (N, N, 3), dtype=np.uint8)
        data = images.encode_picture(image, "tiff")
        low = (N - SIDE) / 2
        boxes = (low, low, low + SIDE, low + SIDE), (0, 0, N, N)
        times = [measured(image, data, box, repeats) for box in boxes]
        cells = [f"{found[form]:.3g}" for found in times for form in ("dense", "gaussian", "stn")]
        print(f"| {N} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
