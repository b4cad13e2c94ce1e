"""How the numbers of a comparison are headed and written, wherever they stand in a table."""

from collections.abc import Callable, Sequence
from typing import Any

NONE = "-"
LANCZOS = "lanczos"  # the reference that is no method: Pillow's


def three_digits(value: float) -> str:
    """Three digits, zeros among them; all that stand before the point."""
    return f"{value:,.0f}" if value >= 999.5 else f"{value:#.3g}".rstrip(".")


def _small(value: float) -> str:
    return f"{value:.4f}" if value == 0 or value >= 5e-5 else f"{value:.0e}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _place(value: float) -> str:
    return f"{round(value, 9) + 0:.6g}"  # what rounding left of a 0 is one, and no -0


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {  # a number's name: its head, how it is written
    "ms": ("ms", three_digits),
    "pixels_read": ("px read", "{:,.0f}".format),
    "pixels_seen": ("px seen", "{:,.0f}".format),
    "mae": ("mae", _small),
    "max": ("max", _small),
    "psnr": ("psnr", "{:.1f}".format),
    "ssim": ("ssim", "{:.4f}".format),
    "aliasing": ("aliasing", _percent),
    "blur": ("blur", _percent),
    "noise_gain": ("noise", three_digits),
}


OFF = "against_first_device"


def head(name: str) -> str:
    """What stands above a number in a table; other names say it themselves."""
    return "off first device" if name == OFF else COLUMNS[name][0] if name in COLUMNS else name


def columns(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The numbers that are shown of some rows: all, but for a time or an SSIM that none of them has."""
    optional = {"ms", "ssim"}
    return [name for name in COLUMNS if name not in optional or any(row[name] is not None for row in rows)]


def cell(row: dict[str, Any], name: str) -> str:
    """A number as it is written; the PSNR of what is identical is infinite."""
    value = row[name]
    if value is not None:
        return COLUMNS[name][1](value)
    return "inf" if name == "psnr" and row["max"] == 0 else NONE


def cells(rows: Sequence[dict[str, Any]], name: str) -> list[str]:
    """A number of all rows, to be set flush right: spaces behind some bring the points one below the other."""
    texts = [cell(row, name) for row in rows]
    if COLUMNS[name][1] is not three_digits:  # the others have as many digits behind the point in each row
        return texts
    behind = [len(text.partition(".")[2]) + ("." in text) for text in texts]
    return [text if text == NONE else text + " " * (max(behind) - own) for text, own in zip(texts, behind, strict=True)]


def off(row: dict[str, Any]) -> str:
    """The largest difference to the first device."""
    apart = row.get(OFF)
    return NONE if apart is None or apart["max"] is None else _small(apart["max"])


def about(document: dict[str, Any]) -> str:
    """What was looked at, in a line."""
    seen, made = (f"{size['width']} x {size['height']}" for size in (document["input_size"], document["size"]))
    place = document["place"]
    step, box, first = place["d"], place["box"], place["u"]
    where = (
        f"u {_place(first['y'])},{_place(first['x'])}" if box is None else f"box {','.join(map(_place, box.values()))}"
    )
    return f"{seen}, {where} -> {made}, d_y {step['y']:.3g}, d_x {step['x']:.3g}, coverage {document['coverage']:.0%}"


def basis(facts: dict[str, Any], documents: Sequence[dict[str, Any]]) -> str:
    """What the numbers of all pictures rest on, in a line."""
    named = [each["reference"] for each in documents if each["reference"] is not None]
    reference = "none" if not named else "Pillow's LANCZOS" if named[0] == LANCZOS else named[0]
    if not facts["repeats"]:
        return f"reference: {reference}; not timed"
    threads = f"{facts['threads']} thread{'s' if facts['threads'] > 1 else ''}"
    return f"reference: {reference}; ms: median of {facts['repeats']}, {threads} on the CPU"
