"""What the command says: data on stdout, talk on stderr, an error in one to three lines.

Talk may hold the words of a library, a profile or a table's head: none of it reaches the terminal but as `shown`.
"""

import os
import sys
import traceback
from contextlib import suppress
from typing import Any

import typer

from glimpse_cli.errors import GlimpseError
from glimpse_cli.files import shown


def say(text: str) -> None:
    """A line of data on stdout."""
    typer.echo(text)


def warn(text: str) -> None:
    """A warning on stderr."""
    _tell("warning", "yellow", text)


def explain(error: GlimpseError, *, trace: bool = False) -> None:
    """An error on stderr: what, why, what to try; a line each. ``trace`` puts its traceback before them."""
    if trace:
        note("".join(traceback.format_exception(error)))
    _tell("error", "red", error.what)
    if error.why:
        _tell("why", None, error.why)
    if error.hint:
        _tell("try", "green", error.hint)


def note(text: str) -> None:
    """A plain line on stderr, or several."""
    _out("\n".join(line and shown(line) for line in text.split("\n")))


def coloured(stream: Any) -> bool:
    """Whether a stream wants colour: a terminal that has some, and nobody said NO_COLOR."""
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _tell(word: str, colour: str | None, text: str) -> None:
    label = typer.style(f"{word}:", fg=colour, bold=True) if coloured(sys.stderr) else f"{word}:"
    _out(f"{label} {shown(' '.join(text.splitlines()))}")


def _out(text: str) -> None:
    """On stderr; where nobody can hear it, as on a full disk, it stops nothing."""
    with suppress(OSError):
        typer.echo(text, err=True)
