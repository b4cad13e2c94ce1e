"""The numbers of a comparison as a table on stdout: bold heads on a terminal, plain aligned text elsewhere."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from shutil import get_terminal_size
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from glimpse_cli import files
from glimpse_cli.cli import talk
from glimpse_cli.cli.outputs import name_of

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 1000  # characters, where no terminal says how many there are: a line is a row
GAP = 2  # characters between columns
INDENT = " " * 4

Column = tuple[str, list[str]]  # its head, and a text for each row


def show(document: dict[str, Any], *, several_devices: bool) -> None:
    """A picture's table, under what was looked at and above what it means.

    Args:
        document: as for ``--json``.
        several_devices: whether columns say on which, and how far from the first.
    """
    from glimpse_cli.compare.columns import about  # noqa: PLC0415 - numpy, which `glimpse --help` does not pay for

    say(f"{files.shown(name_of(document['input']))}: {about(document)}")
    _print(document["rows"], several_devices=several_devices)
    _say_notes(document["notes"])


def show_means(rows: Sequence[dict[str, Any]], count: int, *, several_devices: bool) -> None:
    """The table of means over so many pictures."""
    from glimpse_cli.compare.words import notes_of_means  # noqa: PLC0415 - likewise

    say(f"mean of {count} pictures")
    _print(rows, several_devices=several_devices)
    _say_notes(notes_of_means(rows, count))


def show_explained(explained: Mapping[str, str]) -> None:
    """What each number means, under its head in tables and its name in JSON."""
    from glimpse_cli.compare.columns import head  # noqa: PLC0415 - numpy

    for name, meaning in explained.items():
        heading = head(name) if head(name) == name else f"{head(name)} ({name} in JSON)"
        say(heading)
        say(meaning, INDENT, INDENT)


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        say(note, "  ")
    talk.say("")


def say(text: str, indent: str = "", below: str = INDENT) -> None:
    """A text in lines of the terminal's width, broken between words alone; those after the first are indented."""
    lines = wrap(
        text,
        _room(),
        initial_indent=indent,
        subsequent_indent=below,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in lines:
        talk.say(line)


def _print(rows: Sequence[dict[str, Any]], *, several_devices: bool) -> None:
    """The table; where a terminal is narrower, its columns one part below the other, for no number is cut."""
    from rich.console import Console  # noqa: PLC0415 - 50 ms that only a table pays

    from glimpse_cli.compare.columns import OFF, cells, columns, head, off  # noqa: PLC0415 - numpy

    words = [("method", [row["label"] for row in rows])]
    words += [("device", [row["device"] for row in rows])] if several_devices else []
    numbers = [(head(name), cells(rows, name)) for name in columns(rows)]
    if several_devices and OFF in rows[0]:
        numbers.append((head(OFF), [off(row) for row in rows]))
    room = _room()
    for part in _parts(words, numbers, room):
        width = max(room, sum(map(_width, [*words, *part])))
        console = Console(file=sys.stdout, no_color=not talk.coloured(sys.stdout), width=width)
        with console.capture() as drawn:
            console.print(_table(words, part))
        for line in drawn.get().splitlines():
            talk.say(line.rstrip())


def _room() -> int:
    """Characters of a line."""
    return get_terminal_size().columns if sys.stdout.isatty() else WIDE


def _parts(words: Sequence[Column], numbers: Sequence[Column], width: int) -> Iterator[list[Column]]:
    """As many columns at a time as fit beside the words; one at least."""
    part: list[Column] = []
    for number in numbers:
        if part and sum(map(_width, [*words, *part, number])) - GAP > width:
            yield part
            part = []
        part.append(number)
    yield part


def _width(column: Column) -> int:
    head, cells = column
    return max(map(len, [head, *cells])) + GAP


def _table(words: Sequence[Column], numbers: Sequence[Column]) -> "Table":
    from rich.table import Table  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - likewise

    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    columns = [*words, *map(_flush_right, numbers)]
    for head, _ in columns:
        table.add_column(head, no_wrap=True)
    for row in zip(*(cells for _, cells in columns), strict=True):
        table.add_row(*map(Text, row))
    return table


def _flush_right(column: Column) -> Column:
    """As rich would set it, but that it takes the spaces behind a number away."""
    head, cells = column
    width = max(map(len, [head, *cells]))
    return head.rjust(width), [text.rjust(width) for text in cells]
