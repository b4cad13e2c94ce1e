"""The numbers of a comparison as a table on stdout: bold heads on a terminal, plain aligned text elsewhere."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from glimpse_cli import files
from glimpse_cli.cli import talk

NONE = "-"
WIDE = 1000  # characters, where no terminal says how many there are: a line is a row


def _small(value: float) -> str:
    return f"{value:.4f}" if value == 0 or value >= 5e-5 else f"{value:.0e}"


def _percent(value: float) -> str:
    return f"{value:.0%}"


COLUMNS: dict[str, tuple[str, Callable[[Any], str]]] = {  # a number's name: its head, how it is written
    "ms": ("ms", "{:.3g}".format),
    "pixels_read": ("px read", "{:,.0f}".format),
    "pixels_seen": ("px seen", "{:,.0f}".format),
    "mae": ("mae", _small),
    "max": ("max", _small),
    "psnr": ("psnr", "{:.1f}".format),
    "ssim": ("ssim", "{:.4f}".format),
    "aliasing": ("aliasing", _percent),
    "blur": ("blur", _percent),
    "noise_gain": ("noise", "{:.3g}".format),
}


def show(document: dict[str, Any], *, several_devices: bool) -> None:
    """A picture's table, under what was looked at and above what it means.

    Args:
        document: as for ``--json``.
        several_devices: whether a column says on which.
    """
    talk.say(f"{files.shown(document['input'])}: {_about(document)}")
    _print(document["rows"], several_devices=several_devices)
    for note in document["notes"]:
        talk.say(f"  {note}")
    talk.say("")


def show_means(rows: Sequence[dict[str, Any]], count: int, *, several_devices: bool) -> None:
    """The table of means over so many pictures."""
    talk.say(f"mean of {count} pictures")
    _print(rows, several_devices=several_devices)
    talk.say("")


def show_basis(about: dict[str, Any]) -> None:
    """What all tables rest on."""
    reference = "Pillow's LANCZOS" if about["reference"] == "lanczos" else about["reference"]
    threads = f"{about['threads']} thread{'s' if about['threads'] > 1 else ''}"
    talk.say(f"reference: {reference}; ms: median of {about['repeats']}, {threads} on the CPU; --explain says more")


def _about(document: dict[str, Any]) -> str:
    sizes = (document[name] for name in ("input_size", "size"))
    seen, made = (f"{size['width']} x {size['height']}" for size in sizes)
    step = document["place"]["d"]
    return f"{seen} -> {made}, d_y {step['y']:.3g}, d_x {step['x']:.3g}, coverage {document['coverage']:.0%}"


def _print(rows: Sequence[dict[str, Any]], *, several_devices: bool) -> None:
    """Columns that no row fills are left out, but for the differences, whose absence is news."""
    from rich.console import Console  # noqa: PLC0415 - 50 ms that only a table pays
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    shown = [name for name in COLUMNS if name != "ssim" or any(row[name] is not None for row in rows)]
    apart = several_devices and any("against_first_device" in row for row in rows)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("method", no_wrap=True)
    if several_devices:
        table.add_column("device", no_wrap=True)
    for name in shown:
        table.add_column(COLUMNS[name][0], justify="right", no_wrap=True)
    if apart:
        table.add_column("off first device", justify="right", no_wrap=True)
    for row in rows:
        cells = [row["label"], *([row["device"]] if several_devices else [])]
        cells += [_cell(row, name) for name in shown]
        if apart:
            off = row["against_first_device"]
            cells.append(NONE if off is None else _small(off["max"]))
        table.add_row(*(Text(cell) for cell in cells))
    console = Console(
        file=sys.stdout, no_color=not talk.coloured(sys.stdout), width=None if sys.stdout.isatty() else WIDE
    )
    console.print(table)


def _cell(row: dict[str, Any], name: str) -> str:
    value = row[name]
    if value is not None:
        return COLUMNS[name][1](value)
    return "inf" if name == "psnr" and row["max"] == 0 else NONE
