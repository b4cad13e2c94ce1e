"""The kernels in this process against their peers: ``python tests/benchmarks/bench_kernel.py``.

CPU seconds of one thread, every job in turn with its peers, medians; a ratio below 1 means that we are faster. A job is
done twice and the second time counts, so that none gains or loses by what the one before it left in the caches.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import argparse
import statistics
import time
from functools import partial

import numpy as np
from PIL import Image

from glimpse_cli import Box, Spec, extract

try:
    import cv2
except ImportError:
    cv2 = None
else:
    cv2.setNumThreads(1)

JOBS = {  # name: box of a 12 MP picture, glimpse
    "12 MP whole -> 224": ((0, 0, 4000, 3000), 224),
    "12 MP, 30 % -> 224": ((1000, 800, 2200, 1700), 224),
    "640 x 480 -> 224": ((1000, 800, 1640, 1280), 224),
    "512 x 512 -> 96": ((1000, 800, 1512, 1312), 96),
    "100 x 90 -> 224": ((1000, 800, 1100, 890), 224),
}


def dense(image, spec):
    """The post's form: both matrices whole, every pixel of the picture in the product."""
    H, W = image.shape[:2]
    By, Bx = (
        np.exp(-(((np.arange(N) - axis.comb.places(n)[:, None]) / axis.kernel.s) ** 2) / 2).astype(np.float32)
        for axis, n, N in ((spec.y, spec.size[0], H), (spec.x, spec.size[1], W))
    )
    By, Bx = By / (By.sum(1, keepdims=True) + 1e-8), Bx / (Bx.sum(1, keepdims=True) + 1e-8)
    values = image.astype(np.float32) / 255
    return np.stack([By @ values[:, :, c] @ Bx.T for c in range(3)], axis=2)


def contenders(array, picture, box, n):
    gaussian, stn = (Spec.from_box(Box(*box), (n, n), method) for method in ("gaussian", "stn"))
    found = {
        "gaussian": lambda: extract(array, gaussian),
        "BILINEAR": lambda: picture.resize((n, n), Image.Resampling.BILINEAR, box=box),
        "LANCZOS": lambda: picture.resize((n, n), Image.Resampling.LANCZOS, box=box),
        "stn": lambda: extract(array, stn),
        "EXTENT": lambda: picture.transform((n, n), Image.Transform.EXTENT, box, Image.Resampling.BILINEAR),
    }
    if cv2 is not None:
        x0, y0, x1, y1 = box
        place = np.array([[(x1 - x0) / n, 0, x0], [0, (y1 - y0) / n, y0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        found["warpAffine"] = lambda: cv2.warpAffine(array, place, (n, n), flags=flags)
    return found, gaussian


def medians(jobs, repeats):
    times = {name: [] for name in jobs}
    for round_ in range(repeats + 2):
        for name, job in jobs.items():
            job()
            start = time.process_time()
            job()
            if round_ > 1:  # the first two warm up
                times[name].append((time.process_time() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    array = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), dtype=np.uint8)
    picture = Image.fromarray(array)
    pairs = [("gaussian", peer) for peer in ("BILINEAR", "LANCZOS", "the post")]
    pairs += [("stn", peer) for peer in ("EXTENT", "warpAffine")]
    print(f"{'job':20s}{'gaussian ms':>12s}{'stn ms':>8s}  " + "  ".join(f"{ours}/{peer}" for ours, peer in pairs))
    for name, (box, n) in JOBS.items():
        calls, gaussian = contenders(array, picture, box, n)
        found = medians(calls, repeats)
        if "12 MP" in name:  # apart: it leaves the next one without memory that is ready
            found |= medians({"the post": partial(dense, array, gaussian)}, repeats)
        ratios = [
            f"{found[ours] / found[peer]:{len(ours) + len(peer) + 1}.2f}"
            if peer in found
            else "-".rjust(len(ours + peer) + 1)
            for ours, peer in pairs
        ]
        print(f"{name:20s}{found['gaussian']:12.2f}{found['stn']:8.2f}  " + "  ".join(ratios))


if __name__ == "__main__":
    main()
