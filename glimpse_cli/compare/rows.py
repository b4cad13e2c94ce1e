"""One picture and one place through several methods and devices: a row of numbers for each."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite, prod
from statistics import fmean, median
from time import perf_counter
from typing import Any

import numpy as np

from glimpse_cli import items
from glimpse_cli.banks import Floats
from glimpse_cli.compare.columns import LANCZOS, OFF
from glimpse_cli.compare.contenders import METRICS, Contender, Limit
from glimpse_cli.compare.lenses import Lens, Split, lanczos, lens_of, seen_through, split, values
from glimpse_cli.compare.measures import Difference, difference, noise_gain, pixels_read, pixels_seen
from glimpse_cli.devices import Device
from glimpse_cli.errors import GlimpseError
from glimpse_cli.items import Loaded, Reading, Sight
from glimpse_cli.kernels import Gaussian

THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
NUMBERS = ("ms", "pixels_read", "pixels_seen", "coverage", *METRICS, "aliasing", "blur", "noise_gain")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same for every picture of a comparison.

    Args:
        contenders: the methods, all at one place and of one size.
        devices: where each of them is computed; the others are held against the first.
        reference: what the rows are compared with; None is Pillow's LANCZOS.
        reading: how pictures are read.
        repeats: how often a glimpse is timed, after one that is not; 0 for no times.
        drawn: whether a `figure.figure` is wanted, which needs the whole picture reduced.
    """

    contenders: tuple[Contender, ...]
    devices: tuple[Device, ...]
    reference: Contender | None = None
    reading: Reading = Reading()  # noqa: RUF009 - frozen
    repeats: int = 9
    drawn: bool = True

    @property
    def reference_label(self) -> str:
        """What the reference is called."""
        return LANCZOS if self.reference is None else self.reference.label


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A method on a device, on one picture.

    Args:
        label: the method, as typed.
        device: where it was computed.
        sight: how it looked.
        glimpse: (h, w, C) float32 as it is seen: white at 1, colour weighed by alpha.
        ms: median milliseconds of a glimpse, its banks and its sums, from a decoded picture; None where not timed.
        pixels_read: pixels of the picture that any sample takes a share of.
        pixels_seen: pixels that weigh over 1e-3 / (max(1, |d_y|) max(1, |d_x|)) in the glimpse's sum.
        noise_gain: sum of squared weights of a sample, mean over samples.
        against_reference: None where there is no reference.
        split: of the difference to the reference; None where there is none.
        against_device: the same method on the first device; None on the first.
    """

    label: str
    device: str
    sight: Sight
    glimpse: Floats
    ms: float | None
    pixels_read: int
    pixels_seen: int
    noise_gain: float
    against_reference: Difference | None
    split: Split | None
    against_device: Difference | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """One picture's rows.

    Args:
        name: of the picture.
        loaded: the picture's facts and its preview.
        reference: what the rows are compared with; None where it does not exist: LANCZOS, outside the picture.
        compared_with: its glimpse, as those of the rows.
        rows: methods in the order asked for, on the first device, then on the next.
    """

    name: str
    loaded: Loaded
    reference: str | None
    compared_with: Floats | None
    rows: tuple[Row, ...]

    @property
    def labels(self) -> list[str]:
        """What each row is called in pictures: its method, with its device where there are several."""
        several = len({row.device for row in self.rows}) > 1
        return [f"{row.label} on {row.device}" if several else row.label for row in self.rows]


@dataclass(frozen=True, slots=True)
class _Reference:
    """What rows are compared with: a glimpse, and the same before it was cut to what the picture can hold."""

    lens: Lens
    uncut: Floats
    glimpse: Floats


def compare(data: bytes, name: str, plan: Plan) -> Comparison:
    """Put one picture through all methods on all devices.

    Args:
        data: the whole file.
        name: what errors call it.
        plan: what is compared.

    Raises:
        PictureError: the bytes are not a picture that can be used.
        ParameterError: a look that cannot be on this picture.
    """
    contenders = plan.contenders if plan.reference is None else (*plan.contenders, plan.reference)
    loaded = items.load(data, name, [each.look for each in contenders], plan.reading, preview=plan.drawn)
    sights = [_there(sight) for sight in loaded.sights]
    with np.errstate(invalid="ignore", over="ignore"):  # a picture may hold infinities: its numbers say so
        reference = _reference(loaded, sights[-1], given=plan.reference is not None)
        rows = [
            _row(contender, sight, loaded, reference, plan)
            for contender, sight in zip(plan.contenders, sights, strict=False)  # the reference may be one more
        ]
        elsewhere = [
            _row_elsewhere(row, loaded, reference, device, plan.repeats) for device in plan.devices[1:] for row in rows
        ]
    label, compared_with = (None, None) if reference is None else (plan.reference_label, reference.glimpse)
    return Comparison(name, loaded, label, compared_with, (*rows, *elsewhere))


def failures(rows: Sequence[Row], limits: Sequence[Limit]) -> list[str]:
    """What passed its limit, a line each.

    Rows are held against the reference; where there are several devices, against the first device instead.
    A metric that a row does not have has passed every limit.
    """
    several = any(row.against_device for row in rows)
    checked = [row for row in rows if row.against_device] if several else rows
    return [
        f"{row.label} on {row.device}: {said}"
        for row in checked
        for limit in limits
        if (said := _failure(row.against_device if several else row.against_reference, limit))
    ]


def _failure(found: Difference | None, limit: Limit) -> str | None:
    value = None if found is None else getattr(found, limit.metric)
    if value is None:
        return f"there is no {limit.metric} to hold against {limit.value:g}"
    if limit.passed_by(value):
        side = "below" if METRICS[limit.metric] else "above"
        return (
            f"{limit.metric} is {value:.6g}, {side} {limit.value:g}"
            if isfinite(value)
            else f"{limit.metric} is {value}"
        )
    return None


def document(comparison: Comparison) -> dict[str, Any]:
    """A picture's comparison for ``--json``, in plain values; what does not exist is None.

    So is the PSNR of what is identical. Names of numbers are those of `words.EXPLAINED`.
    """
    loaded, sight = comparison.loaded, comparison.rows[0].sight
    about = items.report(loaded, sight)
    del about["method"], about["place"]["s"]  # these are the rows'
    return {
        **about,
        "reference": comparison.reference,
        "warnings": list(loaded.warnings),
        "rows": [_row_document(row) for row in comparison.rows],
    }


def _row_document(row: Row) -> dict[str, Any]:
    kernels = row.sight.spec.y.kernel, row.sight.spec.x.kernel
    widths = {axis: kernel.s for axis, kernel in zip("yx", kernels, strict=True) if isinstance(kernel, Gaussian)}
    return {
        "label": row.label,
        "method": row.sight.method,
        "s": widths or None,
        "device": row.device,
        **_numbers(row),
        OFF: row.against_device and _finite(asdict(row.against_device)),
        "warnings": list(row.sight.warnings),
    }


def _numbers(row: Row) -> dict[str, float | None]:
    apart = dict.fromkeys(METRICS) if row.against_reference is None else asdict(row.against_reference)
    shares = dict.fromkeys(("aliasing", "blur")) if row.split is None else asdict(row.split)
    return _finite(
        {
            "ms": row.ms,
            "pixels_read": row.pixels_read,
            "pixels_seen": row.pixels_seen,
            "coverage": row.sight.coverage,
            **apart,
            **shares,
            "noise_gain": row.noise_gain,
        }
    )


def _finite(values: dict[str, float | None]) -> dict[str, float | None]:
    return {name: value if value is not None and isfinite(value) else None for name, value in values.items()}


def means(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for each method and device: the mean of each number over the pictures that have it, None where none has.

    ``over`` says of a number that not all have how many do.

    Args:
        documents: what `document` gave, for one or more pictures of one plan.
    """
    return [_mean(rows) for rows in zip(*(each["rows"] for each in documents), strict=True)]


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"label": rows[0]["label"], "device": rows[0]["device"], "over": {}}
    for name in NUMBERS:
        values = [row[name] for row in rows if row[name] is not None]
        found[name] = fmean(values) if values else None
        if 0 < len(values) < len(rows):
            found["over"][name] = len(values)
    return found


def threads() -> int:
    """How many threads NumPy's products may take: what the environment says, else the cores."""
    said = next((os.environ[name] for name in THREADS if os.environ.get(name, "").isdigit()), None)
    return int(said) if said else os.cpu_count() or 1


def _there(sight: Sight | GlimpseError) -> Sight:
    if isinstance(sight, GlimpseError):
        raise sight
    return sight


def _reference(loaded: Loaded, sight: Sight, *, given: bool) -> _Reference | None:
    """A method's glimpse, or Pillow's, which keeps to what the picture can hold."""
    if given:
        glimpse = values(items.compute(loaded, sight), alpha=loaded.alpha)
        return _Reference(lens_of(*sight.banks()), glimpse, glimpse)
    lens = lanczos(sight, loaded.size)
    if lens is None:
        return None
    glimpse = seen_through(lens, loaded, sight)
    return _Reference(lens, glimpse, glimpse if loaded.peak == 1 else np.clip(glimpse, 0, 1))


def _row(contender: Contender, sight: Sight, loaded: Loaded, reference: _Reference | None, plan: Plan) -> Row:
    """A method on the first device."""
    (by, bx), (H, W) = sight.banks(), loaded.size
    ay, ax = by.column_sums(H), bx.column_sums(W)
    pixels_a_sample = prod(max(1.0, abs(axis.comb.step)) for axis in (sight.spec.y, sight.spec.x))
    glimpse, ms = _timed(sight, loaded, plan.devices[0], plan.repeats)
    return Row(
        label=contender.label,
        device=plan.devices[0].name,
        sight=sight,
        glimpse=glimpse,
        ms=ms,
        pixels_read=pixels_read(ay, ax),
        pixels_seen=pixels_seen(ay, ax, pixels_a_sample),
        noise_gain=noise_gain(by, bx),
        against_reference=_against(glimpse, reference),
        split=_split(glimpse, reference, loaded, sight),
        against_device=None,
    )


def _row_elsewhere(row: Row, loaded: Loaded, reference: _Reference | None, device: Device, repeats: int) -> Row:
    """The row of the first device, with what another device changes."""
    glimpse, ms = _timed(row.sight, loaded, device, repeats)
    return replace(
        row,
        device=device.name,
        glimpse=glimpse,
        ms=ms,
        against_reference=_against(glimpse, reference),
        split=_split(glimpse, reference, loaded, row.sight),
        against_device=difference(glimpse, row.glimpse),
    )


def _split(glimpse: Floats, reference: _Reference | None, loaded: Loaded, sight: Sight) -> Split | None:
    if reference is None:
        return None
    return split(glimpse - reference.uncut, lens_of(*sight.banks()), reference.lens, loaded, sight)


def _against(glimpse: Floats, reference: _Reference | None) -> Difference | None:
    return None if reference is None else difference(glimpse, reference.glimpse)


def _timed(sight: Sight, loaded: Loaded, device: Device, repeats: int) -> tuple[Floats, float | None]:
    """A glimpse as it is seen, and its median milliseconds after a first time that does not count; None of none."""
    kept = sight.keep()  # the picture's numbers lie ready: a conversion is no part of a method

    def look() -> Floats:
        return items.compute(loaded, kept, device.contract)

    glimpse, times = look(), []
    for _ in range(repeats):
        start = perf_counter()
        look()
        times.append(perf_counter() - start)
    return values(glimpse, alpha=loaded.alpha), median(times) * 1000 if times else None
