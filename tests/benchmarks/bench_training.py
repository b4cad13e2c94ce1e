"""Which glimpse finds its way: ``python tests/benchmarks/bench_training.py`` prints the table of the README.

A box of a photograph is hidden, and its glimpse shown. From a start somewhere beside it, of another size, gradient
descent (Adam) moves a box until its own glimpse looks the same: no network, nothing but the gradients of the place.
Each method is shown what it would see there itself, so that nothing but its gradients counts. A box is found if it
overlaps the hidden one by 90 % (intersection over union) in the end.

Takes a quarter of an hour; ``--boxes 2`` some minutes.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from glimpse_cli.torch import box_glimpse

PICTURES = sorted(p for p in (Path(__file__).parents[2] / "sample_images").iterdir() if p.suffix in {".jpg", ".png"})
FAR = (0.1, 0.2, 0.3, 0.5, 0.75, 1.0)  # of the box's sides: from the middle of the hidden one to that of the start
SIZE = (14, 18)
STEPS = (0.9, 6.0)  # pixels between two samples, about: as close as pixels, and as in a glance at much of a picture
WIDTHS = {  # s in steps d, or in pixels where d is less: at a time from 0 to 1
    "stn": None,
    "gaussian, s = 0.35 d": lambda _: 0.35,
    "gaussian, s = d": lambda _: 1.0,
    "gaussian, s = 4 d to 0.35 d": lambda time: 4 * (0.35 / 4) ** min(1.0, time / 0.7),
}


def load(path: Path) -> Tensor:
    """A picture (1, 3, H, W) in [0, 1], upright."""
    with Image.open(path) as picture:
        pixels = np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def hide(picture: Tensor, step: float, count: int) -> tuple[Tensor, Tensor]:
    """Middles and sides (count, 2) of boxes inside the picture, of all shapes."""
    chance = torch.Generator().manual_seed(0)
    sides = torch.tensor(SIZE) * step * torch.empty(count, 2).uniform_(0.7, 1.4, generator=chance)
    room = torch.tensor(picture.shape[2:]) - sides
    return sides / 2 + room * torch.rand(count, 2, generator=chance), sides


def as_boxes(middles: Tensor, sides: Tensor) -> Tensor:
    """(n, 4) x0, y0, x1, y1 of (n, 2) middles and sides."""
    return torch.cat([(middles - sides / 2).flip(1), (middles + sides / 2).flip(1)], 1)


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """(n,) intersection over union."""
    low, high = torch.maximum(boxes[:, :2], others[:, :2]), torch.minimum(boxes[:, 2:], others[:, 2:])
    shared = (high - low).clamp(min=0).prod(1)
    return shared / ((boxes[:, 2:] - boxes[:, :2]).prod(1) + (others[:, 2:] - others[:, :2]).prod(1) - shared)


def found(picture: Tensor, method: str, step: float, rate: float, asked: argparse.Namespace) -> Tensor:
    """(len(FAR), asked.boxes) whether each hidden box was found from each distance."""
    middles, sides = (t.repeat(len(FAR), 1) for t in hide(picture, step, asked.boxes))
    chance = torch.Generator().manual_seed(1)
    angle = 2 * math.pi * torch.rand(len(middles), 1, generator=chance)
    away = torch.cat([angle.sin(), angle.cos()], 1) * torch.tensor(FAR).repeat_interleave(asked.boxes)[:, None]
    growth = torch.empty(len(middles), 2).uniform_(-0.2, 0.2, generator=chance)
    away.requires_grad_()  # both in sides of the hidden box: so all places are as fast
    growth.requires_grad_()
    hidden = as_boxes(middles, sides)

    def look(boxes: Tensor, time: float) -> Tensor:
        width = WIDTHS[method]
        if width is None:
            return box_glimpse(picture, boxes[None], SIZE, "stn")
        d = ((boxes[:, 2:] - boxes[:, :2]).flip(1) / torch.tensor(SIZE)).detach()
        return box_glimpse(picture, boxes[None], SIZE, s=(width(time) * d.clamp(min=1))[None])

    adam = torch.optim.Adam([away, growth])
    for i in range(asked.rounds):
        time = i / asked.rounds
        adam.param_groups[0]["lr"] = rate * (1 - time)
        adam.zero_grad()
        with torch.no_grad():
            target = look(hidden, time)
        seen = look(as_boxes(middles + away * sides, sides * growth.exp()), time)
        (seen - target).square().mean((2, 3, 4)).sum().backward()
        adam.step()
    boxes = as_boxes(middles + away * sides, sides * growth.exp()).detach()
    return (overlap(boxes, hidden) > 0.9).view(len(FAR), asked.boxes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boxes", type=int, default=12, help="hidden in each of the five pictures")
    parser.add_argument("--rounds", type=int, default=200, help="steps of Adam")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.03, 0.1], help="of Adam; the best counts")
    asked = parser.parse_args()
    torch.set_num_threads(1)  # of such small jobs a second one only waits
    pictures = [load(path) for path in PICTURES]
    print(f"| d, about | method | {' | '.join(f'{far:g}' for far in FAR)} |")
    print(f"|---:|---|{'---:|' * len(FAR)}")
    for step in STEPS:
        for method in WIDTHS:
            best = max(
                (torch.cat([found(p, method, step, rate, asked) for p in pictures], 1) for rate in asked.rates),
                key=lambda each: int(each.sum()),
            )
            shares = " | ".join(f"{share:.0%}" for share in best.double().mean(1).tolist())
            print(f"| {step:g} | {method} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
