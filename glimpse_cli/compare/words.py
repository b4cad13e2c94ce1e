"""What the numbers of a comparison mean, in words, each with the threshold that made it say so."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

import numpy as np

from glimpse_cli.compare.columns import OFF
from glimpse_cli.compare.measures import WEIGHTY
from glimpse_cli.compare.rows import Comparison, Row
from glimpse_cli.items import ALIASES_ABOVE
from glimpse_cli.kernels import Gaussian

SHARP_BELOW = 0.1  # px: an s from which a bell between two pixels reaches neither
GAPS_BELOW = 0.25  # of max(1, |d|): an s that leaves gaps between the bells
BLURS_ABOVE = 0.7  # of max(1, |d|): an s twice as wide as it need be

EXPLAINED = {
    "ms": "milliseconds for one glimpse, weights and sums, from a decoded picture in memory: the median of the "
    "repeats, after one that is not counted; on a GPU with the way there and back",
    "pixels_read": "pixels of the picture that any sample takes a share of, however small",
    "pixels_seen": f"pixels that weigh over {WEIGHTY:g} / (max(1, d_y) max(1, d_x)) in the sum of the glimpse: a "
    "thousandth of what each would if a sample were a plain average",
    "coverage": "share of the sample places that lie inside the picture",
    "mae": "mean absolute difference to the reference, over samples and channels; white is 1, colour is weighed by "
    "alpha",
    "max": "largest absolute difference to the reference",
    "psnr": "peak signal to noise ratio to the reference in dB, more is better; infinite, in JSON null, where the two "
    "are identical",
    "ssim": "structural similarity to the reference, 1 is identical; for glimpses of 7 x 7 or more, and needs "
    "pip install 'glimpse-cli[metrics]'",
    "aliasing": "share of the difference that is detail too fine for the glimpse. The picture's cosine spectrum, in "
    "the window that is read, is cut at the glimpse's Nyquist frequency, 1 / (2 d) cycles a pixel on each axis; method "
    "and reference are run on what lies below it on both axes, and on the rest. This is the energy of their "
    "difference on the rest, over the sum of both energies. At d <= 1 the rest is empty",
    "blur": "the other share: the difference on what lies below, that the glimpse could show. 1 - aliasing",
    "noise_gain": "variance that white noise of variance 1 in the picture has in the glimpse: the sum of squared "
    "weights of a sample, mean over samples. 1 keeps all noise, 1 / (d_y d_x) is a plain average",
    OFF: "mae, max, psnr and ssim to the glimpse of the first of several devices; tables show max",
    "reference": "Pillow's LANCZOS, resize(size, box=), on unrounded values, cut to [0, 1] but of "
    "float pictures; it has no values where the "
    "box leaves the picture. Or --reference METHOD",
}


def notes(comparison: Comparison) -> list[str]:
    """What a person should take from one picture's numbers, a line each."""
    rows = [row for row in comparison.rows if row.against_device is None]  # those of the first device
    found = [*_of_steps(rows), *_of_coverage(rows), *(line for row in rows for line in _of_width(row))]
    if comparison.loaded.peak == 1:
        known = np.concatenate([row.glimpse[np.isfinite(row.glimpse)] for row in rows])
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
        if low < 0 or high > 1:
            found.append(f"values from {low:.4g} to {high:.4g}: measured as they are, drawn cut to [0, 1]")
    unknown = [row.label for row in rows if not np.isfinite(row.glimpse).all()]
    if any(row.label not in unknown and row.against_reference and isnan(row.against_reference.mae) for row in rows):
        unknown.append("the reference")
    if unknown:
        found.append(f"{' and '.join(unknown)}: some values are not finite, and neither are differences to them")
    if comparison.reference is None:
        spec = rows[0].sight.spec
        why = (
            "stays inside the picture, the glimpse does not"
            if spec.y.comb.step and spec.x.comb.step
            else "needs a step"
        )
        found.append(f"no reference: Pillow's LANCZOS {why}; --reference takes a method")
    return found


def notes_of_means(means: Sequence[dict[str, Any]], count: int) -> list[str]:
    """Which means are not those of all pictures, a line for each number of pictures and the rows it is the same of."""
    several = len({row["device"] for row in means}) > 1
    rows: dict[tuple[str, int], list[str]] = {}
    for row in means:
        for name, some in row["over"].items():
            rows.setdefault((name, some), []).append(f"{row['label']} on {row['device']}" if several else row["label"])
    names: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for (name, some), labels in rows.items():
        names.setdefault((some, tuple(labels)), []).append(name)
    return [
        f"{_listed(each)} of {_listed(labels)}: over the {some} of {count} pictures that have {_it(each)}"
        for (some, labels), each in names.items()
    ]


def _it(names: Sequence[str]) -> str:
    return "them" if len(names) > 1 else "it"


def _listed(words: Sequence[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _of_steps(rows: Sequence[Row]) -> Iterator[str]:
    spec = rows[0].sight.spec
    steps = {"y": abs(spec.y.comb.step), "x": abs(spec.x.comb.step)}
    wide = [f"d_{axis} = {step:.3g}" for axis, step in steps.items() if step > ALIASES_ABOVE]
    sparse = [row.label for row in rows if row.sight.method != "gaussian"]
    if wide and sparse:
        skip = "alias: they skip" if len(sparse) > 1 else "aliases: it skips"
        yield f"{' and '.join(wide)}, above {ALIASES_ABOVE}: {' and '.join(sparse)} {skip} over pixels"
    if (step := max(steps.values())) <= 1 and len(rows) > 1:
        yield f"d = {step:.3g}, at most 1: no pixel is skipped, methods look alike but for blur and hard's rounding"


def _of_coverage(rows: Sequence[Row]) -> Iterator[str]:
    sight = rows[0].sight
    if sight.coverage == 0:
        yield "coverage is 0: the glimpse lies wholly outside the picture"
    elif sight.coverage < 1:
        padding = sight.spec.x.kernel.padding
        outside = {
            "zeros": "the gaussian repeats the edge for some 5 s and is black from there, stn and hard are black",
            "border": "all methods repeat the edge",
            "reflection": "stn and hard mirror the picture about its edge pixels",
        }[padding]
        differ = ", and the methods differ there" if padding == "zeros" else ""
        yield f"coverage is {sight.coverage:.0%}, below 100%: outside, {outside}{differ} (padding {padding})"


def _of_width(row: Row) -> Iterator[str]:
    spec = row.sight.spec
    found: dict[str, list[str]] = {}
    for name, axis in (("y", spec.y), ("x", spec.x)):
        if isinstance(axis.kernel, Gaussian) and (said := _verdict(axis.kernel, axis.comb.step)):
            found.setdefault(said, []).append(f"s_{name} = {axis.kernel.s:.3g}")
    for said, widths in found.items():
        yield f"{row.label}: {' and '.join(widths)}, {said}"


def _verdict(kernel: Gaussian, step: float) -> str | None:
    """What is to be said of a width."""
    need = max(1.0, abs(step))
    if kernel.s < SHARP_BELOW and kernel.eps:
        return f"below {SHARP_BELOW}: samples that fall between pixels go dark"
    if kernel.s < GAPS_BELOW * need:
        return f"below {GAPS_BELOW} max(1, d): its bells leave gaps, as hard does"
    if kernel.s > BLURS_ABOVE * need:
        return f"above {BLURS_ABOVE} max(1, d): it blurs more than the step asks for"
    return None
