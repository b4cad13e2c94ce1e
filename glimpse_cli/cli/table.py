"""The numbers of a comparison as a table on stdout: bold heads on a terminal, plain aligned text elsewhere."""

import sys
from collections.abc import Sequence
from typing import Any

from glimpse_cli import files
from glimpse_cli.cli import talk

WIDE = 1000  # characters, where no terminal says how many there are: a line is a row


def show(document: dict[str, Any], *, several_devices: bool) -> None:
    """A picture's table, under what was looked at and above what it means.

    Args:
        document: as for ``--json``.
        several_devices: whether columns say on which, and how far from the first.
    """
    from glimpse_cli.compare.columns import about  # noqa: PLC0415 - numpy, which `glimpse --help` does not pay for

    talk.say(f"{files.shown(document['input'])}: {about(document)}")
    _print(document["rows"], several_devices=several_devices)
    _say_notes(document["notes"])


def show_means(rows: Sequence[dict[str, Any]], count: int, *, several_devices: bool) -> None:
    """The table of means over so many pictures."""
    from glimpse_cli.compare.words import notes_of_means  # noqa: PLC0415 - likewise

    talk.say(f"mean of {count} pictures")
    _print(rows, several_devices=several_devices)
    _say_notes(notes_of_means(rows, count))


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        talk.say(f"  {note}")
    talk.say("")


def _print(rows: Sequence[dict[str, Any]], *, several_devices: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - 50 ms that only a table pays
    from rich.table import Table  # noqa: PLC0415 - likewise
    from rich.text import Text  # noqa: PLC0415 - likewise

    from glimpse_cli.compare.columns import COLUMNS, cell, columns, off  # noqa: PLC0415 - numpy

    shown, apart = columns(rows), several_devices and "against_first_device" in rows[0]
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for head in ["method", *(["device"] if several_devices else [])]:
        table.add_column(head, no_wrap=True)
    for head in [*(COLUMNS[name][0] for name in shown), *(["off first device"] if apart else [])]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        words = [row["label"], *([row["device"]] if several_devices else [])]
        numbers = [*(cell(row, name) for name in shown), *([off(row)] if apart else [])]
        table.add_row(*(Text(text) for text in [*words, *numbers]))
    terminal = sys.stdout.isatty()
    console = Console(file=sys.stdout, no_color=not talk.coloured(sys.stdout), width=None if terminal else WIDE)
    console.print(table)
