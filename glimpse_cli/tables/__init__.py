"""Tables of places: a file's text -> rows with a `Look` each, every error with its file, line, column and value.

A table that is broken as a whole is refused; a row that is wrong is a `BadRow` among the others.
Verbs: `read`, `parse`.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from glimpse_cli.errors import InputError, PictureError, UsageError
from glimpse_cli.files import read_bytes, read_stream, shown
from glimpse_cli.tables.records import FORMS
from glimpse_cli.tables.rows import BadRow, Defaults, Row, row_of, spelling_of

__all__ = ["BadRow", "Defaults", "Row", "parse", "read"]


def read(path: str, defaults: Defaults, stdin: BinaryIO | None = None) -> list[Row | BadRow]:
    """Read a table; its suffix says what it is.

    Args:
        path: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, COCO ``.json``, or ``-``: JSON lines on ``stdin``.
        defaults: what holds for every row.
        stdin: where ``-`` reads.

    Raises:
        UsageError: the table as a whole is broken, or its suffix is none of these.
        InputError: it is missing or cannot be read.
    """
    suffix = ".jsonl" if path == "-" else Path(path).suffix.lower()
    if suffix not in FORMS:
        raise UsageError(f"{shown(path)} is no kind of table", why=f"a table ends in {', '.join(FORMS)}")
    name = "standard input" if stdin is not None and path == "-" else shown(path)
    try:
        data = read_stream(stdin, name) if stdin is not None and path == "-" else read_bytes(path)
    except PictureError as error:  # empty, or too large: a table that is broken as a whole
        raise UsageError(error.what) from error
    except InputError as error:
        error.hint = None  # it is about pictures
        raise
    return parse(data, name, suffix, defaults)


def parse(data: bytes, name: str, suffix: str, defaults: Defaults) -> list[Row | BadRow]:
    """A table's bytes -> its rows, in its own order.

    Args:
        data: the whole file.
        name: what errors call it.
        suffix: ``.csv``, ``.tsv``, ``.jsonl``, ``.json`` or ``.parquet``.
        defaults: what holds for every row.

    Raises:
        UsageError: the table as a whole is broken.
    """
    with _uncollected():
        columns, records = FORMS[suffix](data, name)
        spelling = spelling_of(columns, name, defaults)
        rows = [row_of(record, number, spelling, defaults) for number, record in enumerate(records, 1)]
    if not rows:
        raise UsageError(f"{name} has no rows")
    return rows


@contextmanager
def _uncollected() -> Iterator[None]:
    """Rows hold no cycles: looking for some among a hundred thousand takes a fifth of the time."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
