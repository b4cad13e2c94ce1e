"""The contact sheet: one picture of the first glimpses, wherever it is wanted.

It may lie anywhere, also among the pictures that are read. So a run keeps the hashes of the sheets it made: such a
sheet is replaced by the next run and never taken for an input, and any other file is a user's.
"""

import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from glimpse_cli import draw, images
from glimpse_cli.batch.own import OWN, exists, hash_of, hash_of_file, is_intact
from glimpse_cli.errors import InputError, OutputError
from glimpse_cli.files import FORMATS, is_folder, make_folder, read_bytes, shown, write_whole

COUNT = 60  # glimpses on a sheet
CELL = 160  # pixels of the long side of one

_KNOWN = f"{OWN}/sheets.json"

Sheets = Mapping[str, list[str]]  # the hashes it may have, by its place


def place_of(path: str) -> str:
    """Where a sheet lies, however it is spelled."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - compared with the plan's strings


def known(folder: str) -> Sheets:
    """The sheets that runs of this folder made."""
    with suppress(InputError, ValueError, RecursionError):
        found = json.loads(read_bytes(Path(folder, _KNOWN)))
        if isinstance(found, dict):
            return {place: hashes for place, hashes in found.items() if isinstance(hashes, list)}
    return {}


def is_known(place: str, sheets: Sheets) -> bool:
    """Whether a file is one of these sheets, as it was made."""
    return any(is_intact(Path(place), found) for found in sheets.get(place, ()))


def refuse_foreign(path: str, folder: str, *, force: bool) -> None:
    """Only a sheet of an earlier run is replaced without being told to; what is no file, never.

    Raises:
        OutputError: there is something else.
    """
    if is_folder(path):
        raise OutputError(f"cannot write {shown(path)}", why="it is a folder", hint="another --contact-sheet")
    replaceable = force and os.path.isfile(path)  # noqa: PTH113 - what may not be looked at is none
    if os.path.lexists(path) and not replaceable and not is_known(place_of(path), known(folder)):
        raise exists(Path(path), instead="--contact-sheet")


def make(path: str, folder: str, glimpses: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
    """Draw a sheet of (name, uint8 glimpse), of which one at a time is held as large as it is.

    Where there is none, the sheet of an earlier run goes: what it shows is no more.
    """
    pairs = [(shown(name), _reduced(glimpse)) for name, glimpse in glimpses]
    if not pairs:
        if is_known(place_of(path), known(folder)):
            Path(path).unlink(missing_ok=True)
        return
    names, pictures = zip(*pairs, strict=True)
    sheet = draw.contact_sheet(pictures, names, cell=CELL)
    data = images.encode_picture(sheet, FORMATS[Path(path).suffix[1:].lower()])
    make_folder(Path(path).parent)
    _remember(folder, place_of(path), hash_of(data))
    write_whole(path, data)


def _reduced(glimpse: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A glimpse larger than its cell as the sheet will show it; a smaller one as it is, to be enlarged there."""
    from glimpse_cli.draw import paper  # noqa: PLC0415 - it brings a typeface, which only a sheet pays for

    return paper.scaled(paper.rgb(glimpse), (CELL, CELL)) if max(glimpse.shape[:2]) > CELL else glimpse


def _remember(folder: str, place: str, found: str) -> None:
    """Note a sheet before it is written; the one it replaces stays known, for a run that is killed between."""
    sheets = known(folder)
    before = sheets.get(place, [])
    if before[-1:] != [found]:
        there = hash_of_file(Path(place))
        document = {**sheets, place: [*(each for each in before if each == there), found]}
        write_whole(Path(folder, _KNOWN), json.dumps(document).encode())
